"""A lock file that excludes processes, threads, and a process from its own forked child.

Rules that hold:

- Where the system has open file description locks (Linux), those are used. They belong to one open
  file, so they exclude whoever else opens the lock file, and no close() elsewhere in the process
  drops them. They exclude, and are excluded by, the POSIX locks of `fasteners.InterProcessLock`, so
  other programs that lock the same file with fasteners are safe.
- Elsewhere the lock is fasteners' own. There, opening and closing the lock file in the process that
  holds it drops it: nobody but this module may open it.
- A process has one open lock file per inode, whatever the paths that lead to it; a thread lock in
  front of it keeps its threads apart.
- The kernel frees the lock when the process ends, however it ends. The lock file itself stays: a
  lock file that is removed on release lets two processes in.
- A forked child holds nothing.

Fairness: whoever finds the lock free takes it, which is fast. A waiter who has been passed over for
PATIENCE seconds takes the turnstile (the lock file's second byte); newcomers then let it go first,
as soon as they look at it, which each process does once in LOOK_INTERVAL seconds.
"""

# pathlib and contextlib are slow to load, and a command that updates one value loads this module:
# ruff: noqa: PTH100, PTH116, SIM105

from __future__ import annotations

import errno
import os
import stat
import struct
import sys
from _thread import TIMEOUT_MAX, allocate_lock, get_ident
from time import monotonic, sleep
from weakref import WeakValueDictionary

from octo_errors import LockFileError, LockTimeoutError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

TYPE_CHECKING = False  # as in typing, which is slow to load too
if TYPE_CHECKING:
    from _thread import LockType
    from collections.abc import Callable
    from types import TracebackType
    from typing import Protocol

    class _Mechanism(Protocol):
        def try_in_turn(self) -> bool: ...
        def try_lock(self, byte: int) -> bool: ...
        def unlock(self, byte: int) -> None: ...
        def is_free(self, byte: int) -> bool: ...


DEFAULT_TIMEOUT = 30.0

PATIENCE = 0.01
"""Seconds after which a waiter asks to be let in first."""

LOOK_INTERVAL = 0.001
"""Seconds between two looks of one process for such a request: they cost as much as the lock."""

COURTESY = 1.0
"""Seconds that newcomers honour such a request; a stopped waiter must not stop everybody."""

SHORTEST_PAUSE, LONGEST_PAUSE = 3e-5, 5e-3  # seconds between two tries of a waiter

_LOCK, _TURNSTILE = 0, 1  # bytes of the lock file

_READ_FLAGS = (
    os.O_RDONLY
    | getattr(os, "O_CLOEXEC", 0)
    | getattr(os, "O_NOFOLLOW", 0)
    | getattr(os, "O_NONBLOCK", 0)  # a FIFO in its place is an error, not an endless wait
)
_OPEN_FLAGS = _READ_FLAGS | os.O_RDWR | os.O_CREAT  # O_RDONLY is 0


