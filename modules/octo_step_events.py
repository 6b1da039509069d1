"""The event log of an instance: one JSON object a line, appended, never changed.

Rules that hold:
    - What an `append` that returned has written survives a kill of the process at any moment; with
      durability "power" it survives the loss of power.
    - `seq` counts 1, 2, 3, ... without a gap, over restarts and rotations.
    - A kill at any moment leaves at most a torn last line. Opening the log to append cuts it off,
      and says so in an event `log_mended`. A bad line elsewhere is an error, never mended silently.
    - One writer at a time (the engine that holds the run lock); any number of readers.

The format is in docs/reference/events.md.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections import deque
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import datetime
from itertools import islice, pairwise
from pathlib import Path
from typing import Any, BinaryIO, Final

from octo_atomic_file import open_regular, sync_descriptor
from octo_errors import EventLogError
from octo_orjson import orjson
from octo_timestamp import timestamp

EVENT_FILE_NAME: Final = ".octo_step_engine_events.jsonl"
ROTATE_AT: Final = 8 * 1024 * 1024
ROTATED_FILES: Final = 4

_TAIL: Final = 64 * 1024
_CUT_TEXT_LIMIT: Final = 500
_LINE: Final = orjson.OPT_APPEND_NEWLINE
_NUMBER: Final = (int, float)
_IN_EVERY_EVENT: Final = (("seq", int), ("ts", str), ("run_id", str), ("event", str))
_IN_SOME: Final = {
    "node": (str,),
    "state": (str,),
    "attempt": (int,),
    "count": (int,),
    "duration_s": _NUMBER,
    "delay_s": _NUMBER,
    "wall_s": _NUMBER,
    "cpu_s": _NUMBER,
    "peak_memory_bytes": (*_NUMBER, type(None)),
}
_OF_NODE: Final = frozenset({"node", "state", "attempt"})
_KEYS: Final = {
    **dict.fromkeys(("state", "step_error", "interrupted", "probe"), _OF_NODE),
    "retry": _OF_NODE | {"delay_s"},
    "items": _OF_NODE | {"count"},
}
"""Kinds of events, each with the keys without which it says nothing."""
_LISTS: Final = {
    "join_wait": "missing",
    "jump": "left",
    "library_changed": "files",
    "left_running": "what",
}
"""Kinds of events, each with the key that has a list of texts."""

Event = dict[str, Any]


class EventLog:
    """Appends events to the log of the instance in `directory`; opening it mends a torn last line.

    Attributes:
        run_id: Written into every event from now on.
        mended: The `log_mended` event that opening the log has appended, or None.

    Raises:
        EventLogError: The log can't be opened or read.
    """

    def __init__(self, directory: Path, *, durability: str = "process", run_id: str = "") -> None:
        self.run_id = run_id
        self.mended: Event | None = None
        self._directory = Path(directory).absolute()
        self._path = self._directory / EVENT_FILE_NAME
        self._power = durability == "power"
        self._left_over = False  # bytes of a failed write that could not be taken back
        self._fd, self._size = self._open()
        try:
            self._seq, whole = self._find_end()
            if whole < self._size:
                self.mended = self._mend(whole)
        except OSError as exc:
            self.close()
            raise _failure(self._path, "read", exc) from exc
        except BaseException:
            self.close()
            raise

    def append(self, *events: Event) -> list[Event]:
        """Writes the events with `ts`, `run_id` and `seq` put in front, and returns them so.

        All of them are in the log when this returns. When it raises, none is.

        Raises:
            EventLogError: The log can't be written; says where and why.
        """
        ts, run_id = f"{timestamp(time.time())}Z", self.run_id
        records: list[Event] = [
            {"ts": ts, "run_id": run_id, "seq": seq, **event}
            for seq, event in enumerate(events, self._seq + 1)
        ]
        data = _lines(records)
        if self._size and self._size + len(data) > ROTATE_AT:
            self._rotate()
        self._write(data)
        self._seq += len(records)
        return records

    def close(self) -> None:
        """Closes the file; all that was appended is in it. Safe to call twice."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            with contextlib.suppress(OSError):  # it is closed all the same
                os.close(fd)

    def _open(self) -> tuple[int, int]:
        """Opens the current file, which is made where there is none: descriptor and size."""
        try:
            fd = open_regular(str(self._path), os.O_RDWR | os.O_APPEND | os.O_CREAT)
            size = os.fstat(fd).st_size
            if self._power and size == 0:
                _sync_directory(self._directory)
        except OSError as exc:
            raise _failure(self._path, "opened", exc) from exc
        return fd, size

    def _find_end(self) -> tuple[int, int]:
        """The seq of the last event, and the size of the current file up to its end."""
        for tail in (_TAIL, self._size):
            base = max(0, self._size - tail)
            data = _read_at(self._fd, base)
            whole = data.rfind(b"\n") + 1
            seq = _last_seq(data[:whole])
            if seq is None and whole == len(data):  # torn, although the line has its end
                whole = data.rfind(b"\n", 0, whole - 1) + 1
                seq = _last_seq(data[:whole])
            if seq is not None:
                return seq, base + whole
        if whole:
            raise _bad_line(self._path, data.count(b"\n", 0, whole), "is no event")
        older = _existing_files(self._directory)[1:2]
        return _seq_at_end_of(older[0]) if older else 0, 0

    def _mend(self, whole: int) -> Event:
        """Cuts the current file to its first `whole` bytes, and reports that."""
        torn = _read_at(self._fd, whole)
        try:
            os.ftruncate(self._fd, whole)
        except OSError as exc:
            raise _failure(self._path, "mended", exc) from exc
        self._size = whole
        text = torn[:_CUT_TEXT_LIMIT].decode("utf-8", "backslashreplace")
        return self.append({"event": "log_mended", "cut_bytes": len(torn), "cut_text": text})[0]

    def _write(self, data: bytes) -> None:
        """Appends all of `data`, or nothing."""
        try:
            if self._left_over:
                os.ftruncate(self._fd, self._size)
                self._left_over = False
            written = os.write(self._fd, data)
            while written < len(data):  # a disk that gets full takes a part, and then fails
                written += os.write(self._fd, data[written:])
            if self._power:
                sync_descriptor(self._fd)
        except OSError as exc:
            self._left_over = True
            with contextlib.suppress(OSError):
                os.ftruncate(self._fd, self._size)
                self._left_over = False
            raise _failure(self._path, "written", exc) from exc
        self._size += written

    def _rotate(self) -> None:
        """Renames the files, oldest first, so that a kill in between loses and repeats nothing."""
        names = [_path_of(self._directory, number) for number in range(ROTATED_FILES + 1)]
        self.close()  # an open file can't be renamed on Windows
        try:
            for newer, older in reversed(list(pairwise(names))):
                if newer.exists():
                    newer.replace(older)
        except OSError as exc:
            raise _failure(self._path, "rotated", exc) from exc
        finally:
            self._fd, self._size = self._open()


