"""Output of hooks: kept per node under `logs/`, and shown while it is written.

A hook's file descriptors 1 and 2 are its log file itself (`O_APPEND`), so nothing is copied, child
processes are caught too, a hook may hold the interpreter while it prints without blocking, and what
it printed is in the file even if the whole process is killed. One thread follows the logs of the
hooks that run and hands what is new to the sink; it sleeps while nothing runs.

A node that never printed has no log: its output goes to a blank file `unfinished-*.log` that gets
the node's name with the first bytes. After a crash within the first moment of a hook its last words
are in that file.
"""

from __future__ import annotations

import contextlib
import io
import os
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Final, TextIO

LOG_DIRECTORY_NAME: Final = "logs"
LOG_LIMIT: Final = 4 * 1024 * 1024
UNATTRIBUTED: Final = ""

_CHUNK: Final = 64 * 1024
_FOLLOW_EVERY_S: Final = 0.05
_IDLE_LOGS: Final = 8
# An open file can't be renamed on Windows, so there a log gets its name at once.
_CAN_RENAME_OPEN: Final = os.name == "posix"
_OPEN: Final = os.O_RDWR | os.O_APPEND | getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0)

Sink = Callable[[str, bytes], None]


class NodeLog:
    """The open log of a node: `fd` to write to (append only), `shown` bytes given to the sink."""

    __slots__ = ("blank", "fd", "node", "path", "shown")

    def __init__(self, node: str, path: Path, fd: int, shown: int, blank: bool) -> None:
        self.node = node
        self.path = path
        self.fd = fd
        self.shown = shown
        self.blank = blank


