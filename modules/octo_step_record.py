"""The engine's record of a run in the parameter file, as people may have edited it.

Every function gives the value of a key, or raises InstanceError, which names group and key, when
the engine can't have written what is there.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, TypeVar

from octo_errors import InstanceError

_T = TypeVar("_T")


def value_in(group: Mapping[str, Any], where: str, key: str, default: _T) -> _T:
    """The value of a key that is of the type of its default."""
    value = group.get(key, default)
    if type(value) is not type(default):
        raise bad_record(f"{where}.{key}", value)
    return value


def group_in(data: Mapping[str, Any], name: str) -> dict[str, Any]:
    """A group, which is empty where there is none."""
    group = data.get(name, {})
    if not isinstance(group, dict):
        raise bad_record(name, group)
    return group


def names_in(group: Mapping[str, Any], where: str, key: str) -> list[str]:
    """A list of names, which is empty where there is none."""
    names = value_in(group, where, key, list[str]())
    if not all(isinstance(name, str) for name in names):
        raise bad_record(f"{where}.{key}", names)
    return list(names)


def bits_in(group: Mapping[str, Any], where: str, key: str) -> int:
    """A number as `hex` writes it; 0 where there is none."""
    text = value_in(group, where, key, "0x0")
    try:
        bits = int(text, 16)
    except ValueError as error:
        raise bad_record(f"{where}.{key}", text) from error
    if bits < 0:
        raise bad_record(f"{where}.{key}", text)
    return bits


def moment_in(group: Mapping[str, Any], where: str, key: str) -> float | None:
    """Seconds since 1970 of a point in time that `moment_text` has written, or None."""
    if key not in group:
        return None
    text = value_in(group, where, key, "")
    try:
        moment = datetime.fromisoformat(text).timestamp()
        moment_text(moment)
    except (ValueError, OverflowError, OSError) as error:
        raise bad_record(f"{where}.{key}", text) from error
    return moment


def moment_text(moment: float) -> str:
    """A point in time, in seconds since 1970, as the record has it."""
    return datetime.fromtimestamp(moment, UTC).isoformat()


def bad_record(where: str, value: object) -> InstanceError:
    """The error for what the engine can't have written."""
    return InstanceError(
        f"{where}: {value!r} is not what the engine writes there",
        hint="put it right, or start anew with `reset`, which archives the old state",
    )
