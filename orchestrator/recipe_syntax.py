"""What the YAML parser says of a text that is no YAML, in the words of those who write one."""

from __future__ import annotations

from collections.abc import Sequence

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
_NO_ESCAPE = ("there is no such escape", "in single quotes, \\ is itself")
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
    "unknown escape character": _NO_ESCAPE,
    "did not find expected hexdecimal number": _NO_ESCAPE,
    "expected escape sequence of": _NO_ESCAPE,
    "Unicode character escape": (
        "an escape for half a character",
        'write the character as it is, or as "\\U0001f600"',
    ),
    "nesting depth": (TOO_DEEP, ""),
    "undefined tag handle": ("a tag has no place here", _BEGINS),
    "a tag": ("a tag has no place here", _BEGINS),
    "directive": ("% begins a directive of YAML, and here is none", _BEGINS),
}
"""A part of what the parser says -> what we say. Each part is looked for in turn."""


def syntax_problem(
    error: yaml.MarkedYAMLError,
    file: str,
    source: str,
    last: yaml.Event | None,
    unfinished: Sequence[Place],
) -> Problem:
    """The problem that the parser has with `source`; nothing that is written there is shown.

    Args:
        last: What the parser found last.
        unfinished: Where the lists and mappings begin that are not complete yet, innermost last.
    """
    lines = source.splitlines() or [""]
    place = _place(error, lines)
    before, rest = _cut(lines, place)
    message, hint = _in_words(error, before, rest)
    opening = _opening(error, lines, unfinished)
    if opening and _has_ended(lines, place):
        place = opening
        message, hint = f"{_cut(lines, place)[1][:1]} opens here, and nothing closes it", ""
    elif rest.startswith("\t"):
        message, hint = "a tab, where YAML takes only blanks", "indent with blanks"
    elif "{{" in before:
        hint = TEMPLATE_HINT
    elif opening and opening.line < place.line:
        hint = f"it begins in line {opening.line}"
    elif begun := _line_of_quotes(last, place):
        hint = f"the quotes that open in line {begun} are closed here"
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


def _cut(lines: list[str], place: Place) -> tuple[str, str]:
    """The line of a place, before it and from it on."""
    line = lines[place.line - 1]
    return line[: place.column - 1], line[place.column - 1 :]


def _opening(
    error: yaml.MarkedYAMLError, lines: list[str], unfinished: Sequence[Place]
) -> Place | None:
    """Where what the parser was in was opened, by a bracket or a quote."""
    context, mark = error.context or "", error.context_mark
    if "quoted" in context and mark:
        return Place(mark.line + 1, mark.column + 1)
    brackets = (each for each in reversed(unfinished) if _cut(lines, each)[1][:1] in ("[", "{"))
    return next(brackets, None) if "flow" in context else None


def _has_ended(lines: list[str], place: Place) -> bool:
    """Nothing but white space is left of the text."""
    return not "".join([_cut(lines, place)[1], *lines[place.line :]]).strip()


def _line_of_quotes(last: yaml.Event | None, place: Place) -> int | None:
    """The line in which quotes open that are closed just before the place, in another line."""
    if not (isinstance(last, yaml.ScalarEvent) and last.style in ("'", '"')):
        return None
    first, end = (mark.line + 1 if mark else 0 for mark in (last.start_mark, last.end_mark))
    return first if first < end == place.line else None


def _in_words(error: yaml.MarkedYAMLError, before: str, rest: str) -> _Words:
    """What the parser says, in our words.

    Args:
        before: What precedes the place in its line.
        rest: The line from there on.
    """
    said = " ".join(filter(None, [error.problem, error.context]))
    words = next((ours for theirs, ours in _SYNTAX.items() if theirs in said), None)
    if words is None:
        return f"is no YAML: {said}", ""
    if words is _BLOCK and before.strip(" -"):
        hint = "put all of it in quotes; or a ': ' is missing before it"
        return "the value before this has ended, and more follows", hint
    if words is _BLOCK and rest.startswith("-") and not rest.startswith("- "):
        return _BLOCK[0], "an item of a list begins with `- `, with the blank"
    if words is _COLON and ": " not in before:
        return _COLON[0], "mind the indentation, and that each key above has its ': '"
    return words
