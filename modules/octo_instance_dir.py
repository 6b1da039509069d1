"""An instance's directory: what lies in it, how it is made and reset, and who may run it.

.octo_step_engine_parameters.json   the state (octo_step_engine_parameters)
.octo_step_engine_events.jsonl      the event log (octo_step_events)
.octo_step_engine_library.json      the pin: a hash of each file of the library
.octo_step_engine_run.lock          held while an engine runs
.octo_step_engine_run.json          who that engine is
logs/                               the output of the hooks
archive/<UTC time>/                 what `reset` put away
octo_step_instance.py, octo_step_engine_parameters.py    launchers
"""

from __future__ import annotations

import os
import shutil
import socket
import sys
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson

from octo_errors import EngineBusyError, InstanceError, LockTimeoutError, OctoError, did_you_mean
from octo_lock_json import FileLock, LockedJsonFile, held_here
from octo_parameter_schema import FORMAT, FORMAT_KEY
from octo_parameter_store import require_known_format
from octo_step_engine_parameters import (
    GLOBAL_GROUP,
    PARAMETER_FILE_NAME,
    octo_step_engine_parameters,
    open_parameters,
)
from octo_step_graph import StepGraph, library_error, library_graph
from octo_step_lib import Problem, StepLibrary, library_hashes, load_library

PIN_FILE_NAME = ".octo_step_engine_library.json"
RUN_LOCK_FILE_NAME = ".octo_step_engine_run.lock"
RUNNER_FILE_NAME = ".octo_step_engine_run.json"
EVENT_FILES = ".octo_step_engine_events*.jsonl"
LAUNCHERS = ("octo_step_instance.py", "octo_step_engine_parameters.py")


@dataclass(frozen=True, slots=True)
class Runner:
    """The process that runs an instance."""

    pid: int
    host: str
    command: str
    since: str

    def __str__(self) -> str:
        return f"pid {self.pid} on {self.host} ({self.command}), since {self.since}"


class InstanceDir:
    """The directory of one instance. Cheap to make: it reads the parameter file, and no other.

    Raises:
        InstanceError: `path` is no directory, has no parameter file, or a newer version made it.
        ParameterFileError: The parameter file can't be read or understood.
    """

    def __init__(self, path: str | Path, *, durability: str | None = None) -> None:
        self.path = Path(path).resolve()
        if not self.path.is_dir():
            raise _no_instance(self.path, "no such directory")
        if not (self.path / PARAMETER_FILE_NAME).exists():
            raise _no_instance(self.path, "not an instance: it has no parameter file")
        self.parameters: LockedJsonFile = open_parameters(self.path, durability=durability)
        require_known_format(self.parameters.read(), str(self.path))

    @property
    def logs(self) -> Path:
        """Where the output of the hooks is kept."""
        return self.path / "logs"

    def library_path(self) -> Path:
        """The library this instance was made from, as its parameter file says.

        Raises:
            InstanceError: There is no such directory any more.
        """
        named = self.parameters.read()[GLOBAL_GROUP].get("step_engine_library_path", "")
        path = Path(named)
        if named and path.is_dir():
            return path
        raise InstanceError(
            f"{self.path}: its step library {named or '(none)'} is not there",
            hint="put it back, or tell where it is: octo_step_engine_parameters.py"
            f" {self.path} {GLOBAL_GROUP} step_engine_library_path /path/to/library",
        )

    def load(self) -> tuple[StepLibrary, StepGraph, list[Problem]]:
        """The library, its graph from the first node that the instance was made with, warnings.

        Raises:
            LibraryError: The library has errors; all of them are listed.
        """
        first = self.parameters.read()[GLOBAL_GROUP].get("first_step_node") or None
        return _load(self.library_path(), first)

    # --- the pin ---

    def changed_files(self, library: Path) -> list[str]:
        """Files of the library that are not as they were when they were pinned."""
        try:
            pinned = orjson.loads((self.path / PIN_FILE_NAME).read_bytes())["files"]
            now = library_hashes(library)
            return sorted(name for name in pinned | now if pinned.get(name) != now.get(name))
        except FileNotFoundError:
            return []
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise InstanceError(
                f"{self.path / PIN_FILE_NAME}: can't be read: {error}",
                hint="remove it to go on with the library as it is now",
            ) from error

    def pin(self, library: Path) -> None:
        """Remember the library's files as they are now."""
        _write(self.path / PIN_FILE_NAME, _pin(library))

    # --- who runs it ---

    @contextmanager
    def run_lock(self) -> Iterator[None]:
        """Be the one engine of this instance for the length of the block.

        The system frees the lock when the process ends, however it ends.

        Raises:
            EngineBusyError: Another engine runs this instance; the message says which.
        """
        lock = FileLock(self.path / RUN_LOCK_FILE_NAME)
        try:
            lock.acquire(timeout=0.5)  # `runner` of another process may have it for an instant
        except LockTimeoutError:
            raise EngineBusyError(
                f"{self.path} is run by another engine: {self.runner() or 'it has just ended'}",
                hint="wait for it, or make it rest: octo_step_instance.py pause",
            ) from None
        try:
            _write(self.path / RUNNER_FILE_NAME, _myself())
            yield
        finally:
            (self.path / RUNNER_FILE_NAME).unlink(missing_ok=True)
            lock.release()

    def runner(self) -> Runner | None:
        """The process that runs this instance now, or None."""
        lock_file = self.path / RUN_LOCK_FILE_NAME
        if not lock_file.exists():
            return None
        if not held_here(lock_file):
            lock = FileLock(lock_file)
            try:
                lock.acquire(timeout=0)
            except LockTimeoutError:
                pass
            else:
                lock.release()
                return None
        try:
            return Runner(**orjson.loads((self.path / RUNNER_FILE_NAME).read_bytes()))
        except (OSError, ValueError, TypeError):  # it has the lock, and is about to write the file
            return Runner(0, "?", "starting", "now")


