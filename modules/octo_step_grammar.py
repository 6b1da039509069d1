"""The grammar of `octo_step_instance.py`: its commands and options. Needs nothing but argparse."""

from __future__ import annotations

import argparse

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
    parser = get_parser()
    commands = parser.commands
    if not arguments:
        raise UsageError("a command is missing", hint=f"one of: {', '.join(commands)}")
    command = arguments[0]
    if not command.startswith("-") and command not in commands:
        hint = did_you_mean(command, commands) or f"the commands are: {', '.join(commands)}"
        if any(each in commands for each in arguments[1:]):
            hint = f"the command comes first: {parser.prog} {_command_first(arguments, commands)}"
        raise UsageError(f"no command {command!r}", hint=hint)
    known, extra = parser.parse_known_args(arguments)
    if extra:
        commands[known.command].refuse(extra)
    if known.command == "jump":  # the words are told apart by what they name, see `jump`
        known.instance = None
    return known


def get_parser() -> Parser:
    """The parser, also for the man page."""
    parser = Parser(
        description="Create, run, watch and steer instances of step libraries.",
        epilog=EXIT_CODES,
    )
    add = parser.add_commands()
    _add_library_commands(add)
    _add_looking_commands(add)
    _add_running_commands(add)
    _add_steering_commands(add)
    return parser


class Parser(argparse.ArgumentParser):
    """A parser that raises UsageError, and takes no abbreviations."""

    def __init__(self, **options: Any) -> None:
        options.setdefault("formatter_class", argparse.RawDescriptionHelpFormatter)
        super().__init__(allow_abbrev=False, **options)
        self.commands: dict[str, Parser] = {}

    def error(self, message: str) -> NoReturn:
        """Raise UsageError."""
        raise UsageError(message, hint=f"see: {self.prog} --help")

    def refuse(self, extra: Sequence[str]) -> NoReturn:
        """Raise UsageError for words that are left over."""
        word = extra[0].partition("=")[0]
        if not word.startswith("-"):
            self.error(f"one word too many: {word!r}")
        options = [name for action in self._actions for name in action.option_strings]
        hint = did_you_mean(word, [name for name in options if name.startswith("--")])
        raise UsageError(
            f"{self.prog} has no option {word!r}", hint=hint or f"see: {self.prog} --help"
        )

    def add_commands(self) -> Callable[..., Parser]:
        """Returns a function that adds a command."""
        group = self.add_subparsers(
            dest="command", metavar="COMMAND [INSTANCE] [options]", title="commands"
        )

        def add(name: str, summary: str, more: str = "", *, instance: bool = True) -> Parser:
            description = f"{summary[0].upper()}{summary[1:]}.{more and chr(10) * 2}{more}"
            command = group.add_parser(name, help=summary, description=description)
            if instance:
                text = "directory of the instance (default: the current directory)"
                command.add_argument("instance", nargs="?", metavar="INSTANCE", help=text)
            self.commands[name] = command
            return command

        return add


def _add_library_commands(add: Callable[..., Parser]) -> None:
    command = add("list", "show the step libraries found and their nodes", instance=False)
    command.add_argument(
        "--library-path", metavar="DIR", help="look in this directory first for libraries"
    )
    command = add("new-library", "make a small library to start from", instance=False)
    command.add_argument(
        "name", metavar="NAME", help="made in ./step_library; with a separator in it, a path"
    )
    command = add(
        "validate",
        "check a library, or an instance and its library",
        "Shows every problem with file and line; exit code 2 if one is an error.",
        instance=False,
    )
    command.add_argument(
        "instance",
        nargs="?",
        metavar="TARGET",
        help="an instance's directory, or a library's name or path (default: current directory)",
    )
    command.add_argument("--library", metavar="LIB", help="check this library, by name or path")
    command = add("create", "make an instance of a library", instance=False)
    command.add_argument("path", metavar="INSTANCE", help="the directory to make")
    command.add_argument(
        "--library", metavar="LIB", required=True, help="the library's name or path"
    )
    command.add_argument("--first", metavar="NODE", help="begin at this node")


def _add_looking_commands(add: Callable[..., Parser]) -> None:
    command = add("status", "show where a run stands, since when, and what is next")
    command.add_argument("--json", action="store_true", help="as one JSON object")
    command.add_argument(
        "--watch", action="store_true", help="show every change until no engine runs the instance"
    )
    command = add("history", "show the events of the runs")
    command.add_argument("--json", action="store_true", help="as JSON lines, with all details")
    command.add_argument("-n", "--last", type=_positive, metavar="N", help="the latest N only")
    command = add(
        "graph",
        "draw the graph with the current state marked",
        "SVG, DOT and Mermaid need no other program; PNG and PDF need Graphviz' `dot`.",
    )
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


def _add_running_commands(add: Callable[..., Parser]) -> None:
    command = add(
        "run",
        "start a run, or go on with it",
        "Ctrl-C pauses after the present hook; a second one interrupts the hook.",
    )
    command.add_argument("--max-steps", type=_positive, metavar="N", help="pause after N nodes")
    command.add_argument("--until", metavar="NODE", help="pause before this node is entered")
    command.add_argument(
        "--fresh", action="store_true", help="put the old state into the archive and begin anew"
    )
    command.add_argument(
        "--executor",
        type=_one_of(EXECUTORS),
        default="serial",
        metavar=_choice(EXECUTORS),
        help="where hooks run (default: serial)",
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
    _add_view(command)
    _add_view(add("step", "perform ENTER and EXECUTE of the current node"))
    _add_view(add("advance", "perform ADVANCE, EXIT and JUMP of the current node"))
    _add_view(add("make-safe", "call step_make_safe of the nodes that are armed"))


def _add_view(command: Parser) -> None:
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


def _add_steering_commands(add: Callable[..., Parser]) -> None:
    pause = add("pause", "let a run rest after the present hook")
    stop = add("stop", "end a run without success; armed nodes are made safe")
    jump = add(
        "jump",
        "let a run go on at another node",
        "Says what is left, what runs again, and what is passed over.",
        instance=False,
    )
    jump.usage = f"{jump.prog} [-h] [--no-wait] [INSTANCE] NODE"
    jump.add_argument(
        "words",
        nargs="+",
        metavar="[INSTANCE] NODE",
        help="the node; before it the instance (default: the current directory)",
    )
    for command in (pause, stop, jump):
        command.add_argument(
            "--no-wait",
            action="store_true",
            help="don't wait until the running engine has done it (needed inside a hook)",
        )
    add("reset", "put the state into the archive, and begin anew")


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


def _command_first(arguments: Sequence[str], commands: dict[str, Parser]) -> str:
    place = next(i for i, each in enumerate(arguments) if each in commands)
    return " ".join([arguments[place], *arguments[:place], *arguments[place + 1 :]])