class FileLock:
    """A lock on the file at `path`, which is created when the lock is first taken.

    Any number of FileLock objects may name the same file; they exclude each other. Not reentrant:
    a thread that takes it twice gets an error, not a deadlock. Any thread may release it, and so
    does the end of the object.

    Args:
        path: The lock file.
        timeout: Seconds that `acquire` waits unless it is told otherwise; 0 doesn't wait.
    """

    def __init__(self, path: str | os.PathLike[str], timeout: float = DEFAULT_TIMEOUT) -> None:
        self.path = os.path.abspath(path)
        self.timeout = timeout
        self._file: _LockFile | None = None  # the one that it locked last
        self._held: _LockFile | None = None

    def acquire(self, timeout: float | None = None) -> None:
        """Take the lock, waiting up to `timeout` seconds (default: the object's own).

        Raises:
            LockTimeoutError: Another holds it; `details` has `holder_pid` where it is known.
            LockFileError: The lock file can't be opened or locked.
        """
        file = self._file
        if file is not None and file.lock_at_once():
            if file.is_at(self.path):
                self._held = file
                return
            file.unlock()  # and find out below what became of it
        allowed = self.timeout if timeout is None else timeout
        deadline = monotonic() + allowed
        while True:
            file = self._file
            if file is None or file.is_closed:
                file = self._file = _open_lock_file(self.path)
            try:
                locked = file.lock(deadline)
            except OSError as error:
                if file.is_closed:  # another thread had to
                    continue
                raise _unusable(self.path, error) from error
            if not locked:
                raise self._timed_out(file, allowed)
            if file.is_at(self.path):
                self._held = file
                return
            file.unlock()  # the lock file was replaced while we waited: lock the new one
            self._file = None
            if monotonic() > deadline:
                raise _unusable(self.path, OSError(errno.ESTALE, "it is replaced all the time"))

    def release(self) -> None:
        """Give the lock back. In a forked child there is nothing to give, and nothing happens."""
        file, self._held = self._held, None
        if file is not None and file.owner is not None:
            file.unlock()

    def close(self) -> None:
        """Leave the lock file closed until the lock is taken again; not while it is held here."""
        file, self._file = self._file, None
        if file is not None and file.owner is None:
            file.close()

    @property
    def is_held(self) -> bool:
        """Whether this object holds the lock; False in a forked child that inherited it."""
        return self._held is not None and self._held.owner is not None

    def __enter__(self) -> FileLock:
        self.acquire()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.release()

    def _timed_out(self, file: _LockFile, allowed: float) -> LockTimeoutError:
        if file.owner == get_ident():
            return LockTimeoutError(
                f"{self.path}: this thread holds the lock already",
                hint="don't take it again inside the block that holds it",
                path=self.path,
                holder_pid=os.getpid(),
            )
        from octo_lock_holder import command_of, holder_pid  # only needed here

        known = os.getpid() if file.owner is not None else None
        pid = known or holder_pid(file.descriptor, self.path)
        if pid is None:
            holder = "another process"
        elif pid == os.getpid():
            holder = f"another thread of this process (pid {pid})"
        else:
            holder = f"pid {pid}{command_of(pid)}"
        return LockTimeoutError(
            f"{self.path}: still locked by {holder} after {allowed:g} s",
            hint="wait for it, or end that process; OCTO_LOCK_TIMEOUT sets how long to wait",
            path=self.path,
            holder_pid=pid,
            timeout=allowed,
        )


def held_here(path: str | os.PathLike[str]) -> bool:
    """Whether a thread of this process holds the lock file at `path`."""
    try:
        status = os.stat(path)
    except OSError:
        return False
    file = _open_files.get((status.st_dev, status.st_ino))
    return file is not None and file.owner is not None


def is_locked(path: str | os.PathLike[str]) -> bool:
    """Whether anybody holds the lock file at `path`, as who may only read it can find out.

    With open file description locks this only looks, and keeps nobody out. Elsewhere it takes the
    lock for an instant, or, where the file can't be written, tells what the system does.

    Raises:
        LockFileError: The lock file can't be opened or looked at.
    """
    if held_here(path):
        return True
    path = os.path.abspath(path)
    with _opening:  # else another thread could lock the file before it is closed here again
        known = _known(path)
        descriptor = _opened(path, _READ_FLAGS)[0] if known is None else known.descriptor
        try:
            if _has_open_file_locks(descriptor):
                return not _OpenFileLocks(descriptor).is_free(_LOCK)
            if not os.access(path, os.W_OK):
                from octo_lock_holder import holder_pid  # only needed here

                return holder_pid(descriptor, path) is not None
        except OSError as error:
            raise _unusable(path, error) from error
        finally:
            if known is None:
                os.close(descriptor)
    lock = FileLock(path)
    try:
        lock.acquire(timeout=0)
    except LockTimeoutError:
        return True
    lock.release()
    return False


# --- one open lock file ---


