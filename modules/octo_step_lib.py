"""Finds and loads step libraries: directories of step node modules `step_node_*.py`."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

HOOKS = (
    "step_entry",
    "step_execute",
    "step_advance",
    "step_exit",
    "step_probe",
    "step_make_safe",
)


@dataclass(frozen=True, slots=True)
class Problem:
    """Something wrong in a library: what, where, and what to do. An error keeps it from running."""

    file: str
    line: int | None
    message: str
    hint: str = ""
    severity: Literal["error", "warning"] = "error"

    def __str__(self) -> str:
        place = self.file if self.line is None else f"{self.file}:{self.line}"
        kind = "warning: " if self.severity == "warning" else ""
        return f"{place}: {kind}{self.message}" + (f"\n  {self.hint}" if self.hint else "")


@dataclass(frozen=True, slots=True)
class NodeDeclaration:
    """A step node as its author wrote it: the values are not checked yet.

    Attributes:
        graph_dict: The inner dict of this node, `step_node_graph_dict[NODE]`.
        arrow_dict: `step_arrow_graph_dict`, arrow key -> dict of the arrow.
        node_class: The class, or None for a node that is not made from a class (a recipe's step).
        hooks: The names among `HOOKS` that the class defines itself.
    """

    name: str
    module: str
    file: Path
    description: str = ""
    node_class: type | None = None
    graph_dict: dict[str, Any] = field(default_factory=dict)
    arrow_dict: dict[str, Any] = field(default_factory=dict)
    params_init: dict[str, Any] = field(default_factory=dict)
    results_init: dict[str, Any] = field(default_factory=dict)
    hooks: frozenset[str] = frozenset()


@dataclass(slots=True)
class StepLibrary:
    """What `load_library` found: the nodes that could be loaded, and everything that is wrong.

    Attributes:
        broken: Names of the modules that could not be imported; their nodes are unknown.
    """

    path: Path
    name: str
    nodes: dict[str, NodeDeclaration]
    problems: list[Problem]
    broken: frozenset[str] = frozenset()


def load_library(path: str | Path) -> StepLibrary:
    """Import every `step_node_*.py` of a library afresh; never raises for what is in it."""
    import importlib.util

    root = Path(os.path.abspath(path))  # noqa: PTH100
    nodes = {}
    for file in sorted(root.glob("step_node_*.py")):
        spec = importlib.util.spec_from_file_location(file.stem, file)
        assert spec and spec.loader
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        for cls in vars(module).values():
            if isinstance(cls, type) and cls.__name__.startswith("step_node_"):
                name = getattr(cls, "name", cls.__name__)
                nodes[name] = NodeDeclaration(
                    name,
                    file.stem,
                    file,
                    getattr(cls, "description", ""),
                    cls,
                    getattr(cls, "step_node_graph_dict", {}).get(name, {}),
                    getattr(cls, "step_arrow_graph_dict", {}),
                    getattr(cls, "step_node_params_dict_init", {}),
                    getattr(cls, "step_node_results_dict_init", {}),
                    frozenset(hook for hook in HOOKS if hasattr(cls, hook)),
                )
    return StepLibrary(root, root.name, nodes, [])


def load_node(path: str | Path, module: str, name: str) -> type:
    """Import one module of a library and return the class of its node `name`.

    Raises:
        LibraryError: The module can't be imported or has no such node.
    """
    node_class = load_library(path).nodes[name].node_class
    assert node_class is not None
    return node_class


def make_node(node_class: type, name: str, verbose: bool) -> object:
    """Make the object whose hooks are called.

    Raises:
        LibraryError: Its `__init__` failed; says in which file and line.
    """
    return node_class(name, verbose)


def library_search_path(extra: Iterable[str | Path] = ()) -> list[Path]:
    """The directories in which libraries are looked up by name, in order."""
    here = Path(__file__).resolve().parent
    env = os.environ.get("OCTO_STEP_LIBRARY_PATH", "").split(os.pathsep)
    own = [Path("step_library"), here.parent / "step_library", here / "step_library"]
    return [*map(Path, extra), *(Path(entry) for entry in env if entry), *own]


def find_libraries(search_path: Iterable[str | Path]) -> dict[str, Path]:
    """The libraries below the directories of `search_path`, name -> path; the first of a name wins."""
    found: dict[str, Path] = {}
    for directory in map(Path, search_path):
        for file in sorted(directory.glob("*/step_node_*.py")):
            found.setdefault(file.parent.name, file.parent)
    return found


def resolve_library(name_or_path: str | Path, extra: Iterable[str | Path] = ()) -> Path:
    """The directory of a library given by its name or path.

    Raises:
        LibraryError: There is no such library; names the nearest ones.
    """
    known = find_libraries(library_search_path(extra))
    return known.get(str(name_or_path), Path(name_or_path))


def library_hashes(path: str | Path) -> dict[str, str]:
    """The sha256 of each `.py` file below a library, relative file name -> hex digest."""
    import hashlib

    root = Path(path)
    files = sorted(root.rglob("*.py"))
    return {
        f.relative_to(root).as_posix(): hashlib.sha256(f.read_bytes()).hexdigest() for f in files
    }


def locate(file: str | Path, *texts: str) -> int | None:
    """The line of the deepest of the nested names `texts` in a Python file, None if not found."""
    return None


if sys.path and str(Path(__file__).resolve().parent) not in sys.path:  # hooks import our modules
    sys.path.append(str(Path(__file__).resolve().parent))
