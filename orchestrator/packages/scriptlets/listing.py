"""The scriptlets that are known, for people and programs to read."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from octo_errors import ScriptletError
from scriptlets.calls import named_parameters
from scriptlets.parameters import REQUIRED, Parameter, type_name
from scriptlets.registry import Entries, Entry, Problems, ScriptletRegistry


def known_scriptlets(folder: str | Path | None, registry: ScriptletRegistry) -> Problems:
    """Add to a registry what installed packages declare, and what a folder holds.

    Returns:
        What is wrong with them, all of it. What has a problem adds nothing: the packages, or the
        folder.
    """
    problems: Problems = []
    try:
        registry.discover_packages()
    except ScriptletError as error:
        problems += error.details["problems"]
    if folder is not None:
        try:
            registry.discover_folder(folder)
        except ScriptletError as error:
            problems += error.details.get("problems", [error.message])
    return problems


def described(entry: Entry) -> dict[str, Any]:
    """A scriptlet as JSON can hold it.

    Keys: name, category, version, description, place, and parameters: for each its name, type,
    required, default (as Python writes it), choices, description; None where that isn't known.
    """
    return {
        "name": entry.name,
        "category": entry.category,
        "version": entry.version,
        "description": entry.description,
        "place": entry.place,
        "parameters": list(_parameters(entry)),
    }


def as_text(entries: Entries) -> str:
    """The scriptlets by category, with their parameters, in lines."""
    lines = []
    for category in sorted({entry.category for entry in entries}):
        lines.append(category)
        for entry in entries:
            if entry.category == category:
                lines += [f"  {line}" for line in _lines(described(entry))]
    return "".join(f"{line}\n" for line in lines)


def _lines(entry: dict[str, Any]) -> Iterator[str]:
    summary = f": {entry['description']}" if entry["description"] else ""
    yield f"{entry['name']} {entry['version']}{summary}"
    for each in entry["parameters"]:
        kind = f": {each['type']}" if each["type"] else ""
        default = "" if each["required"] else f" = {each['default']}"
        choices = f", one of {', '.join(each['choices'])}" if each["choices"] else ""
        about = f"  {each['description']}" if each["description"] else ""
        yield f"    {each['name']}{kind}{default}{choices}{about}"
    yield f"    in {entry['place']}"


def _parameters(entry: Entry) -> Iterator[dict[str, Any]]:
    """What is declared, else what the signatures say."""
    if entry.parameters is None:
        for each in named_parameters(entry.target):
            given = each.annotation is not inspect.Parameter.empty
            required = each.default is inspect.Parameter.empty
            default = REQUIRED if required else each.default
            kind = type_name(each.annotation) if given else ""
            yield _parameter(each.name, kind, Parameter(default=default))
    else:
        for name, declared in entry.parameters.items():
            kind = "" if declared.type is object else type_name(declared.type)
            yield _parameter(name, kind, declared)


def _parameter(name: str, kind: str, about: Parameter) -> dict[str, Any]:
    required = about.default is REQUIRED
    return {
        "name": name,
        "type": kind or None,
        "required": required,
        "default": None if required else repr(about.default),
        "choices": [repr(choice) for choice in about.choices],
        "description": about.description or None,
    }
