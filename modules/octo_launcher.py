#!/usr/bin/env python3
"""Runs a command of the Octo Step Engine for this directory.

`create` put it here, with the Python and the program that made the instance filled in. It needs
nothing but Python itself, so that it can say what to do when that Python is gone.
"""

import importlib.util
import os
import runpy
import subprocess
import sys

PYTHON = "@PYTHON@"
SCRIPT = "@SCRIPT@"
NEEDED = ("fasteners", "graphviz", "orjson", "psutil", "transitions")


def main() -> None:
    """Run SCRIPT with the arguments given here, by the Python that made this instance."""
    os.environ["OCTO_STEP_INSTANCE"] = os.path.dirname(os.path.abspath(__file__))
    if not os.path.exists(SCRIPT):
        sys.exit(
            f"{SCRIPT} is gone: the engine that made this instance was moved or removed.\n"
            f"  Run {os.path.basename(SCRIPT)} from where it is now, in this directory,\n"
            f"  or put its new place into {os.path.abspath(__file__)}"
        )
    if sys.executable != PYTHON and os.access(PYTHON, os.X_OK):
        command = [PYTHON, SCRIPT, *sys.argv[1:]]
        if os.name == "nt":  # there, exec returns to the shell before the program has ended
            sys.exit(subprocess.call(command))
        os.execv(PYTHON, command)
    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        sys.exit(
            f"This instance was made with {PYTHON}, which can't be run, and {sys.executable} lacks:"
            f" {', '.join(missing)}.\n"
            f"  Install them: {sys.executable} -m pip install octo-step-engine\n"
            "  or set the checkout up again: python3 scripts/quickstart.py"
        )
    sys.argv[0] = SCRIPT
    sys.path[0] = os.path.dirname(SCRIPT)
    runpy.run_path(SCRIPT, run_name="__main__")


if __name__ == "__main__":
    main()
