#!/usr/bin/env python3
"""Turns a workflow in WfFormat (WfCommons, 1.4 or 1.5) into a recipe that takes its time.

The recipe has a step for each task, which depends on the task's parents and waits as long as the
task ran, scaled down: the shape and the proportions of a real workflow, without its programs.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain, count
from pathlib import Path
from typing import Any
from unicodedata import category

if __name__ == "__main__":
    PROJECT = Path(__file__).resolve().parent.parent
    sys.path[:0] = [str(PROJECT / "modules"), str(PROJECT)]

from octo_atomic_file import write_whole
from octo_command_parser import Parser
from octo_errors import OctoError, RecipeError, UsageError, did_you_mean
from octo_exit_code import exit_code_of
from octo_step_problem import Problem, shown
from orchestrator.dependency_graph import find_cycle
from orchestrator.recipe_check import RESERVED
from orchestrator.recipe_document import recipe_error

SCALE = 0.01
LONGEST_S = 1e9
"""No task ran longer: what says so is no run time."""
MOST_PROBLEMS = 50
"""As many are told."""


@dataclass(frozen=True, slots=True)
class Task:
    """A task of a workflow: its id, those of its parents, and how many seconds it ran."""

    id: str
    parents: tuple[str, ...]
    runtime: float


@dataclass(frozen=True, slots=True)
class Workflow:
    """A workflow: its name, and its tasks in the order of the file."""

    name: str
    tasks: tuple[Task, ...]

    @property
    def runtime(self) -> float:
        """The seconds of all tasks together."""
        return sum(task.runtime for task in self.tasks)


def read_workflow(path: Path) -> Workflow:
    """The workflow of a file.

    Raises:
        RecipeError: It can't be read, or is no sound WfFormat; tells all that is wrong.
    """
    try:
        document = json.loads(path.read_bytes())
    except OSError as error:
        raise RecipeError(f"{path}: can't be read: {error.strerror or error}") from error
    except json.JSONDecodeError as error:
        problem = Problem(
            *(str(path), error.lineno, f"is no JSON: {error.msg}", "WfFormat is JSON"),
            column=error.colno,
        )
        raise recipe_error([problem]) from error
    except (ValueError, RecursionError) as error:
        raise RecipeError(f"{path}: is no JSON: {error}", hint="WfFormat is JSON") from error
    return _Reader(str(path), document).workflow()


def recipe_text(workflow: Workflow, scale: float) -> str:
    """The recipe, as YAML, of a workflow whose run times are taken times `scale`."""
    return "\n".join(_recipe_lines(workflow, scale)) + "\n"


def step_names(ids: Iterable[str]) -> dict[str, str]:
    """The step's name for each id: the id itself where it can be one, else what is nearest to it.

    Ids are told apart by names, too.
    """
    wanted = {each: "".join(c if _is_plain(c) else "_" for c in each) for each in ids}
    names = {each: name for each, name in wanted.items() if each == name and name not in RESERVED}
    taken = RESERVED | names.keys()
    for each, name in wanted.items():
        if each not in names:
            numbered = (f"{name}_{number}" for number in count(2))
            free = next(one for one in chain([name], numbered) if one not in taken)
            names[each] = free
            taken.add(free)
    return names


def _is_plain(character: str) -> bool:
    return character.isalnum() or character in "_.-"


def _recipe_lines(workflow: Workflow, scale: float) -> Iterator[str]:
    names = step_names(task.id for task in workflow.tasks)
    facts = f"{len(workflow.tasks)} tasks that ran {workflow.runtime:.6g} s, times {scale:.6g}"
    yield "metadata:"
    yield f"  name: {_quoted(workflow.name)}"
    yield f"  description: {_quoted(facts)}"
    yield "steps:"
    for task in workflow.tasks:
        yield f"  - name: {_quoted(names[task.id])}"
        yield "    module: time"
        yield "    function: sleep"
        yield f"    args: [{_number(task.runtime * scale)}]"
        if task.parents:
            yield f"    depends_on: [{', '.join(_quoted(names[each]) for each in task.parents)}]"


def _quoted(text: str) -> str:
    """A text in YAML: in double quotes, and without what a recipe can't show."""
    return f'"{"".join(map(_escaped, text))}"'


def _escaped(character: str) -> str:
    if character in '"\\':
        return f"\\{character}"
    if character.isprintable():
        return character
    is_refused = category(character) in ("Cc", "Cs")  # controls, and what UTF-8 can't hold
    return "\ufffd" if is_refused else f"\\U{ord(character):08x}"


def _number(seconds: float) -> str:
    """To the microsecond, without needless zeros."""
    return f"{seconds:.6f}".rstrip("0").rstrip(".")


# --- reading --------------------------------------------------------------------------------------


