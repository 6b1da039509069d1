"""Where the project's packages are: for what is started without Python's knowing of them."""

from __future__ import annotations

import os
import sys

_HERE = os.path.dirname(os.path.realpath(__file__))  # noqa: PTH120  (pathlib is slow to load)
_PROJECT = os.path.dirname(_HERE)  # noqa: PTH120
ROOTS = (
    os.path.join(_PROJECT, "modules"),  # noqa: PTH118
    os.path.join(_HERE, "packages"),  # noqa: PTH118
    _PROJECT,
)


def open_project() -> None:
    """Let the project's modules be found before all others, and none by its name in this folder."""
    known = {_HERE, *ROOTS}
    sys.path[:] = [*ROOTS, *(each for each in sys.path if os.path.realpath(each) not in known)]
