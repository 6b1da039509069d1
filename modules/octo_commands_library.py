"""The commands about libraries: `list`, `validate`, `new-library`, and `create`, which uses one."""

from __future__ import annotations

import sys
from argparse import Namespace
from collections.abc import Iterable
from pathlib import Path

from octo_errors import LibraryError, UsageError, count
from octo_graph_checks import library_graph
from octo_instance_dir import InstanceDir, is_instance
from octo_instance_setup import create_instance
from octo_library_template import make_library
from octo_parameter_schema import GLOBAL_GROUP, PROGRAM_KEY
from octo_shown_text import one_line
from octo_step_graph import StepGraph
from octo_step_lib import find_libraries, library_search_path, load_library, resolve_library
from octo_step_problem import Problem
from octo_step_program import load_program
from octo_step_states import RunState
from octo_typed_commands import INSTANCE_PROGRAM, launcher_command, program_command


def list(arguments: Namespace) -> int:
    """The libraries found, their nodes, and what is wrong with them."""
    extra = [arguments.library_path] if arguments.library_path else []
    for directory in extra:
        if not Path(directory).is_dir():
            raise UsageError(f"--library-path {directory}: no such directory")
    searched = library_search_path(extra)
    found = find_libraries(searched)
    for name, path in found.items():
        _say(f"{name}  ({path})")
        library = load_library(path)
        width = max((len(node) for node in library.nodes), default=0)
        for node in library.nodes.values():
            _say(f"  {node.name:<{width}}  {one_line(node.description)}".rstrip())
        for problem in library_graph(library)[1]:
            _say("  " + str(problem).replace("\n", "\n  "))
    if not found:
        _say("no step libraries in: " + ", ".join(map(str, searched)))
    return 0


def validate(arguments: Namespace) -> int:
    """Every problem of a library; of an instance, also whether its state fits its library."""
    target = arguments.library or arguments.instance
    instance = None
    first = None
    if not arguments.library and is_instance(target):
        instance = InstanceDir(target)
        if instance.parameters.read()[GLOBAL_GROUP].get(PROGRAM_KEY, "library") != "library":
            return _validate_program(instance, target)
        path = instance.library_path()
        first = instance.first_node()
    else:
        path = resolve_library(target)
    graph, problems = library_graph(load_library(path), first=first)
    _warn(problems)
    if graph is None:
        errors = sum(problem.severity == "error" for problem in problems)
        raise LibraryError(f"{path} has {count(errors, 'error')}")
    if instance is not None:
        RunState.load(instance.parameters.read(), graph)
    _say(f"{target} is valid: {_summary(graph, len(problems))}")
    return 0


def _validate_program(instance: InstanceDir, target: str) -> int:
    """Whether what the instance was made of is there, and its state fits."""
    graph = load_program(instance).graph
    RunState.load(instance.parameters.read(), graph)
    _say(f"{target} is valid: {count(len(graph.nodes), 'step')}")
    return 0


def new_library(arguments: Namespace) -> int:
    """Make a library to start from."""
    name = arguments.name
    plain = Path(name).name == name and name not in (".", "..")
    path = Path("step_library", name) if plain else Path(name)
    for file in make_library(path):
        _say(f"made {file}")
    command = ["create", f"step_instances/{path.name}", "--library", str(path)]
    _say(f"try it: {program_command(INSTANCE_PROGRAM, *command)}")
    return 0


def create(arguments: Namespace) -> int:
    """Make an instance of a library."""
    library = resolve_library(arguments.library)
    instance, warnings = create_instance(arguments.path, library, first=arguments.first)
    _warn(warnings)
    _say(f"created {arguments.path} from {library}; its first node is {instance.first_node()}")
    _say(f"run it: {launcher_command(instance.path)} run")
    return 0


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")


def _warn(problems: Iterable[Problem]) -> None:
    for problem in problems:
        sys.stderr.write(f"{problem}\n")


def _summary(graph: StepGraph, warnings: int) -> str:
    arrows = sum(len(node.arrows) for node in graph.nodes.values())
    counts = [count(len(graph.nodes), "node"), count(arrows, "arrow"), f"first {graph.first}"]
    return ", ".join([*counts, count(warnings, "warning")] if warnings else counts)
