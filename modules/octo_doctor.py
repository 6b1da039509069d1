"""Examines a directory for `doctor`: what it can do, who is at work there, what state it holds.

Nothing that was there is changed, nothing of the user's code is imported.
"""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from octo_atomic_file import read_file
from octo_directory_trials import (
    TRIAL_PREFIX,
    FileSystem,
    Finding,
    Guarantee,
    Verdict,
    file_system_of,
    guarantees_of,
    try_directory,
)
from octo_errors import InstanceError, LockFileError, LockTimeoutError, OctoError, count
from octo_instance_dir import InstanceDir, last_runner, runner_of
from octo_json_groups import GroupsText
from octo_json_strict import JsonTextError
from octo_library_pin import PIN_FILE_NAME, changed_files
from octo_lock import FileLock, is_locked
from octo_lock_json import moment
from octo_parameter_schema import (
    FORMAT_KEY,
    GLOBAL_GROUP,
    LOCK_FILE_NAME,
    PARAMETER_FILE_NAME,
    PROGRAM_KEY,
    REVISION_KEY,
)
from octo_spare_file import SPARE_SUFFIX
from octo_step_events import EVENT_FILE_NAME, read_events
from octo_step_processes import command_and_start
from octo_step_program import load_program
from octo_step_states import RunState
from octo_typed_commands import parameters_command

LEFTOVERS = (".octo_step_engine_*.tmp", f".octo_step_engine_*{SPARE_SUFFIX}", f"{TRIAL_PREFIX}*")
HELD_TOO_LONG_S = 1.0  # a parameter lock is held for milliseconds


@dataclass(frozen=True, slots=True)
class Holder:
    """A process that holds a lock; empty texts where the system doesn't tell."""

    pid: int
    host: str
    command: str
    since: str

    def __str__(self) -> str:
        command = f" ({self.command})" if self.command else ""
        return f"pid {self.pid} on {self.host}{command}" + (
            f", since {self.since}" if self.since else ""
        )


@dataclass(slots=True)
class Report:
    """All that was found."""

    directory: str
    file_system: FileSystem
    trials: list[Finding]
    guarantees: list[Guarantee]
    parameter_lock: Holder | None = None
    run_lock: Holder | None = None
    locks: list[Finding] = field(default_factory=list)
    state: list[Finding] = field(default_factory=list)

    @property
    def wrong(self) -> list[Finding]:
        """What somebody has to mend."""
        findings = [*self.trials, *self.locks, *self.state]
        return [finding for finding in findings if finding.verdict == "wrong"]

    def as_dict(self) -> dict[str, Any]:
        """For `--json`."""
        return {"sound": not self.wrong, **asdict(self)}


def examine(directory: Path) -> Report:
    """Try what the directory can do, and look at what lies there.

    Raises:
        InstanceError: There is no such directory.
    """
    path = directory.resolve()
    if not path.is_dir():
        raise InstanceError(f"{path}: no such directory", hint="name one, or go there")
    file_system = file_system_of(path)
    trials = [*try_directory(path, file_system)]
    report = Report(str(path), file_system, trials, guarantees_of(file_system, trials))
    _look_at_locks(path, report)
    report.state += _state(path)
    return report


# --- who is at work -------------------------------------------------------------------------------


def _look_at_locks(path: Path, report: Report) -> None:
    """Both locks, without making a lock file; a free one is taken for an instant."""
    try:
        runner = runner_of(path)
        report.run_lock = None if runner is None else Holder(**runner._asdict())
        report.locks.append(_run_lock(path, report.run_lock))
        report.locks.append(_look_at_parameter_lock(path / LOCK_FILE_NAME, report))
    except LockFileError as error:
        verdict: Verdict = "note" if _is_forbidden(error) else "wrong"
        report.locks.append(Finding("locks", verdict, error.message, error.hint))


def _is_forbidden(error: LockFileError) -> bool:
    """Is it that this user, or nobody, may write there, and no fault of the lock file?"""
    return error.details.get("errno") in (errno.EACCES, errno.EPERM, errno.EROFS)


def _run_lock(path: Path, holder: Holder | None) -> Finding:
    if holder is not None:
        return Finding("run lock", "ok", f"held by {holder}")
    last = last_runner(path)
    if last is None:
        return Finding("run lock", "ok", "free")
    if last.host != socket.gethostname():
        hint = "look there whether it still runs; if not, `run` here goes on"
        return Finding("run lock", "wrong", f"free, but an engine was started: {last}", hint)
    return Finding("run lock", "note", f"free; the engine was killed: {last}", "`run` goes on")


def _look_at_parameter_lock(lock_file: Path, report: Report) -> Finding:
    try:
        report.parameter_lock = _holder_of(lock_file, report.run_lock)
    except LockFileError as error:
        if not _is_forbidden(error):
            raise
        if not is_locked(lock_file):
            return Finding("parameter lock", "ok", "free")
        hint = "who may write here can find out who holds it, and whether for too long"
        return Finding("parameter lock", "note", "held at this moment", hint)
    return _parameter_lock(report.parameter_lock)


def _parameter_lock(holder: Holder | None) -> Finding:
    if holder is None:
        return Finding("parameter lock", "ok", "free")
    hint = f"writers wait for it; if it hangs, end it: kill {holder.pid}" if holder.pid else ""
    text = f"held for more than {HELD_TOO_LONG_S:g} s by {holder}"
    return Finding("parameter lock", "wrong", text, hint)