class _LockFile:
    """A lock file that this process has open, shared by all FileLock objects that lead to it."""

    def __init__(self, descriptor: int, identity: tuple[int, int], path: str) -> None:
        self.descriptor = descriptor
        self.identity = identity
        self.owner: int | None = None  # the thread that holds the lock
        self._queue = allocate_lock()  # held by the thread that is next: threads take turns
        self._threads = allocate_lock()
        self._mechanism: _Mechanism = (
            _OpenFileLocks(descriptor)
            if _has_open_file_locks(descriptor)
            else _FastenersLock(descriptor, path)
        )

    @property
    def is_closed(self) -> bool:
        return self.descriptor < 0

    def lock_at_once(self) -> bool:
        """Take the lock if it is free and nobody waits for it; what fails is left to `lock`."""
        if self._queue.locked() or not self._threads.acquire(False):
            return False
        try:
            if self._mechanism.try_in_turn():
                self.owner = get_ident()
                return True
        except OSError:  # closed, perhaps
            pass
        except BaseException:  # interrupted, and perhaps just after the lock was taken
            self.unlock()
            raise
        self._threads.release()
        return False

    def lock(self, deadline: float) -> bool:
        """Exclude the other threads, then the other processes; False when the deadline passed."""
        if self.owner == get_ident() or not _acquire_by(self._queue, deadline):
            return False
        try:
            mine = _acquire_by(self._threads, deadline)
        finally:
            self._queue.release()
        if not mine:
            return False
        try:
            if self.is_closed:  # by the thread that had it before
                raise OSError(errno.EBADF, os.strerror(errno.EBADF))
            if self._mechanism.try_in_turn() or self._wait_for_process(deadline):
                self.owner = get_ident()
                return True
        except BaseException:  # interrupted, and perhaps just after the lock was taken
            self.unlock()
            raise
        self._threads.release()
        return False

    def unlock(self) -> None:
        """Give the lock back; where the system won't have it so, by closing the file."""
        self.owner = None
        try:
            if self.descriptor >= 0:
                self._mechanism.unlock(_LOCK)
        except OSError:
            self.close()
        finally:
            self._threads.release()

    def is_at(self, path: str) -> bool:
        try:
            status = os.lstat(path)
        except OSError:
            return False
        return (status.st_dev, status.st_ino) == self.identity

    def close(self, close: Callable[[int], None] = os.close) -> None:  # bound, for __del__ at exit
        """Close the file, and with it give back what is locked unless a fork shares it."""
        descriptor, self.descriptor = self.descriptor, -1
        if descriptor >= 0:
            try:
                close(descriptor)
            except OSError:
                pass  # it is closed all the same

    def __del__(self) -> None:
        self.close()

    def _wait_for_process(self, deadline: float) -> bool:
        """Look again and again, the rarer the longer; at the end once more, whoever is first."""
        lock = self._mechanism
        began = since = monotonic()
        first = False
        pause = SHORTEST_PAUSE
        try:
            while (now := monotonic()) < deadline:
                sleep(min(pause, deadline - now))
                now = monotonic()
                if not first and now - began > PATIENCE and lock.try_lock(_TURNSTILE):
                    first, since = True, now
                my_turn = first or now - began > COURTESY or lock.is_free(_TURNSTILE)
                if my_turn and lock.try_lock(_LOCK):
                    return True
                shortest = SHORTEST_PAUSE if my_turn else LONGEST_PAUSE / 5
                pause = min(max((now - since) / 16, shortest), LONGEST_PAUSE)
            return lock.try_lock(_LOCK)
        finally:
            if first:
                lock.unlock(_TURNSTILE)


def _acquire_by(lock: LockType, deadline: float) -> bool:
    if lock.acquire(False):
        return True
    return lock.acquire(True, min(max(deadline - monotonic(), 0.0), TIMEOUT_MAX))


_open_files: WeakValueDictionary[tuple[int, int], _LockFile] = WeakValueDictionary()
_opening = allocate_lock()


def _open_lock_file(path: str) -> _LockFile:
    """The open lock file at `path`: the one that this process has open already, or a new one.

    It is looked up before it is opened, since closing a second descriptor could drop the lock.
    """
    with _opening:
        known = _known(path)
        if known is not None:
            return known
        descriptor, identity = _opened(path, _OPEN_FLAGS)
        try:
            file = _open_files[identity] = _LockFile(descriptor, identity, path)
        except OSError as error:
            raise _unusable(path, error) from error
        return file


def _known(path: str) -> _LockFile | None:
    """The lock file at `path` as this process has it open, if it has."""
    try:
        status = os.stat(path, follow_symlinks=False)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise _unusable(path, error) from error
    known = _open_files.get((status.st_dev, status.st_ino))
    return None if known is None or known.is_closed else known


