#!/usr/bin/env python3
"""The command line of instances: `octo_step_instance.py COMMAND [INSTANCE] [options]`.

A command is the function of its name in one of the modules below, which are loaded when they are
needed, so that `--help` and `status` start fast. It takes the parsed arguments and returns the exit
code.
"""

from __future__ import annotations

import os
import sys

if sys.version_info < (3, 11):  # noqa: UP036  (started as a script, by whatever python3 there is)
    sys.exit(f"octo_step_instance.py needs Python 3.11 or newer; {sys.executable} is older")

from octo_exit_code import exit_code_of
from octo_step_grammar import get_parser, parse

__all__ = ["get_parser", "main"]

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


def _call(argv: list[str], default_instance: str) -> int:
    import importlib

    arguments = parse(argv)
    if getattr(arguments, "instance", "") is None:
        arguments.instance = default_instance
    [module] = [name for name, commands in MODULES.items() if arguments.command in commands]
    function = getattr(importlib.import_module(module), arguments.command.replace("-", "_"))
    return int(function(arguments))


if __name__ == "__main__":
    sys.exit(main())
