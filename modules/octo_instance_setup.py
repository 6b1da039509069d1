"""Making an instance, loading what it runs, and beginning anew."""

from __future__ import annotations

import glob
import os
import shutil
import sys
from collections.abc import MutableMapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from octo_atomic_file import read_file, replace_file
from octo_errors import InstanceError, OctoError
from octo_instance_dir import InstanceDir
from octo_json_groups import fill_missing
from octo_lock import FileLock
from octo_lock_json import speed_up
from octo_parameter_schema import (
    ARMED_KEY,
    DEFAULT_PARAMETERS,
    FORMAT,
    FORMAT_KEY,
    GLOBAL_GROUP,
    LOCK_FILE_NAME,
    PARAMETER_FILE_NAME,
    REVISION_KEY,
)
from octo_parameter_store import chosen_timeout, parameter_file
from octo_step_lib import Problem
from octo_step_program import LibraryProgram, Program, load_program
from octo_typed_commands import INSTANCE_PROGRAM, PARAMETERS_PROGRAM, parameters_command

EVENT_FILES = ".octo_step_engine_events*.jsonl"
OTHER_FILES = (".octo_step_engine_context*.jsonl", "logs", "nested")
"""What else belongs to one run: the history of its context, output, runs within it."""
PIN_FILES = tuple(
    f".octo_step_engine_{what}.json" for what in ("library", "recipe.*", "code", "scriptlets")
)
"""What a run is made of, as its program keeps it."""
FIRST_REVISION = 1
"""Of the parameter file of a new instance, which is written once."""
MANY_GROUPS = 500
"""With fewer, to load what makes writes fast takes longer than to write and read them without."""
LAUNCHERS = (INSTANCE_PROGRAM, PARAMETERS_PROGRAM)


def create_instance(
    path: str | Path, library: str | Path, *, first: str | None = None
) -> tuple[InstanceDir, list[Problem]]:
    """Make an instance of a library, from its node `first` on.

    Returns:
        The instance, and the library's warnings.

    Raises:
        LibraryError: The library has errors; all of them are listed.
        InstanceError: There is an instance already, or the directory can't be written.
    """
    target = _free_place(path)
    program = LibraryProgram(Path(library).resolve(), first, target)
    return make_instance(target, program), program.warnings


def make_instance(path: str | Path, program: Program) -> InstanceDir:
    """Make an instance of a program: parameter file, pin and launchers, or nothing at all.

    Raises:
        InstanceError: There is an instance already, or the directory can't be written.
    """
    target = _free_place(path)
    try:
        _make_directory(target, program)
    except OSError as error:
        _free_place(target)  # another process may have come first
        raise _unusable(target, error) from error
    return InstanceDir(target)


def is_as_made(instance: InstanceDir) -> bool:
    """Whether nobody has changed an instance since it was made: its parameters, or by a run."""
    return bool(instance.parameters.read()[GLOBAL_GROUP].get(REVISION_KEY) == FIRST_REVISION)


def _free_place(path: str | Path) -> Path:
    """Where an instance can be made. A parameter file that was made there by itself can be used.

    Raises:
        ParameterFileError: There is one that can't be understood.
    """
    target = Path(path).absolute()
    try:
        has_parameters = os.path.lexists(target / PARAMETER_FILE_NAME)
        is_free = not target.exists() or target.is_dir()
    except OSError as error:
        raise _unusable(target, error) from error
    if has_parameters and InstanceDir(target).has_program():
        hint = "`run` starts it, `reset` puts its state away and begins anew"
        raise InstanceError(f"{target} is an instance already", hint=hint)
    if not is_free:
        raise InstanceError(f"{target} exists, and is no directory", hint="choose another name")
    return target


def _unusable(target: Path, error: OSError) -> InstanceError:
    return InstanceError(
        f"{target}: can't be made: {error.strerror or error}",
        hint="choose a directory that you may write to",
    )


def reset_instance(instance: InstanceDir, program: Program | None = None) -> Path:
    """Put state, events and logs into a new directory under `archive/`, and begin anew.

    With what the instance runs already, or with another program. What the old run was made of is
    copied there: the new one may be made of the same.

    The caller holds the run lock, and has made safe what was armed. A kill in the middle leaves the
    old state or the new one, and nothing is deleted.

    Returns:
        The directory in the archive.

    Raises:
        InstanceError: A node is still armed.
        LibraryError: The library has errors; all of them are listed.
    """
    armed = instance.parameters.read()[GLOBAL_GROUP].get(ARMED_KEY)
    if armed and isinstance(armed, list):
        raise still_armed(instance, armed)
    program = load_program(instance) if program is None else program
    archive = _new_archive(instance.path)
    with instance.parameters.transaction() as data:
        shutil.copy2(instance.path / PARAMETER_FILE_NAME, archive / PARAMETER_FILE_NAME)
        for pin in (file for pattern in PIN_FILES for file in instance.path.glob(pattern)):
            replace_file(str(archive / pin.name), *read_file(str(pin)), sync=False)
        program.pin(instance.path)  # before the parameter file names it
        # In this order (the log's current file, then the oldest one, ...) what is left has no gap.
        of_run = sorted(instance.path.glob(EVENT_FILES), reverse=True)
        of_run += [file for pattern in OTHER_FILES for file in instance.path.glob(pattern)]
        for old in of_run:
            old.rename(archive / old.name)
        revision = data[GLOBAL_GROUP].get(REVISION_KEY, 0)
        data.clear()
        fill_missing(data, DEFAULT_PARAMETERS)
        _begin(data, instance.path, program)
        data[GLOBAL_GROUP][REVISION_KEY] = revision
    return archive


