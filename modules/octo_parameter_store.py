"""The parameter file of an instance: how it is opened, and what is done to one of its values.

`octo_step_engine_parameters` (for programs) and `octo_parameters_cli` (for people and shells) both
stand on this.
"""

# pathlib is slow to load, and a command that reads one value loads this module:
# ruff: noqa: PTH100, PTH109, PTH118

from __future__ import annotations

import os

from octo_errors import (
    ConflictError,
    InstanceError,
    ParameterFileError,
    ParameterValueError,
    UsageError,
    did_you_mean,
)
from octo_json_strict import JsonValueError, dump_value
from octo_lock import DEFAULT_TIMEOUT
from octo_lock_json import LockedJsonFile
from octo_parameter_schema import (
    DEFAULT_PARAMETERS,
    DURABILITIES,
    FORMAT,
    FORMAT_KEY,
    GLOBAL_GROUP,
    REVISION_KEY,
)

TYPE_CHECKING = False  # as in typing, which is slow to load
if TYPE_CHECKING:
    from collections.abc import Mapping, MutableMapping
    from typing import Any

    Group = dict[str, Any]

DURABILITY_VARIABLE = "OCTO_DURABILITY"
TIMEOUT_VARIABLE = "OCTO_LOCK_TIMEOUT"

UNSET: Any = object()
"""No value at all, where None is one."""


def parameter_file(
    path: str,
    lock_path: str,
    *,
    durability: str | None = None,
    timeout: float | None = None,
) -> LockedJsonFile:
    """The parameter file at `path`; None: as the environment says, or else "process" and 30 s.

    It is opened once per process: what one of its users read or wrote, no other parses again.

    Raises:
        UsageError: There is no such durability, or a time-out is no number of seconds.
        ParameterFileError: The directory that is current, where relative paths start, is gone, or
            no file can have this name.
    """
    try:
        here = os.getcwd()
    except FileNotFoundError:
        raise ParameterFileError(
            f"{path}: the current directory is gone", hint="change to one that exists"
        ) from None
    survives = _environment(DURABILITY_VARIABLE) if durability is None else durability
    waits = _environment(TIMEOUT_VARIABLE) if timeout is None else timeout
    asked_for = here, path, lock_path, survives, waits
    file = _asked_for.get(asked_for)
    if file is None:
        if len(_asked_for) >= MOST_FILES:
            _asked_for.clear()
        file = _asked_for[asked_for] = _opened(
            os.path.abspath(os.path.join(here, path)),
            os.path.abspath(os.path.join(here, lock_path)),
            chosen_durability(durability),
            chosen_timeout(timeout),
        )
    return file


def _opened(path: str, lock_path: str, durability: str, timeout: float) -> LockedJsonFile:
    for name in (path, lock_path):
        if "\0" in name:
            raise ParameterFileError(f"{name!r}: no file can be called so", hint="leave \\0 out")
    known_as = path, lock_path, durability, timeout
    file = _files.get(known_as)
    if file is None:
        if len(_files) >= MOST_FILES:
            _files.clear()
        new = LockedJsonFile(
            path,
            lock_path,
            counter=(GLOBAL_GROUP, REVISION_KEY),
            defaults=DEFAULT_PARAMETERS,
            durability=durability,
            timeout=timeout,
            may_change=require_known_format,
        )
        file = _files.setdefault(known_as, new)  # another thread may have come first
    return file


MOST_FILES = 64
_files: dict[tuple[str, str, str, float], LockedJsonFile] = {}
_asked_for: dict[tuple[str, str, str, str | None, float | str | None], LockedJsonFile] = {}
"""The same, by what leads to them: a relative path is not made absolute again at each call."""


def _environment(name: str) -> str | None:
    """A variable; None where it is empty, too.

    `os.environ.get` takes three times as long to find out that there is none.
    """
    return (os.environ[name] or None) if name in os.environ else None


def require_known_format(groups: Mapping[str, Group], path: str) -> None:
    """Do nothing if this version understands the files of the instance that has these parameters.

    Raises:
        InstanceError: A newer version made them.
    """
    number = groups.get(GLOBAL_GROUP, {}).get(FORMAT_KEY, 1)
    if type(number) is not int or number > FORMAT:
        raise InstanceError(
            f"{path}: made by a newer version: format {number!r}, and this version knows {FORMAT}",
            hint="upgrade the Octo Step Engine; nothing was changed",
            path=path,
        )


