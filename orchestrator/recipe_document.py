"""What a YAML file holds, and where each value stands in it; how problems with it are told."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from octo_errors import RecipeError, did_you_mean, near_names
from octo_step_problem import Problem

__all__ = [
    "KINDS",
    "Document",
    "KeyPath",
    "Node",
    "Place",
    "Problem",
    "Report",
    "in_order",
    "is_kind",
    "is_template",
    "kind_of",
    "recipe_error",
]

Node = Any
"""Where a value stands, as tuples (lists, when they come from JSON):
of a scalar (line, column, style, its text as written if it is none), of a list (line, column,
[nodes]), of a mapping (line, column, {key: (line, column of the key, node)}).
"""

KeyPath = tuple[str | int, ...]
"""What leads to a value in a document: keys and indices, from the outermost in."""

KINDS: dict[type, tuple[str, str]] = {
    bool: ("true or false", "boolean"),
    int: ("a whole number", "integer"),
    float: ("a number", "number"),
    str: ("text", "string"),
    list: ("a list", "array"),
    dict: ("a mapping", "object"),
    type(None): ("null", "null"),
}
"""The kinds of values that a document holds: in messages, and in the JSON Schema."""


def kind_of(value: object) -> str:
    """What kind of value it is, in the words of messages."""
    if isinstance(value, bool):
        return str(value).lower()
    return KINDS[type(value)][0] if type(value) in KINDS else type(value).__name__


def is_kind(value: object, kind: type) -> bool:
    """Is it of that kind? A truth value is no number; a whole number is one, too."""
    return type(value) is kind or (kind is float and type(value) is int)


def is_template(value: object) -> bool:
    """Is it a text with a template in it?"""
    return isinstance(value, str) and ("{{" in value or "{%" in value)


class Place(NamedTuple):
    """A place in a file, both counted from 1."""

    line: int
    column: int


@dataclass
class Document:
    """What a YAML file holds.

    Attributes:
        value: Of dict, list, str, int, float, bool and None. What aliases share is shared here.
        problems: All that is wrong with it as YAML, yet leaves a value.
        node: The places; see `Node`.
    """

    file: str
    value: Any
    problems: list[Problem] = field(default_factory=list)
    node: Node = (1, 1, "", None)

    def place(self, path: KeyPath) -> Place:
        """Where the value at `path` (keys and indices) stands; of a key's value, the key.

        What there is not, stands where the nearest thing around it does.
        """
        return self._walk(path)[0]

    def text_place(self, path: KeyPath, line_offset: int, column: int) -> Place:
        """Where a character of the text at `path` stands.

        Args:
            line_offset: In which line of the text it is, from 0.
            column: And at which character of that line, from 1.
        """
        place, node = self._walk(path)
        if node is None or len(node) != 4:
            return place
        line, start, style, _ = node
        if style in ("|", ">"):  # its indentation is taken off: the column is not known
            return Place(line + 1 + line_offset, 1)
        if line_offset:
            return Place(line + line_offset, 1)
        return Place(line, start + column - (0 if style else 1))

    def written(self, path: KeyPath) -> str | None:
        """The text of a number, truth value or null as it is written; None for all others."""
        node = self._walk(path)[1]
        return node[3] if node is not None and len(node) == 4 else None

    def _walk(self, path: KeyPath) -> tuple[Place, Node]:
        """The place of what is at `path`, and its node; None if it isn't there."""
        node, place = self.node, Place(*self.node[:2])
        for key in path:
            inner = node[2]
            if isinstance(inner, dict) and key in inner:
                line, column, node = inner[key]
                place = Place(line, column)
            elif isinstance(inner, list) and isinstance(key, int) and key < len(inner):
                node = inner[key]
                place = Place(*node[:2])
            else:
                return place, None
        return place, node


def recipe_error(problems: Iterable[Problem]) -> RecipeError:
    """The error that tells them in the order of their places; `details["problems"]` has them."""
    ordered = in_order(problems)
    return RecipeError("\n".join(map(str, ordered)), problems=ordered)


def in_order(problems: Iterable[Problem]) -> list[Problem]:
    """By their places."""
    return sorted(problems, key=lambda each: (each.file, each.line or 0, each.column or 0))


class Report:
    """Where checks put the problems that they find in a document."""

    MOST_HINTS = 50
    """To look for the nearest of many names takes long; nobody reads more of them."""

    def __init__(self, document: Document, problems: list[Problem]) -> None:
        self.document, self.problems = document, problems
        self._hints_left = self.MOST_HINTS

    def tell(self, path: KeyPath, message: str, hint: str = "") -> None:
        """Add a problem with what is at `path`."""
        self.tell_at(self.document.place(path), message, hint)

    def tell_at(self, place: Place, message: str, hint: str = "") -> None:
        """Add a problem with what is at a place."""
        line, column = place
        self.problems.append(Problem(self.document.file, line, message, hint, column=column))

    def near(self, word: str, names: Iterable[str]) -> str:
        """The hint for a misspelt name; see `did_you_mean`."""
        return self.looked_up(lambda: did_you_mean(word[:200], names))

    def near_names(self, word: str, names: Iterable[str]) -> list[str]:
        """The names that a misspelt one may be meant for."""
        return near_names(word[:200], names) if self._may_look() else []

    def looked_up(self, find: Callable[[], str]) -> str:
        """The hint that `find` gives; empty where there are enough of them."""
        return find() if self._may_look() else ""

    def _may_look(self) -> bool:
        self._hints_left -= 1
        return self._hints_left >= 0
