"""Where hooks run: in the calling thread, in threads, or in worker processes that can be killed.

A call with a time limit, or whose node wants a process of its own, runs in a worker process
whatever the kind of the executor, and so do all later calls of its node: a node's object lives in
one place.
"""

from __future__ import annotations

import contextlib
import os
import threading
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable
from functools import partial
from pathlib import Path
from queue import Empty, SimpleQueue
from time import monotonic
from typing import TYPE_CHECKING, Final

from octo_errors import UsageError, did_you_mean
from octo_step_hooks import (
    HookResult,
    NodeObjects,
    NodeSource,
    interrupted,
    refused,
)
from octo_step_messages import HookCall
from octo_step_output import Redirection, StepOutput, ThreadRedirection
from octo_step_processes import own_descendants, still_running

if TYPE_CHECKING:
    from octo_step_worker_pool import WorkerPool

__all__ = [
    "KINDS",
    "Executor",
    "HookCall",
    "HookResult",
    "NodeSource",
    "make_executor",
]

KINDS: Final = ("serial", "threads", "processes")
THREADS: Final = 32
_HEED_SIGNALS_S: Final = 0.5
"""Python calls a signal's handler between two instructions: one that arrives just before a wait
without an end would be heard when that is over."""


def make_executor(
    kind: str,
    source: NodeSource,
    directory: Path,
    workers: int | None,
    output: StepOutput,
) -> Executor:
    """The executor of a kind; `workers` bounds how many hooks run at the same time.

    Hooks run in `directory` unless the source says otherwise.

    Raises:
        UsageError: There is no such kind, or `workers` is less than 1.
    """
    if workers is not None and workers < 1:
        raise UsageError(f"workers is {workers}", hint="give 1 or more")
    cores = os.cpu_count() or 1
    if kind == "serial":
        return SerialExecutor(source, directory, 1, output)
    if kind == "threads":
        return ThreadExecutor(source, directory, workers or THREADS, output)
    if kind == "processes":
        return ProcessExecutor(source, directory, workers or cores, output)
    raise UsageError(f"no executor {kind!r}", hint=did_you_mean(kind, KINDS))


