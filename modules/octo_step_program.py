"""What an instance runs: a graph, and where the objects of its nodes come from.

An instance is made of a step library, or of something else that compiles to a graph: its parameter
file says which kind of program it has, and `KINDS` who loads that.
"""

from __future__ import annotations

import sys
from collections.abc import Collection, MutableMapping
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

from octo_errors import InstanceError, did_you_mean
from octo_graph_checks import library_error, library_graph
from octo_instance_dir import InstanceDir
from octo_library_pin import changed_files, pin_library
from octo_parameter_schema import GLOBAL_GROUP, PROGRAM_KEY
from octo_step_graph import StepGraph
from octo_step_hooks import LibrarySource, NodeSource
from octo_step_lib import Problem, load_library

KINDS = {"recipe": "orchestrator.recipe_program", "scriptlets": "scriptlets.steps"}
"""The module that loads each kind but a library, with `load_program(instance, verbose=False)`.

It is imported by name: what compiles to a graph stands on the engine, not the engine on it.
"""


class Program(Protocol):
    """What the engine has to know of what it runs.

    Attributes:
        graph: The nodes and arrows.
        source: Where the objects of the nodes come from.
        directory: The working directory of the hooks.
        warnings: What is doubtful about it.
        executor: Where its hooks are to run, unless the user says otherwise.
        workers: How many of them at once; None leaves it to the executor.
    """

    graph: StepGraph
    source: NodeSource
    directory: Path
    warnings: list[Problem]
    executor: str
    workers: int | None

    def identify(self, data: MutableMapping[str, Any]) -> None:
        """Put into the parameter file of a new instance what `load_program` has to know."""
        ...

    def add_missing(self, data: MutableMapping[str, Any]) -> None:
        """Add the groups and keys to the parameter file that it wants there, where missing."""
        ...

    def pin(self, instance: Path) -> None:
        """Remember in the directory `instance` what the run that begins now is made of."""
        ...

    def changes(self, instance: Path) -> list[str]:
        """What is not as it was when it was pinned, by name."""
        ...

    def require_ready(self) -> None:
        """Do nothing if all is there that a run needs; raises OctoError if something is missing."""
        ...

    def heed_requests(self, nodes: Collection[str]) -> bool:
        """Whether any of these nodes, which are at work, can rest or end before it is done."""
        ...

    def pass_on(self, request: str, nodes: Collection[str]) -> None:
        """The run is asked to rest, or to end (PAUSE_REQUEST, STOP_REQUEST): ask those nodes, too.

        It is called again and again until they are done: a node may have just begun.
        """
        ...


class LibraryProgram:
    """A step library; `first` is the node to begin at, None leaves that to the library.

    Raises:
        LibraryError: The library has errors; all of them are listed.
    """

    executor = "serial"
    workers: int | None = None

    def __init__(
        self, library: Path, first: str | None, directory: Path, verbose: bool = False
    ) -> None:
        loaded = load_library(library)
        graph, problems = library_graph(loaded, first=first)
        if graph is None:
            raise library_error(library, problems)
        self.graph = graph
        self.warnings = problems
        self.directory = directory
        self.source: NodeSource = LibrarySource(
            loaded.path, {name: node.module for name, node in graph.nodes.items()}, verbose
        )
        self._library = loaded

    def identify(self, data: MutableMapping[str, Any]) -> None:  # noqa: D102  (told above)
        first = self.graph.nodes[self.graph.first]
        data[GLOBAL_GROUP].update(
            step_engine_library_path=str(self._library.path),
            first_step_module=first.module,
            first_step_node=first.name,
        )

    def add_missing(self, data: MutableMapping[str, Any]) -> None:  # noqa: D102
        for node in self._library.nodes.values():
            for init in (node.params_init, node.results_init):
                for group, values in init.items():
                    present = data.setdefault(group, {})
                    for key, value in values.items():
                        present.setdefault(key, value)

    def pin(self, instance: Path) -> None:  # noqa: D102
        pin_library(instance, self._library.path)

    def changes(self, instance: Path) -> list[str]:  # noqa: D102
        return changed_files(instance, self._library.path)

    def require_ready(self) -> None:  # noqa: D102
        pass

    def heed_requests(self, nodes: Collection[str]) -> bool:  # noqa: D102
        return False

    def pass_on(self, request: str, nodes: Collection[str]) -> None:  # noqa: D102
        pass


def load_program(instance: InstanceDir, *, verbose: bool = False) -> Program:
    """What the instance runs, as its parameter file says.

    Raises:
        InstanceError: What it was made of is not where the instance says.
        LibraryError: The library has errors; all of them are listed.
    """
    kind = instance.parameters.read()[GLOBAL_GROUP].get(PROGRAM_KEY, "library")
    if kind == "library":
        return LibraryProgram(
            instance.library_path(), instance.first_node(), instance.path, verbose
        )
    if kind not in KINDS:
        raise InstanceError(
            f"{instance.path}: {GLOBAL_GROUP}.{PROGRAM_KEY}: unknown {kind!r}",
            hint=did_you_mean(str(kind), ["library", *KINDS]),
        )
    project = Path(__file__).resolve().parent.parent
    for folder in (str(project), str(project / "orchestrator" / "packages")):
        if folder not in sys.path:
            sys.path.append(folder)
    loader = import_module(KINDS[kind])
    return loader.load_program(instance, verbose=verbose)  # type: ignore[no-any-return]
