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
from importlib.machinery import PathFinder

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


def stand_aside() -> None:
    """Be the engine's module of this name: that is what a program here means, and it finds this.

    Raises:
        ImportError: There is no such module, neither on the program's path nor where SCRIPT was.
    """
    here, engine = os.path.dirname(os.path.abspath(__file__)), os.path.dirname(SCRIPT)
    path = [each for each in sys.path if os.path.abspath(each) != here]
    spec = PathFinder.find_spec(__name__, path)
    if spec is None:
        sys.path.append(engine)
        spec = PathFinder.find_spec(__name__, [engine])
    if spec is None or spec.loader is None:
        raise ImportError(f"{SCRIPT} is gone, and no other {__name__} is on sys.path")
    sys.modules[__name__] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(sys.modules[__name__])


if __name__ == "__main__":
    main()
elif os.path.basename(SCRIPT) == f"{__name__}.py":
    stand_aside()