class Executor(ABC):
    """Carries out hook calls, for one engine.

    Every submitted call comes back from `wait` exactly once. `submit`, `wait` and `close` belong to
    one thread; `wake` and `interrupt` may be called from any thread, and from a signal handler.
    Calls of different nodes may run at the same time, calls of one node must not be submitted so.

    While an executor is open, the working directory of the process is `directory`. It is set again
    after every hook, and put back by `close`.

    Attributes:
        workers: How many hooks may run at once.
    """

    def __init__(
        self, source: NodeSource, directory: Path, workers: int, output: StepOutput
    ) -> None:
        self._source = source
        self.workers = workers
        self._output = output
        self._objects = NodeObjects(source.make)
        self._posted: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._results: list[HookResult] = []
        self._outstanding = 0
        self._breaking_off = False
        self._closed = False
        self._bystanders = _Bystanders()
        self._in_workers: set[str] = set()
        self._pool: WorkerPool | None = None
        self._directory = Path(directory).absolute()
        self._enter_directory()

    def submit(self, call: HookCall) -> None:
        """Accepts a call; it runs at once, or in a later `wait`."""
        if not self._outstanding:
            self._breaking_off = False  # what an interrupt was meant for has come back already
        self._outstanding += 1
        if call.timeout_s is not None or call.own_process:
            self._in_workers.add(call.node)
        self._accept(call)

    def wait(self, timeout: float | None = None) -> list[HookResult]:
        """At least one result; or [] after `timeout` seconds, or when `wake` was called.

        With nothing submitted it waits for the time-out; without a time-out it returns [] then.
        """
        until = None if timeout is None else monotonic() + timeout
        woken = False
        while True:
            while not self._posted.empty():
                woken |= self._carry_out(self._posted.get())
            if self._breaking_off:
                self._breaking_off = False
                self._break_off()
            if self._results or woken or (until is None and not self._outstanding):
                break
            if not self._run_here():
                try:
                    woken = self._carry_out(self._posted.get(timeout=self._seconds_to(until)))
                except Empty:
                    if until is not None and monotonic() >= until:
                        break
                if self._pool is not None:
                    self._pool.end_overdue()
        results = self._results.copy()
        self._results.clear()
        self._outstanding -= len(results)
        return results

    def wake(self) -> None:
        """Makes the `wait` that goes on, or else the next one, return without starting a hook."""
        self._posted.put(None)

    def interrupt(self) -> None:
        """Breaks off: all submitted calls come back, `interrupted` unless they had finished."""
        self._breaking_off = self._outstanding > 0
        self.wake()

    def close(self) -> list[str]:
        """Ends what runs; returns a line for each process or thread that a hook left behind.

        What hooks in worker processes started is killed. What hooks in this process started runs
        on; a thread among it that is not a daemon keeps the interpreter from exiting.
        """
        if self._closed:
            return []
        self._closed = True
        left_behind = self._stop()
        if self._pool is not None:
            left_behind += self._pool.close()
        left_behind += self._bystanders.left_behind()
        self._leave_directory()
        return left_behind

    @abstractmethod
    def _accept(self, call: HookCall) -> None:
        """Takes over a call that was submitted."""

    def _run_here(self) -> bool:
        """Runs or hands over a call in the calling thread; False where there is none to."""
        return False

    def _break_off(self) -> None:
        """Gives back all calls as interrupted, at once or when their worker has ended."""
        if self._pool is not None:
            self._pool.interrupt()

    def _stop(self) -> list[str]:
        """Ends the kind's own means; returns a line for each hook that can't be ended."""
        return []

    def _worker_pool(self) -> WorkerPool:
        if self._pool is None:
            from octo_step_worker_pool import WorkerPool  # a run without workers doesn't pay for it

            self._pool = WorkerPool(
                self._source,
                self._directory,
                self.workers,
                self._output,
                self._posted.put,
                self._results.append,
            )
        return self._pool

    def _carry_out(self, posted: Callable[[], None] | None) -> bool:
        """Calls what a thread posted; True for a `wake`."""
        if posted is None:
            return True
        posted()
        return False

    def _seconds_to(self, until: float | None) -> float:
        deadline = self._pool.next_deadline() if self._pool is not None else None
        ends = [end - monotonic() for end in (until, deadline) if end is not None]
        return max(0.0, min([_HEED_SIGNALS_S, *ends]))

    def _enter_directory(self) -> None:
        try:
            self._came_from = os.getcwd()  # noqa: PTH109
        except OSError:
            self._came_from = ""
        if os.chdir in os.supports_fd:  # cheaper than a path, and this is done after every hook
            self._handle: int | Path = os.open(self._directory, os.O_RDONLY | os.O_CLOEXEC)
        else:
            self._handle = self._directory
        os.chdir(self._handle)

    def _return_to_directory(self) -> None:
        try:  # noqa: SIM105  (done after every hook; `suppress` would cost as much as the call)
            os.chdir(self._handle)
        except OSError:
            pass

    def _leave_directory(self) -> None:
        with contextlib.suppress(OSError):
            os.chdir(self._came_from)
        if isinstance(self._handle, int):
            os.close(self._handle)


class SerialExecutor(Executor):
    """Runs one hook at a time, inside `wait`, in the thread that calls it."""

    def __init__(
        self, source: NodeSource, directory: Path, workers: int, output: StepOutput
    ) -> None:
        super().__init__(source, directory, workers, output)
        self._calls: deque[HookCall] = deque()
        self._hook_thread = 0
        self._redirection = Redirection()

    def interrupt(self) -> None:
        """Raises KeyboardInterrupt in the hook, in a signal handler of the thread that runs it."""
        super().interrupt()
        if self._hook_thread == threading.get_ident():
            self._hook_thread = 0
            raise KeyboardInterrupt

    def _accept(self, call: HookCall) -> None:
        self._calls.append(call)

    def _run_here(self) -> bool:
        if not self._calls or (self._pool is not None and self._pool.busy):
            return False
        call = self._calls.popleft()
        if call.node in self._in_workers:
            self._worker_pool().submit(call)
        else:
            self._results.append(self._run(call))
        return True

    def _run(self, call: HookCall) -> HookResult:
        try:
            log = self._output.start(call.node)
        except OSError as exc:
            return refused(call, f"its output can't be kept: {exc}")
        begun = monotonic()
        self._redirection.begin(log.fd)
        try:
            self._hook_thread = threading.get_ident()
            result = self._objects.perform(call.node, call.hook)
            self._hook_thread = 0
        except KeyboardInterrupt:  # just before or just after the hook
            result = interrupted(call, monotonic() - begun)
        self._redirection.end()
        self._output.finish(log)
        self._return_to_directory()
        return result

    def _break_off(self) -> None:
        while self._calls:
            self._results.append(interrupted(self._calls.popleft()))
        super()._break_off()

    def _stop(self) -> list[str]:
        self._redirection.close()
        return []


