"""An instance's directory: what lies in it, and who runs it. Loads next to nothing.

.octo_step_engine_parameters.json   the state (octo_step_engine_parameters)
.octo_step_engine_events.jsonl      the event log (octo_step_events)
.octo_step_engine_library.json      a hash of each file of the library (octo_library_pin)
.octo_step_engine_run.lock          held while an engine runs
.octo_step_engine_run.json          who that engine is
logs/                               the output of the hooks (octo_step_output)
archive/<UTC time>/                 what `reset` put away (octo_instance_setup)
octo_step_instance.py, octo_step_engine_parameters.py    launchers
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple  # `dataclasses` is slow to load, and `status` starts with this

from octo_atomic_file import read_file, replace_file
from octo_errors import (
    EngineBusyError,
    InstanceError,
    InstanceFileError,
    LockTimeoutError,
    OctoError,
    file_error,
    near_names,
)
from octo_lock import FileLock, is_locked
from octo_lock_json import LockedJsonFile
from octo_parameter_schema import GLOBAL_GROUP, LOCK_FILE_NAME, PARAMETER_FILE_NAME, PROGRAM_KEY
from octo_parameter_store import parameter_file, require_known_format
from octo_typed_commands import (
    INSTANCE_PROGRAM,
    instance_command,
    parameters_command,
    path_from_here,
    program_command,
)

RUN_LOCK_FILE_NAME = ".octo_step_engine_run.lock"
RUNNER_FILE_NAME = ".octo_step_engine_run.json"

PAUSE_REQUEST = "pause_request_bool"
STOP_REQUEST = "stop_request_bool"
JUMP_REQUEST = "jump_request_node"
REQUESTS = (PAUSE_REQUEST, STOP_REQUEST, JUMP_REQUEST)
"""Keys of `global_parameters` with which a running engine is steered; it takes them out."""


class Runner(NamedTuple):
    """The process that runs an instance."""

    pid: int
    host: str
    command: str
    since: str

    def __str__(self) -> str:
        return f"pid {self.pid} on {self.host} ({self.command}), since {self.since}"


def is_instance(path: str | Path) -> bool:
    """Whether there is an instance at `path`: a directory is one that has a parameter file."""
    return Path(path, PARAMETER_FILE_NAME).exists()


class InstanceDir:
    """The directory of one instance. Cheap to make: it reads the parameter file, and no other.

    Raises:
        InstanceError: `path` is no directory, has no parameter file, or a newer version made it.
        InstanceFileError: It can't be found out whether it is an instance.
        ParameterFileError: The parameter file can't be read or understood.
    """

    _is_held = False
    """Whether it is the one that `run_lock` has yielded, and its block goes on."""

    def __init__(self, path: str | Path, *, durability: str | None = None) -> None:
        self.path = Path(path).resolve()
        try:
            if not self.path.is_dir():
                raise _no_instance(self.path, "no such directory")
            if not is_instance(self.path):
                raise _no_instance(self.path, "not an instance: it has no parameter file")
        except OSError as error:
            raise _unusable(self.path, error) from error
        self.parameters: LockedJsonFile = parameter_file(
            str(self.path / PARAMETER_FILE_NAME),
            str(self.path / LOCK_FILE_NAME),
            durability=durability,
        )
        require_known_format(self.parameters.read(), str(self.path))

    @property
    def logs(self) -> Path:
        """Where the output of the hooks is kept."""
        return self.path / "logs"

    def has_program(self) -> bool:
        """Whether there is something to run; not where a parameter file was made by itself."""
        shared = self.parameters.read()[GLOBAL_GROUP]
        named = shared.get("step_engine_library_path") or shared.get(PROGRAM_KEY)
        return bool(named) or (self.path / INSTANCE_PROGRAM).exists()

    def library_path(self) -> Path:
        """The library this instance was made from, as its parameter file says.

        Raises:
            InstanceError: There is no such directory any more, or what is there is no text.
        """
        named = self._text("step_engine_library_path")
        path = Path(named)
        if named and path.is_dir():
            return path
        if not self.has_program():
            words = ("create", path_from_here(self.path), "--library", "LIBRARY")
            make = f"make it one: {program_command(INSTANCE_PROGRAM, *words)}"
            raise InstanceError(f"{self.path} is an instance of no step library", hint=make)
        raise InstanceError(
            f"{self.path}: its step library {named or '(none)'} is not there",
            hint="put it back, or tell where it is: "
            + self._put("step_engine_library_path", "/path/to/library"),
        )

    def first_node(self) -> str | None:
        """The node that the instance was made to begin with; None leaves it to the library.

        Raises:
            InstanceError: What is there is no text.
        """
        return self._text("first_step_node") or None

    def _text(self, key: str) -> str:
        value = self.parameters.read()[GLOBAL_GROUP].get(key, "")
        if isinstance(value, str):
            return value
        raise InstanceError(
            f"{self.path}: {GLOBAL_GROUP}.{key}: {value!r} is no text",
            hint=f"put it right: {self._put(key, '--string', 'VALUE')}",
        )

    def _put(self, key: str, *words: str) -> str:
        return parameters_command(self.path, GLOBAL_GROUP, key, *words)

    @contextmanager
    def run_lock(self) -> Iterator[InstanceDir]:
        """Be the one engine of this instance for the length of the block.

        The system frees the lock when the process ends, however it ends.

        Yields:
            The instance, for what is done in the block: there, its own `run_lock` is had already.

        Raises:
            EngineBusyError: Another engine runs this instance; the message says which.
            InstanceFileError: What the block does to files fails, and nothing else tells of it.
        """
        if self._is_held:
            yield self
            return
        lock = FileLock(self.path / RUN_LOCK_FILE_NAME)
        try:
            lock.acquire(timeout=0.5)  # see `is_locked`: a look may take it for an instant
        except LockTimeoutError:
            raise EngineBusyError(
                f"{self.path} is run by another engine: {self.runner() or 'it has just ended'}",
                hint=f"wait for it, or make it rest: {instance_command(self.path, 'pause')}",
            ) from None
        from copy import copy  # who only looks doesn't pay for it

        held = copy(self)
        held._is_held = True
        try:
            replace_file(str(self.path / RUNNER_FILE_NAME), _myself(), None, sync=False)
            yield held
        except OSError as error:
            raise _unusable(self.path, error) from error
        finally:
            held._is_held = False
            with suppress(OSError):  # who has the lock counts, not who is said to
                (self.path / RUNNER_FILE_NAME).unlink()
            lock.release()

    def runner(self) -> Runner | None:
        """The process that runs this instance now, or None."""
        return runner_of(self.path)


def runner_of(path: Path) -> Runner | None:
    """The process that runs the instance at `path` now, or None; its state may be unreadable."""
    lock_file = path / RUN_LOCK_FILE_NAME
    if not (lock_file.exists() and is_locked(lock_file)):
        return None
    # Without a name: it has the lock, and is about to write the file.
    return last_runner(path) or Runner(0, "?", "starting", "now")


def last_runner(path: Path) -> Runner | None:
    """The engine of the instance at `path` that runs, or that did not end by itself."""
    import json

    try:
        return Runner(**json.loads(read_file(str(path / RUNNER_FILE_NAME))[0]))
    except (OSError, ValueError, TypeError, RecursionError):
        return None


def _myself() -> bytes:
    import json
    import socket

    runner = {
        "pid": os.getpid(),
        "host": socket.gethostname(),
        "command": " ".join(sys.argv),
        "since": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    return json.dumps(runner).encode()


def _unusable(path: Path, error: OSError) -> OctoError:
    return file_error(InstanceFileError, str(path), "used", error)


def _no_instance(path: Path, what: str) -> OctoError:
    create = ("create", "INSTANCE", "--library", "LIBRARY")
    make = f"make one: {program_command(INSTANCE_PROGRAM, *create)}"
    others = _other_instances(path)
    return InstanceError(f"{path}: {what}", hint=f"{others}\nor {make}" if others else make)


def _other_instances(path: Path) -> str:
    """The hint that names those that may be meant: those in the directory, else those beside it."""
    inside = _instances_in(path)
    places = inside or _instances_in(path.parent)
    near = [] if inside else near_names(path.name, places)
    if near:
        return f"did you mean {' or '.join(repr(places[name]) for name in near)}?"
    return f"there are: {', '.join(places.values())}" if 0 < len(places) <= 12 else ""


def _instances_in(directory: Path) -> dict[str, str]:
    """The instances in a directory: their names, and their paths as seen from here."""
    files = sorted(directory.glob(f"*/{PARAMETER_FILE_NAME}")) if directory.is_dir() else []
    return {file.parent.name: path_from_here(file.parent) for file in files}
