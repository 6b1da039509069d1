"""The grammar of `octo_step_instance.py`: its commands and options. Needs nothing but argparse.

COMMANDS is the table of commands. To start fast, only the parser of the command at hand is made;
`get_parser` makes the whole, for `--help` and the man page.
"""

from __future__ import annotations

import argparse
import os
import sys

from octo_errors import UsageError, did_you_mean

TYPE_CHECKING = False  # as in typing, which is slow to load
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any, NoReturn

EXECUTORS = ("serial", "threads", "processes")
DURABILITIES = ("process", "power")
FORMATS = ("svg", "png", "pdf", "dot", "mermaid")
EXIT_CODES = """\
exit codes:
  0    the run is COMPLETE_SUCCESS, or the command did its work
  1    the run is COMPLETE_ERROR, or state can't be read or kept
  2    usage, or a library or an instance that is not valid
  3    the run is paused
  4    another engine runs this instance
  130  interrupted
"""


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """The parsed command line; `command` names the command.

    Raises:
        UsageError: It doesn't fit the grammar; says the nearest right names.
    """
    if not arguments:
        raise UsageError("a command is missing", hint=f"one of: {', '.join(COMMANDS)}")
    name, *rest = arguments
    if name.startswith("-"):
        get_parser().parse_args([name])  # --help ends here
    if name not in COMMANDS:
        raise UsageError(f"no command {name!r}", hint=_right_command(name, rest))
    parser = Parser(prog=f"{_program()} {name}", description=_description(name))
    COMMANDS[name][1](parser)
    parsed, extra = parser.parse_known_intermixed_args(rest)  # jump INSTANCE --no-wait NODE
    if extra:
        parser.refuse(extra[0].partition("=")[0])
    parsed.command = name
    return parsed


def get_parser() -> Parser:
    """The parser of all commands."""
    parser = Parser(
        prog=_program(),
        description="Create, run, watch and steer instances of step libraries.",
        epilog=EXIT_CODES,
    )
    group = parser.add_subparsers(
        dest="command", metavar="COMMAND [INSTANCE] [options]", title="commands"
    )
    for name, (summary, add_options) in COMMANDS.items():
        command = group.add_parser(
            name, help=summary.partition("\n")[0], description=_description(name)
        )
        add_options(command)
    return parser


class Parser(argparse.ArgumentParser):
    """A parser that raises UsageError, and takes no abbreviations."""

    def __init__(self, **options: Any) -> None:
        formatter = argparse.RawDescriptionHelpFormatter
        super().__init__(allow_abbrev=False, formatter_class=formatter, **options)

    def error(self, message: str) -> NoReturn:
        """Raise UsageError."""
        raise UsageError(message, hint=f"see: {self.prog} --help")

    def refuse(self, word: str) -> NoReturn:
        """Raise UsageError for a word that no option or argument of this parser takes."""
        if not word.startswith("-"):
            self.error(f"one word too many: {word!r}")
        options = [name for name in self._option_string_actions if name.startswith("--")]
        hint = did_you_mean(word, options) or f"see: {self.prog} --help"
        raise UsageError(f"{self.prog} has no option {word!r}", hint=hint)


# --- the options of each command ------------------------------------------------------------------


def _list(command: Parser) -> None:
    command.add_argument("--library-path", metavar="DIR", help="look for libraries there first")


def _new_library(command: Parser) -> None:
    command.add_argument(
        "name", metavar="NAME", help="made in ./step_library; with a separator in it, a path"
    )


def _validate(command: Parser) -> None:
    command.add_argument(
        "instance",
        nargs="?",
        metavar="TARGET",
        help="an instance's directory, or a library's name or path (default: current directory)",
    )
    command.add_argument("--library", metavar="LIB", help="check this library, by name or path")


def _create(command: Parser) -> None:
    command.add_argument("path", metavar="INSTANCE", help="the directory to make")
    command.add_argument(
        "--library", metavar="LIB", required=True, help="the library's name or path"
    )
    command.add_argument("--first", metavar="NODE", help="begin at this node")


def _instance(command: Parser) -> None:
    command.add_argument(
        "instance",
        nargs="?",
        metavar="INSTANCE",
        help="directory of the instance (default: the current directory)",
    )


def _status(command: Parser) -> None:
    _instance(command)
    command.add_argument("--json", action="store_true", help="as one JSON object")
    command.add_argument(
        "--watch", action="store_true", help="show every change until no engine runs the instance"
    )


def _history(command: Parser) -> None:
    _instance(command)
    command.add_argument("--json", action="store_true", help="as JSON lines, with all details")
    command.add_argument("-n", "--last", type=_positive, metavar="N", help="the latest N only")


def _doctor(command: Parser) -> None:
    command.add_argument(
        "instance",
        nargs="?",
        metavar="DIR",
        help="an instance's directory, or any other (default: the current directory)",
    )
    command.add_argument("--json", action="store_true", help="as one JSON object")


