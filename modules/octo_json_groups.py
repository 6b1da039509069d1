"""The text of a parameter file as a mapping of groups, parsed and written group by group.

A file of a thousand groups in which one value changes costs one group's parsing and writing, not a
thousand: `GroupsText` keeps the text cut into its groups, and `Groups`, which a transaction works
on, parses those that are looked at and writes those again.

Cutting is safe because the text is canonical. In it a line that begins with two blanks and a quote
can only be the key of a group: what is inside a group is indented further, and no JSON text holds
a raw line end within a string.
"""

from __future__ import annotations

from _collections_abc import Mapping, MutableMapping  # collections.abc loads `collections` too

from octo_json_strict import JsonValueError, dump_groups, parse_groups

TYPE_CHECKING = False  # as in typing, which is slow to load
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

_BEGIN, _BETWEEN, _END = b'{\n  "', b',\n  "', b"\n}\n"

_loads: Callable[[bytes], Any] = parse_groups
_dumps: Callable[[dict[str, Any]], bytes] = dump_groups


def use_orjson() -> None:
    """Parse and write with orjson from now on: the same results, many times as fast.

    It takes longer to load than Python takes to start, so a process that reads or changes one
    value does better without.
    """
    global _loads, _dumps
    import orjson

    option = orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE

    def dumps(value: dict[str, Any]) -> bytes:
        return orjson.dumps(value, option=option)

    _loads, _dumps = orjson.loads, dumps


class GroupsText:
    """One version of a parameter file, immutable.

    Attributes:
        source: The bytes as they are in the file.
        parts: The text of each group, from behind the opening quote of its key to its last brace.
    """

    __slots__ = ("parts", "source")

    def __init__(self, source: bytes, parts: dict[str, bytes]) -> None:
        self.source = source
        self.parts = parts

    @classmethod
    def of(cls, data: bytes) -> GroupsText:
        """What a file holds.

        orjson takes the last of two equal keys, rounds integers beyond 64 bits, and more; a text
        that it gives back byte by byte holds nothing of the kind. Any other is parsed strictly.

        Raises:
            JsonTextError: The text breaks a rule of `octo_json_strict`.
        """
        try:
            groups = _loads(data)
            same = _dumps(groups) == data
            good = same and all(type(group) is dict for group in groups.values())
        except (ValueError, TypeError, AttributeError):  # strict parsing will say it better
            good = False
        text = data
        if not good:
            groups = parse_groups(data)
            text = dump_groups(groups)
        return cls(data, dict(zip(groups, _cut(text), strict=True)))

    @classmethod
    def joined(cls, parts: dict[str, bytes]) -> GroupsText:
        """The version that holds these groups."""
        source = _BEGIN + _BETWEEN.join(parts.values()) + _END if parts else b"{}\n"
        return cls(source, parts)

    def parse(self) -> dict[str, dict[str, Any]]:
        """All groups, in a dict that belongs to the caller."""
        return _loads(self.source)  # type: ignore[no-any-return]


class Groups(MutableMapping[str, "dict[str, Any]"]):
    """The groups of a parameter file, open to changes: `groups[group][key] = value`.

    A group is an ordinary dict once it was looked at; `write` checks what became of it.
    """

    def __init__(self, text: GroupsText) -> None:
        self._before = text.parts
        self._parts = text.parts.copy()
        self._open: dict[str, dict[str, Any]] = {}

    def __getitem__(self, name: str) -> dict[str, Any]:
        group = self._open.get(name)
        if group is None:
            text = _BEGIN + self._parts[name] + _END
            group = self._open[name] = _loads(text)[name]
        return group

    def __setitem__(self, name: str, group: dict[str, Any]) -> None:
        self._open[name] = group
        self._parts.setdefault(name, b"")

    def __delitem__(self, name: str) -> None:
        del self._parts[name]
        self._open.pop(name, None)

    def __iter__(self) -> Iterator[str]:
        return iter(self._parts)

    def __len__(self) -> int:
        return len(self._parts)

    def __contains__(self, name: object) -> bool:
        return name in self._parts

    def __repr__(self) -> str:
        return f"Groups({dict(self)!r})"

    def write(self) -> bool:
        """Write the groups that were looked at again; returns whether anything has changed.

        Raises:
            JsonValueError: JSON can't hold a value; `path` leads to it.
        """
        for name in self._open:
            self.write_group(name)
        return self._parts != self._before

    def write_group(self, name: str) -> None:
        """Write one group again."""
        self._parts[name] = _group_text(name, self._open[name])

    def text(self) -> GroupsText:
        """The version that holds what was written."""
        return GroupsText.joined(self._parts)


def fill_missing(
    groups: MutableMapping[str, dict[str, Any]], defaults: Mapping[str, Mapping[str, Any]]
) -> None:
    """Add the groups and keys that are missing, as copies; never change a value.

    Raises:
        JsonValueError: The defaults are no mapping of mappings.
    """
    for name, values in defaults.items():
        if not isinstance(values, dict | Mapping):
            raise _no_group(name, values)
        group = groups.setdefault(name, {})
        if not values.keys() <= group.keys():
            for key, value in values.items():
                if key not in group:
                    group[key] = _copied(value)


def _copied(value: Any) -> Any:
    if not isinstance(value, dict | list):
        return value
    import copy

    return copy.deepcopy(value)


def _group_text(name: str, group: dict[str, Any]) -> bytes:
    """The part of one group.

    orjson writes NaN as null, and texts for dates; a text that reads back equal is right. What is
    not equal is written strictly, which refuses it, or writes a tuple as a list.
    """
    whole = {name: group}
    try:
        text = _dumps(whole)
        equal = type(group) is dict and _loads(text) == whole
    except (ValueError, TypeError):
        equal = False
    if not equal:
        if not isinstance(group, dict):
            raise _no_group(name, group)
        text = dump_groups(whole)
    return text[len(_BEGIN) : -len(_END)]


def _no_group(name: str, value: object) -> JsonValueError:
    error = JsonValueError(f"a group must be a dict of keys and values, not {value!r:.40}")
    error.path = (name,)
    return error


def _cut(text: bytes) -> list[bytes]:
    inside = text[len(_BEGIN) : -len(_END)]
    return inside.split(_BETWEEN) if inside else []
