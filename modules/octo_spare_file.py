"""The last version but one of a file, kept to be written again: to make a file costs far more.

A file that is replaced often has a spare beside it, `<name>.spare`: the one that it replaced last.
The next version is written into the spare, and then the two exchange names.

No reader sees this happen. A spare is written only under a write lease (fcntl(2), F_SETLEASE): the
kernel grants one to whoever is the only one to have the file open, and lets those who are just
opening it wait until the lease is given back. That is done when the content is whole, before the
names are exchanged: what can be opened by the file's name never has a lease. Where there are no
leases, or somebody still reads the old version, a new file is made, as without a spare.

A process that was the only one to replace the file for long leaves the two open. What their names
lead to is looked up at each turn all the same. When another has replaced the file, it closes them,
so that the other gets leases too.

Only a process that has replaced the file several times keeps a spare, and removes it when it ends.
What a killed one has left goes when another process replaces the file.
"""

# pathlib and contextlib are slow to load, and a command that updates one value loads this module:
# ruff: noqa: PTH104, PTH108, SIM105

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # `signal` makes enumerations, which is slow
import atexit
import os
from _weakref import ref  # `weakref` is slow to load too

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

SPARE_SUFFIX = ".spare"

_HAS_LEASES = hasattr(fcntl, "F_SETLEASE")
_REWRITE = os.O_RDWR | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
_REWRITE |= getattr(os, "O_CLOEXEC", 0)
WORTHWHILE = 8
"""Replacements of a file by one process, after which a spare is kept."""
ALONE = 100
"""Replacements in a row by one process, after which the two files are left open."""


class Spare:
    """The spare of the file at `path`, for who holds the lock of the file's writers."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.name = path + SPARE_SUFFIX
        self._replacements = 0
        self.is_kept = False
        self._alone = 0  # replacements in a row
        self._written: tuple[int, int] | None = None  # device and inode of the last version
        self._open: dict[tuple[int, int], int] = {}  # device and inode -> descriptor
        _spares.add(ref(self, _spares.discard))

    def count_replacement(self) -> bool:
        """Count that the file is replaced; returns whether a spare is to be kept now."""
        if self._replacements == WORTHWHILE:
            return True
        self.remove()
        self._replacements += 1
        return False

    def read_file(self) -> tuple[bytes, os.stat_result] | None:
        """As `octo_atomic_file.read_file`, if it is known to be open here; else None."""
        if not self._open:
            return None
        try:
            status = os.lstat(self.path)
            descriptor = self._open.get((status.st_dev, status.st_ino))
            if descriptor is not None:
                data = os.pread(descriptor, status.st_size + 1, 0)
                if len(data) == status.st_size:
                    return data, status
        except OSError:  # who opens it will say it better
            pass
        self.close()
        return None

    def rewrite(self, data: bytes, like: os.stat_result, *, sync: bool) -> bool:
        """Write the next version of the file into the spare; False where that can't be.

        Args:
            data: The whole next version.
            like: What the system says about the file: a spare with another mode or owner won't do.
            sync: Return only when the content is on disk.
        """
        if not _HAS_LEASES:
            return False
        try:
            descriptor, status = self._take()
        except OSError:
            return False
        self._alone = self._alone + 1 if (like.st_dev, like.st_ino) == self._written else 0
        self._written = identity = status.st_dev, status.st_ino
        whole = False
        try:
            if status.st_nlink != 1 or not _are_alike(status, like):
                return False
            # Whoever opens it under the lease is announced by a signal: by one that nobody minds.
            # The kernel forgets that with each lease that is given back.
            fcntl.fcntl(descriptor, fcntl.F_SETSIG, _signal.SIGURG)
            fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_WRLCK)
            written = os.pwrite(descriptor, data, 0)
            if status.st_size > len(data):
                os.ftruncate(descriptor, len(data))
            if sync:
                os.fdatasync(descriptor)
            # By name, not by closing it: a process that is being forked may share the open file.
            fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_UNLCK)
            whole = written == len(data)
        except OSError:
            return False
        finally:
            if whole and self._alone >= ALONE:
                self._open[identity] = descriptor
            else:
                close_quietly(descriptor)
        return whole

    def _take(self) -> tuple[int, os.stat_result]:
        """A descriptor of the spare, which is out of `_open` then, and what the system says."""
        if self._open:
            status = os.lstat(self.name)
            known = self._open.pop((status.st_dev, status.st_ino), None)
            if known is not None:
                return known, status
        descriptor = os.open(self.name, _REWRITE)
        try:
            return descriptor, os.fstat(descriptor)
        except OSError:
            close_quietly(descriptor)
            raise

    def keep(self, old: str) -> bool:
        """Keep the file `old`, which was the file until now, as its spare; False if it can't be."""
        if not _HAS_LEASES:
            return False
        try:
            self.remove()  # to rename over it would make ext4 write out the old file at once
            os.rename(old, self.name)
        except OSError:  # as where a directory was planted
            return False
        self.is_kept = True
        return True

    def remove(self) -> None:
        """Remove the spare, whoever has left it there; nobody needs it."""
        self.is_kept = False
        self.close()
        try:
            os.unlink(self.name)
        except OSError:
            pass  # there is none, or what is there is no spare

    def close(self) -> None:
        """Leave neither of the two open."""
        while self._open:
            close_quietly(self._open.popitem()[1])

    def forget(self) -> None:
        """Begin anew, as in a forked child, whose parent goes on with the spare."""
        self._replacements = 0
        self.is_kept = False
        self.close()

    def __del__(self) -> None:
        if self.is_kept:
            self.remove()
        self.close()


def _are_alike(one: os.stat_result, other: os.stat_result) -> bool:
    return (
        one.st_mode == other.st_mode
        and one.st_uid == other.st_uid
        and one.st_gid == other.st_gid
        and one.st_size > 0
    )


def close_quietly(descriptor: int) -> None:
    """Close a descriptor that has served: the data is where it belongs, whatever is said now."""
    try:
        os.close(descriptor)
    except OSError:
        pass


_spares: set[ref[Spare]] = set()


@atexit.register
def remove_all() -> None:
    """Remove all spares that this process has kept, and begin anew."""
    for each in tuple(_spares):
        if (spare := each()) is not None:
            if spare.is_kept:
                spare.remove()
            spare.forget()


def _forget_in_child() -> None:
    """In a forked child: what the parent has open would keep it from its leases."""
    for each in tuple(_spares):
        if (spare := each()) is not None:
            spare.forget()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_in_child)
