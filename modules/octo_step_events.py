"""The event log of an instance: one JSON object a line, appended, never changed.

Rules that hold:
    - An `append` that returned is in the file, whatever happens to the process then; with durability
      "power" it is on the disk.
    - `seq` counts 1, 2, 3, ... without a gap, over restarts and rotations.
    - A kill at any moment leaves at most a torn last line. Opening the log cuts it off, and says so
      in an event `log_mended`. A line that is bad elsewhere is an error, never repaired silently.
    - One writer at a time (the engine that holds the run lock); any number of readers.

The full format is in docs/reference/events.md.
"""

from __future__ import annotations

import contextlib
import os
import stat
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, Literal

import orjson

from octo_errors import EventLogError

EVENT_FILE_NAME: Final = ".octo_step_engine_events.jsonl"
ROTATE_AT: Final = 8 * 1024 * 1024
ROTATED_FILES: Final = 4

_TAIL: Final = 64 * 1024
_APPEND: Final = (
    os.O_RDWR
    | os.O_APPEND
    | os.O_CREAT
    | getattr(os, "O_CLOEXEC", 0)
    | getattr(os, "O_BINARY", 0)
    | getattr(os, "O_NONBLOCK", 0)  # a FIFO at this name must not make us wait
)

Durability = Literal["process", "power"]


