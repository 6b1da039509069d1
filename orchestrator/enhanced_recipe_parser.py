#!/usr/bin/env python3
"""The command line of recipe files: `enhanced_recipe_parser.py validate|compile|schema|graph`.

A command's modules are loaded when it is carried out, so that `--help` starts fast.
"""

from __future__ import annotations

import os
import sys

if sys.version_info < (3, 11):  # noqa: UP036  (by whatever python3 there is)
    sys.exit(f"enhanced_recipe_parser.py needs Python 3.11 or newer; {sys.executable} is older")

if not __package__:  # started as a script: its directory isn't to be searched, the project is
    sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.realpath(__file__))))  # noqa: PTH120
    from orchestrator.search_path import open_project

    open_project()

from octo_command_parser import Commands, Parser, choice, one_of
from octo_errors import UsageError, count
from octo_exit_code import exit_code_of
from octo_step_grammar import FORMATS
from octo_typed_commands import recipe_command, run_recipe_command
from orchestrator.command_line import as_json

TYPE_CHECKING = False  # as in typing, which is slow to load
if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Callable, Sequence
    from pathlib import Path
    from typing import Any

    from orchestrator.recipe_check import CheckedRecipe
    from orchestrator.recipe_document import Problem

__all__ = ["compile_recipe", "get_parser", "main", "parse_recipe"]

EXIT_CODES = """\
exit codes:
  0    the recipe is valid, or the command did its work
  1    a file can't be written, or a picture can't be drawn here
  2    usage, or a recipe or scriptlets with problems
  130  interrupted
"""
RUN_HINT = "a recipe is run by another program: octo-recipe-run FILE (orchestrator/runner.py)"
SCHEMA_LINE = "# yaml-language-server: $schema="
"""With the schema's file or address after it, the first line of a recipe for editors."""

# --- for programs ---------------------------------------------------------------------------------


def parse_recipe(path: str | Path, working_directory: str | Path = ".") -> CheckedRecipe:
    """Read and check a recipe: what it says, and all that is wrong with it, as `problems`.

    Raises:
        RecipeError: The file can't be read, or is no YAML.
    """
    from orchestrator.recipe_check import check_recipe

    return check_recipe(path, working_directory)


def compile_recipe(path: str | Path, working_directory: str | Path = ".") -> dict[str, Any]:
    """Compile a recipe; see `orchestrator.recipe_compiler.compile_recipe`."""
    from orchestrator import recipe_compiler

    return recipe_compiler.compile_recipe(path, working_directory)


# --- the commands ---------------------------------------------------------------------------------


def _validate(arguments: Namespace) -> int:
    """Tell every problem of each file; exit code 2 if there is one."""
    reports = [_report(file) for file in arguments.files]
    if arguments.json:
        files = [
            {"file": file, "valid": not problems, "steps": steps, "problems": _as_dicts(problems)}
            for file, steps, problems in reports
        ]
        sys.stdout.write(as_json({"files": files}))
    for file, steps, problems in () if arguments.json else reports:
        sys.stderr.writelines(f"{problem}\n" for problem in problems)
        if problems:
            sys.stderr.write(f"{file} has {count(len(problems), 'problem')}\n")
        else:
            sys.stdout.write(f"{file} is valid: {count(steps, 'step')}\n")
    return 2 if any(problems for _, _, problems in reports) else 0


def _report(file: str) -> tuple[str, int, list[Problem]]:
    """A file, the number of its steps, its problems."""
    from octo_errors import RecipeError
    from orchestrator.recipe_document import in_order

    try:
        checked = parse_recipe(file)
    except RecipeError as error:
        return file, 0, list(error.details["problems"])
    steps = 0 if checked.recipe is None else len(checked.recipe.steps)
    return file, steps, in_order(checked.problems)


def _as_dicts(problems: Sequence[Problem]) -> list[dict[str, Any]]:
    from dataclasses import asdict

    return [asdict(problem) for problem in problems]


def _compile(arguments: Namespace) -> int:
    """Write the compiled recipe."""
    return _write_json(compile_recipe(arguments.file), arguments.output)


def _schema(arguments: Namespace) -> int:
    """Write the JSON Schema."""
    from orchestrator.recipe_model import json_schema

    return _write_json(json_schema(), arguments.output)


def _write_json(value: dict[str, Any], output: str) -> int:
    text = as_json(value)
    if output == "-":
        sys.stdout.write(text)
        return 0
    from octo_atomic_file import write_whole

    write_whole(output, text.encode(errors="backslashreplace"))  # as on stdout
    return 0


