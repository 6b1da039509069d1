"""The text of a parameter file as a mapping of groups, parsed and written group by group.

A file of a thousand groups in which one value changes costs one group's parsing and writing, not a
thousand: `GroupsText` keeps the text cut into its groups, and what was parsed of them; `Groups`,
which a transaction works on, parses those that are looked at and writes those again.

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

    _Parsed = tuple[bytes, dict[str, Any], list[str]]  # its part, itself, keys of its containers

_BEGIN, _BETWEEN, _END = b'{\n  "', b',\n  "', b"\n}\n"

_loads: Callable[[bytes], Any] = parse_groups
_dumps: Callable[[dict[str, Any]], bytes] = dump_groups


def use_orjson() -> None:
    """Parse and write with orjson from now on: the same results, many times as fast.

    It takes longer to load than Python takes to start, so a process that reads or changes one
    value does better without.
    """
    global _loads, _dumps
    if _loads is not parse_groups:
        return
    from functools import partial

    from octo_orjson import orjson

    option = orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE
    _loads, _dumps = orjson.loads, partial(orjson.dumps, option=option)


class GroupsText:
    """One version of a parameter file, immutable.

    Attributes:
        source: The bytes as they are in the file.
        parts: The text of each group, from behind the opening quote of its key to its last brace.
    """

    __slots__ = ("_parsed", "parts", "source")

    def __init__(self, source: bytes, parts: dict[str, bytes]) -> None:
        self.source = source
        self.parts = parts
        # Shared by all versions that come from one another: an entry is right for its own part.
        self._parsed: dict[str, _Parsed] = {}

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

    def with_parts(self, parts: dict[str, bytes]) -> GroupsText:
        """The version that holds these groups, most of which are as in this one."""
        source = _BEGIN + _BETWEEN.join(parts.values()) + _END if parts else b"{}\n"
        version = GroupsText(source, parts)
        if len(self._parsed) <= len(parts):  # else there are some of groups that are gone
            version._parsed = self._parsed
        return version

    def group(self, name: str) -> dict[str, Any]:
        """One group, in a dict that belongs to the caller.

        Raises:
            KeyError: There is none of this name.
        """
        return _loads(_BEGIN + self.parts[name] + _END)[name]  # type: ignore[no-any-return]

    def parse(self) -> dict[str, dict[str, Any]]:
        """All groups, in a dict that belongs to the caller."""
        if len(self.parts) < _MANY:
            return _loads(self.source)  # type: ignore[no-any-return]
        parsed, group = self._parsed, self._group_to_remember
        return {
            name: _copied_group(known)
            if (known := parsed.get(name)) is not None and known[0] is part
            else group(name)
            for name, part in self.parts.items()
        }

    def _group_to_remember(self, name: str) -> dict[str, Any]:
        """As `group`; keeps what takes less to copy it than to parse it again."""
        group = self.group(name)
        containers = [key for key, value in group.items() if type(value) not in _SCALARS]
        if not all(map(_is_shallow, map(group.__getitem__, containers))):
            return group
        known = self._parsed[name] = self.parts[name], group, containers
        return _copied_group(known)


_MANY = 16  # fewer groups are parsed at once in less time than they are copied one by one
_SCALARS = frozenset({str, int, bool, float, type(None)})


def _is_shallow(container: Any) -> bool:
    values = container.values() if type(container) is dict else container
    return _SCALARS.issuperset(map(type, values))


def _copied_group(known: _Parsed) -> dict[str, Any]:
    """A copy of a group that shares nothing with it that can be changed."""
    group = known[1].copy()
    for key in known[2]:
        group[key] = group[key].copy()
    return group


class Groups(MutableMapping[str, "dict[str, Any]"]):
    """The groups of a parameter file, open to changes: `groups[group][key] = value`.

    A group is an ordinary dict once it was looked at; `write` checks what became of it.
    """

    def __init__(self, text: GroupsText) -> None:
        self._before = text
        self._parts = text.parts  # those of `text` until something changes
        self._open: dict[str, dict[str, Any]] = {}

    def __getitem__(self, name: str) -> dict[str, Any]:
        if name in self._open:
            return self._open[name]
        if name not in self._parts:
            raise KeyError(name)
        group = self._open[name] = self._before.group(name)
        return group

    def __setitem__(self, name: str, group: dict[str, Any]) -> None:
        self._open[name] = group
        if name not in self._parts:
            self._own_parts()[name] = b""

    def __delitem__(self, name: str) -> None:
        del self._own_parts()[name]
        self._open.pop(name, None)

    def __iter__(self) -> Iterator[str]:
        return iter(self._parts)

    def __len__(self) -> int:
        return len(self._parts)

    def __contains__(self, name: object) -> bool:
        return name in self._parts

    def get(self, name: str, default: Any = None) -> Any:
        """The group of this name, or `default`."""
        if name in self._open:
            return self._open[name]
        return self[name] if name in self._parts else default

    def setdefault(self, name: str, default: Any = None) -> Any:
        """The group of this name, which is `default` where there was none."""
        if name not in self._parts:
            self[name] = default
        return self[name]

    def __repr__(self) -> str:
        return f"Groups({dict(self)!r})"

    def write(self, *, but: str | None = None) -> bool:
        """Write the groups that were looked at again; returns whether anything has changed.

        Args:
            but: A group that is left as it was, for the time being.

        Raises:
            JsonValueError: JSON can't hold a value; `path` leads to it.
        """
        for name in self._open:
            if name != but:
                self.write_group(name)
        before = self._before.parts
        return self._parts is not before and self._parts != before

    def write_group(self, name: str) -> bool:
        """Write one group that was looked at again; returns whether it has changed."""
        part = _group_text(name, self._open[name])
        if self._parts[name] == part:
            return False
        self._own_parts()[name] = part
        return True

    def _own_parts(self) -> dict[str, bytes]:
        if self._parts is self._before.parts:
            self._parts = self._parts.copy()
        return self._parts

    def text(self) -> GroupsText:
        """The version that holds what was written."""
        self._before = self._before.with_parts(self._parts)
        return self._before


def fill_missing(
    groups: MutableMapping[str, dict[str, Any]], defaults: Mapping[str, Mapping[str, Any]]
) -> None:
    """Add the groups and keys that are missing, as copies; never change a value.

    Raises:
        JsonValueError: The defaults are no mapping of mappings.
    """
    if type(defaults) is not dict and not isinstance(defaults, Mapping):
        raise JsonValueError(f"the defaults must be a dict of groups, not {defaults!r:.40}")
    for name, values in defaults.items():
        if type(values) is not dict and not isinstance(values, Mapping):
            raise no_group(name, values)
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

    orjson writes NaN as null, and texts for dates; what it writes of plain values is right. All
    else is written strictly, which refuses it, or writes a tuple as a list.
    """
    whole = {name: group}
    try:
        text = _dumps(whole)
        rest = [value for value in group.values() if type(value) not in _PLAIN]
        plain = type(group) is dict and all(map(_is_plain, rest))
    except (ValueError, TypeError, AttributeError):
        plain = False
    if not plain:
        if not isinstance(group, dict):
            raise no_group(name, group)
        text = dump_groups(whole)
    return text[len(_BEGIN) : -len(_END)]


_PLAIN = frozenset({str, int, bool, type(None)})


def _is_plain(value: Any) -> bool:
    """Whether all there is in it is of the types that JSON has, and no NaN."""
    kind = type(value)
    if kind is dict:
        value = value.values()
    elif kind is not list:
        return kind in _PLAIN or (kind is float and value - value == 0.0)
    return _PLAIN.issuperset(map(type, value)) or all(map(_is_plain, value))


def no_group(name: str, value: object) -> JsonValueError:
    """The error that a group is no dict."""
    error = JsonValueError(f"a group must be a dict of keys and values, not {value!r:.40}")
    error.path = (name,)
    return error


def _cut(text: bytes) -> list[bytes]:
    inside = text[len(_BEGIN) : -len(_END)]
    return inside.split(_BETWEEN) if inside else []
