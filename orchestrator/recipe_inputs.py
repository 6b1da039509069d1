"""The inputs of a recipe: which values they take."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

TYPES: dict[str, tuple[tuple[type, ...], str]] = {
    "string": ((str,), "text"),
    "integer": ((int,), "a whole number"),
    "number": ((int, float), "a number"),
    "boolean": ((bool,), "true or false"),
    "list": ((list,), "a list"),
    "object": ((dict,), "a mapping"),
    "any": ((object,), "a value"),
}
"""The types of inputs: what is of the type, and how a message calls it."""


def input_mistake(spec: Mapping[str, Any], value: object) -> str:
    """What is wrong with a value for an input, or an empty text.

    Args:
        spec: What the recipe says of the input: `type`, `choices`, `secret`.
        value: Never shown where the input is secret.
    """
    name = spec.get("type", "any")
    types, expected = TYPES[name]
    if name != "any" and type(value) not in types:
        return f"must be {expected}, and is {_described(value)}"
    choices = spec.get("choices")
    if choices is None or any(value == each and type(value) is type(each) for each in choices):
        return ""
    shown = "another value" if spec.get("secret") else _short(value)
    return f"must be one of {', '.join(map(_short, choices))}, and is {shown}"


def _described(value: object) -> str:
    if value is None:
        return "null"
    for types, described in TYPES.values():
        if type(value) in types:
            return described if not isinstance(value, bool) else str(value).lower()
    return type(value).__name__


def _short(value: object) -> str:
    text = repr(value) if isinstance(value, str) else str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
