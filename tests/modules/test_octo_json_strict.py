"""Strict JSON: what is written reads back the same, everything else is refused with its place."""

from __future__ import annotations

import json
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from octo_json_strict import (
    JsonTextError,
    JsonValueError,
    dump_groups,
    dump_value,
    parse_groups,
    parse_value,
)
from tests.modules.parameter_support import Python, groups, values


def nested(depth: int, opening: str = '{"a":', closing: str = "}") -> str:
    return opening * depth + "1" + closing * depth


@given(groups)
def test_groups_read_back_as_they_were_written(state: dict[str, Any]) -> None:
    text = dump_groups(state)
    assert parse_groups(text) == state == json.loads(text) == orjson.loads(text)


@given(values)
def test_values_read_back_as_they_were_written(value: Any) -> None:
    for indented in (False, True):
        assert parse_value(dump_value(value, indented=indented)) == value
    assert "\n" not in dump_value(value)


@given(groups, st.sampled_from([None, "\t", 4]), st.booleans())
def test_any_way_to_write_the_same_json_reads_the_same(
    state: dict[str, Any], indent: Any, ascii_only: bool
) -> None:
    text = json.dumps(state, indent=indent, ensure_ascii=ascii_only)
    assert parse_groups(f" \n{text}\r\n".encode()) == state


def test_text_is_what_orjson_writes() -> None:
    state = {
        "empty": {},
        'quote " \\ é \u2028 \x7f \x1b': {"list": [], "object": {}, "nested": [[1], {"a": [{}]}]},
        "numbers": {"f": [1.0, -0.0, 1e-5, -1.25e-5, 0.1, 1e15], "i": [-(2**63), 2**64 - 1, 0]},
        "rest": {"t": True, "f": False, "n": None, "s": "\b\t\n\f\r\0"},
    }
    option = orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE
    assert dump_groups(state) == orjson.dumps(state, option=option)


BAD_TEXTS = [
    (b"", 1, 1, "empty"),
    (b" \n\t\n", 1, 1, "empty"),
    (b"\xef\xbb\xbf{}", 1, 1, "byte order mark"),
    (b"\xff\xfe{\0}\0", 1, 1, "0xff is not UTF-8"),
    (b'{"a":\n {"b": "\xe9"}}', 2, 9, "0xe9 is not UTF-8"),
    (b"null", 1, 1, "object of groups"),
    (b"  []", 1, 3, "object of groups"),
    (b'{"a": {},\n "b": 1}', 2, 7, "group must be an object"),
    (b"{", 1, 2, "ends before"),
    (b'{\n  "a": {"b": 1,\n', 3, 1, "ends before"),
    (b'{"a": {"b": "text', 1, 13, "unterminated string"),
    (b"{'a': {}}", 1, 2, "property name"),
    (b'{"a": {"b": nope}}', 1, 13, "expected"),
    (b'{"a": {"b": 1 "c": 2}}', 1, 15, "delimiter"),
    (b'{"a": {}} {}', 1, 11, "more text"),
    (b'{"a": {"b": "\n"}}', 1, 14, "control character"),
    (b'{"a": {"b": 1,\n       "b": 2}}', 2, 8, "'b' appears twice"),
    (b'{"a": {"b": [{"c": 1, "c": 1}]}}', 1, 23, "'c' appears twice"),
    (b'{"a": {},\n "a": {}}', 2, 2, "'a' appears twice"),
    (b'{"a": {"b": 18446744073709551616}}', 1, 13, "beyond 64 bits"),
    (b'{"a": {"b": -9223372036854775809}}', 1, 13, "beyond 64 bits"),
    (b'{"a": {"b": ' + b"9" * 5000 + b"}}", 1, 13, "beyond 64 bits"),
    (b'{"a": {"b": 1e999}}', 1, 13, "beyond what a float can hold"),
    (b'{"a": {"b": [1, NaN]}}', 1, 17, "NaN is not JSON"),
    (b'{"a": {"b": -Infinity}}', 1, 13, "-Infinity is not JSON"),
    (b'{"a": {"b": "\\ud800"}}', 1, 13, "surrogate"),
    (b'{"a": {"\\udfff": 1}}', 1, 8, "surrogate"),
    (nested(255).encode(), 1, 254 * 5 + 1, "deeper than 254"),
    (nested(100_000).encode(), 1, 254 * 5 + 1, "deeper than 254"),
]


