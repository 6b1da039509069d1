"""The engine's side of the worker processes: start, hand over calls, end them at a time-out.

A node stays with the worker that first ran a hook of it (its home), so what its hooks keep in the
node's object is there at the next hook; when that worker has ended, a new one makes a new object.
Each worker has two threads here, which only wait (for its replies, for its end) and post what they
saw; all decisions are made by the one thread that owns the pool and carries out what was posted.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import secrets
import signal
import subprocess
import sys
import tempfile
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from time import monotonic
from typing import Any, Final, Literal

from octo_step_hooks import (
    HookResult,
    NodeSource,
    as_utf_8,
    failed,
    interrupted,
    refused,
)
from octo_step_messages import HookCall
from octo_step_output import NodeLog, StepOutput
from octo_step_processes import GRACE_S, MARK, end_group

# To start the interpreter and import the node's module is not the step's time, but it is bounded.
STARTING_S: Final = 60.0
_WORKER: Final = Path(__file__).with_name("octo_step_worker.py")
_LAST_WORDS: Final = 2_000
_LAST_REPLY_S: Final = 0.5

Ending = Literal["", "timed out", "interrupted", "died", "disturbed", "closed"]
Post = Callable[[Callable[[], None]], None]


@dataclass(slots=True)
class _Job:
    """A call that a worker carries out; `deadline` is the hook's once that has `started`."""

    call: HookCall
    log: NodeLog
    begun: float
    deadline: float | None
    started: bool = False