class ProcessExecutor(Executor):
    """Runs every hook in a worker process."""

    def _accept(self, call: HookCall) -> None:
        self._worker_pool().submit(call)


class ThreadExecutor(Executor):
    """Runs hooks in threads of this process; those with a time limit in worker processes.

    A hook in a thread can't be ended. After `interrupt` it is left to itself, and what comes of it
    is dropped.
    """

    def __init__(
        self, source: NodeSource, directory: Path, workers: int, output: StepOutput
    ) -> None:
        super().__init__(source, directory, workers, output)
        self._redirection = ThreadRedirection(output)
        self._running: list[HookCall] = []
        self._abandoned: list[HookCall] = []
        self._todo: SimpleQueue[HookCall | None] = SimpleQueue()
        self._threads = 0

    def wait(self, timeout: float | None = None) -> list[HookResult]:
        """As told above."""
        results = super().wait(timeout)
        if not self._outstanding:
            self._redirection.rest()
        return results

    def _accept(self, call: HookCall) -> None:
        if call.node in self._in_workers:
            self._worker_pool().submit(call)
            return
        self._running.append(call)
        if self._threads < min(len(self._running), self.workers):
            self._threads += 1
            name = f"octo-hooks-{self._threads}"
            threading.Thread(target=self._serve, args=(self._todo,), name=name, daemon=True).start()
        self._todo.put(call)

    def _serve(self, todo: SimpleQueue[HookCall | None]) -> None:
        while (call := todo.get()) is not None:
            self._posted.put(partial(self._done, call, self._run(call)))

    def _run(self, call: HookCall) -> HookResult:
        try:
            self._redirection.begin(call.node)
        except OSError as exc:
            return refused(call, f"its output can't be kept: {exc}")
        result = self._objects.perform(call.node, call.hook)
        self._redirection.end()
        if not self._closed:
            self._return_to_directory()
        return result

    def _done(self, call: HookCall, result: HookResult) -> None:
        if _take(self._running, call):
            self._results.append(result)
        else:
            _take(self._abandoned, call)

    def _break_off(self) -> None:
        """Leaves the threads to themselves; the next call gets a new one."""
        self._results += [interrupted(call) for call in self._running]
        not_begun = self._take_todo()
        self._abandoned += [call for call in self._running if _take(not_begun, call) is None]
        self._running = []
        self._dismiss()
        super()._break_off()

    def _stop(self) -> list[str]:
        self._take_todo()
        self._dismiss()
        self._redirection.close()
        while not self._posted.empty():
            self._carry_out(self._posted.get())
        return [
            f"{call.hook} of {call.node}: still runs, in a thread"
            for call in self._abandoned + self._running
        ]

    def _take_todo(self) -> list[HookCall]:
        """The calls that no thread has begun; none will begin them."""
        taken = []
        with contextlib.suppress(Empty):
            while True:
                call = self._todo.get_nowait()
                if call is not None:
                    taken.append(call)
        return taken

    def _dismiss(self) -> None:
        """Lets the threads end as soon as their hook has."""
        for _ in range(self._threads):
            self._todo.put(None)
        self._todo, self._threads = SimpleQueue(), 0


class _Bystanders:
    """The threads and processes that were there before any hook ran."""

    def __init__(self) -> None:
        self._threads = set(threading.enumerate())
        self._processes = own_descendants()

    def left_behind(self) -> list[str]:
        """A line for each other one; not for threads that let the interpreter exit (daemons)."""
        lines = [
            f"thread {thread.name}: still runs"
            for thread in threading.enumerate()
            if not thread.daemon and thread not in self._threads
        ]
        return lines + still_running(own_descendants() - self._processes)


def _take(calls: list[HookCall], call: HookCall) -> HookCall | None:
    """Removes this very call from the list; None when it isn't there."""
    for position, candidate in enumerate(calls):
        if candidate is call:
            return calls.pop(position)
    return None
