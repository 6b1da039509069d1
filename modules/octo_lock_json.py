"""A JSON file of groups that processes and threads read and change together, and no kill tears.

Rules that hold:

- A transaction has the lock from its first read to its last write. Reading takes no lock.
- The file is only ever replaced whole (`octo_atomic_file`): at each instant it is one version that
  a transaction wrote. A transaction that raises, or that changes nothing, writes nothing.
- Every write adds one to the file's counter, the revision.
- A file that can't be understood is reported with line and column and never overwritten; `repair`
  moves it aside.
- Before a write is believed to be up to date, the file's bytes are compared with those that were
  last written here. Only when they differ are they parsed again.

Durability: what has been acknowledged survives the end of any process at any instant. With "power"
it survives a loss of power too: file and directory are synced before a transaction ends. With
"process" the newest second or more of changes can be lost then, and the file even be left empty;
so a safety copy, synced, is written beside it whenever the last one is a second old.
"""

# pathlib is slow to load, and a command that updates one value loads this module:
# ruff: noqa: PTH100, PTH104, PTH116, PTH120

from __future__ import annotations

import os
import time

import octo_atomic_file
import octo_json_groups
from octo_atomic_file import create_file, holds, read_file, replace_file
from octo_errors import (
    LockFileError,
    OctoError,
    ParameterFileError,
    ParameterValueError,
    WaitTimeoutError,
    file_error,
)
from octo_json_groups import Groups, GroupsText, fill_missing, no_group
from octo_json_strict import JsonTextError, JsonValueError
from octo_lock import DEFAULT_TIMEOUT, FileLock
from octo_safety_copy import SafetyCopy, dated_name
from octo_spare_file import Spare

TYPE_CHECKING = False  # as in typing, which is slow to load too
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from types import TracebackType
    from typing import Any

    Defaults = Mapping[str, Mapping[str, Any]]

__all__ = ["Groups", "LockedJsonFile", "Repair", "Transaction", "speed_up"]

WAIT_INTERVAL = 0.02  # seconds between two looks at a file that is waited for


def speed_up() -> None:
    """Load what makes many reads and writes fast; the results stay the same.

    Loading it takes longer than Python takes to start, so it is not worth it for one read or write.
    """
    octo_json_groups.use_orjson()
    octo_atomic_file.prepare_exchange()