class WorkerPool:
    """Carries out calls in at most `limit` worker processes, started when they are needed.

    Every call that was submitted is handed to `finished` once. `post` takes a function from any
    thread, and has the thread that owns this pool call it; all methods belong to that thread.
    """

    def __init__(
        self,
        source: NodeSource,
        directory: Path,
        limit: int,
        output: StepOutput,
        post: Post,
        finished: Callable[[HookResult], None],
    ) -> None:
        self._source = source
        self._directory = directory
        self._limit = limit
        self._output = output
        self._post = post
        self._finished = finished
        self._queue: deque[HookCall] = deque()
        self._workers: list[_Worker] = []
        self._homes: dict[str, _Worker] = {}
        self._left_behind: list[str] = []

    @property
    def busy(self) -> bool:
        """Whether a call has not been handed to `finished` yet."""
        return bool(self._queue) or any(worker.job for worker in self._workers)

    def submit(self, call: HookCall) -> None:
        """Accepts a call; it begins as soon as its worker is free."""
        self._queue.append(call)
        self._hand_over()

    def next_deadline(self) -> float | None:
        """When `end_overdue` has to be called, by `time.monotonic`."""
        times = [w.job.deadline for w in self._workers if w.job and w.job.deadline and not w.ending]
        return min(times, default=None)

    def end_overdue(self) -> None:
        """Ends the workers whose hook has reached its time limit."""
        now = monotonic()
        for worker in self._workers:
            if worker.job and worker.job.deadline and worker.job.deadline <= now:
                worker.end("timed out")

    def interrupt(self) -> None:
        """Hands all calls back as interrupted; those that run, when their worker has ended."""
        while self._queue:
            self._finished(interrupted(self._queue.popleft()))
        for worker in self._workers:
            if worker.job:
                worker.end("interrupted")

    def close(self) -> list[str]:
        """Ends all workers; returns a line for each process that outlived its step."""
        self._queue.clear()
        asked = [worker for worker in self._workers if worker.idle]
        for worker in asked:
            worker.send(None)
        deadline = monotonic() + GRACE_S
        for worker in asked:
            worker.exited.wait(max(0.0, deadline - monotonic()))
        for worker in self._workers:
            worker.end("closed")
        for worker in self._workers:
            self._left_behind += worker.join()
            if worker.job:
                self._output.finish(worker.job.log)
        self._workers.clear()
        return self._left_behind

    def _hand_over(self) -> None:
        """Begins the queued calls whose worker is free or can be started."""
        for call in list(self._queue):
            try:
                worker = self._place(call.node)
            except OSError as exc:
                self._queue.remove(call)
                self._finished(refused(call, f"a worker process can't start: {exc}"))
                continue
            if worker is not None:
                self._queue.remove(call)
                self._begin(worker, call)

    def _place(self, node: str) -> _Worker | None:
        """The worker for a call of the node, or None when the call has to wait for it."""
        home = self._homes.get(node) or next((w for w in self._workers if w.idle), None)
        if home is None and len(self._workers) < self._limit:
            home = _Worker(self._source, self._directory, self._post)
            home.listen(self._heard, self._exited, self._ended)
            self._workers.append(home)
        if home is None or not home.idle:
            return None
        self._homes[node] = home
        return home

    def _begin(self, worker: _Worker, call: HookCall) -> None:
        try:
            log = self._output.start(call.node)
        except OSError as exc:
            self._finished(refused(call, f"its output can't be kept: {exc}"))
            return
        now = monotonic()
        deadline = None if call.timeout_s is None else now + STARTING_S
        worker.job = _Job(call, log, now, deadline)
        worker.send(
            {
                "node": call.node,
                "hook": call.hook,
                "directory": str(self._source.directory(call.node) or self._directory),
                "logs": self._output.paths(log),
                "timed": call.timeout_s is not None,
            }
        )

    def _heard(self, worker: _Worker, line: bytes) -> None:
        """Carries out what a line from a worker means."""
        job = worker.job
        try:
            message = json.loads(line)
            if "ready" in message:
                worker.ready = True
            elif job is None or worker.ending:
                pass  # too late: the call comes back when the worker has ended
            elif "started" in message:
                job.started, job.begun = True, monotonic()
                job.deadline = job.begun + (job.call.timeout_s or 0.0)
            else:
                self._finish(worker, job, HookResult(**message["result"]))
                self._hand_over()
        except (ValueError, TypeError, KeyError):
            worker.end("disturbed")

    def _exited(self, worker: _Worker) -> None:
        """A worker process has exited; where nobody asked for that, its group is ended now."""
        worker.end("died")

    def _ended(self, worker: _Worker) -> None:
        """A worker and its group have ended: its call, if any, comes back."""
        if worker not in self._workers:
            return
        self._workers.remove(worker)
        self._homes = {node: home for node, home in self._homes.items() if home is not worker}
        left_behind = worker.join()
        if worker.job:
            result = failed(worker.job.call, worker.reason(worker.job))
            result.traceback = worker.last_words
            result.timed_out = worker.ending == "timed out"
            result.interrupted = worker.ending == "interrupted"
            result.survivors = left_behind
            self._finish(worker, worker.job, result)
        else:
            self._left_behind += left_behind
        self._hand_over()

    def _finish(self, worker: _Worker, job: _Job, result: HookResult) -> None:
        worker.job = None
        self._output.finish(job.log)
        result.duration_s = result.duration_s or monotonic() - job.begun
        self._finished(result)