def _graph(command: Parser) -> None:
    _instance(command)
    command.add_argument(
        "-o",
        "--output",
        metavar="FILE",
        help="`-` is stdout (default: NAME.svg in the instance's directory)",
    )
    command.add_argument(
        "--format",
        type=_one_of(FORMATS),
        metavar=_choice(FORMATS),
        help="default: what the file's name ends in",
    )


def _run(command: Parser) -> None:
    _single(command)
    command.add_argument("--max-steps", type=_positive, metavar="N", help="pause after N nodes")
    command.add_argument("--until", metavar="NODE", help="pause before this node is entered")
    command.add_argument(
        "--fresh", action="store_true", help="put the old state into the archive and begin anew"
    )
    command.add_argument(
        "--executor",
        type=_one_of(EXECUTORS),
        metavar=_choice(EXECUTORS),
        help="where hooks run (default: serial; of a recipe: as it says, or threads)",
    )
    command.add_argument(
        "--workers", type=_positive, metavar="N", help="run at most N hooks at once"
    )
    command.add_argument(
        "--strict",
        action="store_true",
        help="refuse to go on when the library has changed since the run began",
    )
    command.add_argument(
        "--durability",
        type=_one_of(DURABILITIES),
        metavar=_choice(DURABILITIES),
        help="what saved state survives: kill -9 (process, the default), or power loss too",
    )


def _single(command: Parser) -> None:
    _instance(command)
    command.add_argument("-v", "--verbose", action="store_true", help="show every state of a node")
    shown = command.add_mutually_exclusive_group()
    shown.add_argument(
        "--quiet", action="store_true", help="show only what hooks print, and errors"
    )
    shown.add_argument(
        "--json",
        action="store_true",
        help="the events as JSON lines on stdout; what hooks print on stderr",
    )


def _steer(command: Parser) -> None:
    _instance(command)
    _no_wait(command)


def _jump(command: Parser) -> None:
    command.usage = f"{command.prog} [-h] [--no-wait] [INSTANCE] NODE"
    command.add_argument(
        "words",
        nargs="+",
        metavar="[INSTANCE] NODE",
        help="the node; before it the instance (default: the current directory)",
    )
    command.set_defaults(instance=None)
    _no_wait(command)


def _no_wait(command: Parser) -> None:
    command.add_argument(
        "--no-wait",
        action="store_true",
        help="don't wait until a running engine has done it (needed inside a hook)",
    )


COMMANDS: dict[str, tuple[str, Callable[[Parser], None]]] = {
    "list": ("show the step libraries found and their nodes", _list),
    "new-library": ("make a small library to start from", _new_library),
    "validate": (
        "check a library, or an instance and its library\n"
        "Shows every problem with file and line; exit code 2 if one is an error.",
        _validate,
    ),
    "create": ("make an instance of a library", _create),
    "status": ("show where a run stands, since when, and what is next", _status),
    "history": ("show the events of the runs", _history),
    "graph": (
        "draw the graph with the current state marked\n"
        "SVG, DOT and Mermaid need no other program; PNG and PDF need Graphviz' `dot`.",
        _graph,
    ),
    "doctor": (
        "try what a directory can do, and see whether the state in it is sound\n"
        "Changes nothing; exit code 1 if something is wrong.",
        _doctor,
    ),
    "run": (
        "start a run, or go on with it\n"
        "Ctrl-C pauses after the present hook; a second one interrupts the hook.",
        _run,
    ),
    "step": ("perform ENTER and EXECUTE of the current node", _single),
    "advance": ("perform ADVANCE, EXIT and JUMP of the current node", _single),
    "make-safe": ("call step_make_safe of the nodes that are armed", _single),
    "pause": ("let a run rest after the present hook", _steer),
    "stop": ("end a run without success; armed nodes are made safe", _steer),
    "jump": (
        "let a run go on at another node\n"
        "Says what is left, what runs again, and what is passed over.",
        _jump,
    ),
    "reset": ("put the state into the archive, and begin anew", _instance),
}


def _program() -> str:
    return os.path.basename(sys.argv[0])  # noqa: PTH119  (pathlib is slow to load)


def _description(name: str) -> str:
    summary, _, more = COMMANDS[name][0].partition("\n")
    return f"{summary[0].upper()}{summary[1:]}." + (f"\n\n{more}" if more else "")


def _right_command(name: str, rest: list[str]) -> str:
    for place, word in enumerate(rest):
        if word in COMMANDS:
            words = [word, name, *rest[:place], *rest[place + 1 :]]
            return f"the command comes first: {_program()} {' '.join(words)}"
    return did_you_mean(name, COMMANDS) or f"the commands are: {', '.join(COMMANDS)}"


def _positive(text: str) -> int:
    number = int(text) if text.isdecimal() else 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number above 0")
    return number


def _one_of(choices: Sequence[str]) -> Callable[[str], str]:
    def check(text: str) -> str:
        if text not in choices:
            hint = did_you_mean(text, choices)
            raise argparse.ArgumentTypeError(f"{text!r} is none of {_choice(choices)}; {hint}")
        return text

    return check


def _choice(choices: Sequence[str]) -> str:
    return "{" + ",".join(choices) + "}"