@pytest.mark.parametrize(("data", "line", "column", "reason"), BAD_TEXTS)
def test_a_bad_text_is_refused_with_its_place(
    data: bytes, line: int, column: int, reason: str
) -> None:
    with pytest.raises(JsonTextError, match=reason) as caught:
        parse_groups(data)
    assert (caught.value.line, caught.value.column) == (line, column)


def test_every_truncation_of_a_text_is_refused() -> None:
    text = dump_groups({"a": {"b": [1, -2.5, {"c": None}], "d": 'x\\"y'}, "é": {"f": True}})
    whole = text.rstrip()
    assert parse_groups(whole)
    for length in range(len(whole)):
        with pytest.raises(JsonTextError):
            parse_groups(whole[:length])


def test_the_bounds_of_nesting_and_integers_are_inside() -> None:
    assert parse_groups(nested(254).encode())
    assert parse_value(nested(254, "[", "]"))
    assert parse_groups(b'{"a": {"b": [18446744073709551615, -9223372036854775808]}}')
    assert parse_groups(b'{"a": {"b": "\\ud83d\\ude00"}}') == {"a": {"b": "\U0001f600"}}


@pytest.mark.parametrize("text", ["", "-", "{", "nope", "NaN", "-Infinity", "1 2", "'a'"])
def test_what_is_no_json_value_is_told_from_what_is_too_large(text: str) -> None:
    with pytest.raises(JsonTextError):
        parse_value(text)
    for refused in ("18446744073709551616", "1e999", '{"a": 1, "a": 1}', '"\\ud800"'):
        with pytest.raises(JsonValueError):
            parse_value(refused)


LOOP: list[Any] = []
LOOP.append(LOOP)


@pytest.mark.parametrize(
    ("value", "path", "reason"),
    [
        (float("nan"), ("a", "b"), "nan"),
        (float("-inf"), ("a", "b"), "-inf"),
        ({1, 2}, ("a", "b"), "set"),
        (b"x", ("a", "b"), "bytes"),
        (object, ("a", "b"), "type"),
        (2**64, ("a", "b"), "64 bits"),
        (-(2**63) - 1, ("a", "b"), "64 bits"),
        ("\ud800", ("a", "b"), "surrogate"),
        ([0, {"c": [{1}]}], ("a", "b", 1, "c", 0), "set"),
        ({1: 2}, ("a", "b", 1), "key must be text"),
        ({"\udc80": 2}, ("a", "b", "\udc80"), "surrogate"),
        (json.loads(nested(253)), ("a", "b", *["a"] * 252), "254 levels"),
        (LOOP, ("a", "b", *[0] * 252), "holds itself"),
    ],
)
def test_a_value_that_json_cannot_hold_is_refused_with_its_path(
    value: Any, path: tuple[str | int, ...], reason: str
) -> None:
    with pytest.raises(JsonValueError, match=reason) as caught:
        dump_groups({"good": {"b": 1}, "a": {"b": value}})
    assert caught.value.path == path


def test_a_tuple_is_written_as_a_list() -> None:
    assert dump_value({"a": (1, ("b",))}) == '{"a":[1,["b"]]}'


def test_errors_are_found_though_no_json_package_is_loaded() -> None:
    code = """
        import octo_json_strict
        assert "json" not in sys.modules
        try:
            octo_json_strict.parse_groups(b'{"a": {"b" 1}}')
        except octo_json_strict.JsonTextError as error:
            print(error)
    """
    with Python(code) as other:
        assert other.output().startswith("line 1 column 12: ")
