"""Who holds a lock file: asked when a wait for it has failed, to name the process."""

# what `octo_lock` needs is loaded without pathlib:
# ruff: noqa: PTH115, PTH123, PTH208

from __future__ import annotations

import os
import struct
import sys

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]


def holder_pid(descriptor: int, path: str) -> int | None:
    """The process that holds the lock file, open here as `descriptor`, where the system tells."""
    return _pid_of_posix_lock(descriptor) or _pid_of_open_file_lock(path)


def command_of(pid: int) -> str:
    """The command line of a process, in brackets and cut to a line; empty where it isn't known."""
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            words = file.read().replace(b"\0", b" ").decode(errors="replace").split()
    except OSError:
        return ""
    command = " ".join(words)
    return f" ({command if len(command) <= 100 else command[:97] + '...'})"


def _pid_of_posix_lock(descriptor: int) -> int | None:
    layout, index = {"linux": ("hhqqi4x", 4), "darwin": ("qqihh", 2)}.get(sys.platform, ("", 0))
    if not layout:
        return None
    fields = (fcntl.F_WRLCK, os.SEEK_SET, 0, 1, 0)
    if sys.platform == "darwin":
        fields = (0, 1, 0, fcntl.F_WRLCK, os.SEEK_SET)
    found = fcntl.fcntl(descriptor, fcntl.F_GETLK, struct.pack(layout, *fields))
    pid = int(struct.unpack(layout, found)[index])
    return pid if pid > 0 else None  # -1: an open file description lock, which has no process


def _pid_of_open_file_lock(path: str) -> int | None:
    """The process with the lock file open and a lock on its first byte, as /proc shows it."""
    path = os.path.realpath(path)
    for process in filter(str.isdigit, _listed("/proc")):
        for number in _listed(f"/proc/{process}/fd"):
            try:
                if os.readlink(f"/proc/{process}/fd/{number}") != path:
                    continue
                with open(f"/proc/{process}/fdinfo/{number}") as about:
                    locks = [line.split() for line in about if line.startswith("lock:")]
            except OSError:
                continue
            if any("WRITE" in lock and lock[-2] == "0" for lock in locks):
                return int(process)
    return None


def _listed(directory: str) -> list[str]:
    try:
        return os.listdir(directory)
    except OSError:
        return []