class _Worker:
    """One worker process and its group.

    Attributes:
        ready: It has started, and reads requests.
        job: The call that it carries out.
        ending: Why it is being ended, or "".
        exited: Set when the process has exited.
        last_words: When it has been ended, the end of what it said outside hooks.
    """

    def __init__(self, source: NodeSource, directory: Path, post: Post) -> None:
        self.ready = False
        self.job: _Job | None = None
        self.ending: Ending = ""
        self.exited = threading.Event()
        self.last_words = ""
        self._post = post
        self._mark = secrets.token_hex(8)
        self._words = tempfile.TemporaryFile()  # noqa: SIM115  # open as long as the process
        self._left_behind: list[str] = []
        self._threads: list[threading.Thread] = []
        try:
            self._process = subprocess.Popen(
                [sys.executable, str(_WORKER), str(os.getpid())],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._words,
                bufsize=0,
                cwd=directory,
                env={**os.environ, MARK: self._mark},
                start_new_session=True,
            )
        except OSError:
            self._words.close()
            raise
        self.pid = self._process.pid
        self.send(source.description())

    @property
    def idle(self) -> bool:
        """Whether it can take a call now."""
        return self.job is None and not self.ending

    def listen(
        self,
        heard: Callable[[_Worker, bytes], None],
        exited: Callable[[_Worker], None],
        ended: Callable[[_Worker], None],
    ) -> None:
        """From now on posts calls of these."""
        self._on_ended = ended
        reader = _in_thread(self._read, heard)
        _in_thread(self._await_exit, reader, exited)

    def send(self, request: dict[str, Any] | None) -> None:
        """Sends a line; None asks the worker to end by itself."""
        assert self._process.stdin is not None
        rest = memoryview(json.dumps(request).encode() + b"\n")
        with contextlib.suppress(OSError):  # it has died: noticed by its exit
            while rest:
                rest = rest[self._process.stdin.write(rest) or 0 :]

    def end(self, why: Ending) -> None:
        """Begins to end the process and its group, once; posts `ended` when they have."""
        if not self.ending:
            self.ending = why
            self._threads.append(_in_thread(self._end))

    def join(self) -> list[str]:
        """Waits for what `end` began; returns a line for each process that outlived its step."""
        for thread in self._threads:
            thread.join()
        return self._left_behind

    def reason(self, job: _Job) -> str:
        """The error text of the call that this worker did not finish."""
        hook, code = job.call.hook, self._process.returncode
        if self.ending == "timed out" and job.started:
            return f"timed out after {job.call.timeout_s:g} s"
        if self.ending == "timed out":
            return f"timed out: {hook} could not be started within {STARTING_S:g} s"
        if self.ending == "interrupted":
            return "interrupted"
        if self.ending == "disturbed":
            return f"the worker process was ended: something else wrote to its replies in {hook}"
        if not self.ready:
            words = self.last_words.strip()
            return "a worker process can't start: " + (words.splitlines() or [_ending(code)])[-1]
        return f"the worker process {_ending(code)} while {hook} ran"

    def _read(self, heard: Callable[[_Worker, bytes], None]) -> None:
        assert isinstance(self._process.stdout, io.RawIOBase)
        with io.BufferedReader(self._process.stdout) as replies:
            for line in replies:
                self._post(partial(heard, self, line))

    def _await_exit(self, reader: threading.Thread, exited: Callable[[_Worker], None]) -> None:
        if hasattr(os, "waitid"):  # not reaped: the number stays the group's until all has ended
            with contextlib.suppress(ChildProcessError):  # a hook called os.wait()
                os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOWAIT)
        else:
            self._process.wait()
        reader.join(_LAST_REPLY_S)  # what a hook forked may hold the pipe open for ever
        self.exited.set()
        self._post(partial(exited, self))

    def _end(self) -> None:
        unasked = self.ending in ("died", "closed")
        self._left_behind = end_group(self.pid, self._mark, tell_group=unasked)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(GRACE_S)
        self.last_words = self._read_words()
        self._post(partial(self._on_ended, self))

    def _read_words(self) -> str:
        assert self._process.stdin is not None
        with self._process.stdin, self._words as words:
            words.seek(max(0, words.seek(0, os.SEEK_END) - _LAST_WORDS))
            return as_utf_8(words.read().decode("utf-8", "backslashreplace"), _LAST_WORDS)


def _ending(code: int | None) -> str:
    """How a process ended, from its return code."""
    if code is None:
        return "did not end"
    if code < 0:
        try:
            return f"was ended by {signal.Signals(-code).name}"
        except ValueError:
            return f"was ended by signal {-code}"
    return f"ended with exit code {code}"


def _in_thread(target: Callable[..., None], *arguments: Any) -> threading.Thread:
    thread = threading.Thread(target=target, args=arguments, name="octo-worker", daemon=True)
    thread.start()
    return thread
