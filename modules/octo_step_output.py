"""Output of hooks: kept per node under `logs/`, and shown while it is written.

A hook's file descriptors 1 and 2 are its log file itself (`O_APPEND`), so nothing is copied, child
processes are caught too, a hook may hold the interpreter while it prints without blocking, and what
it printed is in the file even if the whole process is killed. One thread follows the logs of the
hooks that run and hands what is new to the sink; it sleeps while nothing runs.

A node that never printed has no log: its output goes to a blank file `unfinished-*.log` that gets
the node's name with the first bytes. After a crash within the first moment of a hook its last words
are in that file.
"""

# Paths are texts: to join two of them, pathlib needs as long as a hook that does nothing.
# ruff: noqa: PTH105, PTH118

from __future__ import annotations

import contextlib
import io
import os
import sys
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Final, TextIO

LOG_DIRECTORY_NAME: Final = "logs"
LOG_LIMIT: Final = 4 * 1024 * 1024
UNATTRIBUTED: Final = ""

_CHUNK: Final = 64 * 1024
_FOLLOW_EVERY_S: Final = 0.05
_IDLE_LOGS: Final = 8
_PLAIN: Final = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-")
_STEM_LIMIT: Final = 100
# An open file can't be renamed on Windows, so there a log gets its name at once.
_CAN_RENAME_OPEN: Final = os.name == "posix"
OPEN_LOG: Final = os.O_RDWR | os.O_APPEND | getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0)

Sink = Callable[[str, bytes], None]
Streams = tuple[Any, Any]  # sys.stdout and sys.stderr, or what a hook put there


class NodeLog:
    """The open log of a node: `fd` to write to (append only), `shown` bytes given to the sink."""

    __slots__ = ("blank", "fd", "hooks", "node", "path", "shown")

    def __init__(self, node: str, path: str, fd: int, shown: int, blank: bool) -> None:
        self.node = node
        self.path = path
        self.fd = fd
        self.shown = shown
        self.blank = blank
        self.hooks = 0  # that write to it now; two after a hook was left to itself in its thread


