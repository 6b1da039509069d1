"""YAML text -> plain values, and where each of them stands in its file. Strict, and bounded.

Plain texts mean what YAML 1.2's core schema says, so that `no`, `on`, `22:22` and dates stay text
and `1e3` is a number. Unlike there, digits after needless zeros (`0755`, `007`) stay text, too: as
a number they would be another. Anchors, aliases and merge keys (`<<`) work. What a recipe has no
use for is refused: tags, keys that are no text, several documents, numbers that JSON can't hold.

The text is read once, as a stream of events, and nothing is expanded while it is: what would need
much time or memory is refused before it does.
"""

from __future__ import annotations

import math
import re
from typing import Any, NamedTuple, NoReturn

import yaml

from octo_errors import did_you_mean
from orchestrator.recipe_document import Document, Node, Place, Problem, recipe_error
from orchestrator.recipe_syntax import MAX_DEPTH, TEMPLATE_HINT, TOO_DEEP, syntax_problem

__all__ = ["MAX_DEPTH", "MAX_TEXT", "MAX_VALUES", "Document", "Place", "load_yaml"]

MAX_TEXT = 2**20
"""Characters of one text."""
MAX_VALUES = 500_000
"""In a file, aliases expanded; 64 characters of text count as one more."""
MAX_PROBLEMS = 100
"""After as many, the rest of the file isn't looked at."""

_SMALLEST = "the smallest recipe: steps: [{name: hello, module: builtins, function: print}]"


def load_yaml(
    text: bytes, file: str, *, smallest: str = _SMALLEST, secret: bool = False
) -> Document:
    """The value of a YAML file's bytes, with places.

    Args:
        file: Its name in problems.
        smallest: The least that it could hold: what an empty one lacks.
        secret: Problems show nothing that is written there.

    Raises:
        RecipeError: It is no YAML, or has what a recipe can't have.
    """
    source = _decoded(text, file)
    builder = _Builder(file, secret)
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)(source)
    event = None
    try:
        for event in iter(loader.get_event, None):
            builder.take(event)
    except yaml.MarkedYAMLError as error:
        problem = syntax_problem(error, file, source, event, builder.unfinished)
        raise recipe_error([*builder.problems, problem]) from None
    finally:
        loader.dispose()
    if builder.root is None:
        raise recipe_error([Problem(file, 1, "the file is empty", smallest, column=1)])
    value, node = builder.root
    return Document(file, value, builder.problems, node)


# --- the text -------------------------------------------------------------------------------------

_UNPRINTABLE = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def _decoded(text: bytes, file: str) -> str:
    """The characters of a file; refuses what is no UTF-8 or has unprintable ones."""
    for mark, name in (
        (b"\xff\xfe", "UTF-16"),
        (b"\xfe\xff", "UTF-16"),
        (b"\0\0\xfe\xff", "UTF-32"),
    ):
        if text.startswith(mark):
            hint = "save it as UTF-8"
            raise recipe_error([Problem(file, 1, f"is {name}, not UTF-8", hint, column=1)])
    try:
        source = text.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = text[: error.start].decode("utf-8-sig")
        message = f"is no UTF-8: byte 0x{text[error.start]:02x}"
        raise recipe_error([_at(file, before, message, "save it as UTF-8")]) from None
    if found := _UNPRINTABLE.search(source):
        code = ord(found[0])
        name = "a NUL" if code == 0 else f"an unprintable character, U+{code:04X}"
        hint = f'in double quotes it is written "\\u{code:04x}"' if code < 0x10000 else ""
        raise recipe_error([_at(file, source[: found.start()], f"has {name} here", hint)])
    return source


def _at(file: str, before: str, message: str, hint: str) -> Problem:
    """A problem at the character after `before`."""
    column = len(before) - before.rfind("\n")
    return Problem(file, before.count("\n") + 1, message, hint, column=column)


# --- scalars --------------------------------------------------------------------------------------

_WORDS = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
_NUMBER = re.compile(
    r"(?P<int>[-+]?(?:0|[1-9][0-9]*))|0o(?P<oct>[0-7]+)|0x(?P<hex>[0-9a-fA-F]+)"
    r"|(?P<float>[-+]?(?:\.[0-9]+|(?:0|[1-9][0-9]*)(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?)"
    r"|(?P<odd>[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))"
)
_NUMBER_STARTS = frozenset("+-.0123456789")


def _plain_value(text: str) -> Any:
    """What a text without quotes means.

    Raises:
        ValueError: It is a number that JSON can't hold.
    """
    if text in _WORDS:
        return _WORDS[text]
    match = _NUMBER.fullmatch(text) if text[0] in _NUMBER_STARTS else None
    if match is None:
        return text
    kind = match.lastgroup
    if kind == "float" and math.isfinite(number := float(text)):
        return number
    if kind in ("float", "odd"):
        raise ValueError("is no number that can be kept")
    whole = (
        2**64
        if len(text) > 40
        else int(match[kind or 0], {"oct": 8, "hex": 16}.get(kind or "", 10))
    )
    if not -(2**63) <= whole < 2**64:
        raise ValueError("is a whole number of more than 64 bits")
    return whole