def create_instance(
    path: str | Path, library: str | Path, *, first: str | None = None
) -> tuple[InstanceDir, list[Problem]]:
    """Make an instance of a library: parameter file, pin and launchers, or nothing at all.

    Returns:
        The instance, and the library's warnings.

    Raises:
        LibraryError: The library has errors; all of them are listed.
        InstanceError: There is an instance already, or the directory can't be written.
    """
    target = Path(path).absolute()
    if (target / PARAMETER_FILE_NAME).exists():
        raise InstanceError(
            f"{target} is an instance already",
            hint="`run` starts it, `reset` puts its state away and begins anew",
        )
    if target.exists() and not target.is_dir():
        raise InstanceError(f"{target} exists, and is no directory", hint="choose another name")
    library_dir = Path(library).resolve()
    loaded, graph, warnings = _load(library_dir, first)
    try:
        _make_directory(target, library_dir, loaded, graph)
    except OSError as error:
        raise InstanceError(
            f"{target}: can't be made: {error.strerror or error}",
            hint="choose a directory that you may write to",
        ) from error
    return InstanceDir(target), warnings


def reset_instance(instance: InstanceDir) -> Path:
    """Put state, events and logs into a new directory under `archive/`, and begin anew.

    The caller holds the run lock. A kill in the middle leaves the old state or the new one, and
    nothing is deleted.

    Returns:
        The directory in the archive.
    """
    library = instance.library_path()
    first = instance.parameters.read()[GLOBAL_GROUP].get("first_step_node") or None
    loaded, graph, _ = _load(library, first)
    archive = _new_archive(instance.path)
    shutil.copy2(instance.path / PARAMETER_FILE_NAME, archive / PARAMETER_FILE_NAME)
    for old in [*instance.path.glob(EVENT_FILES), instance.logs]:
        if old.exists():
            old.rename(archive / old.name)
    with instance.parameters.transaction() as data:
        revision = data[GLOBAL_GROUP].get("parameter_revision", 0)
        data.clear()
        data.update(_initial_parameters(instance.path, library, loaded, graph))
        data[GLOBAL_GROUP]["parameter_revision"] = revision
    instance.pin(library)
    return archive