class EventLog:
    """Appends events to the log of the instance in `directory`; opening it mends a torn last line.

    Attributes:
        run_id: Written into every event from now on.
        mended: The `log_mended` event that opening the log appended, or None.

    Raises:
        EventLogError: The log can't be opened, read or written.
    """

    def __init__(
        self, directory: Path, *, durability: Durability = "process", run_id: str = ""
    ) -> None:
        self.run_id = run_id
        self.mended: dict[str, Any] | None = None
        self._directory = Path(directory).absolute()
        self._path = self._directory / EVENT_FILE_NAME
        self._synced = durability == "power"
        self._second = -1
        self._second_text = ""
        self._fd = self._open()
        try:
            self._seq, torn = self._find_end()
            if torn:
                self.mended = self._mend(torn)
        except BaseException:
            self.close()
            raise

    def append(self, *events: dict[str, Any]) -> list[dict[str, Any]]:
        """Writes the events, with `ts`, `run_id` and `seq` put in front, and returns them so.

        All of them are in the log when this returns. When it raises none of them is.

        Raises:
            EventLogError: The log can't be written; says where and why.
        """
        ts, run_id, seq = self._timestamp(), self.run_id, self._seq
        records = [
            {"ts": ts, "run_id": run_id, "seq": number, **event}
            for number, event in enumerate(events, seq + 1)
        ]
        data = b"".join([_line(record) for record in records])
        if self._size and self._size + len(data) > ROTATE_AT:
            self._rotate()
        self._write(data)
        self._seq = seq + len(records)
        return records

    def sync(self) -> None:
        """The events are on the disk when this returns.

        Raises:
            EventLogError: The disk reports an error.
        """
        try:
            os.fsync(self._fd)
        except OSError as exc:
            raise self._failure("synced", exc) from exc

    def close(self) -> None:
        """Closes the file. Safe to call twice."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _open(self) -> int:
        try:
            fd = os.open(self._path, _APPEND, 0o666)
            status = os.fstat(fd)
            if not stat.S_ISREG(status.st_mode):
                os.close(fd)
                raise OSError("it is not a regular file")
            if self._synced and status.st_size == 0:
                _sync_directory(self._directory)
        except OSError as exc:
            raise self._failure("opened", exc) from exc
        self._size = status.st_size
        return fd

    def _find_end(self) -> tuple[int, bytes]:
        """The seq of the last good line, and the torn line after it."""
        if self._size:
            tail = _tail(self._fd, self._size)
            torn = tail[tail.rfind(b"\n") + 1 :]
            seq = _last_seq(tail[: len(tail) - len(torn)])
            if seq is None and not torn:  # the last line is whole, but no event: cut off that one
                torn = tail[tail.rfind(b"\n", 0, -1) + 1 :]
                seq = _last_seq(tail[: len(tail) - len(torn)])
            if seq is not None:
                return seq, torn
            if len(torn) < self._size:
                raise EventLogError(
                    f"{self._path}: the event log does not end in events",
                    hint=_MOVE_ASIDE,
                    path=str(self._path),
                )
        else:
            torn = b""
        for path in reversed(log_files(self._directory)[:-1]):
            seq = _last_seq(path.read_bytes())
            if seq is not None:
                return seq, torn
        return 0, torn

    def _mend(self, torn: bytes) -> dict[str, Any]:
        try:
            os.ftruncate(self._fd, self._size - len(torn))
        except OSError as exc:
            raise self._failure("mended", exc) from exc
        self._size -= len(torn)
        text = torn[:500].decode("utf-8", "backslashreplace")
        return self.append({"event": "log_mended", "cut_bytes": len(torn), "cut_text": text})[0]

    def _write(self, data: bytes) -> None:
        """Appends all of `data`, or nothing."""
        written = 0
        try:
            while written < len(data):  # a full disk writes a part first, and fails the next time
                written += os.write(self._fd, data[written:] if written else data)
            if self._synced:
                os.fsync(self._fd)
        except OSError as exc:
            with contextlib.suppress(OSError):
                os.ftruncate(self._fd, self._size)
            raise self._failure("written", exc) from exc
        self._size += written

    def _rotate(self) -> None:
        try:
            for number in range(ROTATED_FILES, 0, -1):
                newer = self._directory / _file_name(number - 1)
                if newer.exists():
                    newer.replace(self._directory / _file_name(number))
        except OSError as exc:
            raise self._failure("rotated", exc) from exc
        self.close()
        self._fd = self._open()

    def _timestamp(self) -> str:
        second, ns = divmod(time.time_ns(), 1_000_000_000)
        if second != self._second:
            self._second = second
            self._second_text = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
        return f"{self._second_text}.{ns // 1000:06d}Z"

    def _failure(self, what: str, exc: OSError) -> EventLogError:
        return EventLogError(
            f"{self._path}: the event log can't be {what}: {exc.strerror or exc}",
            hint="make room or give access, then run again: nothing written so far is lost",
            path=str(self._path),
            errno=exc.errno,
        )


def log_files(directory: Path) -> list[Path]:
    """The files of the log that there are, oldest first, and the current one last (always)."""
    directory = Path(directory).absolute()
    older = [directory / _file_name(number) for number in range(ROTATED_FILES, 0, -1)]
    return [path for path in older if path.exists()] + [directory / EVENT_FILE_NAME]


_MOVE_ASIDE: Final = "move the file to another directory to start a new log"


def _file_name(number: int) -> str:
    return f".octo_step_engine_events.{number}.jsonl" if number else EVENT_FILE_NAME


def read_events(directory: Path, *, last: int | None = None) -> Iterator[dict[str, Any]]:
    """The events, oldest first; with `last` only so many of the newest."""
    import collections

    events = (
        orjson.loads(line) for p in log_files(directory) if p.exists() for line in p.open("rb")
    )
    yield from events if last is None else collections.deque(events, last)


def _line(record: dict[str, Any]) -> bytes:
    return orjson.dumps(record, option=orjson.OPT_APPEND_NEWLINE)


def _tail(fd: int, size: int) -> bytes:
    os.lseek(fd, max(0, size - _TAIL), os.SEEK_SET)
    return os.read(fd, _TAIL)


def _last_seq(data: bytes) -> int | None:
    line = data[data.rfind(b"\n", 0, -1) + 1 :]
    try:
        seq = orjson.loads(line)["seq"]
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return None
    return seq if type(seq) is int else None


def _sync_directory(directory: Path) -> None:
    if hasattr(os, "O_DIRECTORY"):
        fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)