# --- lists and mappings ---------------------------------------------------------------------------

_TAGS = {
    yaml.ScalarEvent: ("!", "tag:yaml.org,2002:str"),
    yaml.SequenceStartEvent: ("!", "tag:yaml.org,2002:seq"),
    yaml.MappingStartEvent: ("!", "tag:yaml.org,2002:map"),
}
"""The only tags that are allowed: they say what is so anyway, or that a plain text is text."""


class _Open:
    """A list or mapping that isn't complete yet.

    Attributes:
        before: The size of all that came before it.
        height: Of what is complete in it, and itself.
        key: Of a mapping, what the next value belongs to; None where a key is next.
        merging: Of a mapping, whether the next value is that of `<<`; None where there was none.
        merged: What `<<` is to take over.
    """

    __slots__ = (
        "anchor",
        "before",
        "height",
        "inner",
        "key",
        "key_place",
        "merged",
        "merging",
        "node",
        "value",
    )

    def __init__(self, value: Any, node: Node, anchor: str | None, before: int) -> None:
        self.value, self.node, self.inner = value, node, node[2]
        self.anchor, self.before, self.height = anchor, before, 1
        self.key: str | None = None
        self.key_place = (0, 0)
        self.merging: bool | None = None
        self.merged: list[tuple[dict[str, Any], Node]] = []


class _Known(NamedTuple):
    """What an anchor names, and the size and height that each alias adds."""

    value: Any
    node: Node
    size: int
    height: int


_MERGE = "<<"
_NOTHING_BEHIND = (
    "an anchor or a tag, and nothing behind it",
    "a text that begins with & or ! needs quotes",
)


