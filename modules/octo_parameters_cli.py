"""The command line of the parameter file: `[PATH [GROUP [KEY [VALUE]]]] [-i | -d]` and options.

`PATH GROUP KEY` is what shell scripts call in loops, so it must start as fast as Python itself:
this module imports next to nothing, and loads the rest of the project, and argparse, where a
command turns out to need them.

Exit codes: 0; 1 no such directory, group or key, bad file, conflict, time-out; 2 usage; 130 Ctrl-C.
"""

# pathlib is slow to load:
# ruff: noqa: PTH100, PTH116, PTH118, PTH119

from __future__ import annotations

import os
import stat
import sys

from octo_atomic_file import read_file
from octo_json_strict import JsonTextError, JsonValueError, dump_value, parse_groups, parse_value
from octo_parameter_schema import DURABILITIES, LOCK_FILE_NAME, PARAMETER_FILE_NAME

TYPE_CHECKING = False  # as in typing, which is slow to load
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from octo_command_parser import Parser
    from octo_lock_json import LockedJsonFile

EXAMPLES = """\
examples, in an instance's directory, where P is %(prog)s:
  P                                              all parameters
  P . global_parameters                          one group
  P . global_parameters step_engine_state        one value, bare: fit for $(...)
  P . limits low -5                              set a value
  P . global_parameters run_step_count -i        add one, and print the sum
  P . door state closed --if-value open          only if nobody was faster
  P . global_parameters --wait step_engine_state=COMPLETE_SUCCESS --timeout 60

exit codes: 0 done; 1 no such directory, group or key, a bad file, a condition that does not hold,
a time-out; 2 usage; 130 interrupted
"""


class Request:
    """What a command line asks for; argparse fills one in, and so does `_read_simple`."""

    group: str | None = None
    key: str | None = None
    value: str | None = None
    step = 0
    json = False
    kind: str | None = None
    if_value: str | None = None
    if_revision: int | None = None
    wait: list[str] | None = None
    timeout: float | None = None
    durability: str | None = None
    repair = False
    from_defaults = False

    def __init__(self) -> None:
        self.path = os.environ.get("OCTO_STEP_INSTANCE", ".")  # that of a launcher is its own