def merge_missing(data: MutableMapping[str, Any], library: StepLibrary) -> None:
    """Add the groups and keys that the nodes ask for and the parameter file doesn't have yet."""
    for node in library.nodes.values():
        for init in (node.params_init, node.results_init):
            for group, values in init.items():
                present = data.setdefault(group, {})
                for key, value in values.items():
                    present.setdefault(key, value)


def _load(library: Path, first: str | None) -> tuple[StepLibrary, StepGraph, list[Problem]]:
    loaded = load_library(library)
    graph, problems = library_graph(loaded, first=first)
    if graph is None:
        raise library_error(library, problems)
    return loaded, graph, problems


def _initial_parameters(
    path: Path, library: Path, loaded: StepLibrary, graph: StepGraph
) -> dict[str, Any]:
    data: dict[str, Any] = octo_step_engine_parameters().get_default_param_dict()
    data[GLOBAL_GROUP].update(
        step_engine_library_path=str(library),
        step_engine_instance_path=str(path),
        first_step_module=graph.nodes[graph.first].module,
        first_step_node=graph.first,
    )
    data[GLOBAL_GROUP][FORMAT_KEY] = FORMAT
    merge_missing(data, loaded)
    return data


def _make_directory(target: Path, library: Path, loaded: StepLibrary, graph: StepGraph) -> None:
    """Build the instance beside its place and move it there, so that a failure leaves nothing."""
    building = target.with_name(f".{target.name}.{os.getpid()}.new")
    building.mkdir(parents=True)
    try:
        for name in LAUNCHERS:
            _write(building / name, _launcher(name))
            mode = (building / name).stat().st_mode
            (building / name).chmod(mode | (mode & 0o444) >> 2)  # who may read it may run it
        _write(building / PIN_FILE_NAME, _pin(library))
        with open_parameters(building).transaction() as data:
            data.update(_initial_parameters(target, library, loaded, graph))
        if not target.exists():
            building.rename(target)
            return
        # The user's own directory stays as it is; the parameter file, which makes it an instance,
        # comes last.
        names = [*LAUNCHERS, PIN_FILE_NAME, PARAMETER_FILE_NAME]
        clash = [name for name in names if (target / name).exists()]
        if clash:
            raise InstanceError(f"{target} has a file {clash[0]} already", hint="move it away")
        for name in names:
            (building / name).rename(target / name)
    finally:
        shutil.rmtree(building, ignore_errors=True)


def _launcher(name: str) -> bytes:
    template = Path(__file__).with_name("octo_launcher.py").read_text(encoding="utf-8")
    script = Path(__file__).resolve().with_name(name)
    text = template.replace('"@PYTHON@"', repr(sys.executable)).replace(
        '"@SCRIPT@"', repr(str(script))
    )
    return text.encode()


def _pin(library: Path) -> bytes:
    pin = {"format": 1, "library": str(library), "files": library_hashes(library)}
    return orjson.dumps(pin, option=orjson.OPT_INDENT_2)


def _myself() -> bytes:
    return orjson.dumps(
        {
            "pid": os.getpid(),
            "host": socket.gethostname(),
            "command": " ".join(sys.argv),
            "since": datetime.now(UTC).isoformat(timespec="seconds"),
        }
    )


def _write(path: Path, content: bytes) -> None:
    """Write a small file whole, or leave what was there."""
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_bytes(content)
    temporary.replace(path)


def _new_archive(path: Path) -> Path:
    stamp = datetime.now(UTC).strftime("%Y-%m-%dT%H%M%S.%fZ")
    archive = path / "archive" / stamp
    archive.mkdir(parents=True)
    return archive


def _no_instance(path: Path, what: str) -> OctoError:
    siblings = path.parent.glob(f"*/{PARAMETER_FILE_NAME}") if path.parent.is_dir() else []
    near = did_you_mean(path.name, [file.parent.name for file in siblings])
    make = "make one: octo_step_instance.py create INSTANCE --library LIBRARY"
    return InstanceError(f"{path}: {what}", hint=f"{near}\n  or {make}" if near else make)
