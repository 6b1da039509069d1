"""The inputs of a recipe: which values they take, and the values that a run is given."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from octo_errors import RecipeError, did_you_mean
from octo_json_strict import JsonTextError, parse_value
from orchestrator.recipe_cache import read_content
from orchestrator.recipe_document import KINDS, Problem, is_kind, kind_of, recipe_error

__all__ = ["input_mistake", "resolve_inputs"]

TYPES: dict[str, type] = {
    "string": str,
    "integer": int,
    "number": float,
    "boolean": bool,
    "list": list,
    "object": dict,
}
"""The types of inputs, but for `any`: the kind of their values (see `KINDS`)."""


def input_mistake(spec: Mapping[str, Any], value: object) -> str:
    """What is wrong with a value for an input, or an empty text.

    Args:
        spec: What the recipe says of the input: `type`, `choices`, `secret`, `default`, which
            where it is null, is a good value whatever the type is.
        value: Never shown where the input is secret.
    """
    if value is None and spec.get("default", "") is None:
        return ""
    if value is None and spec.get("secret"):
        return "must have a value, and is null"
    name = spec.get("type", "any")
    if name in TYPES and not is_kind(value, TYPES[name]):
        is_shown = name == "integer" and type(value) is float and not spec.get("secret")
        shown = str(value) if is_shown else kind_of(value)
        return f"must be {KINDS[TYPES[name]][0]}, and is {shown}"
    choices = spec.get("choices")
    if choices is None or any(value == each and type(value) is type(each) for each in choices):
        return ""
    shown = "another value" if spec.get("secret") else _short(value)
    return f"must be one of {', '.join(map(_short, choices))}, and is {shown}"


def resolve_inputs(
    specs: Mapping[str, Mapping[str, Any]],
    given: Sequence[str] | Mapping[str, Any] = (),
    files: Sequence[str | Path] = (),
) -> dict[str, Any]:
    """The value of each input of a run: what is given, else of the environment, else the default.

    Args:
        specs: The inputs as the compiled recipe has them.
        given: Texts `name=value`, of which the last one counts; or the values themselves by name.
        files: YAML files with values by name; a later one goes before an earlier one, and `given`
            before all of them.

    Raises:
        RecipeError: A value is missing or wrong, or nothing is called so; tells all of it, and
            never shows the value of a secret input.
    """
    return _Inputs(specs).resolve(given, files)


def required(spec: Mapping[str, Any]) -> dict[str, Any]:
    """An input that had a value which isn't known here: its default was not meant."""
    return {key: value for key, value in spec.items() if key != "default"}