def _opened(path: str, flags: int) -> tuple[int, tuple[int, int]]:
    """A new descriptor of the lock file at `path`, and which file it is."""
    try:
        descriptor = os.open(path, flags, 0o666)
        try:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                raise OSError(errno.EINVAL, "it is not a regular file")
        except OSError:
            os.close(descriptor)
            raise
    except OSError as error:
        raise _unusable(path, error) from error
    return descriptor, (status.st_dev, status.st_ino)


def _unusable(path: str, error: OSError) -> LockFileError:
    cause = error.strerror or str(error)
    if error.errno == errno.ELOOP:
        cause = "it is a symbolic link"
    elif error.errno == errno.ENXIO:
        cause = "it is not a regular file"
    return LockFileError(
        f"{path}: can't be used as a lock file: {cause}",
        hint="look at what lies there, and at who may write to its directory",
        path=path,
        errno=error.errno,
    )


def _forget_in_child() -> None:
    """In a forked child: close the inherited files; what the parent holds stays the parent's."""
    global _opening
    _opening = allocate_lock()
    for file in list(_open_files.values()):
        file.owner = None
        file.close()
    _open_files.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_in_child)


# --- the two ways to lock ---


def _byte_range(kind: int, byte: int) -> bytes:
    return struct.pack("hhqqi4x", kind, os.SEEK_SET, byte, 1, 0)  # struct flock of Linux


# Other systems that have them lay `struct flock` out in another way.
_HAVE_OPEN_FILE_LOCKS = sys.platform == "linux" and hasattr(fcntl, "F_OFD_SETLK")
if _HAVE_OPEN_FILE_LOCKS:
    _WANTED = [_byte_range(fcntl.F_WRLCK, byte) for byte in (_LOCK, _TURNSTILE)]
    _GIVEN_BACK = [_byte_range(fcntl.F_UNLCK, byte) for byte in (_LOCK, _TURNSTILE)]
    _FREE = struct.pack("h", fcntl.F_UNLCK)  # what an answer of F_OFD_GETLK begins with then


def _has_open_file_locks(descriptor: int) -> bool:
    """Whether the system has them (Linux 3.15), and the file system of this file too."""
    if not _HAVE_OPEN_FILE_LOCKS:
        return False
    try:
        fcntl.fcntl(descriptor, fcntl.F_OFD_GETLK, _WANTED[_LOCK])
    except OSError:
        return False
    return True


class _OpenFileLocks:
    """Open file description locks, one per byte."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._look_at = 0.0  # when to look at the turnstile again

    def try_in_turn(self) -> bool:
        """Take the lock if nobody has it, nor waits at the turnstile."""
        now = monotonic()
        if now >= self._look_at:
            if not self.is_free(_TURNSTILE):
                return False
            self._look_at = now + LOOK_INTERVAL
        return self.try_lock(_LOCK)

    def try_lock(self, byte: int) -> bool:
        try:
            fcntl.fcntl(self._descriptor, fcntl.F_OFD_SETLK, _WANTED[byte])
        except (BlockingIOError, PermissionError):
            return False
        return True

    def unlock(self, byte: int) -> None:
        fcntl.fcntl(self._descriptor, fcntl.F_OFD_SETLK, _GIVEN_BACK[byte])

    def is_free(self, byte: int) -> bool:
        found = fcntl.fcntl(self._descriptor, fcntl.F_OFD_GETLK, _WANTED[byte])
        return found.startswith(_FREE)


class _FastenersLock:
    """fasteners' lock on the whole file, kept open. It has no turnstile."""

    def __init__(self, descriptor: int, path: str) -> None:
        import fasteners  # three times as slow to load as Python itself

        self._lock = fasteners.InterProcessLock(path)
        self._lock.lockfile = os.fdopen(descriptor, "a", closefd=False)

    def try_in_turn(self) -> bool:
        return self.try_lock(_LOCK)

    def try_lock(self, byte: int) -> bool:
        if byte != _LOCK:
            return False
        try:
            self._lock.trylock()
        except OSError as error:
            if error.errno in (errno.EACCES, errno.EAGAIN, errno.EDEADLK):
                return False
            raise
        return True

    def unlock(self, byte: int) -> None:
        self._lock.unlock()

    def is_free(self, byte: int) -> bool:
        return True
