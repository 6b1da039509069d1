"""Making an instance, loading what it runs, and beginning anew."""

from __future__ import annotations

import glob
import os
import shutil
import sys
from collections.abc import MutableMapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from octo_atomic_file import replace_file
from octo_errors import InstanceError
from octo_instance_dir import InstanceDir
from octo_library_pin import PIN_FILE_NAME, pin_library
from octo_parameter_schema import (
    ARMED_KEY,
    FORMAT,
    FORMAT_KEY,
    GLOBAL_GROUP,
    PARAMETER_FILE_NAME,
    REVISION_KEY,
)
from octo_step_engine_parameters import octo_step_engine_parameters, open_parameters
from octo_step_graph import StepGraph, library_error, library_graph
from octo_step_lib import Problem, StepLibrary, load_library

EVENT_FILES = ".octo_step_engine_events*.jsonl"
LAUNCHERS = ("octo_step_instance.py", "octo_step_engine_parameters.py")


def load_instance(instance: InstanceDir) -> tuple[StepLibrary, StepGraph, list[Problem]]:
    """The library, its graph from the first node that the instance was made with, warnings.

    Raises:
        InstanceError: The library is not where the instance says.
        LibraryError: The library has errors; all of them are listed.
    """
    return _load(instance.library_path(), instance.first_node())


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
        raise InstanceError(
            f"{instance.path} is not reset: still armed: {', '.join(map(str, armed))}",
            hint="make it safe by hand, then empty the list: octo_step_engine_parameters.py"
            f" {instance.path} {GLOBAL_GROUP} {ARMED_KEY} []",
        )
    library = instance.library_path()
    loaded, graph, _ = _load(library, instance.first_node())
    archive = _new_archive(instance.path)
    shutil.copy2(instance.path / PARAMETER_FILE_NAME, archive / PARAMETER_FILE_NAME)
    # In this order (the log's current file, then the oldest one, ...) what is left has no gap.
    for old in [*sorted(instance.path.glob(EVENT_FILES), reverse=True), instance.logs]:
        if old.exists():
            old.rename(archive / old.name)
    with instance.parameters.transaction() as data:
        revision = data[GLOBAL_GROUP].get(REVISION_KEY, 0)
        data.clear()
        data.update(_initial_parameters(instance.path, library, loaded, graph))
        data[GLOBAL_GROUP][REVISION_KEY] = revision
    pin_library(instance.path, library)
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
    # What a killed process has left goes. Of two that make the same instance, the latter goes on.
    for abandoned in target.parent.glob(f".{glob.escape(target.name)}.*.new"):
        shutil.rmtree(abandoned, ignore_errors=True)
    building = target.with_name(f".{target.name}.{os.getpid()}.new")
    building.mkdir(parents=True)
    try:
        for name in LAUNCHERS:
            replace_file(str(building / name), _launcher(name), None, sync=False)
            mode = (building / name).stat().st_mode
            (building / name).chmod(mode | (mode & 0o444) >> 2)  # who may read it may run it
        pin_library(building, library)
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


def _new_archive(path: Path) -> Path:
    stamp = datetime.now(UTC).strftime("%Y-%m-%dT%H%M%S.%fZ")
    archive = path / "archive" / stamp
    archive.mkdir(parents=True)
    return archive
