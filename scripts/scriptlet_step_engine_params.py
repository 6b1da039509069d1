#!/usr/bin/env python3
"""Shows and changes the parameters of a step engine instance: a wrapper for shell scripts.

Same arguments, output and exit codes as modules/octo_step_engine_parameters.py.
"""

# ruff: noqa: PTH120  (pathlib is slow to load)

import sys
from os.path import dirname, realpath

sys.path.insert(0, dirname(dirname(realpath(__file__))) + "/modules")

from octo_parameters_cli import main

if __name__ == "__main__":
    sys.exit(main())
