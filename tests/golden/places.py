"""The places that golden instances of recipes name: hidden when they are kept, put in when used."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from tests.support import PROJECT

RECIPES = Path(__file__).resolve().parent / "recipes"
"""The recipe and the Python program that golden instances were made from."""

UNIT = "V — volt"
"""What the input of the recipe was."""

KEPT = ("parameters", "events", "context", "recipe.*", "code", "scriptlets")
"""The files of an instance that make up its state; others tell of processes that are gone."""

_ROOTS = (PROJECT / "modules", PROJECT / "orchestrator" / "packages", PROJECT)
ENVIRONMENT = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, _ROOTS))}
"""Of the Python program: what it imports is found, whether it is installed or not."""


def kept(text: str, work: Path) -> str:
    """The text of a file of an instance in `work`, without a place of this machine."""
    text = text.replace(str(RECIPES), "/golden/recipes").replace(str(work), "/golden/work")
    if str(PROJECT) in text:
        raise ValueError(f"a place of this machine is left in:\n{text}")
    return text


def used(text: str, recipes: Path, work: Path) -> str:
    """The same text, for an instance in `work`, of what is in `recipes`."""
    return text.replace("/golden/recipes", str(recipes)).replace("/golden/work", str(work))


def state_of(instance: Path) -> dict[str, Any]:
    """The groups of the parameter file; none before there is one."""
    file = instance / ".octo_step_engine_parameters.json"
    groups: dict[str, Any] = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    return groups
