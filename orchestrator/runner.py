#!/usr/bin/env python3
"""The command line that runs recipes: `runner.py --recipe FILE [options]`.

What is only needed for a run is loaded when there is one, so that `--help` and a mistake are
answered fast.
"""

from __future__ import annotations

import os
import sys

if sys.version_info < (3, 11):  # noqa: UP036  (by whatever python3 there is)
    sys.exit(f"runner.py needs Python 3.11 or newer; {sys.executable} is older")

if not __package__:  # started as a script: its directory isn't to be searched, the project is
    sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.realpath(__file__))))  # noqa: PTH120
    from orchestrator.search_path import open_project

    open_project()

import argparse

from octo_command_parser import Parser, choice, one_of, positive, program_name
from octo_errors import UsageError
from octo_exit_code import exit_code_of
from octo_step_grammar import EXECUTORS
from octo_typed_commands import (
    instance_command,
    path_from_here,
    recipe_command,
    resume_command,
    run_recipe_command,
)
from orchestrator.command_line import as_json, stdout_for_document

TYPE_CHECKING = False  # as in typing, which is slow to load
if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Callable
    from pathlib import Path
    from typing import TextIO

    from octo_instance_dir import InstanceDir
    from octo_step_outcome import Outcome
    from orchestrator.recipe_choices import Choices
    from orchestrator.recipe_instance import Continuation, Given
    from orchestrator.recipe_pin import PinnedRecipe
    from orchestrator.recipe_program import RecipeProgram
    from orchestrator.run_report import RunReport

    _Driven = tuple[RecipeProgram, RunReport, Outcome]

__all__ = ["get_parser", "main"]

OTHER_COMMANDS = ("run", "validate", "compile", "graph")
"""What people write before the name of a recipe: this program, and commands of another one."""
MOST_DIGITS = 18
"""Of a number: what has more may be beyond 64 bits, and no file of an instance can hold it."""
EXIT_CODES = """\
exit codes:
  0    all steps are done
  1    the run has failed, or state can't be read or kept
  2    usage, or a recipe or an instance that is not valid
  3    the run is paused
  4    another engine runs this instance
  130  interrupted

Ctrl-C, SIGTERM: rest when the steps that run are done; a second Ctrl-C interrupts them.
"""


# --- the grammar ----------------------------------------------------------------------------------


def get_parser() -> Parser:
    """The parser of the command line."""
    parser = Parser(
        prog=program_name(),
        usage="%(prog)s [--recipe] FILE [options]",
        description="Run a recipe: its steps, those at once that don't wait for each other.",
        epilog=EXIT_CODES,
    )
    parser.add_argument("file", nargs="?", metavar="FILE", help="the recipe")
    parser.add_argument("--recipe", metavar="FILE", help="the same")
    _input_options(parser)
    _step_options(parser)
    _place_options(parser)
    _view_options(parser)
    parser.add_version()
    return parser


def _input_options(parser: Parser) -> None:
    group = parser.add_argument_group("inputs of the recipe")
    group.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="give an input a value; may be repeated",
    )
    group.add_argument(
        "--inputs",
        action="append",
        default=[],
        metavar="FILE",
        help="give inputs the values of a YAML file; may be repeated",
    )


def _step_options(parser: Parser) -> None:
    group = parser.add_argument_group("which steps, and how")
    group.add_argument("--only", type=_names, metavar="A,B", help="perform these steps, no others")
    group.add_argument("--skip", type=_names, metavar="C", help="leave these out, as if done")
    group.add_argument(
        "--from-step",
        metavar="S",
        help="perform this step, what comes after it, and finally steps; with --resume, again",
    )
    group.add_argument(
        "--continue-on-error",
        action="store_true",
        help="after a failure, perform what doesn't wait for the failed step",
    )
    group.add_argument(
        "--step-timeout", type=_positive, metavar="S", help="end attempts of steps after S seconds"
    )
    group.add_argument(
        "--max-retries", type=_count, metavar="N", help="try failed steps up to N times more"
    )
    group.add_argument(
        "--retry-delay", type=_seconds, metavar="S", help="wait S seconds before trying again"
    )
    group.add_argument(
        "--executor",
        type=one_of(EXECUTORS),
        metavar=choice(EXECUTORS),
        help="where steps run (default: as the recipe says, or threads)",
    )
    group.add_argument(
        "--workers", type=positive, metavar="N", help="perform at most N steps at once"
    )


def _place_options(parser: Parser) -> None:
    group = parser.add_argument_group("the run and its state")
    group.add_argument(
        "--instance",
        type=_directory,
        metavar="DIR",
        help="keep the run's state there (default: step_instances/NAME OF THE RECIPE)",
    )
    group.add_argument(
        "--resume",
        action="store_true",
        help="go on with a run that was killed, rests or has failed; what is done stays done",
    )
    group.add_argument(
        "--accept-changes",
        action="store_true",
        help="go on though the recipe or its code has changed; what is done stays done",
    )
    group.add_argument(
        "--dry-run", action="store_true", help="change nothing; show what would be performed"
    )