def still_armed(instance: InstanceDir, armed: Sequence[object], why: str = "") -> InstanceError:
    """The error that nodes are armed, so that nothing is reset; `why` they can't be made safe."""
    empty = parameters_command(instance.path, GLOBAL_GROUP, ARMED_KEY, "[]")
    reason = f", and can't be made safe: {why}" if why else ""
    return InstanceError(
        f"{instance.path} is not reset: still armed: {', '.join(map(str, armed))}{reason}",
        hint=f"make it safe by hand, then empty the list: {empty}",
    )


def _begin(data: MutableMapping[str, Any], path: Path, program: Program) -> None:
    """Let a parameter file that has all defaults be that of an instance of `program` at `path`.

    What the nodes begin with is added where it is missing.
    """
    data[GLOBAL_GROUP]["step_engine_instance_path"] = str(path)
    data[GLOBAL_GROUP][FORMAT_KEY] = FORMAT
    program.identify(data)
    program.add_missing(data)


def _make_directory(target: Path, program: Program) -> None:
    """Build the instance beside its place and move it there, so that a failure leaves nothing."""
    for left in target.parent.glob(f".{glob.escape(target.name)}.*.new"):
        if not _is_of_other_process(left):
            shutil.rmtree(left, ignore_errors=True)
    building = target.with_name(f".{target.name}.{os.getpid()}.new")
    building.mkdir(parents=True)
    try:
        for name in LAUNCHERS:
            replace_file(str(building / name), _launcher(name), None, sync=False)
            mode = (building / name).stat().st_mode
            (building / name).chmod(mode | (mode & 0o444) >> 2)  # who may read it may run it
        program.pin(building)
        if target.exists():
            _move_in(building, target, program)
        else:
            _write_parameters(building, target, program)
            building.rename(target)
    finally:
        with suppress(OSError):  # not all are ignored by that
            shutil.rmtree(building, ignore_errors=True)


def _write_parameters(building: Path, target: Path, program: Program) -> None:
    """Write the parameter file of what will be at `target`, or add to the one that is there."""
    parameters = parameter_file(str(building / PARAMETER_FILE_NAME), str(building / LOCK_FILE_NAME))
    with parameters.transaction() as data:
        _begin(data, target, program)
        if len(data) > MANY_GROUPS:
            speed_up()
    parameters.close()  # Windows renames no directory in which a file is open


def _move_in(building: Path, target: Path, program: Program) -> None:
    """Move what was built into the user's own directory, which stays as it is besides.

    The parameter file, which makes it an instance, comes last; one that is there is added to.
    Whoever else makes an instance there, or only that file, waits until then.
    """
    file = target / PARAMETER_FILE_NAME
    with FileLock(target / LOCK_FILE_NAME, chosen_timeout(None)) as lock:
        try:
            _free_place(target)
            is_new = not os.path.lexists(file)
            if not is_new:
                replace_file(str(building / file.name), *read_file(str(file)), sync=False)
            _write_parameters(building, target, program)
            (building / LOCK_FILE_NAME).unlink()
            names = sorted(each.name for each in building.iterdir() if each.name != file.name)
            for name in [*names, file.name]:
                replaced = not is_new and name.startswith(file.name)
                if not replaced and _is_in_the_way(target / name, building / name):
                    raise InstanceError(f"{target} has a file {name} already", hint="move it away")
            for name in [*names, file.name]:
                (building / name).replace(target / name)
        except (OSError, OctoError):
            if not os.path.lexists(file):
                Path(lock.path).unlink(missing_ok=True)
            raise


def _is_of_other_process(building: Path) -> bool:
    """Whether a process that still lives builds there; else a killed one has left it."""
    number = building.suffixes[-2].removeprefix(".")
    if os.name != "posix" or not number.isdecimal() or int(number) == os.getpid():
        return False
    try:
        os.kill(int(number), 0)  # sends nothing
    except PermissionError:
        return True
    except (ProcessLookupError, OverflowError):
        return False
    return True


def _is_in_the_way(there: Path, ours: Path) -> bool:
    """Whether something else than the same file lies there, which a killed process has left."""
    try:
        return os.path.lexists(there) and read_file(str(there))[0] != ours.read_bytes()
    except OSError:
        return True


def _launcher(name: str) -> bytes:
    template = Path(__file__).with_name("octo_launcher.py").read_text(encoding="utf-8")
    script = Path(__file__).resolve().with_name(name)
    text = template.replace('"@PYTHON@"', repr(sys.executable)).replace(
        '"@SCRIPT@"', repr(str(script))
    )
    return text.encode()


def _new_archive(path: Path) -> Path:
    stamp = datetime.now(UTC).strftime("%Y-%m-%dT%H%M%S.%fZ")
    archive = path / "archive" / stamp
    archive.mkdir(parents=True)
    return archive
