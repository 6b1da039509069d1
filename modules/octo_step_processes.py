"""The processes that a step started: how they are found, ended, and named to the user.

A worker process leads a process group of its own, and carries `MARK` with a value of its own in its
environment. So what a hook started is found although it left the group (`setsid`) or its parent has
ended (a daemon): by group, by descent, or by the mark that it inherited. On Windows there are no
groups: there by descent and mark only. What hooks of the engine's own process started carries
`RUN_MARK`, so that it is found when that engine was killed.

psutil is imported when it is used: most runs end nothing, and a worker has to start fast.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import psutil

MARK: Final = "OCTO_STEP_WORKER"
RUN_MARK: Final = "OCTO_STEP_ENGINE"
"""In the environment of all that hooks start: the directory of the instance."""
GRACE_S: Final = 2.0

_LOOK_EVERY_S: Final = 0.02
_KILL_ROUNDS: Final = 5
_HAS_GROUPS: Final = hasattr(os, "killpg")
_SIGKILL: Final = getattr(signal, "SIGKILL", signal.SIGTERM)  # Windows: TerminateProcess both


def end_group(leader: int, mark: str, *, tell_group: bool) -> list[str]:
    """Ends all that a worker and its hooks started: SIGTERM, and SIGKILL after `GRACE_S`.

    The leader must not have been reaped, or its number may be another's by now. Returns a line for
    each process that had left the group; with `tell_group` for each member but the leader too.
    """
    try:
        return _end_group(leader, mark, tell_group)
    except Exception as exc:  # where processes can't be listed, the group at least is ended
        _signal_group(leader, _SIGKILL)
        return [f"{leader}: the processes that it started could not be looked for: {exc}"]


def kill_own_group() -> None:
    """Kills this worker process, its group, and what left the group; does not return."""
    try:
        _end_all(_strays(os.getpid(), os.environ.get(MARK, "")), kill=True)
    finally:
        _signal_group(os.getpid(), _SIGKILL)


def own_descendants() -> set[psutil.Process]:
    """The running processes that descend from this one; one system call where there are none."""
    if hasattr(os, "waitid"):
        try:
            os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except ChildProcessError:
            return set()
    import psutil

    return set(_running(psutil.Process().children(recursive=True)))


@contextlib.contextmanager
def marked(instance: Path) -> Iterator[None]:
    """What this process starts in the block is known as a child of a hook of the instance."""
    before = os.environ.get(RUN_MARK)
    os.environ[RUN_MARK] = str(instance)
    try:
        yield
    finally:
        if before is None:
            del os.environ[RUN_MARK]
        else:
            os.environ[RUN_MARK] = before


def outlived(instance: Path) -> list[str]:
    """A line for each running process that hooks of this instance's engines, now gone, started.

    Workers and what is theirs end by themselves when their engine is gone; this waits for that, so
    that no hook is performed beside itself.
    """
    import psutil

    ours = {psutil.Process(), *psutil.Process().parents()}
    left: set[psutil.Process] = set()
    ending: set[psutil.Process] = set()
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):  # gone, or another user's
            environment = process.environ()
            if environment.get(RUN_MARK) == str(instance) and process not in ours:
                (ending if MARK in environment else left).add(process)
    deadline = time.monotonic() + GRACE_S
    while _running(ending) and time.monotonic() < deadline:
        time.sleep(_LOOK_EVERY_S)
    return still_running(left | ending)


def wait_for_end(pid: int) -> None:
    """Returns when a process has ended that need not be a child of this one."""
    import psutil

    with contextlib.suppress(psutil.Error):
        psutil.Process(pid).wait()


def command_and_start(pid: int) -> tuple[str, str]:
    """The command line of a process, and when it began (UTC, ISO 8601); empty where not known."""
    import psutil

    try:
        process = psutil.Process(pid)
        began = datetime.fromtimestamp(process.create_time(), UTC)
        return " ".join(process.cmdline())[:200], began.isoformat(timespec="seconds")
    except psutil.Error:
        return "", ""


def still_running(processes: Iterable[psutil.Process]) -> list[str]:
    """A line for each of the processes that runs."""
    return _lines({process: _describe(process) for process in _running(processes)})


def _end_group(leader: int, mark: str, tell_group: bool) -> list[str]:
    told = {process: _describe(process) for process in _strays(leader, mark)}
    if tell_group:
        told |= {p: _describe(p) for p in _group(leader) if p.pid != leader}
    _signal_group(leader, signal.SIGTERM)
    _end_all(told, kill=False)
    deadline = time.monotonic() + GRACE_S
    while time.monotonic() < deadline and (_group(leader) or _running(told)):
        time.sleep(_LOOK_EVERY_S)
    for _ in range(_KILL_ROUNDS):  # a process may start another one while it is being killed
        told |= {process: _describe(process) for process in _strays(leader, mark)}
        _signal_group(leader, _SIGKILL)
        _end_all(told, kill=True)
        if not _group(leader) and not _running(told):
            break
        time.sleep(_LOOK_EVERY_S)
    return _lines(told)


def _strays(leader: int, mark: str) -> set[psutil.Process]:
    """The running processes that a worker's hooks started and that are not in its group."""
    import psutil

    found: set[psutil.Process] = set()
    with contextlib.suppress(psutil.Error):
        found.update(psutil.Process(leader).children(recursive=True))
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):  # gone, or another user's
            if process.environ().get(MARK) == mark:
                found.add(process)
    return {p for p in found if p.pid != leader and not _in_group(p.pid, leader) and _runs(p)}


def _group(leader: int) -> set[psutil.Process]:
    """The running processes of the group."""
    import psutil

    if not _HAS_GROUPS:
        return {p for p in psutil.process_iter() if p.pid == leader}
    return {p for p in psutil.process_iter() if _in_group(p.pid, leader) and _runs(p)}


def _in_group(pid: int, leader: int) -> bool:
    if _HAS_GROUPS:
        with contextlib.suppress(OSError):
            return os.getpgid(pid) == leader
    return False


def _signal_group(leader: int, number: int) -> None:
    with contextlib.suppress(OSError):  # nothing is left of it
        if _HAS_GROUPS:
            os.killpg(leader, number)
        else:
            os.kill(leader, number)


def _end_all(processes: Iterable[psutil.Process], *, kill: bool) -> None:
    import psutil

    for process in processes:
        with contextlib.suppress(psutil.Error):  # gone, or not ours: what still runs is told later
            process.kill() if kill else process.terminate()


def _running(processes: Iterable[psutil.Process]) -> list[psutil.Process]:
    return [process for process in processes if _runs(process)]


def _runs(process: psutil.Process) -> bool:
    import psutil

    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def _lines(told: dict[psutil.Process, str]) -> list[str]:
    left = _running(told)
    return sorted(f"{text}: {'still runs' if p in left else 'killed'}" for p, text in told.items())


def _describe(process: psutil.Process) -> str:
    """`pid command`, the command shortened."""
    import psutil

    try:
        command = " ".join(process.cmdline()) or process.name()
    except psutil.Error:
        command = "(command unknown)"
    return f"{process.pid} {command[:200]}"