def require(
    groups: Mapping[str, Group],
    group: str,
    key: str,
    *,
    if_revision: int | None = None,
    if_value: Any = UNSET,
) -> None:
    """Do nothing if the file has this revision and the key this value.

    Raises:
        ConflictError: It has another.
    """
    revision = groups.get(GLOBAL_GROUP, {}).get(REVISION_KEY, 0)
    if if_revision is not None and revision != if_revision:
        raise ConflictError(
            f"the parameter file is at revision {_literal(revision)}, not {if_revision!r}",
            hint="it was changed in between: read it again, and decide anew",
            revision=revision,
        )
    value = groups.get(group, {}).get(key, UNSET)
    if if_value is not UNSET and not same_value(value, if_value):
        is_now = "is not there" if value is UNSET else f"is {_literal(value)}"
        raise ConflictError(
            f"group {group!r}, key {key!r} {is_now}; the condition was {_literal(if_value)}",
            hint="it was changed in between: read it again, and decide anew",
            revision=revision,
        )


def increment(groups: MutableMapping[str, Group], group: str, key: str, by: int) -> int:
    """Add to an integer, which is 0 where the key is missing, and return the sum.

    Raises:
        ParameterValueError: The key holds something else.
    """
    values = groups.setdefault(group, {})
    value = values.get(key, 0)
    if type(value) is not int:
        raise ParameterValueError(
            f"group {group!r}, key {key!r} holds {_literal(value)},"
            " which is no integer to count with",
            hint="count with another key, or set this one to a number first",
        )
    values[key] = value + by
    return value + by


def same_value(one: Any, other: Any) -> bool:
    """Whether two values are the same JSON: 1, 1.0 and true are three values."""
    return bool(_with_types(one) == _with_types(other))


def _with_types(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _with_types(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_with_types(inner) for inner in value]
    return type(value), value


def display_text(groups: Mapping[str, Any]) -> str:
    """All groups, readable: one key to a line, values as JSON, so that text shows its quotes."""
    blocks = []
    for name, group in groups.items():
        if isinstance(group, dict):
            blocks.append(f"{_name(name)}\n" + group_text(group, indent="  "))
        else:
            blocks.append(f"{_name(name)}  {_literal(group)}\n")
    return "\n".join(blocks)


def group_text(group: Mapping[str, Any], indent: str = "") -> str:
    """The keys of one group and their values, in two columns."""
    names = [_name(key) for key in group]
    width = min(max(map(len, names), default=0), 40)
    lines = zip(names, group.values(), strict=True)
    return "".join(f"{indent}{name:<{width}}  {_literal(value)}\n" for name, value in lines)


def _name(key: object) -> str:
    return key if isinstance(key, str) and key.isprintable() and key else _literal(key)


def _literal(value: object) -> str:
    try:
        return dump_value(value)
    except JsonValueError:
        return repr(value)


def chosen_durability(given: str | None) -> str:
    """What was given, or what the environment says, or else "process"; checked."""
    value = (_environment(DURABILITY_VARIABLE) or "process") if given is None else given
    if value not in DURABILITIES:
        where = f"{DURABILITY_VARIABLE}: " if given is None else ""
        raise UsageError(
            f"{where}{value!r} is no durability", hint=did_you_mean(str(value), DURABILITIES)
        )
    return value


def chosen_timeout(given: float | None) -> float:
    """What was given, or what the environment says, or else 30 seconds; checked."""
    value = (_environment(TIMEOUT_VARIABLE) or DEFAULT_TIMEOUT) if given is None else given
    try:
        seconds = float(value)
    except (TypeError, ValueError):
        seconds = -1.0
    if not seconds >= 0:  # neither is NaN
        where = f"{TIMEOUT_VARIABLE}: " if given is None else ""
        raise UsageError(
            f"{where}{value!r} is no time to wait for a lock", hint="give seconds, 0 or more"
        )
    return seconds
