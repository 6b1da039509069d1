"""The last version but one of a file, kept to be written again: to make a file costs far more.

A file that is replaced often has a spare beside it, `<name>.spare`: the one that it replaced last.
The next version is written into the spare, and then the two exchange names.

No reader sees this happen. A spare is written only under a write lease (fcntl(2), F_SETLEASE): the
kernel grants one to whoever is the only one to have the file open, and lets those who are just
opening it wait until the lease is given back. That is done when the content is whole, before the
names are exchanged: what can be opened by the file's name never has a lease. Where there are no
leases, or somebody still reads the old version, a new file is made, as without a spare.

Only a process that has replaced the file several times keeps a spare, and removes it when it ends.
What a killed one has left goes when another process replaces the file.
"""

# pathlib and contextlib are slow to load, and a command that updates one value loads this module:
# ruff: noqa: PTH105, PTH108, SIM105

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # `signal` makes enumerations, which is slow
import atexit
import os

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

_replaced: dict[str, int] = {}  # how often each file was, by this process
_kept: set[str] = set()


def count_replacement(path: str) -> bool:
    """Count that this process replaces the file; returns whether it is to keep a spare now."""
    count = _replaced.get(path, 0)
    if count == WORTHWHILE:
        return True
    remove_spare(path)
    _replaced[path] = count + 1
    return False


def rewrite_spare(path: str, data: bytes, like: os.stat_result, *, sync: bool) -> bool:
    """Write the next version of `path` into its spare; False where it can't be, for any reason.

    Args:
        path: The file; its writers exclude each other.
        data: The whole next version.
        like: What the system says about the file: a spare with another mode or owner won't do.
        sync: Return only when the content is on disk.
    """
    if not _HAS_LEASES:
        return False
    try:
        descriptor = os.open(path + SPARE_SUFFIX, _REWRITE)
    except OSError:
        return False
    try:
        status = os.fstat(descriptor)
        if status.st_nlink != 1 or not _are_alike(status, like):
            return False
        # Whoever opens it under the lease is announced by a signal: by one that nobody minds.
        fcntl.fcntl(descriptor, fcntl.F_SETSIG, _signal.SIGURG)
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_WRLCK)
        whole = os.pwrite(descriptor, data, 0) == len(data)
        if status.st_size > len(data):
            os.ftruncate(descriptor, len(data))
        if sync:
            os.fdatasync(descriptor)
        # By name, not by closing it: a process that is being forked may share the open file.
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_UNLCK)
        return whole
    except OSError:
        return False
    finally:
        os.close(descriptor)


def _are_alike(one: os.stat_result, other: os.stat_result) -> bool:
    return (
        one.st_mode == other.st_mode
        and one.st_uid == other.st_uid
        and one.st_gid == other.st_gid
        and one.st_size > 0
    )


def keep_as_spare(old: str, path: str) -> bool:
    """Keep the file `old`, which was `path` until now, as its spare; False if it can't be."""
    if not _HAS_LEASES:
        return False
    try:
        os.replace(old, path + SPARE_SUFFIX)
    except OSError:  # as where a directory was planted
        return False
    _kept.add(path)
    return True


def remove_spare(path: str) -> None:
    """Remove the spare of a file, whoever has left it there; nobody needs it."""
    _kept.discard(path)
    try:
        os.unlink(path + SPARE_SUFFIX)
    except OSError:
        pass  # there is none, or what is there is no spare


@atexit.register
def remove_all() -> None:
    """Remove all spares that this process has kept, and count anew."""
    _replaced.clear()
    for path in tuple(_kept):
        remove_spare(path)