def read_events(directory: Path, *, last: int | None = None) -> Iterator[Event]:
    """The events of an instance, oldest first; with `last` so many of the newest.

    May run while the engine appends and rotates: it gives the events that were there when it began,
    and perhaps some more. A torn last line is left out.

    Raises:
        EventLogError: The log can't be read, or has a bad line or a gap; names file and line.
    """
    try:
        with ExitStack() as stack:
            files = _open_all(Path(directory).absolute(), stack)
            if last is None:
                yield from _parse(files, 0)
            else:
                # One line more than asked for: the last one may be torn.
                skip = _lines_before(files, last + 1)
                yield from deque(_parse(files, skip), maxlen=last)
    except OSError as exc:
        raise _failure(Path(directory) / EVENT_FILE_NAME, "read", exc) from exc


_Files = list[tuple[Path, BinaryIO]]


def _open_all(directory: Path, stack: ExitStack) -> _Files:
    """Opens the files of the log, to be read oldest first.

    They are opened newest first: a rotation in between renames a file to a name that is still to
    come, so it shows a file twice but hides none.
    """
    files: _Files = []
    seen = set()
    for path in _existing_files(directory):
        try:
            file = stack.enter_context(os.fdopen(open_regular(str(path), os.O_RDONLY), "rb"))
        except FileNotFoundError:
            continue
        except OSError as exc:
            raise _failure(path, "read", exc) from exc
        status = os.fstat(file.fileno())
        if (status.st_dev, status.st_ino) not in seen:
            seen.add((status.st_dev, status.st_ino))
            files.insert(0, (path, file))
    return files


def _lines_before(files: _Files, last: int) -> int:
    """How many lines come before the last `last` ones; drops the files not needed for those."""
    wanted = last
    for position in range(len(files) - 1, -1, -1):
        file = files[position][1]
        lines = sum(1 for _ in file)
        file.seek(0)
        if lines >= wanted:
            del files[:position]
            return lines - wanted
        wanted -= lines
    return 0


