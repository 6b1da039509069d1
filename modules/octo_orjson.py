"""orjson, loaded in a way that Ctrl-C can't turn into a crash of the interpreter.

While orjson is loaded it imports some modules, and takes it for granted that they are there: a
KeyboardInterrupt that is raised in one of them ends the process with a segmentation fault. So they
are imported here, where it is raised as anywhere else; orjson then finds them, and runs no Python.
"""

from __future__ import annotations

import dataclasses  # noqa: F401
import datetime  # noqa: F401
import enum  # noqa: F401
import json  # noqa: F401
import uuid  # noqa: F401

import orjson

__all__ = ["orjson"]
