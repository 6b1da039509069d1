#!/usr/bin/env python3
"""The command line of instances: `octo_step_instance.py COMMAND [INSTANCE] [options]`.

Here is what all commands share: the choice of the command, and what becomes of errors. A command is
the function of its name in one of the modules below, which are loaded when they are needed, so that
`--help` and `status` start fast. It takes the parsed arguments and returns the exit code.
"""

from __future__ import annotations

import os
import sys

if sys.version_info < (3, 11):  # noqa: UP036  (started as a script, by whatever python3 there is)
    sys.exit(f"octo_step_instance.py needs Python 3.11 or newer; {sys.executable} is older")

from octo_command_parser import error_of_system, escape_unknown_characters
from octo_errors import OctoError
from octo_step_grammar import get_parser, parse

TYPE_CHECKING = False  # as in typing, which is slow to load
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["exit_code_of", "get_parser", "main"]

EXIT_INTERRUPTED = 130
MODULES = {
    "octo_commands_library": ("list", "new-library", "validate", "create"),
    "octo_commands_look": ("status", "history", "graph", "doctor"),
    "octo_commands_run": ("run", "step", "advance", "make-safe"),
    "octo_commands_steer": ("pause", "stop", "jump", "reset"),
}


def main(argv: list[str] | None = None) -> int:
    """Carry out a command line, and return its exit code."""
    default = os.environ.pop("OCTO_STEP_INSTANCE", ".")  # from a launcher; hooks must not have it
    words = sys.argv[1:] if argv is None else argv
    return exit_code_of(lambda: _call(words, default))


def _open_standard_streams() -> None:
    """Make those that the caller has closed (`>&-`) lead nowhere: the next file must not be one."""
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(descriptor, True)
    os.close(descriptor)
    for name in ("stdin", "stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "r+", encoding="utf-8"))  # noqa: PTH123, SIM115


def exit_code_of(command: Callable[[], int], packages: Sequence[str] = ()) -> int:
    """Carry out a command that may run an engine; whatever goes wrong has been told.

    `packages` are those that it needs beside what the engine needs.
    """
    _open_standard_streams()
    escape_unknown_characters(sys.stdout, sys.stderr)
    code = _carry_out(command, packages)
    if "octo_commands_run" in sys.modules:
        sys.modules["octo_commands_run"].leave_in_spite_of_threads(code)
    return code


def _carry_out(command: Callable[[], int], packages: Sequence[str]) -> int:
    try:
        code = command()
        sys.stdout.flush()
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except BrokenPipeError:  # `history | head`: the reader has had enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 0
    except OctoError as error:
        return _fail(error.message, error.hint, error.exit_code)
    except ModuleNotFoundError as error:
        return _missing_packages(error, packages)
    except OSError as error:
        refused = error_of_system(error)
        return _fail(refused.message, refused.hint, refused.exit_code)
    except Exception as error:
        # Python 3.11 makes a RuntimeError of an interrupt that comes while a class is made.
        return EXIT_INTERRUPTED if isinstance(error.__cause__, KeyboardInterrupt) else _bug()
    return code


def _call(argv: list[str], default_instance: str) -> int:
    import importlib

    arguments = parse(argv)
    if getattr(arguments, "instance", "") is None:
        arguments.instance = default_instance
    [module] = [name for name, commands in MODULES.items() if arguments.command in commands]
    function = getattr(importlib.import_module(module), arguments.command.replace("-", "_"))
    return int(function(arguments))


def _fail(message: str, hint: str, code: int) -> int:
    below = "".join(f"\n  {line}" for line in hint.splitlines())
    sys.stderr.write(f"error: {message}{below}\n")
    return code


def _bug() -> int:
    import traceback

    traceback.print_exc()
    return _fail("this is a bug in the Octo Step Engine", "please report it, with the above", 1)


def _missing_packages(error: ModuleNotFoundError, packages: Sequence[str]) -> int:
    """Say what this Python lacks, and how to come by it."""
    from importlib.util import find_spec
    from pathlib import Path

    from octo_launcher import NEEDED

    missing = [name for name in (*NEEDED, *packages) if find_spec(name) is None]
    if error.name not in missing:
        return _bug()
    message = f"{sys.executable} lacks what this program needs: {', '.join(missing)}"
    project = Path(__file__).resolve().parent.parent
    python = project / (".venv/Scripts/python.exe" if os.name == "nt" else ".venv/bin/python")
    if python.exists():
        hint = f"use the project's own Python: {python} {' '.join(sys.argv)}"
    elif (project / "scripts" / "quickstart.py").exists():
        hint = f"set the project up: {sys.executable} {project / 'scripts' / 'quickstart.py'}"
    else:
        hint = f"install it: {sys.executable} -m pip install octo-step-engine"
    return _fail(message, hint, 2)


if __name__ == "__main__":
    sys.exit(main())