def _parse(files: _Files, skip: int) -> Iterator[Event]:
    """The events from line `skip` of the first file on; checks that `seq` has no gap."""
    previous: int | None = None
    for path, file in files:
        for number, line in enumerate(islice(file, skip, None), skip + 1):
            event = _event(line)
            if event is None:
                if path is files[-1][0] and not file.read(1):
                    return  # torn
                raise _bad_line(path, number, "is no event")
            seq = event["seq"]
            if previous is not None and seq != previous + 1:
                raise _bad_line(path, number, f"is event {seq}, and follows event {previous}")
            previous = seq
            yield event
        skip = 0


def _event(line: bytes) -> Event | None:
    """The event in a line, or None when it holds none."""
    try:
        event = orjson.loads(line)
    except orjson.JSONDecodeError:
        return None
    return event if _is_sound(event) and line.endswith(b"\n") else None


def _is_sound(event: Any) -> bool:
    """Whether what readers work with is there, and of the types that the format says."""
    if type(event) is not dict or any(
        type(event.get(k)) is not kind for k, kind in _IN_EVERY_EVENT
    ):
        return False
    if any(type(event[key]) not in _IN_SOME[key] for key in event.keys() & _IN_SOME.keys()):
        return False
    kind = event["event"]
    if not (_KEYS.get(kind, frozenset()) <= event.keys() and _is_moment(event["ts"])):
        return False
    texts = event.get(_LISTS.get(kind, ""), [])
    return type(texts) is list and all(type(text) is str for text in texts)


def _is_moment(stamp: str) -> bool:
    try:
        return datetime.fromisoformat(stamp).tzinfo is not None
    except ValueError:
        return False


def _last_seq(lines: bytes) -> int | None:
    """The seq of the last of the lines, or None when it holds no event."""
    event = _event(lines[lines.rfind(b"\n", 0, -1) + 1 :])
    return event["seq"] if event else None


def _seq_at_end_of(path: Path) -> int:
    try:
        with os.fdopen(open_regular(str(path), os.O_RDONLY), "rb") as file:
            data = file.read()
    except OSError as exc:
        raise _failure(path, "read", exc) from exc
    seq = _last_seq(data)
    if seq is None:
        raise _bad_line(path, max(1, data.count(b"\n")), "is no event")
    return seq


def _lines(records: list[Event]) -> bytes:
    try:
        return b"".join([orjson.dumps(record, None, _LINE) for record in records])
    except TypeError:  # orjson's error for what it can't encode, bad strings included
        return b"".join([orjson.dumps(_plain(record), None, _LINE) for record in records])


def _plain(value: Any) -> Any:
    """The value with everything that JSON or UTF-8 can't hold replaced by its repr."""
    if isinstance(value, dict):
        return {str(_plain(key)): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode("utf-8")
    if (
        value is None
        or isinstance(value, float)
        or (isinstance(value, int) and -(2**63) <= value < 2**63)
    ):
        return value
    return _plain(repr(value))


def _existing_files(directory: Path) -> list[Path]:
    """The files of the log that there are, newest first."""
    paths = (_path_of(directory, number) for number in range(ROTATED_FILES + 1))
    return [path for path in paths if path.exists()]


def _path_of(directory: Path, number: int) -> Path:
    """The current file (0), or the one that was rotated `number` times."""
    return directory / (f".octo_step_engine_events.{number}.jsonl" if number else EVENT_FILE_NAME)


def _read_at(fd: int, position: int) -> bytes:
    os.lseek(fd, position, os.SEEK_SET)
    with os.fdopen(os.dup(fd), "rb") as file:
        return file.read()


def _sync_directory(directory: Path) -> None:
    if hasattr(os, "O_DIRECTORY"):  # elsewhere a directory can't be opened
        fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
        try:
            sync_descriptor(fd)
        finally:
            os.close(fd)


def _failure(path: Path, what: str, exc: OSError) -> EventLogError:
    return EventLogError(
        f"{path}: the event log can't be {what}: {exc.strerror or exc}",
        hint="make room or give access, then go on: what is in the log stays",
        path=str(path),
        errno=exc.errno,
    )


def _bad_line(path: Path, line: int, what: str) -> EventLogError:
    return EventLogError(
        f"{path}:{line}: this line {what}",
        hint="mend it (docs/reference/events.md tells what an event has), or move the file to"
        " another directory: the log goes on without it",
        path=str(path),
        line=line,
    )