def _view_options(parser: Parser) -> None:
    group = parser.add_argument_group("what is shown")
    group.add_argument("--summary", action="store_true", help="at the end, a table of the steps")
    group.add_argument(
        "--json-output",
        action="store_true",
        help="the result as one JSON object on stdout, all else on stderr",
    )
    group.add_argument("--quiet", action="store_true", help="only what steps print, and errors")
    group.add_argument(
        "--debug", action="store_true", help="also what is logged, and where errors come from"
    )


def _names(text: str) -> tuple[str, ...]:
    import csv  # names with commas are in quotes, as in such files

    try:
        [row] = csv.reader([text], skipinitialspace=True, strict=True)
    except csv.Error:
        row = []
    names = tuple(name.strip() for name in row)
    if not names or not all(names):
        raise argparse.ArgumentTypeError(f"{text!r} is no list of names with commas in between")
    return names


def _directory(text: str) -> str:
    if not text:  # an unset variable of a shell: the default would be somebody else's run
        raise argparse.ArgumentTypeError("'' is no directory")
    try:
        text.encode()
    except UnicodeEncodeError:  # the files of a run name it
        raise argparse.ArgumentTypeError(f"{text!r} is no UTF-8: choose another name") from None
    return text


def _number(text: str, expected: str, is_right: Callable[[float], bool]) -> float:
    try:
        number = float(text)
    except ValueError:
        number = float("nan")
    if not (is_right(number) and number < float("inf")):
        raise argparse.ArgumentTypeError(f"{text!r} is not {expected}")
    return number


def _positive(text: str) -> float:
    return _number(text, "a number of seconds above 0", lambda number: number > 0)


def _seconds(text: str) -> float:
    return _number(text, "a number of seconds, 0 or more", lambda number: number >= 0)