class StepOutput:
    """The logs of an instance. All methods may be called from any thread.

    `sink(node, data)` gets all bytes in order, as they were written (any bytes, cut anywhere), from
    one thread at a time; node is "" for output that belongs to no single node. It must not write
    to `sys.stdout` or file descriptor 1, which belong to the hooks while they run, but to a
    duplicate of the descriptor made before. A sink that raises is logged and not called again.
    """

    def __init__(self, directory: Path, sink: Sink | None = None) -> None:
        self._logs = Path(directory).absolute() / LOG_DIRECTORY_NAME
        self._sink = sink
        self._lock = threading.RLock()
        self._followed: set[NodeLog] = set()
        self._idle: dict[str, NodeLog] = {}
        self._blanks: list[NodeLog] = []
        self._blanks_made = 0
        self._silent: set[str] = set()
        self._follower: threading.Thread | None = None
        self._follower_asleep = False
        self._bell = threading.Event()
        self._closed = False

    def start(self, node: str) -> NodeLog:
        """Opens the node's log for one hook and begins to follow it.

        Raises:
            OSError: The log can't be opened or made.
        """
        with self._lock:
            log = self._idle.pop(node, None) or self._open(node)
            if log.shown > LOG_LIMIT:
                log = self._rotate(log)
            self._followed.add(log)
            if self._follower is None:
                self._start_follower()
            elif self._follower_asleep:
                self._bell.set()
        return log

    def finish(self, log: NodeLog) -> None:
        """Ends a hook's output: all of it has been shown when this returns."""
        with self._lock:
            self._followed.discard(log)
            status = os.fstat(log.fd)
            if status.st_size != log.shown:
                self._show(log, status.st_size)
            if log.blank:
                self._blanks.append(log)
            elif status.st_nlink == 0:  # someone deleted the file: a new one next time
                os.close(log.fd)
            else:
                self._idle[log.node] = log
                if len(self._idle) > _IDLE_LOGS:
                    os.close(self._idle.pop(next(iter(self._idle))).fd)

    def close(self) -> None:
        """Shows what is left and closes the files. Safe to call twice."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            for log in list(self._followed):
                self.finish(log)
            for log in [*self._idle.values(), *self._blanks]:
                os.close(log.fd)
                if log.blank or log.shown == 0:
                    log.path.unlink(missing_ok=True)
            self._bell.set()
        if self._follower is not None:
            self._follower.join()

    def _open(self, node: str) -> NodeLog:
        path = self._logs / log_file_name(node)
        flags = _OPEN if _CAN_RENAME_OPEN else _OPEN | os.O_CREAT
        if node not in self._silent:
            try:
                fd = _open_with_parent(path, flags)
                return NodeLog(node, path, fd, os.fstat(fd).st_size, blank=False)
            except FileNotFoundError:
                self._silent.add(node)
        if self._blanks:
            log = self._blanks.pop()
            log.node = node
            return log
        self._blanks_made += 1
        path = self._logs / f"unfinished-{os.getpid()}-{self._blanks_made}.log"
        fd = _open_with_parent(path, _OPEN | os.O_CREAT | os.O_TRUNC)
        return NodeLog(node, path, fd, 0, blank=True)

    def _rotate(self, log: NodeLog) -> NodeLog:
        os.close(log.fd)
        log.path.replace(log.path.with_suffix(".1.log"))
        self._silent.discard(log.node)
        return self._open(log.node)

    def _show(self, log: NodeLog, size: int) -> None:
        """Hands the bytes from `log.shown` to `size` to the sink; called under the lock."""
        if log.blank:
            self._name(log)
        log.shown = min(log.shown, size)  # a hook may have truncated its log
        while log.shown < size:
            data = _read_at(log.fd, min(_CHUNK, size - log.shown), log.shown)
            if not data:
                break
            log.shown += len(data)
            if self._sink is not None:
                try:
                    self._sink(log.node, data)
                except Exception:
                    self._sink = None
                    import logging

                    logging.getLogger(__name__).exception("output is no longer shown")

    def _name(self, log: NodeLog) -> None:
        path = self._logs / log_file_name(log.node)
        log.path.replace(path)
        log.path = path
        log.blank = False
        self._silent.discard(log.node)

    def _start_follower(self) -> None:
        self._follower = threading.Thread(target=self._follow, name="octo-output", daemon=True)
        self._follower.start()

    def _follow(self) -> None:
        while not self._closed:
            if not self._followed:
                self._follower_asleep = True  # before the second look: start() reads them in turn
                if not self._followed and not self._closed:
                    self._bell.wait()
                self._bell.clear()
                self._follower_asleep = False
            threading.Event().wait(_FOLLOW_EVERY_S)
            with self._lock:
                for log in self._followed:
                    size = os.fstat(log.fd).st_size
                    if size != log.shown:
                        self._show(log, size)


class Redirection:
    """Points file descriptors 1 and 2, `sys.stdout` and `sys.stderr` of this process elsewhere.

    What a hook does to them (closes, replaces, detaches) is undone by `end`.
    """

    def __init__(self) -> None:
        for fd in (
            0,
            1,
            2,
        ):  # started with a closed descriptor: a file of ours would get its number
            try:
                os.fstat(fd)
            except OSError:
                os.open(os.devnull, os.O_RDWR)
        self._kept = [os.dup(1), os.dup(2)]
        self._streams = [_text_stream(1), _text_stream(2)]
        self._outer: list[TextIO] = []

    def begin(self, fd: int) -> None:
        """From now on output goes to `fd`."""
        self._outer = [sys.stdout, sys.stderr]
        for stream in self._outer:
            _flush(stream)
        os.dup2(fd, 1)
        os.dup2(fd, 2)
        sys.stdout, sys.stderr = self._streams

    def end(self) -> None:
        """Output goes where it went before `begin`."""
        for number, stream in enumerate(self._streams):
            if not _flush(stream):
                self._streams[number] = _text_stream(number + 1)
        for stream in (sys.stdout, sys.stderr, *self._outer):
            _flush(stream)
        os.dup2(self._kept[0], 1)
        os.dup2(self._kept[1], 2)
        sys.stdout, sys.stderr = self._outer

    def close(self) -> None:
        """Gives the duplicates back; not while redirected."""
        while self._kept:
            os.close(self._kept.pop())


def log_file_name(node: str) -> str:
    """The name of a node's log file: the node's name where that is a plain file name."""
    plain = "".join(c if c.isascii() and (c.isalnum() or c in "_-") else "_" for c in node)[:100]
    if plain == node and node:
        return f"{node}.log"
    import zlib

    return f"{plain}~{zlib.crc32(node.encode('utf-8', 'surrogatepass')):08x}.log"


def _open_with_parent(path: Path, flags: int) -> int:
    try:
        return os.open(path, flags, 0o666)
    except FileNotFoundError:
        if not flags & os.O_CREAT:
            raise
        path.parent.mkdir(exist_ok=True)
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


def _flush(stream: TextIO | None) -> bool:
    with contextlib.suppress(Exception):
        if stream is not None:
            stream.flush()
            return True
    return False
