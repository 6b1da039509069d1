"""What the command lines of recipes share: how they end, and how they write JSON."""

from __future__ import annotations

from octo_step_instance import exit_code_of

TYPE_CHECKING = False  # as in typing, which is slow to load
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

PACKAGES = ("jinja2", "pydantic", "yaml")
"""What recipes need beside what the engine needs."""


def carry_out(command: Callable[[], int]) -> int:
    """Carry out a command, and return its exit code; whatever goes wrong has been told."""
    return exit_code_of(command, PACKAGES)


def as_json(value: Mapping[str, Any]) -> str:
    """The text of a JSON document for people and programs to read."""
    import json

    return json.dumps(value, ensure_ascii=False, indent=2) + "\n"