def _count(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number, 0 or more")
    if len(text) > MOST_DIGITS:
        raise argparse.ArgumentTypeError(f"{text[:MOST_DIGITS]}... is more than can be kept")
    return int(text)


def _parse(argv: list[str]) -> Namespace:
    parser = get_parser()
    arguments, extra = parser.parse_known_intermixed_args(argv)
    if extra and arguments.file in OTHER_COMMANDS and not extra[0].startswith("-"):
        command, recipe = arguments.file, extra[0]
        meant = run_recipe_command(recipe) if command == "run" else recipe_command(command, recipe)
        raise UsageError(f"{command!r} is no recipe", hint=f"this will do: {meant}")
    if extra:
        parser.refuse(extra[0].partition("=")[0])
    if arguments.file and arguments.recipe:
        parser.error(f"two recipes: {arguments.recipe} and {arguments.file}")
    arguments.recipe = arguments.recipe or arguments.file
    if not arguments.recipe and not (arguments.resume and arguments.instance):
        parser.error("a recipe is missing")
    if arguments.accept_changes and not arguments.resume:
        parser.error("--accept-changes goes with --resume")
    return arguments


# --- a run ----------------------------------------------------------------------------------------


def _run(arguments: Namespace) -> int:
    if not arguments.json_output:
        return _run_or_show(arguments, sys.stdout)
    with stdout_for_document() as out:
        return _run_or_show(arguments, out)


def _run_or_show(arguments: Namespace, out: TextIO) -> int:
    """Run, or show the plan; `out` is for the result."""
    if arguments.debug:
        import logging

        from orchestrator.run_logging import show_log

        show_log(logging.DEBUG)
    if arguments.dry_run:
        return _show_plan(arguments, out)
    program, report, outcome = _go_on(arguments) if arguments.resume else _begin(arguments)
    _tell_ending(arguments, report, outcome, program, out)
    if report.error and not arguments.json_output:  # which shows the run on stderr
        raise report.error  # the run has not been troubled by that
    return outcome.exit_code


def _begin(arguments: Namespace) -> _Driven:
    """Drive a new run."""
    from orchestrator.recipe_instance import begin_run

    program = _new_program(arguments)
    with begin_run(program, program.instance) as instance:
        return _driven(arguments, instance, program)


def _go_on(arguments: Namespace) -> _Driven:
    """Drive the run that there is."""
    there, now = _to_resume(arguments)
    with there.run_lock() as instance:
        plan = _continuation(arguments, instance, now)
        plan.begin(instance)
        return _driven(arguments, instance, plan.new)


def _new_program(arguments: Namespace) -> RecipeProgram:
    from pathlib import Path

    from orchestrator.recipe_inputs import resolve_inputs
    from orchestrator.recipe_pin import pin_recipe
    from orchestrator.recipe_program import Inputs, RecipeProgram

    here = Path.cwd()
    pinned = pin_recipe(arguments.recipe, here)
    given = _given(arguments)
    return RecipeProgram(
        pinned,
        Inputs(resolve_inputs(pinned.compiled["inputs"], given.values, given.files)),
        _choices(arguments),
        instance=_place(arguments, pinned),
        working_directory=here,
        verbose=arguments.debug,
    )


def _to_resume(arguments: Namespace) -> tuple[InstanceDir, PinnedRecipe | None]:
    """The instance of a run that is to go on, and the recipe as it is now, if it is named."""
    from pathlib import Path

    from orchestrator.recipe_instance import instance_to_resume
    from orchestrator.recipe_pin import pin_recipe

    now = pin_recipe(arguments.recipe, Path.cwd()) if arguments.recipe else None
    return instance_to_resume(_place(arguments, now)), now


def _continuation(
    arguments: Namespace, instance: InstanceDir, now: PinnedRecipe | None
) -> Continuation:
    """How it is to go on."""
    from orchestrator.recipe_instance import continuation

    return continuation(
        instance,
        now,
        _given(arguments),
        _choices(arguments),
        accept_changes=arguments.accept_changes,
    )


def _place(arguments: Namespace, pinned: PinnedRecipe | None) -> Path:
    from pathlib import Path

    from orchestrator.recipe_instance import default_place

    if arguments.instance or pinned is None:
        return Path(arguments.instance).absolute()
    return default_place(pinned, Path.cwd())


def _given(arguments: Namespace) -> Given:
    from pathlib import Path

    from orchestrator.recipe_instance import Given

    return Given(arguments.set, [Path(file) for file in arguments.inputs])


def _choices(arguments: Namespace) -> Choices:
    from orchestrator.recipe_choices import Choices

    return Choices(
        only=arguments.only or (),
        skip=arguments.skip or (),
        from_step=arguments.from_step or "",
        step_timeout=arguments.step_timeout,
        max_retries=arguments.max_retries,
        retry_delay=arguments.retry_delay,
    )


def _driven(arguments: Namespace, instance: InstanceDir, program: RecipeProgram) -> _Driven:
    """Run it to its end, or until it rests; shown as the user wants it."""
    from octo_commands_run import steered_by_signals
    from octo_step_engine import StepEngine
    from orchestrator.run_report import RunReport

    report = RunReport(
        program.compiled,
        json_output=arguments.json_output,
        quiet=arguments.quiet,
        instance=instance.path,
    )
    with report:
        engine = StepEngine(
            instance,
            program=program,
            executor=arguments.executor,
            workers=arguments.workers,
            keep_going=arguments.continue_on_error,
            observer=report.event,
            sink=report.output,
        )
        with steered_by_signals(engine, report.notice):
            outcome = engine.run(retry_failed=arguments.resume)
        report.ending(outcome)
    return program, report, outcome


def _tell_ending(
    arguments: Namespace,
    report: RunReport,
    outcome: Outcome,
    program: RecipeProgram,
    out: TextIO,
) -> None:
    """The result for programs, the summary for people, and what can be done now."""
    text = sys.stderr if arguments.json_output else out
    if arguments.summary:
        text.write(f"{report.summary(outcome)}\n")
    if arguments.json_output:
        out.write(as_json(report.result(outcome)))
    elif outcome.exit_code and not arguments.quiet:
        again = "try again what failed" if outcome.exit_code == 1 else "go on"
        text.write(f"{again}: {resume_command(program.instance)}\n")
        if outcome.armed:
            command = instance_command(program.instance, "make-safe")
            text.write(f"still armed: {', '.join(outcome.armed)}; make safe: {command}\n")
    elif not (report.began or arguments.quiet):
        words = [path_from_here(program.compiled["source"])]
        if arguments.instance:
            words += ["--instance", path_from_here(program.instance)]
        text.write(f"begin a new run: {run_recipe_command(*words)}\n")


def _show_plan(arguments: Namespace, out: TextIO) -> int:
    """What would be performed, in which order."""
    from orchestrator.recipe_instance import performable
    from orchestrator.run_plan import Plan

    if arguments.resume:
        instance, now = _to_resume(arguments)
        continuation = _continuation(arguments, instance, now)
        program, left = continuation.new, continuation.left(instance)
    else:
        program = _new_program(arguments)
        left = performable(program.graph)
    plan = Plan(program.graph, left)
    if arguments.json_output:
        out.write(as_json(plan.as_dict()))
    else:
        out.writelines(f"{line}\n" for line in plan.lines())
    return 0


# --- the program ----------------------------------------------------------------------------------


def main(argv: list[str] | None = None) -> int:
    """Carry out a command line, and return its exit code."""
    words = sys.argv[1:] if argv is None else argv
    if argv is None:  # others are told what command holds a lock, and that is kept in a file
        sys.argv[1:] = _without_values(words)
    return exit_code_of(lambda: _run(_parse(words)))


def _without_values(words: list[str]) -> list[str]:
    """The words of a command line, without the values of inputs: some are secret."""
    shown = []
    for before, word in zip(["", *words], words, strict=False):
        option, equals, rest = word.partition("--set=") if before != "--set" else ("", "", word)
        is_value = before == "--set" or (equals and not option)
        shown.append(f"{equals}{rest.partition('=')[0]}=***" if is_value else word)
    return shown


if __name__ == "__main__":
    sys.exit(main())
