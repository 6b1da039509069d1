"""Runs a function in a forked child and counts its system calls on one directory, to break one.

A *point* is a system call that names a path in the directory, or a descriptor of a file in it; all
threads of the child are watched, its own child processes are not. At a point the child can be
killed right before the call is carried out, or the call can be made to fail with an error, without
being carried out. What is seen and broken is what the kernel is asked, whoever in the child asks.

This is ptrace(2), so it needs Linux; the numbers of the system calls are those of x86-64. The
tracer must be single-threaded, and have no other children.
"""

from __future__ import annotations

import ctypes
import os
import platform
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

FOR_GOOD = 10**9
"""So many times does a call fail that fails whenever it is made."""

NEEDED = "needs ptrace(2) on Linux, x86-64"

_TRACEME, _POKEUSER, _SYSCALL, _SETOPTIONS, _GET_SYSCALL_INFO = 0, 6, 24, 0x4200, 0x420E
_TRACESYSGOOD, _TRACECLONE, _EXITKILL = 0x1, 0x8, 0x100000
_WALL = 0x40000000  # of waitpid: threads, too
_EVENT_CLONE = 3
_ORIG_RAX, _RAX = 15 * 8, 10 * 8  # where struct user keeps the call's number, and its result
_ENTRY = 1
_AT_FDCWD = -100

_PATH = {  # arguments that are paths
    "open": (2, 0), "stat": (4, 0), "lstat": (6, 0), "access": (21, 0), "truncate": (76, 0),
    "chdir": (80, 0), "rename": (82, 0, 1), "mkdir": (83, 0), "rmdir": (84, 0), "link": (86, 0, 1),
    "unlink": (87, 0), "symlink": (88, 1), "readlink": (89, 0), "chmod": (90, 0), "chown": (92, 0),
    "statfs": (137, 0),
}  # fmt: skip
_PATH_AT = {  # arguments that are paths, each with the directory it starts at just before it
    "openat": (257, 1), "mkdirat": (258, 1), "fchownat": (260, 1), "newfstatat": (262, 1),
    "unlinkat": (263, 1), "renameat": (264, 1, 3), "linkat": (265, 1, 3), "symlinkat": (266, 2),
    "readlinkat": (267, 1), "fchmodat": (268, 1), "faccessat": (269, 1), "utimensat": (280, 1),
    "renameat2": (316, 1, 3), "statx": (332, 1), "faccessat2": (439, 1), "fchmodat2": (452, 1),
}  # fmt: skip
_DESCRIPTOR = {  # arguments that are descriptors
    "read": (0, 0), "write": (1, 0), "close": (3, 0), "fstat": (5, 0), "lseek": (8, 0),
    "ioctl": (16, 0), "pread64": (17, 0), "pwrite64": (18, 0), "readv": (19, 0), "writev": (20, 0),
    "dup": (32, 0), "dup2": (33, 0), "sendfile": (40, 0, 1), "fcntl": (72, 0), "flock": (73, 0),
    "fsync": (74, 0), "fdatasync": (75, 0), "ftruncate": (77, 0), "fchdir": (81, 0),
    "fchmod": (91, 0), "fchown": (93, 0), "fstatfs": (138, 0), "getdents64": (217, 0),
    "fallocate": (285, 0), "dup3": (292, 0), "copy_file_range": (326, 0, 2),
}  # fmt: skip
_CALLS = {
    number: (name, kind, arguments)
    for kind, table in (("path", _PATH), ("path at", _PATH_AT), ("descriptor", _DESCRIPTOR))
    for name, (number, *arguments) in table.items()
}


@dataclass(frozen=True, slots=True)
class Fault:
    """What happens to the call at the `first` point, and to the `times - 1` ones after it.

    `error` is its errno; 0: the child is killed, and the call is not carried out.
    """

    first: int
    error: int = 0
    times: int = 1


@dataclass(slots=True)
class Trace:
    """What came of a child: its return code as `subprocess` has it, and its points in order."""

    code: int = 0
    points: list[str] = field(default_factory=list)


class _SyscallInfo(ctypes.Structure):
    _fields_ = (
        ("op", ctypes.c_uint8),
        ("arch", ctypes.c_uint32),
        ("instruction_pointer", ctypes.c_uint64),
        ("stack_pointer", ctypes.c_uint64),
        ("number", ctypes.c_uint64),
        ("arguments", ctypes.c_uint64 * 6),
    )


def run(function: Callable[[], int], directory: Path, fault: Fault | None = None) -> Trace:
    """Run the function in a child, which exits with what it returns; break it as `fault` says."""
    child = os.fork()
    if child == 0:
        code = 70
        try:
            _ptrace(_TRACEME, 0, 0, 0)
            os.kill(os.getpid(), signal.SIGSTOP)
            code = function()
        finally:
            os._exit(code)
    return _Tracer(child, directory, fault).follow()


