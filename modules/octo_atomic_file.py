"""Reading and replacing whole files, so that nobody ever sees half of one.

Rules that hold:

- New content goes to a temporary file in the same directory, `<name>.tmp`, which then takes the
  place of the file. Whoever opens the file, at any instant, reads one version whole.
- The temporary file is made afresh: what lies there (from a writer that was killed, or planted) is
  removed, never followed and never written to. Only one writer may be at work, so callers lock.
- A file that is replaced often is not made anew each time: see `octo_spare_file`.
- Mode and, as far as the system allows it, owner of the file that is replaced are kept.
- Only regular files are read and replaced. A FIFO, a directory, a symbolic link is an error.

Every function raises OSError, with the path that failed, and leaves no temporary file behind.
"""

# pathlib and contextlib are slow to load, and a command that updates one value loads this module:
# ruff: noqa: PTH101, PTH105, PTH108, PTH110, PTH113, PTH116, PTH118, PTH119, PTH120, PTH123
# ruff: noqa: SIM105

from __future__ import annotations

import errno
import os
import stat
import time

from octo_spare_file import Spare, close_quietly

TYPE_CHECKING = False  # as in typing, which is slow to load too
if TYPE_CHECKING:
    from collections.abc import Callable

try:
    from fcntl import F_FULLFSYNC  # type: ignore[attr-defined]  # macOS: fsync alone stays in the disk's cache
except ImportError:
    F_FULLFSYNC = None

TEMPORARY_SUFFIX = ".tmp"

_COMMON = getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
_READ = os.O_RDONLY | _COMMON | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | _COMMON | getattr(os, "O_NOFOLLOW", 0)

_exchange: Callable[[str, str], bool] | None = None  # see prepare_exchange


def read_file(path: str) -> tuple[bytes, os.stat_result]:
    """The content of a regular file, and what the system says about it."""
    try:
        descriptor, status = _opened_regular(path, _READ)
    except BlockingIOError:  # it has become the spare meanwhile, and is being written: wait
        descriptor, status = _opened_regular(path, _READ & ~os.O_NONBLOCK)
    try:
        data = os.read(descriptor, status.st_size + 1)
        if len(data) != status.st_size:  # it is very large, or another program writes it in place
            while more := os.read(descriptor, 1 << 20):
                data += more
        return data, status
    finally:
        close_quietly(descriptor)


def open_regular(path: str, flags: int) -> int:
    """The descriptor of a regular file; what else lies there is an error, and never a wait."""
    special = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    return _opened_regular(path, flags | _COMMON | special)[0]


def _opened_regular(path: str, flags: int) -> tuple[int, os.stat_result]:
    try:
        descriptor = os.open(path, flags, 0o666)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise _not_regular(path, "a symbolic link") from None
        raise
    try:
        status = os.fstat(descriptor)
        kind = stat.S_IFMT(status.st_mode)
        if kind != stat.S_IFREG:
            raise _not_regular(path, _KINDS.get(kind, "no regular file"))
    except OSError:
        close_quietly(descriptor)
        raise
    return descriptor, status


_KINDS = {stat.S_IFIFO: "a FIFO", stat.S_IFDIR: "a directory", stat.S_IFSOCK: "a socket"}


def _not_regular(path: str, kind: str) -> OSError:
    return OSError(errno.EINVAL, f"it is {kind}, not a regular file", path)


def holds(path: str, data: bytes) -> bool:
    """Whether this is what the file holds now; False, too, when it can't be read."""
    try:
        descriptor = os.open(path, _READ)
    except OSError:
        return False
    try:
        return os.read(descriptor, len(data) + 1) == data
    except OSError:
        return False
    finally:
        close_quietly(descriptor)


def replace_file(
    path: str,
    data: bytes,
    like: os.stat_result | None,
    *,
    sync: bool,
    spare: Spare | None = None,
) -> None:
    """Put a file with this content in the place of `path`, or where nothing is.

    Killed at any instant, it leaves the old file or the new one, and perhaps a temporary file that
    the next call removes. An error leaves the old file, but for one: with `sync`, the new file may
    be in place when the directory can't be synced.

    Args:
        path: The file.
        data: What it shall hold.
        like: The file whose mode and owner it shall have; None: what the umask says.
        sync: Return only when it is on disk, where it survives a loss of power.
        spare: Of a file that is replaced again and again: with `prepare_exchange`, it is used.
    """
    directory = _open_directory(path) if sync else None
    try:
        if spare is None or not spare.count_replacement() or _exchange is None or like is None:
            _replace(path, data, like, sync)
        elif not (spare.rewrite(data, like, sync=sync) and _exchange(spare.name, path)):
            _replace(path, data, like, sync, spare)
        if directory is not None:
            sync_descriptor(directory)
    finally:
        if directory is not None:
            close_quietly(directory)


def _replace(
    path: str,
    data: bytes,
    like: os.stat_result | None,
    sync: bool,
    spare: Spare | None = None,
) -> None:
    """Make a new file and put it in place; the old one is removed, or kept as its spare."""
    temporary = path + TEMPORARY_SUFFIX
    descriptor = _create(temporary, 0o666 if like is None else stat.S_IMODE(like.st_mode))
    try:
        try:
            _write(descriptor, data, temporary)
            if like is not None:
                _resemble(descriptor, like)
            if sync:
                sync_descriptor(descriptor)
        finally:
            os.close(descriptor)
        if (sync and spare is None) or _exchange is None or not _exchange(temporary, path):
            _rename(temporary, path)
            return
    except BaseException:
        _remove(temporary)
        raise
    if spare is None or not spare.keep(temporary):
        _remove(temporary)  # the old file, after the exchange