class LockedJsonFile:
    """The JSON file at `path`, changed under the lock at `lock_path`.

    Safe to share among threads. It may be inherited by a forked child.

    Args:
        path: The file; it need not exist, its directory must.
        lock_path: The lock file.
        counter: Group and key of the number that counts the writes.
        defaults: What a file that doesn't exist yet begins with.
        durability: "process" or "power".
        timeout: Seconds to wait for the lock.
        may_change: Called with the content and the path when a transaction begins; raises when
            this content must be left alone.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        lock_path: str | os.PathLike[str],
        *,
        counter: tuple[str, str],
        defaults: Defaults | None = None,
        durability: str = "process",
        timeout: float = DEFAULT_TIMEOUT,
        may_change: Callable[[Groups, str], None] | None = None,
    ) -> None:
        self.path = os.path.abspath(path)
        self.durability = durability
        self.timeout = timeout
        self.counter = counter
        self._may_change = may_change
        self._defaults: Defaults = {} if defaults is None else defaults
        self._lock = FileLock(lock_path, timeout)
        self._spare = Spare(self.path)
        self._copy = SafetyCopy(self.path)
        self._known: GroupsText | None = None  # the version that was read or written last

    @property
    def safety_copy(self) -> str:
        """The path of the synced copy that is kept in `process` mode."""
        return self._copy.path

    def read(self, defaults: Defaults | None = None) -> dict[str, dict[str, Any]]:
        """The whole file, in a dict that belongs to the caller; takes no lock and never waits.

        Groups and keys of `defaults` that are missing are added to the dict, not to the file. A
        file that doesn't exist yet is made with them.

        Raises:
            ParameterFileError: The file can't be read or understood.
        """
        wanted = self._defaults if defaults is None else defaults
        try:
            groups = self._newest().parse()
        except FileNotFoundError:
            groups = self._create(wanted)
        try:
            fill_missing(groups, wanted)
        except JsonValueError as error:
            raise self._bad_value(error) from None
        return groups

    def look(self) -> Groups:
        """One version of the file, whose groups are parsed as they are looked at; takes no lock.

        What is changed in it goes nowhere. A file that doesn't exist yet is made.

        Raises:
            ParameterFileError: The file can't be read or understood.
        """
        try:
            return Groups(self._newest())
        except FileNotFoundError:
            self._create(self._defaults)
            return Groups(self._newest())

    def transaction(self, defaults: Defaults | None = None) -> Transaction:
        """One read-modify-write: `with file.transaction() as groups: groups[group][key] = value`.

        Missing groups and keys are filled in from `defaults` first. When the block ends, what it
        changed is written; when it raises, nothing is.

        Raises (where the block begins or ends):
            LockTimeoutError: Another held the lock for too long.
            LockFileError: The lock file can't be used.
            ParameterFileError: The file can't be read, understood or written.
            ParameterValueError: JSON can't hold a value; names its place.
        """
        return Transaction(self, self._defaults if defaults is None else defaults)

    def wait_until(
        self,
        condition: Callable[[dict[str, dict[str, Any]]], bool],
        timeout: float | None = None,
    ) -> dict[str, dict[str, Any]]:
        """The file's content as soon as `condition` holds for it; looks often, and locks nothing.

        Raises:
            WaitTimeoutError: It did not hold within `timeout` seconds; None waits for ever.
            ParameterFileError: The file can't be read or understood.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        self.read()  # which makes the file if there is none
        seen = None
        while True:
            text = self._current()[0]
            if text is not seen:
                seen, groups = text, text.parse()
                if condition(groups):
                    return groups
            if deadline is not None and time.monotonic() >= deadline:
                raise WaitTimeoutError(
                    f"{self.path}: what was waited for did not come within {timeout:g} s",
                    hint="look at the file, or wait longer",
                    path=self.path,
                )
            time.sleep(WAIT_INTERVAL)

    def sync(self) -> None:
        """Leave the file alone for long, as at the end of a run: make the safety copy equal to it.

        With "power", and where there is no file yet, there is nothing to copy.

        Raises:
            LockTimeoutError, LockFileError, ParameterFileError: as `transaction`.
        """
        with self._lock:
            self._spare.remove()
            if self.durability == "power":
                return
            try:
                text, status = self._current()
                self._copy.write(text.source, status)
            except FileNotFoundError:
                return
            except OSError as error:
                raise self._unusable("copied", error) from error

    def close(self) -> None:
        """Leave no file open until it is used again, as before its directory is renamed."""
        self._spare.remove()
        self._lock.close()

    def repair(self, defaults: Defaults | None = None, *, from_copy: bool = True) -> Repair | None:
        """Move a file that can't be understood aside, and put a good one in its place.

        Killed at any instant, it leaves the bad file or the good one in place, never none. Nothing
        is deleted.

        Args:
            defaults: As for `read`.
            from_copy: Put back the safety copy where there is a good one; otherwise the defaults.

        Returns:
            What was done; None when the file is sound.

        Raises:
            ParameterFileError: The file can't even be read, moved or written.
            LockTimeoutError, LockFileError: as `transaction`.
        """
        transaction = Transaction(self, self._defaults if defaults is None else defaults)
        with self._lock:
            try:
                self._current()
            except FileNotFoundError:
                return self._put_back(transaction, None, from_copy)
            except ParameterFileError as error:
                if "line" not in error.details:
                    raise
                return self._put_back(transaction, dated_name(self.path), from_copy)
        return None

    def _put_back(self, transaction: Transaction, aside: str | None, from_copy: bool) -> Repair:
        saved = self._copy.read() if from_copy else None
        try:
            like = None if saved is None else saved[1]
            if aside is not None:
                like = os.stat(self.path)
                _link(self.path, aside)
            if saved is None:
                self._copy.put_away(aside)
        except OSError as error:
            raise self._unusable("moved aside", error) from error
        transaction.begin(_EMPTY if saved is None else saved[0], like, is_new=True)
        transaction.commit()
        if saved is None:
            return Repair(aside, None, None)
        return Repair(aside, self.safety_copy, saved[1].st_mtime)

    # --- the file ---

    def _newest(self) -> GroupsText:
        """The version that the file holds, in the fastest way for who has no lock."""
        known = self._known
        if known is not None and holds(self.path, known.source):
            return known
        return self._current()[0]

    def _current(
        self, read: tuple[bytes, os.stat_result] | None = None
    ) -> tuple[GroupsText, os.stat_result]:
        """The version that the file holds, which is `read` where it was read already."""
        try:
            data, status = read_file(self.path) if read is None else read
        except FileNotFoundError:
            self._require_directory()
            raise
        except OSError as error:
            raise self._unusable("read", error) from error
        known = self._known
        if known is None or known.source != data:
            try:
                known = self._known = GroupsText.of(data)
            except JsonTextError as error:
                raise self._bad_text(error) from error
        return known, status

    def _require_directory(self) -> None:
        directory = os.path.dirname(self.path)
        try:
            os.stat(directory)
        except FileNotFoundError:
            raise ParameterFileError(
                f"{directory}: no such directory", hint="look at the path", path=self.path
            ) from None
        except OSError as error:
            raise self._unusable("read", error) from error

    def _create(self, defaults: Defaults) -> dict[str, dict[str, Any]]:
        """Make the file; without the lock where that is possible, since reading leaves no trace."""
        transaction = Transaction(self, defaults)
        transaction.begin(_EMPTY, None, is_new=True)
        text = transaction.next_version()
        needs_lock = self.durability == "power" or os.path.lexists(self.safety_copy)
        if text is None or needs_lock or not create_file(self.path, text.source):
            with Transaction(self, defaults):
                pass
        return self._current()[0].parse()

    def _write(self, data: bytes, like: os.stat_result | None) -> None:
        """Put a version in place. All that is likely to fail comes before it is."""
        try:
            power = self.durability == "power"
            if like is None:  # there is no file any more, or there was none
                self._copy.put_away()
            if not power and self._copy.is_old():
                self._copy.write(data, like)
            replace_file(self.path, data, like, sync=power, spare=self._spare)
        except OSError as error:
            raise self._unusable("written", error) from error

    # --- what can be wrong with it ---

    def _unusable(self, what: str, error: OSError) -> OctoError:
        return file_error(ParameterFileError, self.path, what, error)

    def _bad_text(self, error: JsonTextError) -> ParameterFileError:
        from octo_typed_commands import parameters_command  # only needed here

        directory = os.path.dirname(self.path)
        hint = f"mend it, or move it aside: {parameters_command(directory, '--repair')}"
        try:
            saved = self._copy.read()
        except ParameterFileError:
            saved = None
        if saved is not None:
            hint += f"\n(which puts back the safety copy of {moment(saved[1].st_mtime)})"
        return ParameterFileError(
            f"{self.path}:{error.line}:{error.column}: {error.reason}",
            hint=hint,
            path=self.path,
            line=error.line,
            column=error.column,
        )

    def _bad_value(self, error: JsonValueError) -> ParameterValueError:
        """What to raise in place of `error`, and `from None`, since it says all of it."""
        names = [f"group {error.path[0]!r}"] if error.path else []
        if len(error.path) > 1:
            names.append(f"key {error.path[1]!r}")
        if len(error.path) > 2:
            names.append("at " + "".join(f"[{place!r}]" for place in error.path[2:]))
        where = ": ".join([self.path, ", ".join(names)] if names else [self.path])
        return ParameterValueError(
            f"{where}: {error.reason}",
            hint="nothing was written",
            path=self.path,
            place=error.path,
        )


