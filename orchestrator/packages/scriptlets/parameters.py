"""What a scriptlet says of its parameters, and the check of those that it is given.

class Load(BaseScriptlet):
    parameters = {"source": str, "limit": Parameter(int, default=10, choices=(10, 100))}
"""

from __future__ import annotations

import reprlib
import types
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from octo_errors import ScriptletError, did_you_mean

REQUIRED: Final[Any] = object()
"""In the place of a default: the parameter must be given."""

UNKNOWN: Final[Any] = object()
"""In the place of a value that will be known later: only its name can be checked."""


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter.

    Attributes:
        type: What a value must be: a type, several (`int | None`), or `object` for anything. A
            whole number is good for `float`, a boolean is not good for a number.
        default: Used where it isn't given; REQUIRED: it must be given.
        choices: The values that are allowed; empty: all of the type.
        description: What it is for.
    """

    type: Any = object
    default: Any = REQUIRED
    choices: Sequence[Any] = ()
    description: str = ""

    def problem(self, name: str, value: Any) -> str:
        """What is wrong with a value; empty when nothing is."""
        if value is UNKNOWN or (value is None and self.default is None):
            return ""
        if not _is_of(self.type, value):
            is_of = type(value).__name__
            return (
                f"parameter {name!r} must be {type_name(self.type)}, not {is_of}: {_brief(value)}"
            )
        if self.choices and value not in self.choices:
            choices = ", ".join(map(repr, self.choices))
            return f"parameter {name!r} must be one of {choices}, not {_brief(value)}"
        return ""


def declared_parameters(target: object) -> dict[str, Parameter] | None:
    """What a scriptlet declares as its attribute `parameters`; None when it declares nothing.

    Raises:
        ScriptletError: The declaration is none.
    """
    declared = getattr(target, "parameters", None)
    if declared is None:
        return None
    problems = []
    if not isinstance(declared, Mapping):
        problems.append(f"parameters must be a dict, not {type(declared).__name__}")
        declared = {}
    found = {}
    for name, each in declared.items():
        each = each if isinstance(each, Parameter) else Parameter(each)
        if not isinstance(name, str):
            problems.append(f"parameters: a name is text, not {name!r}")
        elif not _is_type(each.type):
            problems.append(f"parameters: {name!r} must have a type, not {each.type!r}")
        else:
            found[name] = each
    if problems:
        raise ScriptletError(
            f"{name_of(target)}: {'; '.join(problems)}",
            hint="as parameters = {'source': str, 'limit': Parameter(int, default=10)}",
        )
    return found


def check_parameters(target: object, given: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters to call a scriptlet with: those that are given, and the defaults.

    Raises:
        ScriptletError: They are not as the scriptlet declares; all problems at once.
    """
    declared = declared_parameters(target)
    if declared is None:
        return dict(given)
    problems, hint = [], ""
    values = dict(given)
    for name in given.keys() - declared.keys():
        problems.append(f"there is no parameter {name!r}")
        hint = hint or did_you_mean(str(name), declared)
    for name, parameter in declared.items():
        if name in given:
            problems.append(parameter.problem(name, given[name]))
        elif parameter.default is REQUIRED:
            problems.append(f"parameter {name!r} ({type_name(parameter.type)}) is missing")
        else:
            values[name] = parameter.default
    problems = sorted(filter(None, problems))
    if problems:
        raise ScriptletError(
            f"{name_of(target)}: {'; '.join(problems)}", hint=hint, problems=problems
        )
    return values


def name_of(target: object) -> str:
    """What a scriptlet is called in a message."""
    return str(getattr(target, "__name__", type(target).__name__))


def type_name(kind: Any) -> str:
    """A type as people write it."""
    if isinstance(kind, tuple):
        return " | ".join(map(type_name, kind))
    if isinstance(kind, str | typing.ForwardRef):  # an annotation that was not evaluated
        return kind if isinstance(kind, str) else kind.__forward_arg__
    plain = isinstance(kind, type) and not isinstance(kind, types.GenericAlias)
    return kind.__name__ if plain else str(kind).replace("typing.", "")


def _is_type(kind: Any) -> bool:
    if kind is Any or isinstance(kind, type | types.UnionType | types.GenericAlias):
        return True
    if isinstance(kind, tuple):
        return bool(kind) and all(map(_is_type, kind))
    return typing.get_origin(kind) is not None


def _is_of(kind: Any, value: Any) -> bool:
    if kind is Any or kind is object:
        return True
    if isinstance(kind, tuple):
        return any(_is_of(each, value) for each in kind)
    origin = typing.get_origin(kind)
    if origin in (typing.Union, types.UnionType):
        return any(_is_of(each, value) for each in typing.get_args(kind))
    if origin is typing.Literal:
        return value in typing.get_args(kind)
    kind = origin or kind
    if isinstance(value, bool):
        return kind is bool
    if kind is float:
        return isinstance(value, int | float)
    return isinstance(value, kind)


_reprs = reprlib.Repr()
_reprs.maxstring = _reprs.maxother = 80
_brief = _reprs.repr