def is_possible() -> bool:
    """Whether children can be traced here; some containers forbid it."""
    if not sys.platform.startswith("linux") or platform.machine() != "x86_64":
        return False
    try:
        here = Path(__file__).parent
        return run(lambda: int(not here.exists()), here).points == ["newfstatat"]
    except OSError:
        return False


class _Tracer:
    """Follows one child from its first stop to its end."""

    def __init__(self, child: int, directory: Path, fault: Fault | None) -> None:
        self._child = child
        self._directory = os.fspath(directory)
        self._fault = fault
        self._trace = Trace()
        self._failing: set[int] = set()  # threads in a call that is being made to fail
        self._known = {child}
        self._info = _SyscallInfo()

    def follow(self) -> Trace:
        _, status = os.waitpid(self._child, _WALL)
        if not os.WIFSTOPPED(status):
            raise PermissionError("ptrace is forbidden here")
        _ptrace(_SETOPTIONS, self._child, 0, _TRACESYSGOOD | _TRACECLONE | _EXITKILL)
        _ptrace(_SYSCALL, self._child, 0, 0)
        while True:
            thread, status = os.waitpid(-1, _WALL)
            if os.WIFSTOPPED(status):
                self._go_on(thread, self._stopped(thread, status))
            elif thread == self._child:
                self._trace.code = os.waitstatus_to_exitcode(status)
                return self._trace

    def _go_on(self, thread: int, number: int) -> None:
        with suppress(ProcessLookupError):  # it was killed meanwhile
            _ptrace(_SYSCALL, thread, 0, number)

    def _stopped(self, thread: int, status: int) -> int:
        """Deals with a stop; returns the signal that the thread is to get."""
        number = os.WSTOPSIG(status)
        if number == signal.SIGTRAP | 0x80:
            with suppress(ProcessLookupError):
                self._at_system_call(thread)
            return 0
        if status >> 16 == _EVENT_CLONE:
            return 0
        if thread not in self._known:
            self._known.add(thread)
            return 0  # each new thread begins with a stop
        return number

    def _at_system_call(self, thread: int) -> None:
        info = self._info
        _ptrace(_GET_SYSCALL_INFO, thread, ctypes.sizeof(info), ctypes.addressof(info))
        if info.op != _ENTRY:
            if thread in self._failing and self._fault is not None:
                self._failing.remove(thread)
                _ptrace(_POKEUSER, thread, _RAX, -self._fault.error)
            return
        call = _CALLS.get(info.number)
        if call is None or not self._concerned(thread, *call[1:]):
            return
        self._trace.points.append(call[0])
        if self._fault is not None and self._is_due(self._fault):
            if self._fault.error:
                self._failing.add(thread)
                _ptrace(_POKEUSER, thread, _ORIG_RAX, -1)
            else:
                os.kill(self._child, signal.SIGKILL)

    def _is_due(self, fault: Fault) -> bool:
        return fault.first <= len(self._trace.points) < fault.first + fault.times

    def _concerned(self, thread: int, kind: str, positions: list[int]) -> bool:
        """Whether a call of this kind is about the directory."""
        arguments = self._info.arguments
        for position in positions:
            if kind == "descriptor":
                place = self._link(thread, f"fd/{_signed(arguments[position])}")
            else:
                start = _signed(arguments[position - 1]) if kind == "path at" else _AT_FDCWD
                base = self._link(thread, "cwd" if start == _AT_FDCWD else f"fd/{start}")
                path = _text(thread, arguments[position])
                place = os.path.normpath(path if path.startswith("/") else f"{base}/{path}")
            if place == self._directory or place.startswith(self._directory + "/"):
                return True
        return False

    def _link(self, thread: int, name: str) -> str:
        try:
            return os.readlink(f"/proc/{thread}/{name}")  # noqa: PTH115  # for speed
        except OSError:
            return ""


def _signed(argument: int) -> int:
    return ctypes.c_int(argument).value


def _text(thread: int, address: int) -> str:
    """The text that a pointer of the child points to."""
    memory = os.open(f"/proc/{thread}/mem", os.O_RDONLY)
    try:
        return os.fsdecode(os.pread(memory, 4096, address).partition(b"\0")[0])
    except OSError:
        return ""  # a bad pointer: the kernel will say so to the child
    finally:
        os.close(memory)


if sys.platform.startswith("linux"):
    _libc = ctypes.CDLL(None, use_errno=True)
    _libc.ptrace.argtypes = (ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p)
    _libc.ptrace.restype = ctypes.c_long


def _ptrace(request: int, thread: int, address: int, data: int) -> None:
    if _libc.ptrace(request, thread, address, data) < 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))