class Transaction:
    """The block of `LockedJsonFile.transaction`; used once, by one thread."""

    __slots__ = (
        "_before",
        "_begun_with",
        "_count",
        "_defaults",
        "_file",
        "_groups",
        "_is_new",
        "_like",
    )

    def __init__(self, file: LockedJsonFile, defaults: Defaults) -> None:
        self._file = file
        self._defaults = defaults

    def __enter__(self) -> Groups:
        file = self._file
        file._lock.acquire()
        try:
            try:
                text, status = file._current(file._spare.read_file())
            except FileNotFoundError:
                return self.begin(_EMPTY, None, is_new=True)
            return self.begin(text, status, is_new=False)
        except BaseException:
            file._lock.release()
            raise

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            if kind is None:
                self.commit()
        finally:
            self._file._lock.release()

    def result(self) -> dict[str, dict[str, Any]]:
        """The whole file as this transaction left it, in a dict that belongs to the caller."""
        return self._before.parse()

    def begin(self, text: GroupsText, like: os.stat_result | None, *, is_new: bool) -> Groups:
        """Start from `text`. What `is_new` is written even when the block changes nothing."""
        self._before = text
        self._like = like
        self._is_new = is_new
        groups = self._groups = Groups(text)
        try:
            fill_missing(groups, self._defaults)
        except JsonValueError as error:
            raise self._file._bad_value(error) from None
        file = self._file
        if file._may_change is not None:
            file._may_change(groups, file.path)
        name, key = file.counter
        group = groups.get(name, {})
        self._begun_with = group.copy()
        self._count = group.get(key, 0)
        return groups

    def commit(self) -> None:
        """Write what has changed, if anything has."""
        file = self._file
        if not file._lock.is_held:
            raise LockFileError(
                f"{file.path}: this process was forked inside a transaction",
                hint="the parent has the lock and ends the transaction; begin a new one here",
                path=file.path,
            )
        text = self.next_version()
        if text is not None:
            file._write(text.source, self._like)
            self._before = file._known = text

    def next_version(self) -> GroupsText | None:
        """What is to be written, with this write counted; None when nothing is."""
        groups = self._groups
        name, key = self._file.counter
        group = groups.get(name, {})
        try:
            # A value that differs is a change. Where all are equal, the text tells: 1 is no 1.0.
            changed = groups.write(but=name) or self._is_new or group != self._begun_with
            if not (changed or (name in groups and groups.write_group(name))):
                return None
            group = groups.setdefault(name, group)
            if not isinstance(group, dict):
                raise no_group(name, group)
            if type(self._count) is not int or group.get(key, self._count) != self._count:
                raise self._bad_count(group.get(key))
            group[key] = self._count + 1
            groups.write_group(name)
        except JsonValueError as error:
            raise self._file._bad_value(error) from None
        return groups.text()

    def _bad_count(self, value: object) -> ParameterValueError:
        name, key = self._file.counter
        good = type(self._count) is int
        return ParameterValueError(
            f"{self._file.path}: group {name!r}, key {key!r} counts the writes, {value!r} won't do",
            hint="it counts by itself: leave it as it is" if good else "make it an integer by hand",
            path=self._file.path,
        )


class Repair:
    """What `LockedJsonFile.repair` did.

    Attributes:
        moved_to: Where the bad file is now; None when there was no file at all.
        restored_from: The safety copy that is in its place; None when the defaults are.
        saved_at: When the safety copy was written, in seconds since 1970.
    """

    def __init__(
        self, moved_to: str | None, restored_from: str | None, saved_at: float | None
    ) -> None:
        self.moved_to = moved_to
        self.restored_from = restored_from
        self.saved_at = saved_at


_EMPTY = GroupsText(b"", {})


def moment(seconds: float) -> str:
    """A time as people read it, in the local time zone."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds))


def _link(path: str, other: str) -> None:
    """Give the file a second name, so that it is never without one; rename where that can't be."""
    try:
        os.link(path, other)
    except OSError:
        os.rename(path, other)