def _graph(arguments: Namespace) -> int:
    """Draw the graph."""
    from pathlib import Path

    from octo_graph_steps import draw, file_suffix, write_graph
    from orchestrator.recipe_program import recipe_graph

    compiled = compile_recipe(arguments.file)
    steps, form = recipe_graph(compiled), arguments.format or ""
    if arguments.output == "-":
        sys.stdout.buffer.write(draw(steps, form or "svg", title=compiled["name"]))
        return 0
    beside = Path(arguments.file).with_suffix(f".{file_suffix(form or 'svg')}")
    file = Path(arguments.output or beside)
    write_graph(file, steps, format=form, title=compiled["name"])
    sys.stdout.write(f"drawn: {file}\n")
    return 0


def _scriptlets(arguments: Namespace) -> int:
    """List the scriptlets that are known; exit code 2 if some can't be."""
    from scriptlets.listing import as_text, described, known_scriptlets
    from scriptlets.registry import registry

    problems = known_scriptlets(arguments.folder, registry)
    entries = registry.list(arguments.category)
    if arguments.json:
        found = {"scriptlets": [described(each) for each in entries], "problems": problems}
        sys.stdout.write(as_json(found))
    else:
        none = "" if problems else "none; name a folder that has some\n"
        sys.stdout.write(as_text(entries) or none)
        sys.stderr.writelines(f"{problem}\n" for problem in problems)
    return 2 if problems else 0


# --- the grammar ----------------------------------------------------------------------------------


def _validate_options(command: Parser) -> None:
    command.add_argument("files", nargs="+", metavar="FILE", help="a recipe")
    command.add_argument("--json", action="store_true", help="as one JSON object")


def _compile_options(command: Parser) -> None:
    command.add_argument("file", metavar="FILE", help="a recipe")
    _output_option(command)


def _output_option(command: Parser) -> None:
    command.add_argument(
        "-o", "--output", metavar="FILE", default="-", help="default: stdout, which is `-`"
    )


def _graph_options(command: Parser) -> None:
    command.add_argument("file", metavar="FILE", help="a recipe")
    command.add_argument(
        "-o", "--output", metavar="FILE", help="`-` is stdout (default: beside the recipe)"
    )
    command.add_argument(
        "--format",
        type=one_of(FORMATS),
        metavar=choice(FORMATS),
        help="default: what the file's name ends in, or svg",
    )


def _scriptlets_options(command: Parser) -> None:
    command.add_argument("folder", nargs="?", metavar="FOLDER", help="with scriptlets in its files")
    command.add_argument("--category", metavar="NAME", help="only those of this category")
    command.add_argument("--json", action="store_true", help="as one JSON object")


COMMANDS: dict[str, tuple[str, Callable[[Parser], None], Callable[[Namespace], int]]] = {
    "validate": (
        "tell all that is wrong with recipes\n"
        "Each problem as FILE:LINE:COLUMN: what it is; exit code 2 if there is one.",
        _validate_options,
        _validate,
    ),
    "compile": (
        "write what the engine runs, as JSON\nNode and arrow graph dicts, and what each step does.",
        _compile_options,
        _compile,
    ),
    "schema": (
        "write the JSON Schema of recipes, for editors\n"
        "Save it with -o recipe.schema.json, and begin a recipe with the line\n"
        f"{SCHEMA_LINE}recipe.schema.json",
        _output_option,
        _schema,
    ),
    "graph": (
        "draw the graph of a recipe\n"
        "SVG, DOT and Mermaid need no other program; PNG and PDF need Graphviz' `dot`.",
        _graph_options,
        _graph,
    ),
    "scriptlets": (
        "list the scriptlets that are known, with their parameters\n"
        "Those that installed packages declare, and those in the files of FOLDER.",
        _scriptlets_options,
        _scriptlets,
    ),
}


_COMMANDS = Commands(
    {name: (summary, add_options) for name, (summary, add_options, _) in COMMANDS.items()},
    usage="COMMAND [options]",
    description="Check, compile and draw recipes.",
    epilog=EXIT_CODES,
    others={"run": RUN_HINT},
)
get_parser = _COMMANDS.parser


def main(argv: list[str] | None = None) -> int:
    """Carry out a command line, and return its exit code."""
    words = sys.argv[1:] if argv is None else argv
    return exit_code_of(lambda: _carried_out(words))


def _carried_out(words: Sequence[str]) -> int:
    if words and words[0].endswith((".yaml", ".yml")) and COMMANDS.keys().isdisjoint(words):
        check, run = recipe_command("validate", words[0]), run_recipe_command(words[0])
        hint = f"to check it: {check}\nto run it: {run}"
        raise UsageError(f"a command is missing before {words[0]!r}", hint=hint)
    arguments = _COMMANDS.parse(words)
    return COMMANDS[arguments.command][2](arguments)


if __name__ == "__main__":
    sys.exit(main())
