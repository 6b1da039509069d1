"""Where hooks run: in the calling thread, in threads, or in worker processes (killable)."""

from __future__ import annotations

import contextlib
import os
from abc import ABC, abstractmethod
from collections import deque
from pathlib import Path
from queue import Empty, SimpleQueue
from time import monotonic
from typing import Literal

from octo_step_hooks import HookCall, HookResult, NodeObjects, NodeSource, perform
from octo_step_output import Redirection, StepOutput

__all__ = [
    "Executor",
    "HookCall",
    "HookResult",
    "Kind",
    "NodeSource",
    "make_executor",
    "perform",
]

Kind = Literal["serial", "threads", "processes"]


class Executor(ABC):
    """Carries out hook calls, for one engine.

    Every submitted call comes back from `wait` exactly once. `submit`, `wait` and `close` belong to
    one thread; `wake` and `interrupt` may be called from any thread and from a signal handler.
    While an executor is open the working directory of the process is the instance's; it is set
    again after every hook, and put back by `close`.
    """

    @abstractmethod
    def submit(self, call: HookCall) -> None:
        """Accepts a call; it runs at once or in a later `wait`."""

    @abstractmethod
    def wait(self, timeout: float | None = None) -> list[HookResult]:
        """At least one result; or [] after `timeout` seconds, or when `wake` was called.

        With nothing submitted it waits for the time-out; without a time-out it returns [] then.
        """

    @abstractmethod
    def wake(self) -> None:
        """Makes the `wait` that goes on, or else the next one, return, without starting a hook."""

    @abstractmethod
    def interrupt(self) -> None:
        """Breaks off: all submitted calls come back, `interrupted` unless they had finished."""

    @abstractmethod
    def close(self) -> list[str]:
        """Ends what runs; returns a line for each process or thread that a hook left behind."""


def make_executor(
    kind: Kind,
    source: NodeSource,
    instance_dir: Path,
    workers: int | None = None,
    output: StepOutput | None = None,
) -> Executor:
    """The executor of a kind. `workers` bounds how many hooks run at the same time."""
    if kind == "serial":
        return SerialExecutor(source, Path(instance_dir), output or StepOutput(instance_dir))
    raise NotImplementedError(kind)


class SerialExecutor(Executor):
    """Runs one hook at a time, inside `wait`, in the thread that calls it."""

    def __init__(self, source: NodeSource, instance_dir: Path, output: StepOutput) -> None:
        self._objects = NodeObjects(source.make)
        self._directory = os.fspath(instance_dir.absolute())
        self._output = output
        self._calls: deque[HookCall] = deque()
        self._wakes: SimpleQueue[None] = SimpleQueue()
        self._interruptible = False
        self._came_from: str | None = os.getcwd()  # noqa: PTH109
        os.chdir(self._directory)
        self._redirection = Redirection()

    def submit(self, call: HookCall) -> None:
        """See `Executor`."""
        self._calls.append(call)

    def wait(self, timeout: float | None = None) -> list[HookResult]:
        """See `Executor`."""
        if self._wakes.empty() and self._calls:
            return [self._run(self._calls.popleft())]
        if self._calls or timeout is not None:
            deadline = None if timeout is None else max(0.0, timeout)
            with contextlib.suppress(Empty):
                self._wakes.get(timeout=deadline)
        return []

    def wake(self) -> None:
        """See `Executor`."""
        self._wakes.put(None)

    def interrupt(self) -> None:
        """Raises KeyboardInterrupt in the hook, when called in a signal handler of its thread."""
        if self._interruptible:
            self._interruptible = False
            raise KeyboardInterrupt
        self.wake()

    def close(self) -> list[str]:
        """See `Executor`."""
        if self._came_from is not None:
            self._redirection.close()
            with contextlib.suppress(OSError):
                os.chdir(self._came_from)
            self._came_from = None
        return []

    def _run(self, call: HookCall) -> HookResult:
        started = monotonic()
        log = self._output.start(call.node)
        self._redirection.begin(log.fd)
        try:
            self._interruptible = True
            result = self._objects.perform(call.node, call.hook)
            self._interruptible = False
        except KeyboardInterrupt:  # raised just before or just after the hook
            result = HookResult(
                call.node,
                call.hook,
                error="interrupted",
                interrupted=True,
                duration_s=monotonic() - started,
            )
        self._redirection.end()
        self._output.finish(log)
        os.chdir(self._directory)
        return result