def _holder_of(lock_file: Path, runner: Holder | None) -> Holder | None:
    if not os.path.lexists(lock_file):
        return None
    lock = FileLock(lock_file)
    try:
        lock.acquire(HELD_TOO_LONG_S)
    except LockTimeoutError as error:
        pid = error.details.get("holder_pid") or 0
        if runner is not None and runner.pid == pid:
            return runner
        command, started = command_and_start(pid) if pid else ("", "")
        return Holder(pid, socket.gethostname() if pid else "an unknown host", command, started)
    lock.release()
    return None


# --- what lies there ------------------------------------------------------------------------------


def _state(path: Path) -> Iterator[Finding]:
    if os.path.lexists(path / PARAMETER_FILE_NAME):
        yield from _instance(path)
    elif any(path.glob(".octo_step_engine_*.json*")):
        hint = f"put the safety copy back: {parameters_command(path, '--repair')}"
        yield Finding("parameter file", "wrong", "it is gone, other files are there", hint)
    else:
        yield Finding("instance", "note", "none here")
    left = sorted(file.name for pattern in LEFTOVERS for file in path.glob(pattern))
    if left:
        hint = "harmless: of what was killed or is at work; the next write removes *.tmp, *.spare"
        yield Finding("leftovers", "note", ", ".join(left), hint)


def _instance(path: Path) -> Iterator[Finding]:
    try:
        instance = InstanceDir(path)
    except OctoError as error:
        yield Finding("parameter file", "wrong", error.message, error.hint)
    else:
        yield _parameters(instance)
        yield _safety_copy(instance)
        yield _pin(instance)
    yield _event_log(path)


def _parameters(instance: InstanceDir) -> Finding:
    """Whether it says where the run stands, as far as that can be told without the library."""
    data = instance.parameters.read()
    shared = data[GLOBAL_GROUP]
    try:
        RunState.read(data, by_dependency=PROGRAM_KEY in shared)
        instance.first_node()
    except InstanceError as error:
        return Finding("parameter file", "wrong", error.message, error.hint)
    revision = f"revision {shared.get(REVISION_KEY, 0)}, format {shared.get(FORMAT_KEY, 1)}"
    return Finding("parameter file", "ok", revision)


def _safety_copy(instance: InstanceDir) -> Finding:
    try:
        data, status = read_file(instance.parameters.safety_copy)
        GroupsText.of(data)
    except FileNotFoundError:
        return Finding("safety copy", "ok", "none: needed with durability `process` only")
    except (OSError, JsonTextError) as error:
        return Finding("safety copy", "note", f"no good one: {error}", "the next write renews it")
    return Finding("safety copy", "ok", f"of {moment(status.st_mtime)}")


def _pin(instance: InstanceDir) -> Finding:
    """Whether what it runs is as it was when the run began."""
    if instance.parameters.read()[GLOBAL_GROUP].get(PROGRAM_KEY):
        return _program(instance)
    try:
        library = instance.library_path()
        changed = changed_files(instance.path, library)
    except OctoError as error:
        return Finding("library", "wrong", error.message, error.hint)
    if not (instance.path / PIN_FILE_NAME).exists():
        return Finding("library", "note", f"{library}; its pin is gone", "`run` makes a new one")
    if changed:
        hint = "`run` says so and goes on, `run --strict` refuses"
        return Finding(
            "library", "note", f"changed since the run began: {', '.join(changed)}", hint
        )
    return Finding("library", "ok", f"{library}, as it was when the run began")


def _program(instance: InstanceDir) -> Finding:
    """The same of what is no library."""
    kind = str(instance.parameters.read()[GLOBAL_GROUP][PROGRAM_KEY])
    try:
        changed = load_program(instance).changes(instance.path)
    except OctoError as error:
        return Finding(kind, "wrong", error.message, error.hint)
    if changed:
        return Finding(kind, "note", f"changed since the run began: {', '.join(changed)}")
    return Finding(kind, "ok", "as it was when the run began")


def _event_log(path: Path) -> Finding:
    try:
        events = count(sum(1 for _ in read_events(path)), "event")
        log = path / EVENT_FILE_NAME
        torn = log.exists() and not (log.read_bytes()[-1:] or b"\n").endswith(b"\n")
    except (OctoError, OSError) as error:
        hint = error.hint if isinstance(error, OctoError) else ""
        message = error.message if isinstance(error, OctoError) else str(error)
        return Finding("event log", "wrong", message, hint)
    if torn:
        hint = "the next `run` cuts it off and says so"
        return Finding("event log", "note", f"{events}, and a torn last line", hint)
    return Finding("event log", "ok", f"{events}, no gap")


# --- telling --------------------------------------------------------------------------------------


def report_lines(report: Report) -> Iterator[str]:
    """The report for people."""
    wrong = len(report.wrong)
    many = "1 thing is" if wrong == 1 else f"{wrong} things are"
    yield f"{report.directory}: {f'{many} wrong' if wrong else 'sound'}"
    for title, findings in (
        ("what it can do, tried just now", report.trials),
        ("locks", report.locks),
        ("state", report.state),
    ):
        yield f"{title}:"
        for each in findings:
            mark = "" if each.verdict == "ok" else f"{each.verdict.upper()}: "
            yield f"  {each.subject:<15} {mark}{each.text}"
            yield from (f"  {'':<15} {line.strip()}" for line in each.hint.splitlines())
    yield "guarantees (docs/guarantees.md):"
    for promise in report.guarantees:
        holds = "holds" if promise.holds else "DOES NOT HOLD"
        yield f"  {promise.name:<15} {holds}: {promise.text}"
