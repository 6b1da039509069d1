"""What the keys of a recipe may hold: the checks that tell a mistake in words, and JSON Schema."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Annotated, Any

from pydantic_core import PydanticCustomError, core_schema

from octo_errors import nearest_hint
from orchestrator.recipe_document import KINDS, is_kind, kind_of


def _wrong(message: str, hint: str = "") -> PydanticCustomError:
    return PydanticCustomError("octo", "{said}", {"said": message, "hint": hint})


class _Kind:
    """What a key may hold: a function that raises `_wrong`, and the same as JSON Schema."""

    def __init__(self, check: Callable[[Any], Any], **schema: Any) -> None:
        self.check, self.schema = check, schema

    def __get_pydantic_core_schema__(self, _source: Any, _handler: Any) -> Any:
        return core_schema.no_info_plain_validator_function(self.check)

    def __get_pydantic_json_schema__(self, _core: Any, _handler: Any) -> dict[str, Any]:
        return dict(self.schema)


_FLAGS = {
    **dict.fromkeys(("yes", "on", "y", "true"), "write true, without quotes"),
    **dict.fromkeys(("no", "off", "n", "false"), "write false, without quotes"),
}
"""What texts that YAML 1.1 takes for truth values are to be here."""


def _one_of(*kinds: type) -> _Kind:
    expected = " or ".join(KINDS[kind][0] for kind in kinds)

    def check(value: Any) -> Any:
        if not any(is_kind(value, kind) for kind in kinds):
            hint = _FLAGS.get(value.lower(), "") if kinds == (bool,) and type(value) is str else ""
            if str in kinds and isinstance(value, bool | int | float):
                hint = "put it in quotes"
            raise _wrong(f"must be {expected}, and is {_shown(value)}", hint)
        return value

    types = [KINDS[kind][1] for kind in kinds]
    return _Kind(check, type=types if len(types) > 1 else types[0])


def _number(kind: type, expected: str, **limits: float) -> _Kind:
    """A number; the limits are called as in JSON Schema."""
    above = limits.get("exclusiveMinimum", -math.inf)
    least, most = limits.get("minimum", -math.inf), limits.get("maximum", math.inf)

    def check(value: Any) -> Any:
        if not is_kind(value, kind) or not (least <= value <= most and value > above):
            is_quoted = isinstance(value, str) and value.strip().isdecimal()
            hint = "write it without quotes" if is_quoted else ""
            raise _wrong(f"must be {expected}, and is {_shown(value)}", hint)
        return value

    return _Kind(check, type=KINDS[kind][1], **limits)


def _choice(*choices: str) -> _Kind:
    def check(value: Any) -> Any:
        if value not in choices:
            hint = nearest_hint(value, choices) if isinstance(value, str) else ""
            raise _wrong(f"must be one of {', '.join(choices)}, and is {_short(value)}", hint)
        return value

    return _Kind(check, enum=list(choices))


def _short(value: object) -> str:
    return repr(value[:60]) if isinstance(value, str) else kind_of(value)


def _shown(value: object) -> str:
    return str(value) if type(value) in (int, float) else kind_of(value)


def refuse_null(value: Any) -> Any:
    """A value that a mapping is to be made of, where there may be none: null is no value."""
    if value is None:
        raise _wrong("must be a mapping, and is null", "take the key away where there is nothing")
    return value


_UNPRINTABLE = re.compile("[\\x00-\\x08\\x0b-\\x1f\\x7f-\\x9f]")
"""What may command a terminal; ends of lines and tabs do no harm."""


def _check_shown(value: Any) -> Any:
    """A text that people are shown."""
    _one_of(str).check(value)
    if found := _UNPRINTABLE.search(value):
        what = f"has a character that can't be shown, U+{ord(found[0]):04X}"
        raise _wrong(what, "take it away")
    return value


def _check_names(value: Any) -> list[str]:
    names = [value] if isinstance(value, str) else value
    if not isinstance(names, list):
        raise _wrong(f"must be a name or a list of names, and is {kind_of(value)}")
    for name in names:
        if not isinstance(name, str):
            raise _wrong(f"must be a list of names, and has {kind_of(name)} in it")
    return names


def _check_on_error(value: Any) -> Any:
    if value in ("fail", "continue"):
        return value
    if isinstance(value, dict) and value.keys() == {"go_to"} and isinstance(value["go_to"], str):
        return value
    shown, words = _short(value), [value] if isinstance(value, str) else []
    if isinstance(value, dict):
        words = [key for key in value if key != "go_to"]
        shown = f"a mapping with {words[0]!r}" if words else "a mapping without the name of a step"
    hint = nearest_hint(words[0], ("fail", "continue", "go_to")) if words else ""
    raise _wrong(f"must be fail, continue or {{go_to: STEP}}, and is {shown}", hint)


_name_schema = {"type": "string"}
Name = Annotated[str, _one_of(str)]
Text = Annotated[str | None, _Kind(_check_shown, type="string")]
_WRITTEN = ["string", "number", "boolean", "null"]
Written = Annotated[str | None, _Kind(_check_shown, type=_WRITTEN)]
"""Text as it is written, also where it looks like a number (see `Metadata`)."""
Flag = Annotated[bool, _one_of(bool)]
Whole = Annotated[int | None, _one_of(int)]
Seconds = Annotated[float | None, _number(float, "a number of seconds above 0", exclusiveMinimum=0)]
Delay = Annotated[float | None, _number(float, "a number of seconds, 0 or more", minimum=0)]
Count = Annotated[int | None, _number(int, "a whole number, 0 or more", minimum=0)]
Positive = Annotated[int | None, _number(int, "a whole number above 0", minimum=1)]
Factor = Annotated[float | None, _number(float, "a number, 1 or more", minimum=1)]
Share = Annotated[float | None, _number(float, "a number from 0 to 1", minimum=0, maximum=1)]
Names = Annotated[
    list[str],
    _Kind(_check_names, anyOf=[_name_schema, {"type": "array", "items": _name_schema}]),
]
OnError = Annotated[
    str | dict[str, str] | None,
    _Kind(
        _check_on_error,
        anyOf=[
            {"enum": ["fail", "continue"]},
            {
                "type": "object",
                "properties": {"go_to": {**_name_schema, "description": "The step to go on at."}},
                "required": ["go_to"],
                "additionalProperties": False,
            },
        ],
    ),
]
OnInterrupt = Annotated[str | None, _choice("rerun", "ask", "skip")]
Executor = Annotated[str | None, _choice("serial", "threads", "processes")]
StepType = Annotated[str, _choice("python", "shell", "step_node", "recipe")]
InputType = Annotated[
    str, _choice("string", "integer", "number", "boolean", "list", "object", "any")
]
Values = Annotated[list[Any] | None, _one_of(list)]
TextOrList = Annotated[str | list[Any] | None, _one_of(str, list)]
WrittenOrList = Annotated[
    str | list[Any] | None, _Kind(_one_of(str, list).check, type=[*_WRITTEN, "array"])
]
TextOrFlag = Annotated[str | bool | None, _one_of(str, bool)]
Arguments = Annotated[dict[str, Any] | list[Any] | None, _one_of(dict, list)]