class _Inputs:
    """Collects the values of inputs, and what is wrong with them."""

    def __init__(self, specs: Mapping[str, Mapping[str, Any]]) -> None:
        self.specs = specs
        self.values: dict[str, Any] = {}
        self.problems: list[Problem] = []
        self.has_secrets = any(spec.get("secret") for spec in specs.values())
        self.is_complete = True  # until a file can't be read: any value may be in it

    def resolve(
        self, given: Sequence[str] | Mapping[str, Any], files: Sequence[str | Path]
    ) -> dict[str, Any]:
        for file in files:
            self._take_file(os.fspath(file))
        if isinstance(given, Mapping):
            for name, value in given.items():
                self._take(name, value, "args")
        else:
            for text in given:
                self._take_text(text)
        for name, spec in self.specs.items():
            if name not in self.values:
                self._take_other(name, spec)
        if self.problems:
            raise recipe_error(self.problems)
        return {name: self.values[name] for name in self.specs}

    def _tell(self, where: str, message: str, hint: str = "", place: Any = (None, None)) -> None:
        self.problems.append(Problem(where, place[0], message, hint, column=place[1]))

    def _take(
        self, name: str, value: Any, where: str, place: Any = (None, None), hint: str = ""
    ) -> None:
        """A value of the right type, if the input exists.

        Args:
            hint: How a text is given there, if one is wanted.
        """
        spec = self.specs.get(name)
        if spec is None:
            hint = did_you_mean(str(name)[:80], self.specs) or "the recipe has no inputs"
            self._tell(where, f"there is no input {str(name)[:80]!r}", hint, place)
            return
        self.values[name] = value
        if mistake := input_mistake(spec, value):
            wants_text = spec.get("type", "any") == "string" or _is_taken_as_text(spec)
            self._tell(where, f"input {name!r} {mistake}", hint if wants_text else "", place)

    def _take_file(self, file: str) -> None:
        from orchestrator.recipe_yaml import load_yaml  # most runs are given no file

        try:
            content = read_content(file, file, of_recipe=False)
            document = load_yaml(content, file, smallest="at least one NAME: VALUE", secret=True)
        except RecipeError as error:
            self.problems += error.details["problems"]
            self.is_complete = False
            return
        self.problems += document.problems
        if not isinstance(document.value, dict):
            self._tell(file, "must be a mapping: NAME: VALUE, one a line", "", document.place(()))
            self.is_complete = False
            return
        for name, value in document.value.items():
            written, hint = document.written((name,)), ""
            if written is not None:
                hint = _IN_QUOTES if written else _NOT_WRITTEN
            if written and value is not None and _is_taken_as_text(self.specs.get(name, {})):
                value = written
            self._take(name, value, file, document.place((name,)), hint)

    def _take_text(self, text: str) -> None:
        name, equals, value = text.partition("=")
        if not equals:
            name = "an input" if self.has_secrets else repr(text[:80])
            self._tell("--set", f"{name} has no value", "as --set NAME=VALUE")
        elif name not in self.specs:
            self._take(name, value, "--set")
        else:
            self._convert(name, value, "--set")

    def _take_other(self, name: str, spec: Mapping[str, Any]) -> None:
        variable = spec.get("env")
        if variable is not None and variable in os.environ:
            self._convert(name, os.environ[variable], f"environment variable {variable}")
        elif "default" in spec:
            self.values[name] = spec["default"]
        elif self.is_complete:
            ways, about = " or by ".join(_ways(name, spec)), spec.get("description")
            hint = f"give it by {ways}" + (f": {about}" if about else "")
            self._tell("inputs", f"{name!r} has no value", hint)

    def _convert(self, name: str, text: str, where: str) -> None:
        """Take a text from outside as a value of the input's type."""
        spec = self.specs[name]
        try:
            text.encode()
            kind = "string" if _is_taken_as_text(spec) else spec.get("type", "any")
            value = _CONVERSIONS.get(kind, str)(text)
        except UnicodeEncodeError:
            self._tell(where, f"input {name!r} is no UTF-8")
            self.values[name] = None
        except ValueError:
            shown = "another text" if spec.get("secret") else _short(text)
            kind = spec.get("type", "any")
            expected = KINDS[TYPES[kind]][0] if kind in TYPES else "what JSON can hold"
            hint = {
                "list": f"as --set '{name}=[a, b]'",
                "object": f"as --set '{name}={{a: 1}}'",
                "any": "in the recipe, `type: string` keeps it as text",
            }
            message = f"input {name!r} must be {expected}, and is {shown}"
            self._tell(where, message, hint.get(kind, ""))
            self.values[name] = None
        else:
            self._take(name, value, where)


def _ways(name: str, spec: Mapping[str, Any]) -> list[str]:
    """How an input can be given; a secret one, the safe ways first."""
    given, variable = f"--set {name}=...", spec.get("env")
    variables = [f"the variable {variable}"] if variable else []
    if spec.get("secret"):
        return [*variables, "--inputs FILE", f"{given} where others may see it"]
    return [given, *variables]


def _is_taken_as_text(spec: Mapping[str, Any]) -> bool:
    """A secret of no type is text, also where it looks like a number: that would be another one."""
    return bool(spec.get("secret")) and spec.get("type", "any") == "any"


_IN_QUOTES = "put it in quotes to keep it as text"
_NOT_WRITTEN = "nothing is written there; a text that begins with # needs quotes"


def _as_number(text: str) -> int | float:
    value = _as_yaml(text)
    if type(value) not in (int, float):
        raise ValueError(text)
    return value  # type: ignore[no-any-return]


def _as_boolean(text: str) -> bool:
    if text.strip().lower() not in ("true", "false"):
        raise ValueError(text)
    return text.strip().lower() == "true"


def _as_collection(text: str) -> Any:
    value = _as_yaml(text)
    if not isinstance(value, list | dict):
        raise ValueError(text)
    return value


def _as_yaml(text: str) -> Any:
    from orchestrator.recipe_yaml import load_yaml

    try:
        document = load_yaml(text.encode(errors="surrogateescape"), "")
    except RecipeError:
        raise ValueError(text) from None
    if document.problems:
        raise ValueError(text)
    return document.value


def _as_any(text: str) -> Any:
    """What it is as JSON; what is none, is text, as in the command line of parameters."""
    try:
        return parse_value(text)
    except JsonTextError:
        return text


_CONVERSIONS: dict[str, Callable[[str], Any]] = {
    "integer": _as_number,
    "number": _as_number,
    "boolean": _as_boolean,
    "list": _as_collection,
    "object": _as_collection,
    "any": _as_any,
}
"""How a text from outside becomes a value; not here: as it is."""


def _short(value: object) -> str:
    is_word = value is None or isinstance(value, bool)
    text = kind_of(value) if is_word else repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
