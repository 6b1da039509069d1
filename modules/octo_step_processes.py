"""The processes that a step started: how they are found, ended, and named to the user.

A worker process leads a process group of its own, and carries `MARK` with a value of its own in its
environment. So what a hook started is found although it left the group (`setsid`) or its parent
ended (a daemon): by group, by descent, or by the mark that it inherited.

Without psutil only the group is known. On Windows there are no groups: descent and mark only.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import psutil

MARK: Final = "OCTO_STEP_WORKER"
GRACE_S: Final = 2.0

_LOOK_EVERY_S: Final = 0.02
_KILL_ROUNDS: Final = 5
_HAS_GROUPS: Final = hasattr(os, "killpg")


def end_group(leader: int, mark: str, *, tell_group: bool, grace_s: float = GRACE_S) -> list[str]:
    """Ends all that a worker and its hooks started: SIGTERM, and SIGKILL after `grace_s`.

    The leader must not have been reaped, or its number may be another's by now. Returns a line for
    each process that had left the group; with `tell_group` for each member but the leader too.
    """
    told = {process: _describe(process) for process in _strays(leader, mark)}
    if tell_group:
        told |= {p: _describe(p) for p in _group(leader) if p.pid != leader}
    _signal_group(leader, signal.SIGTERM)
    _end_all(told, kill=False)
    deadline = time.monotonic() + grace_s
    while time.monotonic() < deadline and (_group_runs(leader) or _running(told)):
        time.sleep(_LOOK_EVERY_S)
    for _ in range(_KILL_ROUNDS):  # a process may start another one while it is being killed
        told |= {process: _describe(process) for process in _strays(leader, mark)}
        _signal_group(leader, signal.SIGKILL if _HAS_GROUPS else signal.SIGTERM)
        _end_all(told, kill=True)
        if not _group_runs(leader) and not _running(told):
            break
        time.sleep(_LOOK_EVERY_S)
    return _lines(told)


def kill_own_group(mark: str) -> None:
    """Kills this process, its group, and what left the group; does not return."""
    try:
        _end_all(_strays(os.getpid(), mark), kill=True)
    finally:
        _signal_group(os.getpid(), getattr(signal, "SIGKILL", signal.SIGTERM))
        os._exit(1)


def own_descendants() -> set[psutil.Process]:
    """The running processes that descend from this one; cheap where there are none."""
    library = _psutil() if _has_children() else None
    return set(_running(library.Process().children(recursive=True))) if library else set()


def still_running(processes: Iterable[psutil.Process]) -> list[str]:
    """A line for each of the processes that runs."""
    return _lines({process: _describe(process) for process in _running(processes)})


def _psutil() -> Any:
    """The module, or None where it is not installed; imported when something has to be ended."""
    try:
        import psutil
    except ImportError:
        return None
    return psutil


def _strays(leader: int, mark: str) -> set[psutil.Process]:
    """The processes that a worker's hooks started and that are not in its group."""
    library = _psutil()
    if library is None:
        return set()
    found: set[psutil.Process] = set()
    with contextlib.suppress(library.Error):
        found.update(library.Process(leader).children(recursive=True))
    for process in library.process_iter():
        with contextlib.suppress(library.Error, OSError):
            if process.environ().get(MARK) == mark:
                found.add(process)
    return {p for p in found if p.pid != leader and not _in_group(p.pid, leader) and _runs(p)}


def _group(leader: int) -> set[psutil.Process]:
    library = _psutil()
    if library is None or not _HAS_GROUPS:
        return set()
    return {p for p in library.process_iter() if _in_group(p.pid, leader) and _runs(p)}


def _group_runs(leader: int) -> bool:
    """Whether a process of the group runs; without psutil a dead leader counts as running."""
    if _psutil() is not None:
        return bool(_group(leader))
    return _signal_group(leader, 0)


def _in_group(pid: int, leader: int) -> bool:
    if _HAS_GROUPS:
        with contextlib.suppress(OSError):
            return os.getpgid(pid) == leader
    return False


def _signal_group(leader: int, number: int) -> bool:
    """Sends a signal to the group (on Windows: ends the leader); False when there is none."""
    try:
        if _HAS_GROUPS:
            os.killpg(leader, number)
        else:
            os.kill(leader, number)
    except OSError:
        return False
    return True


def _end_all(processes: Iterable[psutil.Process], *, kill: bool) -> None:
    for process in processes:
        with contextlib.suppress(Exception):  # gone, or not ours: what still runs is told later
            process.kill() if kill else process.terminate()


def _running(processes: Iterable[psutil.Process]) -> list[psutil.Process]:
    return [process for process in processes if _runs(process)]


def _runs(process: psutil.Process) -> bool:
    library = _psutil()
    try:
        return process.is_running() and process.status() != library.STATUS_ZOMBIE
    except library.Error:
        return False


def _lines(told: dict[psutil.Process, str]) -> list[str]:
    left = _running(told)
    return sorted(f"{text}: {'still runs' if p in left else 'killed'}" for p, text in told.items())


def _describe(process: psutil.Process) -> str:
    """`pid command`, the command shortened."""
    try:
        command = " ".join(process.cmdline()) or process.name()
    except Exception:
        command = "(command unknown)"
    return f"{process.pid} {command[:200]}"


def _has_children() -> bool:
    """Whether this process has a child at all; True where that can't be told cheaply."""
    if not hasattr(os, "waitid"):
        return True
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return False
    return True