class _Builder:
    """Makes the value from events. All work is in proportion to the number of events."""

    def __init__(self, file: str, secret: bool) -> None:
        self.file, self.secret = file, secret
        self.problems: list[Problem] = []
        self.root: tuple[Any, Node] | None = None
        self._open: list[_Open] = []
        self._anchors: dict[str, _Known | None] = {}
        self._size = 0
        self._take = {
            yaml.ScalarEvent: self._scalar,
            yaml.AliasEvent: self._alias,
            yaml.SequenceStartEvent: self._begin,
            yaml.MappingStartEvent: self._begin,
            yaml.SequenceEndEvent: self._end,
            yaml.MappingEndEvent: self._end,
            yaml.DocumentStartEvent: self._document,
        }

    @property
    def unfinished(self) -> list[Place]:
        """Where the lists and mappings begin that are not complete yet, innermost last."""
        return [Place(*each.node[:2]) for each in self._open]

    def take(self, event: yaml.Event) -> None:
        """The next event.

        Raises:
            RecipeError: It leads to what can't be loaded.
        """
        if handler := self._take.get(type(event)):
            handler(event)

    def _document(self, event: yaml.Event) -> None:
        if self.root is not None:
            self._refuse(event, "a second document begins here", "one document a file")

    def _complain(self, event: Any, message: str, hint: str = "") -> None:
        mark = event.start_mark
        self.problems.append(
            Problem(self.file, mark.line + 1, message, hint, column=mark.column + 1)
        )
        if len(self.problems) == MAX_PROBLEMS:
            raise recipe_error(self.problems)

    def _refuse(self, event: Any, message: str, hint: str = "") -> NoReturn:
        self._complain(event, message, hint)
        raise recipe_error(self.problems)

    def _this(self, kind: str, text: str) -> str:
        """What a problem is about, called by what is written there, if that may be shown."""
        return f"this {kind}" if self.secret else f"the {kind} {text}"

    def _grow(self, event: Any, size: int) -> None:
        self._size += size
        if self._size > MAX_VALUES:
            self._refuse(event, f"more than {MAX_VALUES:,} values, aliases expanded")

    def _check_tag(self, event: Any) -> None:
        if event.tag is not None and event.tag not in _TAGS[type(event)]:
            tag = event.tag.replace("tag:yaml.org,2002:", "!!")[:80]
            hint = "take it away, or put the text in quotes"
            self._refuse(event, f"{self._this('tag', tag)} has no place here", hint)

    def _scalar(self, event: Any) -> None:
        text: str = event.value
        if len(text) > MAX_TEXT:
            self._refuse(event, f"a text of more than {MAX_TEXT:,} characters")
        self._check_tag(event)
        self._grow(event, 1 + (len(text) >> 6))
        is_plain = not event.style and event.tag is None
        top = self._open[-1] if self._open else None
        if top is not None and top.key is None and type(top.value) is dict:
            self._key(top, event, is_plain)
            return
        if not text and not event.style and (event.anchor or event.tag == "!"):
            self._complain(event, *_NOTHING_BEHIND)
        value = self._plain(event) if is_plain else text
        written = None if value is text else text
        mark = event.start_mark
        node = (mark.line + 1, mark.column + 1, event.style or "", written)
        if event.anchor:
            self._anchors[event.anchor] = _Known(value, node, 1 + (len(text) >> 6), 0)
        self._add(event, value, node, 0)

    def _plain(self, event: Any) -> Any:
        try:
            return _plain_value(event.value)
        except ValueError as error:
            hint = "put it in quotes to keep it as text"
            self._complain(event, f"this {error}", hint)
            return event.value

    def _key(self, mapping: _Open, event: Any, is_plain: bool) -> None:
        key, mark = event.value, event.start_mark
        mapping.key, mapping.key_place = key, (mark.line + 1, mark.column + 1)
        if is_plain and key == _MERGE:
            if mapping.merging is not None:
                self._complain(event, "the key '<<' is given twice", "as a list: <<: [*a, *b]")
            mapping.merging = True
            return
        if is_plain and not isinstance(self._plain(event), str):
            hint = "write it in quotes" + ("" if self.secret else f": '{key}'")
            self._complain(event, f"{self._this('key', key or 'null')} is no text", hint)
        if key in mapping.inner:
            hint = f"the first one is in line {mapping.inner[key][0]}"
            self._complain(event, f"{self._this('key', repr(key[:80]))} is given twice", hint)

    def _alias(self, event: Any) -> None:
        name = event.anchor
        this = self._this("alias", f"*{name[:40]}")
        if name not in self._anchors:
            near = "" if self.secret else did_you_mean(name[:40], self._anchors)
            hint = near or "a text that begins with * needs quotes"
            self._refuse(event, f"{this} names no anchor before it", hint)
        known = self._anchors[name]
        if known is None:
            self._refuse(event, f"{this} stands inside of what it names")
        if len(self._open) + known.height > MAX_DEPTH:
            self._refuse(event, TOO_DEEP)
        self._grow(event, known.size)
        self._add(event, known.value, known.node, known.height)

    def _begin(self, event: Any) -> None:
        self._check_tag(event)
        is_mapping = type(event) is yaml.MappingStartEvent
        if self._key_is_next():
            mark, outer = event.start_mark, self._open[-1].node
            template = is_mapping and outer[:2] == (mark.line + 1, mark.column)
            self._refuse(event, "a key must be text", TEMPLATE_HINT if template else "")
        if len(self._open) >= MAX_DEPTH:
            self._refuse(event, TOO_DEEP)
        if event.anchor:
            self._anchors[event.anchor] = None
        mark, before = event.start_mark, self._size
        self._grow(event, 1)
        node: Node = (mark.line + 1, mark.column + 1, {} if is_mapping else [])
        self._open.append(_Open({} if is_mapping else [], node, event.anchor, before))

    def _key_is_next(self) -> bool:
        return (
            bool(self._open) and self._open[-1].key is None and type(self._open[-1].value) is dict
        )

    def _end(self, event: Any) -> None:
        done = self._open.pop()
        for value, node in done.merged:
            for key in value:
                done.value.setdefault(key, value[key])
                done.inner.setdefault(key, node[2][key])
        if done.anchor:
            size = self._size - done.before
            self._anchors[done.anchor] = _Known(done.value, done.node, size, done.height)
        self._add(event, done.value, done.node, done.height)

    def _add(self, event: Any, value: Any, node: Node, height: int) -> None:
        """Put a complete value where it belongs."""
        if not self._open:
            self.root = (value, node)
            return
        top = self._open[-1]
        if height >= top.height:
            top.height = height + 1
        if type(top.value) is list:
            top.value.append(value)
            top.inner.append(node)
        elif top.key is None:
            self._refuse(event, "a key can't be an alias", "write the key out")
        elif top.merging:
            top.merged.extend(self._merged(event, value, node))
            top.key, top.merging = None, False
        else:
            top.value.setdefault(top.key, value)  # a key that is given twice was told
            top.inner.setdefault(top.key, (*top.key_place, node))
            top.key = None

    def _merged(self, event: Any, value: Any, node: Node) -> list[tuple[Any, Node]]:
        """The mappings that `<<` takes over, the first one first."""
        if isinstance(value, dict):
            return [(value, node)]
        if isinstance(value, list) and all(isinstance(each, dict) for each in value):
            return list(zip(value, node[2], strict=True))
        self._complain(event, "<< takes a mapping, or a list of mappings", "as <<: *anchor")
        return []
