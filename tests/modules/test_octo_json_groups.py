"""Groups of a parameter file: like a dict of dicts, but only what was touched is parsed again.

Every test runs with orjson and with the interpreter's own JSON: the results must be the same.
"""

from __future__ import annotations

import json
from collections import OrderedDict, defaultdict
from datetime import date
from decimal import Decimal
from enum import Enum
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import octo_json_groups
from octo_json_groups import Groups, GroupsText, fill_missing, use_orjson
from octo_json_strict import JsonTextError, JsonValueError, dump_groups, parse_groups
from tests.modules.parameter_support import groups, texts, values
from tests.modules.test_octo_json_strict import BAD_TEXTS

for_each_codec = settings(
    max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


class Colour(Enum):
    RED = 1


@pytest.fixture(params=["orjson", "strict"], autouse=True)
def codec(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(octo_json_groups, "_loads", parse_groups)
    monkeypatch.setattr(octo_json_groups, "_dumps", dump_groups)
    if request.param == "orjson":
        use_orjson()


def opened(state: dict[str, Any]) -> Groups:
    return Groups(GroupsText.of(json.dumps(state).encode()))


@for_each_codec
@given(groups, st.sampled_from([None, 1, 2, 7]))
def test_a_text_in_any_layout_holds_its_groups(state: dict[str, Any], indent: int | None) -> None:
    source = json.dumps(state, indent=indent).encode()
    text = GroupsText.of(source)
    assert text.source == source
    assert text.parse() == state
    assert list(text.parts) == list(state)
    again = text.with_parts(text.parts)
    assert again.source == dump_groups(state)
    assert again.parse() == state


def group_by_group(state: dict[str, Any]) -> dict[str, str]:
    return {name: json.dumps(group) for name, group in state.items()}


changes = st.lists(
    st.one_of(
        st.tuples(st.just("look"), texts, st.none()),
        st.tuples(st.just("set group"), texts, st.dictionaries(texts, values, max_size=2)),
        st.tuples(st.just("set key"), st.tuples(texts, texts), values),
        st.tuples(st.just("delete group"), texts, st.none()),
        st.tuples(st.just("clear"), st.none(), st.none()),
    ),
    max_size=8,
)


def make_change(target: Any, what: str, where: Any, value: Any) -> None:
    if what == "look":
        target.get(where)
    elif what == "set group":
        target[where] = dict(value)
    elif what == "set key":
        target.setdefault(where[0], {})[where[1]] = value
    elif what == "delete group":
        target.pop(where, None)
    else:
        target.clear()


@for_each_codec
@given(groups, changes)
def test_changed_groups_are_what_a_dict_with_the_same_changes_is(
    state: dict[str, Any], made: list[tuple[str, Any, Any]]
) -> None:
    under_test = opened(state)
    model = json.loads(json.dumps(state))
    for what, where, value in made:
        make_change(under_test, what, where, value)
        make_change(model, what, where, value)
        assert list(under_test) == list(model)
        assert len(under_test) == len(model)
    assert dict(under_test) == model
    assert under_test.write() == (group_by_group(model) != group_by_group(state))
    assert under_test.text().source == dump_groups(model)


def test_looking_changes_nothing() -> None:
    under_test = opened({"a": {"b": [1, {"c": 2.50}]}, "d": {}})
    assert under_test["a"]["b"][1]["c"] == 2.5
    assert "d" in under_test
    assert "x" not in under_test
    assert under_test.get("x") is None
    with pytest.raises(KeyError):
        under_test["x"]
    with pytest.raises(KeyError):
        del under_test["x"]
    assert not under_test.write()


@pytest.mark.parametrize(
    ("old", "new"), [(1, True), (1, 1.0), (0, False), (None, False), ([1], [True]), ("1", 1)]
)
def test_a_change_of_type_alone_is_a_change(old: Any, new: Any) -> None:
    under_test = opened({"a": {"b": old}})
    under_test["a"]["b"] = new
    assert under_test.write()
    written = under_test.text().parse()["a"]["b"]
    assert json.dumps(written) == json.dumps(new)


def test_groups_that_are_not_touched_keep_their_bytes() -> None:
    text = GroupsText.of(b'{"a": {"x": 1E2}, "b": {"y": 1}}')
    under_test = Groups(text)
    under_test["b"]["y"] = 2
    assert under_test.write()
    assert under_test.text().parts["a"] is text.parts["a"]


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (float("nan"), "nan"),
        ([float("inf")], "inf"),
        ({1}, "set"),
        (b"", "bytes"),
        (2**64, "64 bits"),
        ("\ud800", "surrogate"),
        ({1: 2}, "must be text"),
        (UUID(int=1), "UUID"),
        (date(2026, 1, 1), "date"),
        (Path("x"), "Path"),
        (Decimal(1), "Decimal"),
        (Colour.RED, "Colour"),
    ],
)
def test_what_json_cannot_hold_is_refused_though_orjson_would_write_it(
    value: Any, reason: str
) -> None:
    under_test = opened({"a": {"b": None}})
    under_test["a"]["b"] = value
    with pytest.raises(JsonValueError, match=reason) as caught:
        under_test.write()
    assert caught.value.path[:2] == ("a", "b")


def test_tuples_and_other_kinds_of_dict_are_written_as_json_has_them() -> None:
    under_test = opened({})
    under_test["a"] = defaultdict(list, x=(1, (2,)), y=OrderedDict(z=1))
    assert under_test.write()
    assert under_test.text().parse() == {"a": {"x": [1, [2]], "y": {"z": 1}}}


@pytest.mark.parametrize("group", [1, "text", None, [("a", 1)]])
def test_a_group_must_be_a_dict(group: Any) -> None:
    under_test = opened({})
    under_test["a"] = group
    with pytest.raises(JsonValueError, match="group must be a dict") as caught:
        under_test.write()
    assert caught.value.path == ("a",)


@pytest.mark.parametrize(("data", "line", "column", "reason"), BAD_TEXTS)
def test_a_bad_text_is_refused_though_orjson_might_take_it(
    data: bytes, line: int, column: int, reason: str
) -> None:
    with pytest.raises(JsonTextError, match=reason) as caught:
        GroupsText.of(data)
    assert (caught.value.line, caught.value.column) == (line, column)


@for_each_codec
@given(groups, groups)
def test_defaults_fill_in_what_is_missing_and_change_nothing(
    state: dict[str, Any], defaults: dict[str, Any]
) -> None:
    filled = opened(state)
    fill_missing(filled, defaults)
    expected = {**defaults, **state}
    for name in state.keys() & defaults.keys():
        expected[name] = {**defaults[name], **state[name]}
    assert dict(filled) == expected
    assert list(filled)[: len(state)] == list(state)


def test_defaults_are_copied_and_must_be_groups() -> None:
    defaults = {"a": {"b": [1]}}
    filled = opened({})
    fill_missing(filled, defaults)
    filled["a"]["b"].append(2)
    filled["a"]["c"] = 3
    assert defaults == {"a": {"b": [1]}}
    with pytest.raises(JsonValueError, match="group must be a dict"):
        fill_missing(filled, {"x": 1})  # type: ignore[dict-item]
