"""Strict JSON: what a parameter file may hold, read and written with the bare interpreter.

This module is the authority on the text of a parameter file. `octo_lock_json` uses orjson where it
can prove that orjson says the same; a command that reads one value uses this module alone, because
loading orjson costs more than starting Python.

The rules, for reading and for writing:

- UTF-8 without a byte order mark, one JSON object of objects: `{group: {key: value}}`.
- No key twice in an object, no NaN or infinity, no integer beyond 64 bits, no lone surrogate, no
  more than 254 levels of nesting.
- Written with two spaces of indentation, keys in the order they came, a newline at the end: the
  bytes that orjson writes too (some versions write the exponent of a float in another way).
"""

from __future__ import annotations

from _json import encode_basestring, make_scanner, scanstring

TYPE_CHECKING = False  # as in typing, whose import would double the time to read a value
if TYPE_CHECKING:
    from typing import Any, NoReturn

MAX_DEPTH = 254
INT_MIN, INT_MAX = -(2**63), 2**64 - 1
BLANKS = " \t\n\r"


class JsonTextError(ValueError):
    """A text that breaks the rules above, at `line` and `column` (both count from 1)."""

    def __init__(self, reason: str, line: int, column: int) -> None:
        super().__init__(f"line {line} column {column}: {reason}")
        self.reason = reason
        self.line = line
        self.column = column


class JsonValueError(ValueError):
    """A value that JSON can't hold, at `path` (keys and indexes from the outermost in)."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason
        self.path: tuple[str | int, ...] = ()


# --- reading ---


def parse_groups(data: bytes) -> dict[str, dict[str, Any]]:
    """The groups that the text of a parameter file holds.

    Raises:
        JsonTextError: The text breaks a rule; says which, and where.
    """
    text = _decode(data)
    try:
        groups = _parse(text)
        if not _is_groups(groups):
            _check(text, 0, of_groups=True)
    except _Fault as fault:
        raise _text_error(text, fault.position, fault.reason) from None
    return groups  # type: ignore[no-any-return]  # _is_groups said so


def parse_value(text: str) -> Any:
    """The value that one JSON text stands for.

    Raises:
        JsonTextError: It is not JSON.
        JsonValueError: It is JSON, but of a value that a parameter file can't hold.
    """
    try:
        return _parse(text)
    except _NotJson as fault:
        raise _text_error(text, fault.position, fault.reason) from None
    except _Fault as fault:
        raise JsonValueError(fault.reason) from None


class _Fault(Exception):
    """What the scanner lets pass is refused all the same; `position` counts characters."""

    def __init__(self, reason: str, position: int = 0) -> None:
        super().__init__(reason)
        self.reason = reason
        self.position = position


class _NotJson(_Fault):
    """The interpreter's scanner reads more than JSON."""


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise _Fault("a key appears twice in one object")
    return found


def _integer(digits: str) -> int:
    if len(digits) > 20 or not INT_MIN <= int(digits) <= INT_MAX:
        raise _Fault(f"the integer {_shortened(digits)} is beyond 64 bits")
    return int(digits)


def _float(digits: str) -> float:
    value = float(digits)
    if value - value != 0.0:
        raise _Fault(f"the number {_shortened(digits)} is beyond what a float can hold")
    return value


def _constant(name: str) -> NoReturn:
    raise _NotJson(f"{name} is not JSON")


class _Rules:
    """What the interpreter's scanner is told. It refuses while it scans, and can't say where."""

    strict = True
    object_hook = None
    object_pairs_hook = staticmethod(_unique)
    array_hook = None  # Python 3.15 asks for it
    parse_int = staticmethod(_integer)
    parse_float = staticmethod(_float)
    parse_constant = staticmethod(_constant)


_scan = make_scanner(_Rules())  # type: ignore[arg-type]  # the scanner asks for no more than this


def _decode(data: bytes) -> str:
    if not data.strip():
        raise JsonTextError("the file is empty", 1, 1)
    if data.startswith(b"\xef\xbb\xbf"):
        raise JsonTextError(
            "the file begins with a byte order mark; save it as UTF-8 without", 1, 1
        )
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        column = error.start - data.rfind(b"\n", 0, error.start)
        reason = f"byte 0x{data[error.start]:02x} is not UTF-8 text"
        raise JsonTextError(reason, line, column) from None


def _parse(text: str) -> Any:
    start = _after_blanks(text, 0)
    try:
        value, end = _scan_loudly(text, start)
    except StopIteration as stop:
        raise _text_error(text, stop.value, "a value is expected here") from None
    except ValueError as error:  # a json.JSONDecodeError; naming it would load the json package
        reason = str(getattr(error, "msg", error))
        raise _text_error(text, getattr(error, "pos", 0), reason[:1].lower() + reason[1:]) from None
    except (_Fault, RecursionError):
        _check(text, start)
        raise
    end = _after_blanks(text, end)
    if end < len(text):
        raise _text_error(text, end, "there is more text after the end of the value")
    if "\\u" in text or text.count("{") + text.count("[") > MAX_DEPTH:
        _check(text, start)  # for what the scanner lets pass: lone surrogates, deep nesting
    return value


def _scan_loudly(text: str, position: int) -> tuple[Any, int]:
    try:
        return _scan(text, position)
    except SystemError:  # before Python 3.13 it looks for its exception here, without loading it
        import json.decoder  # noqa: F401

        return _scan(text, position)