def main(argv: Sequence[str] | None = None) -> int:
    """Carry out a command line (default: the program's own) and return its exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if sys.stdout is None:  # closed by the caller, `>&-`
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123, SIM115
    try:
        if not _print_value_at_once(arguments):
            _carry_out(_parse(arguments))
        sys.stdout.flush()
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # the reader has seen enough, as in `| head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except UnicodeEncodeError as error:  # a value as it is, or none: what reads it must not err
        missing = ascii(error.object[error.start])
        sys.stderr.write(
            f"{_program()}: the value can't be written: {error.encoding} has no {missing}\n"
            "  set PYTHONIOENCODING=utf-8, or ask for --json\n"
        )
        return 1
    except OSError as error:  # the store wraps its own; this is standard output, a full disk say
        sys.stderr.write(f"{_program()}: can't write the output: {error.strerror}\n")
        return 1
    except SystemExit as end:  # argparse has printed help
        return int(end.code or 0)
    except Exception as error:
        return _failed(error)
    return 0


def get_parser() -> Parser:
    """The parser of the command line, which help and man page are made from."""
    from argparse import SUPPRESS

    from octo_command_parser import Parser

    parser = Parser(
        usage="%(prog)s [PATH [GROUP [KEY [VALUE]]]] [-i | -d] [options]",
        description="Shows and changes the parameters of a step engine instance.",
        epilog=EXAMPLES,
    )
    add = parser.add_argument
    add(
        "path",
        nargs="?",
        default=SUPPRESS,
        metavar="PATH",
        help="the instance's directory (default: this one)",
    )
    add("group", nargs="?", metavar="GROUP", help="show this group only")
    add("key", nargs="?", metavar="KEY", help="print the value of this key, bare")
    add(
        "value",
        nargs="?",
        metavar="VALUE",
        help="set it: as text if the key holds text now, else as JSON where it is JSON, else text",
    )
    parser.set_defaults(step=0)
    step = parser.add_mutually_exclusive_group()
    step.add_argument(
        "-i",
        dest="step",
        action="store_const",
        const=1,
        help="add one to the integer at KEY (0 when there is none), and print the sum",
    )
    step.add_argument("-d", dest="step", action="store_const", const=-1, help="take one from it")
    add("--json", action="store_true", help="print JSON, whatever is shown")
    _add_conditions(parser)
    _add_maintenance(parser)
    parser.add_version()
    return parser


def _add_conditions(parser: Parser) -> None:
    from octo_command_parser import seconds

    kind = parser.add_mutually_exclusive_group()
    kind.add_argument(
        "--string", dest="kind", action="store_const", const="string", help="VALUE is text"
    )
    kind.add_argument(
        "--json-value", dest="kind", action="store_const", const="json", help="VALUE is JSON"
    )
    add = parser.add_argument
    add("--if-value", metavar="OLD", help="change it only if it is OLD now, else exit with 1")
    add(
        "--if-revision",
        type=int,
        metavar="N",
        help="change it only if global_parameters parameter_revision is N now, else exit with 1",
    )
    add(
        "--wait",
        action="append",
        metavar="KEY=VALUE",
        help="wait until KEY of GROUP is VALUE, and print it; given again: until one of them holds",
    )
    add(
        "--timeout",
        type=seconds,
        metavar="S",
        help="seconds to wait: for the lock (default: OCTO_LOCK_TIMEOUT, or 30), or with --wait"
        " for the value (default: for ever)",
    )


def _add_maintenance(parser: Parser) -> None:
    from octo_command_parser import choice, one_of

    add = parser.add_argument
    add(
        "--durability",
        type=one_of(DURABILITIES),
        metavar=choice(DURABILITIES),
        help="what a change must survive when this command has ended (default: OCTO_DURABILITY,"
        " or process): the end of any process, or a loss of power",
    )
    add(
        "--repair",
        action="store_true",
        help="move a file that can't be understood aside, and put back its safety copy, or the"
        " defaults if there is none",
    )
    add("--from-defaults", action="store_true", help="with --repair: the defaults in any case")


# --- what is asked for ---


def _print_value_at_once(arguments: list[str]) -> bool:
    """PATH GROUP KEY without an option, where all is well; False leaves it to the long way."""
    if len(arguments) != 3 or any(word.startswith("-") for word in arguments):
        return False
    path, group, key = arguments
    try:
        data, _ = read_file(os.path.join(path, PARAMETER_FILE_NAME))
        value = parse_groups(data)[group][key]
    except (OSError, JsonTextError, KeyError):
        return False
    _print_bare(value)
    return True


def _parse(arguments: list[str]) -> Request:
    request = _read_simple(arguments)
    if request is None:
        request = Request()
        vars(request).update(vars(get_parser().parse_words(arguments)))
    _check(request)
    return request


def _read_simple(arguments: list[str]) -> Request | None:
    """A command line without options other than -i, -d and --; None leaves it to argparse."""
    request = Request()
    names = ["value", "key", "group", "path"]
    options_end = False
    for word in arguments:
        if options_end or not word.startswith("-") or _is_number(word):
            if not names:
                return None
            setattr(request, names.pop(), word)
        elif word in ("-i", "-d") and not request.step:
            request.step = 1 if word == "-i" else -1
        elif word == "--":
            options_end = True
        else:
            return None
    return request


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True


def _check(request: Request) -> None:
    """Options that need others, or don't go with others.

    Raises:
        UsageError: There are such.
    """
    changes = request.value is not None or request.step != 0
    conditional = request.if_value is not None or request.if_revision is not None
    rules = [
        (request.step and request.key is None, "-i and -d need PATH GROUP KEY"),
        (request.step and request.value is not None, "-i and -d take no VALUE"),
        (request.kind and request.value is None, "--string and --json-value need a VALUE"),
        (conditional and not changes, "--if-value and --if-revision need a VALUE, -i or -d"),
        (request.wait and request.group is None, "--wait needs PATH GROUP"),
        (request.wait and request.key is not None, "--wait takes PATH GROUP, and KEY=VALUE itself"),
        (request.wait and not all("=" in each for each in request.wait), "--wait takes KEY=VALUE"),
        (request.repair and request.group is not None, "--repair takes PATH alone"),
        (request.repair and request.wait, "--repair and --wait don't go together"),
        (request.from_defaults and not request.repair, "--from-defaults needs --repair"),
    ]
    for broken, rule in rules:
        if broken:
            from octo_errors import UsageError

            raise UsageError(rule, hint="see --help")


# --- doing it ---


def _carry_out(request: Request) -> None:
    file = _open(request)
    if request.repair:
        _repair(file, request)
    elif request.wait:
        _wait(file, request, request.wait)
    elif request.step or request.value is not None:
        _change(file, request)
    else:
        _show(file.read(), request)


def _open(request: Request) -> LockedJsonFile:
    from octo_parameter_store import parameter_file

    if _is_no_directory(request.path):
        from octo_errors import ParameterFileError, nearest_hint

        parent, name = os.path.split(os.path.abspath(request.path))
        near = nearest_hint(name, _directories(parent)) if request.path else ""
        hints = [near or "PATH comes first; `.` is this directory"]
        if request.wait:
            file = os.path.join(request.path, PARAMETER_FILE_NAME)
            hints.append("--wait is for a value, and not for the instance: begin the run first, or")
            hints.append(f"until test -e {file}; do sleep 0.1; done")
        path = request.path or "''"
        raise ParameterFileError(f"{path}: no such directory", hint="\n".join(hints))
    return parameter_file(
        os.path.join(request.path, PARAMETER_FILE_NAME),
        os.path.join(request.path, LOCK_FILE_NAME),
        durability=request.durability,
        timeout=None if request.wait else request.timeout,
    )


def _is_no_directory(path: str) -> bool:
    """False, too, where that can't be found out: to use the file will tell why."""
    try:
        return not stat.S_ISDIR(os.stat(path).st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:
        return False


def _directories(path: str) -> list[str]:
    try:
        return [entry.name for entry in os.scandir(path) if entry.is_dir()]
    except OSError:
        return []


def _show(groups: dict[str, dict[str, Any]], request: Request) -> None:
    from octo_parameter_store import display_text, group_text

    shown: Any = groups
    if request.group is not None:
        shown = _found(groups, request.group, "group", request.path)
    if request.key is not None:
        shown = _found(shown, request.key, "key", f"{request.path}, group {request.group!r}")
    if request.json or request.key is not None:
        _print_value(shown, request)
    else:
        _print_escaped(display_text(shown) if request.group is None else group_text(shown))


def _found(mapping: Mapping[str, Any], name: str, what: str, where: str) -> Any:
    if name in mapping:
        return mapping[name]
    from octo_errors import ParameterKeyError, did_you_mean

    raise ParameterKeyError(f"{where}: no {what} {name!r}", hint=did_you_mean(name, mapping))


def _change(file: LockedJsonFile, request: Request) -> None:
    from octo_parameter_store import UNSET, increment, require

    group, key = str(request.group), str(request.key)
    with file.transaction() as groups:
        now = groups.get(group, {}).get(key, UNSET)
        old = UNSET if request.if_value is None else _typed(request.if_value, now)
        require(groups, group, key, if_revision=request.if_revision, if_value=old)
        if request.value is not None:
            groups.setdefault(group, {})[key] = _typed(request.value, now, request.kind)
            return
        total = increment(groups, group, key, request.step)
    _print_bare(total)


def _typed(text: str, now: object, kind: str | None = None) -> Any:
    """The value that a word of the command line stands for, where the key holds `now`."""
    if kind == "string" or (kind is None and isinstance(now, str)):
        return text
    try:
        return parse_value(text)
    except JsonTextError as error:
        if kind is None:
            return text
        from octo_errors import UsageError

        raise UsageError(f"VALUE is not JSON: {error}", hint="quote it for the shell") from error
    except JsonValueError as error:
        from octo_errors import ParameterValueError

        raise ParameterValueError(error.reason, hint="--string stores it as text") from error


def _wait(file: LockedJsonFile, request: Request, conditions: list[str]) -> None:
    from octo_errors import WaitTimeoutError
    from octo_parameter_store import same_value

    wanted = [condition.partition("=")[::2] for condition in conditions]
    now: dict[str, Any] = {}

    def values_that_hold() -> list[Any]:
        present = [(now[key], text) for key, text in wanted if key in now]
        return [value for value, text in present if same_value(value, _typed(text, value))]

    def holds(groups: dict[str, dict[str, Any]]) -> bool:
        now.clear()
        now.update(groups.get(str(request.group), {}))
        return bool(values_that_hold())

    try:
        file.wait_until(holds, request.timeout)
    except WaitTimeoutError as error:
        states = [f"{key} is {_bare(now[key]) if key in now else 'not there'}" for key, _ in wanted]
        raise WaitTimeoutError(f"not within {request.timeout:g} s: {', '.join(states)}") from error
    _print_value(values_that_hold()[0], request)


def _repair(file: LockedJsonFile, request: Request) -> None:
    from octo_lock_json import moment

    done = file.repair(from_copy=not request.from_defaults)
    if done is None:
        _print_escaped(f"{file.path} is sound: there is nothing to repair\n")
        return
    if done.moved_to is not None:
        _print_escaped(f"the bad file is now {done.moved_to}\n")
    if done.restored_from is not None and done.saved_at is not None:
        _print_escaped(f"{file.path} is the safety copy of {moment(done.saved_at)}\n")
    else:
        _print_escaped(f"{file.path} begins anew with the defaults\n")


def _print_escaped(text: str) -> None:
    """Print what people read, or JSON: characters that stdout can't hold are escaped there."""
    try:
        sys.stdout.write(text)
    except UnicodeEncodeError:  # nothing of it is written then
        from octo_exit_code import escape_unknown_characters

        escape_unknown_characters(sys.stdout)
        sys.stdout.write(text)


def _print_value(value: object, request: Request) -> None:
    if request.json:
        _print_escaped(dump_value(value, indented=True) + "\n")
    else:
        _print_bare(value)


def _print_bare(value: object) -> None:
    sys.stdout.write(_bare(value) + "\n")


def _bare(value: object) -> str:
    return value if isinstance(value, str) else dump_value(value)


def _failed(error: Exception) -> int:
    from octo_errors import OctoError, UsageError

    if not isinstance(error, OctoError):
        raise error
    sys.stdout.flush()
    sys.stderr.write(f"{_program()}: {error}\n")
    return 2 if isinstance(error, UsageError) else 1


def _program() -> str:
    return os.path.basename(sys.argv[0])