def create_file(path: str, data: bytes) -> bool:
    """Put a file where none is, whole from its first instant, with no temporary file beside it.

    Needs no lock: when another comes first, its file stays.

    Returns:
        Whether there is a file now. False where the system can't do this, or fails.
    """
    if not hasattr(os, "O_TMPFILE"):
        return False
    try:
        descriptor = os.open(os.path.dirname(path), os.O_TMPFILE | os.O_WRONLY | _COMMON, 0o666)
    except OSError:
        return False
    try:
        _write(descriptor, data, path)
        # The nameless file gets its name; a directory descriptor makes os.link follow the link.
        os.link(f"/proc/self/fd/{descriptor}", path, src_dir_fd=descriptor, follow_symlinks=True)
    except FileExistsError:
        return True
    except OSError:
        return False
    finally:
        close_quietly(descriptor)
    return True


def write_whole(path: str, data: bytes) -> None:
    """Write a file of the user's: readers see the old one or the new one, and so after an error.

    Needs no lock: each writer has a temporary file of its own. A link is followed, the mode is
    kept. What is no regular file, such as a device or a pipe, is written in place.
    """
    import tempfile

    target = os.path.realpath(path)
    if os.path.exists(path) and not os.path.isfile(path):
        with open(path, "wb") as file:
            file.write(data)
        return
    try:
        with tempfile.TemporaryDirectory(prefix=".octo_", dir=os.path.dirname(target)) as directory:
            temporary = os.path.join(directory, os.path.basename(target))
            with open(temporary, "wb") as file:
                file.write(data)
            if os.path.exists(target):
                os.chmod(temporary, stat.S_IMODE(os.stat(target).st_mode))
            os.replace(temporary, target)
    except OSError as error:
        error.filename = path  # as the user calls it, and not the temporary file
        raise


def sync_descriptor(descriptor: int) -> None:
    """Return when the file's content is on disk."""
    if F_FULLFSYNC is not None:
        from fcntl import fcntl

        fcntl(descriptor, F_FULLFSYNC)
    else:
        os.fsync(descriptor)


def prepare_exchange() -> None:
    """Let `replace_file` exchange names where Linux can, which is several times as fast.

    Renaming over a file makes ext4 and others write it out at once. To exchange the names of the
    old and the new file, and to remove the old one then, does not. It costs loading ctypes, so a
    process that replaces one file does better without.
    """
    global _exchange
    if _exchange is not None or not hasattr(os, "O_TMPFILE"):  # not Linux
        return
    import ctypes
    from functools import lru_cache

    try:
        renameat2 = ctypes.CDLL(None, use_errno=True).renameat2
    except (AttributeError, OSError):
        return
    renameat2.argtypes = (
        *(ctypes.c_int, ctypes.c_char_p, ctypes.c_int, ctypes.c_char_p),
        ctypes.c_uint,
    )
    here, exchange = -100, 2  # AT_FDCWD, RENAME_EXCHANGE
    encode = lru_cache(os.fsencode)

    def exchange_names(one: str, other: str) -> bool:
        """False when there is no other yet, or the file system can't: rename, then."""
        return renameat2(here, encode(one), here, encode(other), exchange) == 0  # type: ignore[no-any-return]

    _exchange = exchange_names


def exchange_files(one: str, other: str) -> bool:
    """Exchange the names of two files; False where the system or the file system can't."""
    prepare_exchange()
    return _exchange is not None and _exchange(one, other)


def _open_directory(path: str) -> int | None:
    """The directory of a file, to be synced; None on Windows, which does that by itself."""
    if os.name == "nt":
        return None
    return os.open(os.path.dirname(path), os.O_RDONLY | _COMMON)


def _create(path: str, mode: int) -> int:
    try:
        return os.open(path, _CREATE, mode)
    except FileExistsError:
        os.unlink(path)
        return os.open(path, _CREATE, mode)


def _write(descriptor: int, data: bytes, path: str) -> None:
    try:
        written = os.write(descriptor, data)
        while written < len(data):  # a disk that gets full takes a part, and then fails
            written += os.write(descriptor, memoryview(data)[written:])
    except OSError as error:
        error.filename = path
        raise


def _resemble(descriptor: int, like: os.stat_result) -> None:
    if not hasattr(os, "fchown"):  # Windows
        return
    mine = os.fstat(descriptor)
    if mine.st_uid != like.st_uid or mine.st_gid != like.st_gid:
        try:
            os.fchown(descriptor, like.st_uid, like.st_gid)
        except PermissionError:
            pass  # only root may give a file away; the new file is ours, as with any editor
        mine = os.fstat(descriptor)  # a change of owner takes setuid bits away
    if mine.st_mode != like.st_mode:
        os.fchmod(descriptor, stat.S_IMODE(like.st_mode))


def _rename(source: str, target: str) -> None:
    """os.replace; on Windows, where a reader's open file makes it fail, again for a while."""
    deadline = time.monotonic() + 2.0
    while True:
        try:
            os.replace(source, target)
        except PermissionError:
            if os.name != "nt" or time.monotonic() > deadline:
                raise
            time.sleep(0.001)
        else:
            return


def _remove(path: str) -> None:
    try:
        os.unlink(path)
    except OSError:
        pass  # the next writer removes it