def _is_groups(value: object) -> bool:
    return isinstance(value, dict) and all(isinstance(group, dict) for group in value.values())


def _check(text: str, position: int, *, of_groups: bool = False, depth: int = 1) -> int:
    """Walk over the well-formed value at `position` and return where it ends.

    Slow, and exact: it raises the first _Fault in the text with its position.
    """
    position = _after_blanks(text, position)
    opening = text[position]
    if of_groups and opening != "{":
        what = (
            "the file must hold an object of groups" if depth == 1 else "a group must be an object"
        )
        raise _Fault(f'{what}, like {{"key": value}}', position)
    if opening not in "{[":
        return _check_scalar(text, position)
    if depth > MAX_DEPTH:
        raise _Fault(f"nested deeper than {MAX_DEPTH} levels", position)
    keys: set[str] = set()
    position = _after_blanks(text, position + 1)
    while text[position] not in "}]":
        if opening == "{":
            key, colon = scanstring(text, position + 1, True)
            _check_text(key, position)
            if key in keys:
                raise _Fault(f"the key {_shortened(key)!r} appears twice in one object", position)
            keys.add(key)
            position = _after_blanks(text, colon) + 1
        inside = _check(text, position, of_groups=of_groups and depth == 1, depth=depth + 1)
        position = _after_blanks(text, inside)
        if text[position] == ",":
            position = _after_blanks(text, position + 1)
    return position + 1


def _check_scalar(text: str, position: int) -> int:
    try:
        value, end = _scan(text, position)
    except _Fault as fault:
        raise type(fault)(fault.reason, position) from None
    if isinstance(value, str):
        _check_text(value, position)
    return end


def _check_text(value: str, position: int) -> None:
    if not _is_unicode(value):
        raise _Fault("half of a surrogate pair is not a character", position)


def _is_unicode(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _after_blanks(text: str, position: int) -> int:
    while position < len(text) and text[position] in BLANKS:
        position += 1
    return position


def _text_error(text: str, position: int, reason: str) -> JsonTextError:
    if position >= len(text.rstrip()):
        reason = "the text ends before the value is complete"
    line = text.count("\n", 0, position) + 1
    return JsonTextError(reason, line, position - text.rfind("\n", 0, position))


def _shortened(text: str) -> str:
    return text if len(text) <= 40 else text[:30] + "..." + text[-7:]


# --- writing ---


def dump_groups(groups: dict[str, Any]) -> bytes:
    """The text of a parameter file, indented for people.

    Raises:
        JsonValueError: JSON can't hold a value; says which, and where it is.
    """
    return (_write(groups, "\n", 1) + "\n").encode()


def dump_value(value: Any, *, indented: bool = False) -> str:
    """One value as JSON, on one line without a blank, or indented for people.

    Raises:
        JsonValueError: JSON can't hold it.
    """
    return _write(value, "\n" if indented else "", 1)


def _write(value: Any, newline: str, depth: int) -> str:
    """`newline` is the line end with the indentation of `value`, or nothing for compact text."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return _write_text(value)
    if isinstance(value, int):
        if not INT_MIN <= value <= INT_MAX:
            raise JsonValueError("an integer beyond 64 bits")
        return int.__repr__(value)
    if isinstance(value, float):
        return _write_float(value)
    if isinstance(value, dict | list | tuple):
        return _write_container(value, newline, depth)
    raise JsonValueError(f"a {type(value).__name__} is not a JSON value: {_shortened(repr(value))}")


def _write_text(value: str) -> str:
    if not value.isascii() and not _is_unicode(value):
        raise JsonValueError(f"the text {_shortened(ascii(value))} holds half of a surrogate pair")
    return encode_basestring(value)


def _write_float(value: float) -> str:
    """As orjson 3.13 writes it: no exponent from 1e-5 up to 1e16, and none with leading zeros."""
    if value - value != 0.0:
        raise JsonValueError(f"{value} is not a JSON number")
    digits, _, exponent = float.__repr__(value).partition("e")
    if not exponent:
        return digits
    if exponent == "-05":
        sign, digits = ("-", digits[1:]) if value < 0 else ("", digits)
        return f"{sign}0.0000{digits.replace('.', '')}"
    return f"{digits}e{int(exponent):+d}"


def _write_container(value: Any, newline: str, depth: int) -> str:
    if depth > MAX_DEPTH:
        raise JsonValueError(f"nested deeper than {MAX_DEPTH} levels, or holds itself")
    inner = newline and newline + "  "
    colon = ": " if newline else ":"
    members: list[str] = []
    is_object = isinstance(value, dict)
    for place, member in value.items() if is_object else enumerate(value):
        try:
            if is_object:
                if not isinstance(place, str):
                    raise JsonValueError(f"a key must be text, not {_shortened(repr(place))}")
                members.append(_write_text(place) + colon + _write(member, inner, depth + 1))
            else:
                members.append(_write(member, inner, depth + 1))
        except JsonValueError as error:
            error.path = (place if isinstance(place, str | int) else repr(place), *error.path)
            raise
    opening, closing = "{}" if is_object else "[]"
    if not members:
        return opening + closing
    return opening + inner + ("," + inner).join(members) + newline + closing