class StepOutput:
    """The logs of an instance. All methods may be called from any thread.

    `sink(node, data)` gets all bytes in order, as they were written (any bytes, cut anywhere), from
    one thread at a time; node is "" for output that belongs to no single node. It must not write to
    `sys.stdout` or file descriptor 1, which belong to the hooks while they run, but to a duplicate
    of the descriptor made before. A sink that raises is logged and not called again.
    """

    def __init__(self, directory: Path, sink: Sink | None = None) -> None:
        self._logs = str(Path(directory).absolute() / LOG_DIRECTORY_NAME)
        self._sink = sink
        self._lock = threading.RLock()
        self._followed: dict[str, NodeLog] = {}
        self._idle: dict[str, NodeLog] = {}
        self._blanks: list[NodeLog] = []
        self._blanks_made = 0
        self._silent: set[str] = set()  # nodes that have no log yet
        self._follower: threading.Thread | None = None
        self._follower_sleeps = False
        self._bell = threading.Event()
        self._closed = threading.Event()

    def start(self, node: str) -> NodeLog:
        """Opens the node's log for one hook, and begins to follow it.

        Raises:
            OSError: The log can't be opened or made.
        """
        with self._lock:
            log = self._followed.get(node)
            if log is None:
                log = self._idle.pop(node, None) or self._open(node)
                if log.shown > LOG_LIMIT:
                    log = self._rotate(log)
                self._followed[node] = log
            log.hooks += 1
            if self._follower is None:
                self._follower = threading.Thread(
                    target=self._follow, name="octo-output", daemon=True
                )
                self._follower.start()
            elif self._follower_sleeps:
                self._bell.set()
        return log

    def paths(self, log: NodeLog) -> list[str]:
        """Where the log's file is; the last one is where it will be once it has bytes."""
        with self._lock:
            return [log.path, self._path_of(log.node)] if log.blank else [log.path]

    def finish(self, log: NodeLog) -> None:
        """Ends a hook's output: all of it has been shown when this returns."""
        with self._lock:
            log.hooks -= 1
            if log.node not in self._followed:  # all has been closed
                return
            self._show_new(log)
            if log.hooks == 0:
                del self._followed[log.node]
                self._put_away(log)

    def close(self) -> None:
        """Shows what is left, and removes the files without a byte. Safe to call twice.

        A log that a hook still writes to, in a thread that can't be ended, stays open.
        """
        with self._lock:
            if not self._closed.is_set():
                for log in self._followed.values():
                    self._show_new(log)
                for log in [*self._idle.values(), *self._blanks]:
                    _discard(log)
                self._followed.clear()
            self._closed.set()
            self._bell.set()
        if self._follower is not None:
            self._follower.join()

    def _open(self, node: str) -> NodeLog:
        if node not in self._silent:
            path = self._path_of(node)
            if os.access(path, os.F_OK) or not _CAN_RENAME_OPEN:
                fd = _open_in_logs(path, OPEN_LOG | os.O_CREAT)
                return NodeLog(node, path, fd, os.fstat(fd).st_size, blank=False)
            self._silent.add(node)
        log = self._blanks.pop() if self._blanks else self._make_blank()
        log.node = node
        return log

    def _path_of(self, node: str) -> str:
        return os.path.join(self._logs, log_file_name(node))

    def _make_blank(self) -> NodeLog:
        if not self._blanks_made:
            for left in Path(self._logs).glob("unfinished-*.log"):  # when a process was killed
                if left.stat().st_size == 0:
                    left.unlink()
        while True:
            self._blanks_made += 1
            path = os.path.join(self._logs, f"unfinished-{os.getpid()}-{self._blanks_made}.log")
            with contextlib.suppress(FileExistsError):  # last words of one with the same number
                fd = _open_in_logs(path, OPEN_LOG | os.O_CREAT | os.O_EXCL)
                return NodeLog("", path, fd, 0, blank=True)

    def _rotate(self, log: NodeLog) -> NodeLog:
        os.close(log.fd)
        os.replace(log.path, Path(log.path).with_suffix(".1.log"))
        return self._open(log.node)

    def _put_away(self, log: NodeLog) -> None:
        """Keeps the log open for the node's next hook, for as long as there are few."""
        if log.blank:
            self._blanks.append(log)
        elif log.shown and os.fstat(log.fd).st_nlink == 0:  # was deleted: a new file next time
            os.close(log.fd)
        else:
            self._idle[log.node] = log
            if len(self._idle) > _IDLE_LOGS:
                _discard(self._idle.pop(next(iter(self._idle))))

    def _show_new(self, log: NodeLog) -> None:
        """Hands the bytes that are new to the sink, and a blank file its name; under the lock."""
        size = os.lseek(log.fd, 0, os.SEEK_END)  # the cheapest way to learn it
        if size == log.shown:
            return
        if log.blank:
            path = self._path_of(log.node)
            log.blank = False
            try:
                os.replace(log.path, path)
                log.path = path
            except OSError as exc:  # someone removed the directory while the hook ran
                _warn(f"the output of {log.node} has no file any more: {exc}")
            self._silent.discard(log.node)
        if self._sink is None or size < log.shown:  # a hook may cut its log
            log.shown = size
        while log.shown < size:
            data = _read_at(log.fd, min(_CHUNK, size - log.shown), log.shown)
            log.shown += len(data)
            if not data or self._sink is None:
                break
            try:
                self._sink(log.node, data)
            except Exception as exc:
                self._sink = None
                _warn(f"output is kept but no longer shown: {exc}")

    def _follow(self) -> None:
        """Shows what running hooks write; the body of the following thread."""
        while not self._closed.wait(_FOLLOW_EVERY_S):
            if not self._followed:
                self._follower_sleeps = True  # first this, then a second look: start() does both
                if not self._followed:
                    self._bell.wait()
                self._bell.clear()
                self._follower_sleeps = False
            with self._lock:
                for log in self._followed.values():
                    self._show_new(log)


class Redirection:
    """Points file descriptors 1 and 2, `sys.stdout` and `sys.stderr` of this process elsewhere.

    What a hook does to them (closes, replaces, detaches) is undone by `end`.
    """

    def __init__(self) -> None:
        for fd in (0, 1, 2):  # one that was closed would become the number of a file of ours
            try:
                os.fstat(fd)
            except OSError:
                os.open(os.devnull, os.O_RDWR)
        self._kept = [os.dup(1), os.dup(2)]
        self._streams: Streams = (_text_stream(1), _text_stream(2))
        self._outer: Streams = (sys.stdout, sys.stderr)

    def begin(self, fd: int) -> None:
        """From now on output goes to `fd`."""
        self._outer = (sys.stdout, sys.stderr)
        _flush(self._outer)
        os.dup2(fd, 1)
        os.dup2(fd, 2)
        sys.stdout, sys.stderr = self._streams

    def end(self) -> None:
        """Output goes where it went before `begin`."""
        if sys.stdout is not self._streams[0] or sys.stderr is not self._streams[1]:
            _flush((sys.stdout, sys.stderr))  # a hook put its own in their place
        if not _flush(self._streams):
            self._streams = (_text_stream(1), _text_stream(2))
        _flush(self._outer)  # a library may hold these from before
        os.dup2(self._kept[0], 1)
        os.dup2(self._kept[1], 2)
        sys.stdout, sys.stderr = self._outer

    def close(self) -> None:
        """Gives the duplicates back; not while redirected."""
        while self._kept:
            os.close(self._kept.pop())


