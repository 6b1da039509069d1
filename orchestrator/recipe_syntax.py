"""What the YAML parser says of a text that is no YAML, in the words of those who write one."""

from __future__ import annotations

import yaml

from orchestrator.recipe_document import Place, Problem

__all__ = ["MAX_DEPTH", "TEMPLATE_HINT", "TOO_DEEP", "syntax_problem"]

MAX_DEPTH = 100
"""Of lists and mappings in each other, aliases expanded."""
TOO_DEEP = f"more than {MAX_DEPTH} lists and mappings in each other"
TEMPLATE_HINT = 'a template needs quotes: "{{ ... }}"'

_Words = tuple[str, str]
"""What is wrong, and a hint."""

_BEGINS = "put a text that begins so in quotes"
_BLOCK = ("this doesn't belong to the block above it", "mind the indentation")
_COLON = ("a ':' has no place here", "a text with ': ' or ' #' in it needs quotes")
_FLOW = "a ',' or the end of the {} is missing before this"
_NO_VALUE = ("a value is missing before this character", "")
_SYNTAX: dict[str, _Words] = {
    "mapping values are not allowed": _COLON,
    "cannot start any token": ("a text can't begin with this character", "put it in quotes"),
    "could not find expected ':'": ("a ': ' is missing in this line", "mind the indentation, too"),
    "did not find expected key": _BLOCK,
    "did not find expected '-'": _BLOCK,
    "expected <block end>": _BLOCK,
    "expected <document start>": _BLOCK,
    "expected '<document start>'": _BLOCK,
    "expected ',' or ']'": (_FLOW.format("list"), ""),
    "expected ',' or '}'": (_FLOW.format("mapping"), ""),
    "did not find expected node content": _NO_VALUE,
    "expected the node content": _NO_VALUE,
    "expected alphabetic or numeric character": (
        "* and & begin an alias or an anchor, and here is no name",
        _BEGINS,
    ),
    "scanning a block scalar": ("behind | or > there is nothing else in the line", _BEGINS),
    "sequence entries are not allowed": (
        "a list can't begin here",
        f"begin it in a line of its own; {_BEGINS}",
    ),
    "mapping keys are not allowed": ("a key can't begin here", _BEGINS),
    "unknown escape character": ("there is no such escape", "in single quotes, \\ is itself"),
    "nesting depth": (TOO_DEEP, ""),
    "undefined tag handle": ("a tag has no place here", _BEGINS),
    "a tag": ("a tag has no place here", _BEGINS),
    "directive": ("% begins a directive of YAML, and here is none", _BEGINS),
}
"""A part of what the parser says -> what we say. Each part is looked for in turn."""


def syntax_problem(
    error: yaml.MarkedYAMLError, file: str, source: str, innermost: Place | None
) -> Problem:
    """The problem that the parser has with `source`; nothing that is written there is shown.

    Args:
        innermost: Where the list or mapping begins that is not complete yet.
    """
    lines = source.splitlines() or [""]
    place = _place(error, lines)
    message, hint = _in_words(error, lines[place.line - 1][: place.column - 1])
    opening = _opening(error, innermost)
    if opening and _has_ended(lines, place):
        place = opening
        opened = lines[place.line - 1][place.column - 1 : place.column]
        message, hint = f"{opened} opens here, and nothing closes it", ""
    elif lines[place.line - 1].startswith("\t", place.column - 1):
        message, hint = "a tab, where YAML takes only blanks", "indent with blanks"
    elif "{{" in lines[place.line - 1]:
        hint = TEMPLATE_HINT
    elif opening and opening.line < place.line:
        hint = f"it begins in line {opening.line}"
    return Problem(file, place.line, message, hint, column=place.column)


def _place(error: yaml.MarkedYAMLError, lines: list[str]) -> Place:
    """Where it is; the end of the text is the end of its last line."""
    mark = error.problem_mark or error.context_mark
    if "could not find expected ':'" in (error.problem or ""):
        mark = error.context_mark or mark  # where the line begins that lacks it
    if mark is None:
        return Place(1, 1)
    if mark.line >= len(lines):
        return Place(len(lines), len(lines[-1]) + 1)
    return Place(mark.line + 1, mark.column + 1)


def _opening(error: yaml.MarkedYAMLError, innermost: Place | None) -> Place | None:
    """Where what the parser was in was opened, by a bracket or a quote."""
    context, mark = error.context or "", error.context_mark
    if "quoted" in context and mark:
        return Place(mark.line + 1, mark.column + 1)
    return innermost if "flow" in context else None


def _has_ended(lines: list[str], place: Place) -> bool:
    """Nothing but white space is left of the text."""
    return not "".join([lines[place.line - 1][place.column - 1 :], *lines[place.line :]]).strip()


def _in_words(error: yaml.MarkedYAMLError, before: str) -> _Words:
    """What the parser says, in our words; `before` is what precedes the place in its line."""
    said = " ".join(filter(None, [error.problem, error.context]))
    words = next((ours for theirs, ours in _SYNTAX.items() if theirs in said), None)
    if words is None:
        return f"is no YAML: {said}", ""
    if words is _BLOCK and before.strip(" -"):
        return "the value before this has ended, and more follows", "put all of it in quotes"
    if words is _COLON and ": " not in before:
        return _COLON[0], "mind the indentation, and that each key above has its ': '"
    return words