class _Reader:
    """Reads a document and tells everything that is wrong with it at once."""

    def __init__(self, file: str, document: Any) -> None:
        self._file, self._document = file, document
        self._problems: list[Problem] = []

    def workflow(self) -> Workflow:
        specified = self._tasks("specification")
        executed = self._tasks("execution")
        parents = {id: self._parents(id, task, specified) for id, task in specified.items()}
        runtimes = {id: self._runtime(id, executed) for id in specified}
        if not (self._problems or specified):
            self._tell("the workflow has no tasks")
        if not self._problems and (circle := find_cycle(parents)):
            self._tell(f"tasks depend on each other: {' -> '.join(circle)}")
        if self._problems:
            raise self._error()
        name = self._document.get("name")
        return Workflow(
            name if isinstance(name, str) and name.strip() else Path(self._file).stem,
            tuple(Task(id, parents[id], runtimes[id]) for id in specified),
        )

    def _tasks(self, part: str) -> dict[str, dict[str, Any]]:
        """The tasks of `workflow.<part>` by id."""
        place = f"workflow.{part}.tasks"
        tasks = self._list(place)
        found: dict[str, dict[str, Any]] = {}
        for number, task in enumerate(tasks):
            id = task.get("id") if isinstance(task, dict) else None
            if not (isinstance(id, str) and id):
                has = "no id" if id in (None, "") else f"an id that is no text: {id!r}"
                self._tell(f"{place}[{number}] has {has}", "each task is a mapping with an id")
            elif id in found:
                self._tell(f"{place}[{number}]: there is a task {id!r} already")
            else:
                found[id] = task
        return found

    def _list(self, place: str) -> list[Any]:
        value = self._document
        for key in place.split("."):
            value = value.get(key) if isinstance(value, dict) else None
        if isinstance(value, list):
            return value
        version = self._document.get("schemaVersion") if isinstance(self._document, dict) else None
        said = f"; its schemaVersion is {version}" if isinstance(version, str) else ""
        self._tell(f"is no WfFormat 1.4 or 1.5: there is no list {place}{said}")
        return []

    def _parents(
        self, id: str, task: Mapping[str, Any], tasks: Mapping[str, Any]
    ) -> tuple[str, ...]:
        parents = task.get("parents")
        if not (isinstance(parents, list) and all(isinstance(each, str) for each in parents)):
            self._tell(f"task {id!r}: its parents are no list of ids")
            return ()
        for each in parents:
            if each not in tasks:
                hint = did_you_mean(each, tasks) if len(self._problems) < MOST_PROBLEMS else ""
                self._tell(f"task {id!r}: its parent {each!r} is no task", hint)
        return tuple(dict.fromkeys(parents))

    def _runtime(self, id: str, executed: Mapping[str, Mapping[str, Any]]) -> float:
        runtime: Any = executed.get(id, {}).get("runtimeInSeconds")
        is_number = isinstance(runtime, int | float) and not isinstance(runtime, bool)
        if is_number and 0 <= runtime <= LONGEST_S:
            return float(runtime)
        if runtime is None:
            self._tell(f"task {id!r}: workflow.execution.tasks has no runtimeInSeconds for it")
        else:
            expected = "must be a number of seconds, 0 or more"
            self._tell(f"task {id!r}: runtimeInSeconds {expected}, and is {shown(runtime)}")
        return 0.0

    def _tell(self, message: str, hint: str = "") -> None:
        self._problems.append(Problem(self._file, None, message, hint))

    def _error(self) -> RecipeError:
        told, more = self._problems[:MOST_PROBLEMS], len(self._problems) - MOST_PROBLEMS
        if more > 0:
            told.append(Problem(self._file, None, f"... and {more} more problems"))
        return recipe_error(told)


# --- the command line -----------------------------------------------------------------------------


def get_parser() -> Parser:
    """The command line."""
    parser = Parser(
        prog="wfinstance_to_recipe.py",
        description=__doc__,
        epilog="exit codes: 0; 1 the recipe can't be written; 2 usage, or a file with problems",
    )
    parser.add_argument("file", metavar="FILE", type=Path, help="the workflow, as JSON")
    parser.add_argument(
        "-o", "--output", metavar="OUT", type=Path, help="the recipe's file (default: stdout)"
    )
    size = parser.add_mutually_exclusive_group()
    size.add_argument(
        "--scale",
        metavar="X",
        type=_positive,
        default=SCALE,
        help=f"how long a step waits, in run times of its task (default: {SCALE})",
    )
    size.add_argument(
        "--total-seconds",
        metavar="S",
        type=_positive,
        help="choose the scale so that all steps together wait so long",
    )
    return parser


def _positive(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0 < number <= LONGEST_S:
        raise argparse.ArgumentTypeError(f"must be a number above 0, and is {text!r}")
    return number


def main() -> int:
    """Return the exit code."""
    return exit_code_of(lambda: _convert(get_parser().parse_words(sys.argv[1:])))


def _convert(arguments: argparse.Namespace) -> int:
    workflow = read_workflow(arguments.file)
    scale: float = arguments.scale
    if arguments.total_seconds is not None:
        if not workflow.runtime:
            raise UsageError(
                f"{arguments.file}: its tasks took no time, so no scale makes them last",
                hint="leave --total-seconds out",
            )
        scale = arguments.total_seconds / workflow.runtime
    _write(recipe_text(workflow, scale).encode(), arguments.output)
    return 0


def _write(data: bytes, output: Path | None) -> None:
    if output is None:
        sys.stdout.buffer.write(data)
        return
    try:
        write_whole(str(output), data)
    except OSError as error:
        raise OctoError(f"{output}: can't be written: {error.strerror}") from error


if __name__ == "__main__":
    sys.exit(main())