class ThreadRedirection:
    """Sends the output of hooks that run in threads to the logs of their nodes.

    What a thread writes to `sys.stdout` and `sys.stderr` goes to its node's log. File descriptors 1
    and 2 are shared by all threads: what comes that way, as from child processes, goes to a log
    that belongs to no node, from the first hook until `rest`.
    """

    def __init__(self, output: StepOutput) -> None:
        self._output = output
        self._lock = threading.Lock()
        self._own = _Own()
        self._redirection = Redirection()
        self._streams: Streams = (_PerThread(self._own, 1), _PerThread(self._own, 2))
        self._running = 0
        self._shared: NodeLog | None = None
        self._closed = False

    def begin(self, node: str) -> None:
        """Output of the calling thread goes to the node's log from now on.

        Raises:
            OSError: The log can't be opened or made.
        """
        log = self._output.start(node)
        with self._lock:
            if self._shared is None:
                try:
                    self._shared = self._output.start(UNATTRIBUTED)
                except OSError:
                    self._output.finish(log)
                    raise
                self._redirection.begin(self._shared.fd)
            self._running += 1
            sys.stdout, sys.stderr = self._streams
        self._own.log, self._own.stream = log, None

    def end(self) -> None:
        """Output of the calling thread goes where it went before `begin`."""
        log, stream = self._own.log, self._own.stream
        assert log is not None
        if stream is not None:
            _flush((stream,))
        self._own.log = self._own.stream = None
        with self._lock:
            self._running -= 1
            if not self._closed:
                sys.stdout, sys.stderr = self._streams  # a hook may have put its own there
        self._output.finish(log)

    def rest(self) -> None:
        """Where no hook runs: output goes where it went before the first one began.

        Not done at the end of each hook, since it costs as much as a short hook itself.
        """
        with self._lock:
            if self._running == 0:
                self._unshare()

    def close(self) -> None:
        """Gives the descriptors back, even if a hook that was left to itself still runs."""
        with self._lock:
            self._unshare()
            self._closed = True
            self._redirection.close()

    def _unshare(self) -> None:
        if self._shared is not None:
            self._redirection.end()
            self._output.finish(self._shared)
            self._shared = None


class _Own(threading.local):
    """What a thread has of its own while it runs a hook: the log, and the stream for it."""

    log: NodeLog | None = None
    stream: Any = None  # made when the hook first uses it: most print nothing


class _PerThread:
    """A stand-in for `sys.stdout`: the stream of the calling thread, else that of the process."""

    def __init__(self, own: _Own, fd: int) -> None:
        self._own = own
        self._of_process = _text_stream(fd)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream(), name)

    def exchange(self, stream: Any) -> Any:
        """Gives the calling thread another stream, unless it is None; returns the one it had."""
        old = self._stream()
        if stream is not None:
            self._own.stream = stream
        return old

    def _stream(self) -> Any:
        own = self._own
        if own.stream is None:
            if own.log is None:
                return self._of_process
            own.stream = _text_stream(own.log.fd)
        return own.stream


def log_file_name(node: str) -> str:
    """The name of a node's log file."""
    return f"{file_stem(node) if node else 'unattributed'}.log"


def file_stem(name: str) -> str:
    """A name as a part of paths: itself where it can be, else what is near it, yet its own."""
    if len(name) <= _STEM_LIMIT and _PLAIN.issuperset(name):
        return name
    import zlib

    plain = "".join(c if c in _PLAIN else "_" for c in name[:_STEM_LIMIT])
    return f"{plain}~{zlib.crc32(name.encode('utf-8', 'surrogatepass')):08x}"


def _open_in_logs(path: str, flags: int) -> int:
    try:
        return os.open(path, flags, 0o666)
    except FileNotFoundError:
        Path(path).parent.mkdir(exist_ok=True)
        return os.open(path, flags, 0o666)


def _read_at(fd: int, count: int, offset: int) -> bytes:
    if hasattr(os, "pread"):
        return os.pread(fd, count, offset)
    os.lseek(fd, offset, os.SEEK_SET)  # writers append, so their position is not disturbed
    return os.read(fd, count)


def _text_stream(fd: int) -> TextIO:
    raw = io.FileIO(fd, "w", closefd=False)
    return io.TextIOWrapper(
        io.BufferedWriter(raw), encoding="utf-8", errors="backslashreplace", line_buffering=True
    )


def _flush(streams: Iterable[Any]) -> bool:
    """Flushes them; False when one can't be (closed, detached, or no stream at all)."""
    sound = True
    for stream in streams:
        try:
            stream.flush()
        except Exception:
            sound = False
    return sound


def _discard(log: NodeLog) -> None:
    os.close(log.fd)
    if log.shown == 0:
        Path(log.path).unlink(missing_ok=True)


def _warn(message: str) -> None:
    import logging  # only where something is wrong

    logging.getLogger(__name__).warning(message)
