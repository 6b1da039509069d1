"""The grammar of `octo_step_instance.py`: its commands and options. Loads little but argparse."""

from __future__ import annotations

from octo_command_parser import Commands, Parser, choice, name, one_of, positive
from octo_parameter_schema import DURABILITIES

TYPE_CHECKING = False  # as in typing, which is slow to load
if TYPE_CHECKING:
    from collections.abc import Callable

EXECUTORS = ("serial", "threads", "processes")
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

# --- the options of each command ------------------------------------------------------------------


def _list(command: Parser) -> None:
    command.add_argument(
        "--library-path", type=name, metavar="DIR", help="look for libraries there first"
    )


def _new_library(command: Parser) -> None:
    command.add_argument(
        "name",
        type=name,
        metavar="NAME",
        help="made in ./step_library; with a separator in it, a path",
    )


def _validate(command: Parser) -> None:
    command.add_argument(
        "instance",
        nargs="?",
        type=name,
        metavar="TARGET",
        help="an instance's directory, or a library's name or path (default: current directory)",
    )
    command.add_argument("--library", metavar="LIB", help="check this library, by name or path")


def _create(command: Parser) -> None:
    command.add_argument("path", type=name, metavar="INSTANCE", help="the directory to make")
    command.add_argument(
        "--library", metavar="LIB", required=True, help="the library's name or path"
    )
    command.add_argument("--first", metavar="NODE", help="begin at this node")


def _instance(command: Parser) -> None:
    command.add_argument(
        "instance",
        nargs="?",
        type=name,
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
    command.add_argument("-n", "--last", type=positive, metavar="N", help="the latest N only")


def _doctor(command: Parser) -> None:
    command.add_argument(
        "instance",
        nargs="?",
        type=name,
        metavar="DIR",
        help="an instance's directory, or any other (default: the current directory)",
    )
    command.add_argument("--json", action="store_true", help="as one JSON object")


def _graph(command: Parser) -> None:
    _instance(command)
    command.add_argument(
        "-o",
        "--output",
        type=name,
        metavar="FILE",
        help="`-` is stdout (default: NAME.svg in the instance's directory)",
    )
    command.add_argument(
        "--format",
        type=one_of(FORMATS),
        metavar=choice(FORMATS),
        help="default: what the file's name ends in",
    )


def _run(command: Parser) -> None:
    _single(command)
    command.add_argument("--max-steps", type=positive, metavar="N", help="pause after N nodes")
    command.add_argument("--until", metavar="NODE", help="pause before this node is entered")
    command.add_argument(
        "--fresh", action="store_true", help="put the old state into the archive and begin anew"
    )
    command.add_argument(
        "--executor",
        type=one_of(EXECUTORS),
        metavar=choice(EXECUTORS),
        help="where hooks run (default: serial; of a recipe: as it says, or threads)",
    )
    command.add_argument(
        "--workers", type=positive, metavar="N", help="run at most N hooks at once"
    )
    command.add_argument(
        "--strict",
        action="store_true",
        help="refuse to go on when the library has changed since the run began",
    )
    command.add_argument(
        "--durability",
        type=one_of(DURABILITIES),
        metavar=choice(DURABILITIES),
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
        type=name,
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
    "run": (
        "start a run, or go on with it\n"
        "Ctrl-C pauses after the present hook; a second one interrupts the hook.",
        _run,
    ),
    "step": ("perform ENTER and EXECUTE of the current node", _single),
    "advance": ("perform ADVANCE, EXIT and JUMP of the current node", _single),
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
    "pause": ("let a run rest after the present hook", _steer),
    "stop": ("end a run without success; armed nodes are made safe", _steer),
    "jump": (
        "let a run go on at another node\n"
        "Says what is left, what runs again, and what is passed over.",
        _jump,
    ),
    "make-safe": ("call step_make_safe of the nodes that are armed", _single),
    "reset": ("put the state into the archive, and begin anew", _instance),
}
OTHER_WORDS = {
    **dict.fromkeys(("start", "resume", "continue"), "`run` starts a run, and goes on with it"),
    "retry": "`jump NODE` and `run` try a node again, `run --fresh` begins anew",
    **dict.fromkeys(("cancel", "abort", "kill"), "`stop` ends a run, `pause` lets it rest"),
    **dict.fromkeys(
        ("log", "logs"), "`history` shows what was done; what hooks printed is in logs/"
    ),
    **dict.fromkeys(("new", "init"), "`create` makes an instance, `new-library` a library"),
}
"""What people type who know other programs. The nearest command may be quite another thing."""


_COMMANDS = Commands(
    COMMANDS,
    usage="COMMAND [INSTANCE] [options]",
    description="Create, run, watch and steer instances of step libraries.",
    epilog=EXIT_CODES,
    others=OTHER_WORDS,
)
parse, get_parser = _COMMANDS.parse, _COMMANDS.parser
