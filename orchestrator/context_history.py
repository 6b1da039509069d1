"""The history of a context: one JSON line a change, oldest first.

Lines are appended inside the transaction that makes the changes, before it is committed, and
numbered by a counter that is committed with the changes. So a line whose number is beyond the
counter tells of a change that never came to be (its process was killed in between): readers leave
it out, and the next writer cuts it off, like a torn last line.
"""

from __future__ import annotations

import contextlib
import json
import os
import threading
from collections import deque
from pathlib import Path
from typing import Any, Final

from octo_atomic_file import open_regular, sync_descriptor
from octo_errors import ParameterFileError

HISTORY_FILE_NAME: Final = ".octo_step_engine_context.jsonl"
OLDER_FILE_NAME: Final = ".octo_step_engine_context.1.jsonl"
ROTATE_AT: Final = 4 * 1024 * 1024
VALUE_LIMIT: Final = 10_000
"""Characters of JSON beyond which the history says what a value was, and not the value itself."""

MEMORY_LIMIT: Final = 10_000
_TAIL: Final = 64 * 1024
_APPEND: Final = os.O_RDWR | os.O_APPEND | os.O_CREAT

Change = dict[str, Any]


class MemoryHistory:
    """The newest changes of a context that is kept in memory."""

    def __init__(self) -> None:
        self._changes: deque[Change] = deque(maxlen=MEMORY_LIMIT)
        self._lock = threading.Lock()

    def append(self, changes: list[Change], committed: int) -> None:
        """Keep the changes."""
        with self._lock:
            self._changes.extend(changes)

    def read(self, committed: int) -> list[Change]:
        """The changes that are known, oldest first."""
        with self._lock:
            return [dict(change) for change in self._changes]


class FileHistory:
    """The history of the instance in `directory`: a file, and the one before it.

    `append` belongs to whoever holds the lock of the parameter file. `read` may be called by anyone
    at any time.
    """

    def __init__(self, directory: Path, *, sync: bool) -> None:
        self._path = directory / HISTORY_FILE_NAME
        self._older = directory / OLDER_FILE_NAME
        self._sync = sync
        self._end = (0, 0)  # inode and size after the last append: then there is nothing to mend

    def append(self, changes: list[Change], committed: int) -> None:
        """Write a line for each change; `committed` is how many changes came to be before them.

        Raises:
            ParameterFileError: The file can't be written; then none of the lines is in it.
        """
        data = b"".join([_line(change) for change in changes])
        try:
            descriptor, size = self._open(committed, len(data))
            try:
                self._write(descriptor, data, size)
            finally:
                os.close(descriptor)
        except OSError as error:
            raise _unusable(self._path, "written", error) from error

    def read(self, committed: int) -> list[Change]:
        """The changes up to number `committed`, oldest first, as far back as the files reach.

        Raises:
            ParameterFileError: A file can't be read, or has a line that is no change.
        """
        newer = self._parse(self._path)  # first: what is rotated in between is seen twice, not lost
        changes: list[Change] = []
        for change in [*self._parse(self._older), *newer]:
            if changes and change["seq"] <= changes[-1]["seq"]:
                changes.clear()  # it began anew, as when an instance is reset
            if change["seq"] <= committed:
                changes.append(change)
        return changes

    def _open(self, committed: int, more: int) -> tuple[int, int]:
        """The open file and its size, sound, and with room for `more` bytes."""
        descriptor = open_regular(str(self._path), _APPEND)
        try:
            status = os.fstat(descriptor)
            size = status.st_size
            if size and (status.st_ino, size) != self._end:
                size = _sound_size(descriptor, size, committed)
                if 0 <= size < status.st_size:
                    os.ftruncate(descriptor, size)
            if size >= 0 and (not size or size + more <= ROTATE_AT):
                return descriptor, size
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)
        self._path.replace(self._older)
        return open_regular(str(self._path), _APPEND), 0

    def _write(self, descriptor: int, data: bytes, size: int) -> None:
        """Append all of `data`, or nothing."""
        self._end = (0, 0)
        try:
            written = 0
            while written < len(data):
                written += os.write(descriptor, data[written:])
            if self._sync:
                sync_descriptor(descriptor)
        except OSError:
            with contextlib.suppress(OSError):  # else the next writer cuts it off
                os.ftruncate(descriptor, size)
            raise
        self._end = (os.fstat(descriptor).st_ino, size + len(data))

    def _parse(self, path: Path) -> list[Change]:
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            return []
        except OSError as error:
            raise _unusable(path, "read", error) from error
        changes = []
        lines = data.split(b"\n")
        for number, line in enumerate(lines[:-1], 1):  # the last one is empty, or torn
            change = _change(line)
            if change is None:
                raise ParameterFileError(
                    f"{path}:{number}: this line is no change of the context",
                    hint="move the file to another directory: the history begins anew without it",
                    path=str(path),
                    line=number,
                )
            changes.append(change)
        return changes


def brief(value: Any) -> Any:
    """A value as the history keeps it: itself, or what it was when it is very long."""
    length = len(value) if isinstance(value, str) else 0
    if isinstance(value, dict | list):
        length = len(json.dumps(value, ensure_ascii=False))
    if length <= VALUE_LIMIT:
        return value
    return {"not_kept": f"{type(value).__name__}, {length} characters"}


def _sound_size(descriptor: int, size: int, committed: int) -> int:
    """The size up to the end of the last change that came to be; -1: these are another history.

    Only the lines of one transaction can be beyond the counter, and those have one time stamp. More
    than that means that the counter began anew: nothing may be cut then.
    """
    for tail in (_TAIL, size):
        base = max(0, size - tail)
        lines = _read_at(descriptor, base, size - base).split(b"\n")
        stamps = set()
        end = size - len(lines.pop())  # what comes after the last line end is torn
        while lines:
            change = _change(lines[-1])
            if change is not None and change["seq"] <= committed:
                return end
            if change is not None:
                stamps.add(change["ts"])
            elif base and len(lines) == 1:
                break  # its beginning is before the tail
            end -= len(lines.pop()) + 1
        if len(stamps) > 1:
            return -1
        if base == 0:
            break
    return end


def _change(line: bytes) -> Change | None:
    try:
        change = json.loads(line)
    except ValueError:
        return None
    sound = isinstance(change, dict) and type(change.get("seq")) is int and "ts" in change
    return change if sound else None


def _line(change: Change) -> bytes:
    return json.dumps(change, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"


def _read_at(descriptor: int, position: int, count: int) -> bytes:
    os.lseek(descriptor, position, os.SEEK_SET)  # writes append, wherever this is
    data = b""
    while count > len(data) and (more := os.read(descriptor, count - len(data))):
        data += more
    return data


def _unusable(path: Path, what: str, error: OSError) -> ParameterFileError:
    return ParameterFileError(
        f"{path}: the history of the context can't be {what}: {error.strerror or error}",
        hint="nothing was changed; make room or give access, then try again",
        path=str(path),
        errno=error.errno,
    )
