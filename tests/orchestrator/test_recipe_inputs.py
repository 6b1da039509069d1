"""The values of a run's inputs: where they come from, of which type they are, what is wrong."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from octo_errors import RecipeError
from orchestrator.recipe_inputs import input_mistake, resolve_inputs

SPECS: dict[str, dict[str, Any]] = {
    "name": {"type": "string", "default": "x"},
    "count": {"type": "integer", "default": 1},
    "share": {"type": "number", "default": 0.5},
    "loud": {"type": "boolean", "default": False},
    "files": {"type": "list", "default": []},
    "table": {"type": "object", "default": {}},
    "other": {"type": "any", "default": None},
}


def problems(specs: Mapping[str, Any], *given: str, files: list[Path] | None = None) -> list[str]:
    with pytest.raises(RecipeError) as error:
        resolve_inputs(specs, given, files or [])
    return [str(each) for each in error.value.details["problems"]]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("name=0755", "0755"),
        ("name=", ""),
        ("name=a=b", "a=b"),
        ("name=true", "true"),
        ("count=12", 12),
        ("count=-3", -3),
        ("count=0x10", 16),
        ("share=1e3", 1000.0),
        ("share=3", 3),
        ("loud=true", True),
        ("loud=False", False),
        ("files=[a, 'b c', 3]", ["a", "b c", 3]),
        ('files=["a"]', ["a"]),
        ("files=- a\n- b", ["a", "b"]),
        ("table={a: 1, b: no}", {"a": 1, "b": "no"}),
        ("other=5", 5),
        ("other=08", "08"),
        ("other=no", "no"),
        ("other=[1, a", "[1, a"),
        ('other={"a": [null]}', {"a": [None]}),
        ("other=NaN", "NaN"),
    ],
)
def test_a_text_becomes_a_value_of_the_inputs_type(text: str, value: Any) -> None:
    name = text.partition("=")[0]
    found = resolve_inputs(SPECS, [text])[name]
    assert found == value
    assert type(found) is type(value)


@given(st.text())
def test_a_text_for_text_is_never_changed(text: str) -> None:
    assert resolve_inputs(SPECS, [f"name={text}"])["name"] == text


whole = st.integers(-(2**63), 2**64 - 1)


@given(st.recursive(st.none() | st.booleans() | whole | st.text(), st.lists, max_leaves=8))
def test_json_for_any_is_the_value(value: Any) -> None:
    assert resolve_inputs(SPECS, [f"other={json.dumps(value)}"])["other"] == value


def test_what_is_given_goes_before_files_these_before_the_environment_and_that_before_defaults(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    specs = {
        name: {"type": "string", "default": "default", "env": f"OCTO_{name}"} for name in "abcdef"
    }
    for name in "abcde":
        monkeypatch.setenv(f"OCTO_{name}", "environment")
    first, second = tmp_path / "1.yaml", tmp_path / "2.yaml"
    first.write_text("{a: first, b: first, c: first}")
    second.write_text("{a: second, b: second}")
    found = resolve_inputs(specs, ["a=once", "a=twice"], [first, second])
    assert found == {
        "a": "twice",
        "b": "second",
        "c": "first",
        "d": "environment",
        "e": "environment",
        "f": "default",
    }


def test_a_text_of_the_environment_becomes_a_value_of_the_type_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OCTO_COUNT", "12")
    specs = {"count": {"type": "integer", "env": "OCTO_COUNT"}}
    assert resolve_inputs(specs) == {"count": 12}
    monkeypatch.setenv("OCTO_COUNT", "twelve")
    assert problems(specs) == [
        "environment variable OCTO_COUNT: input 'count' must be a whole number, and is 'twelve'"
    ]


def test_values_by_name_are_checked_as_they_are() -> None:
    assert resolve_inputs(SPECS, {"count": 2})["count"] == 2
    with pytest.raises(RecipeError, match="args: input 'count' must be a whole number"):
        resolve_inputs(SPECS, {"count": "2"})


def test_null_is_a_value_where_it_is_the_default() -> None:
    specs: dict[str, dict[str, Any]] = {
        "a": {"type": "string", "default": None},
        "b": {"type": "string", "default": "x"},
    }
    assert resolve_inputs(specs, {"a": None}) == {"a": None, "b": "x"}
    with pytest.raises(RecipeError, match="input 'b' must be text, and is null"):
        resolve_inputs(specs, {"b": None})


def test_all_mistakes_are_told_at_once(tmp_path: Path) -> None:
    file = tmp_path / "in.yaml"
    file.write_text("cuont: 1\nshare: [1]\nname: 1.10\nname: x\n")
    specs = SPECS | {
        "needed": {"type": "string", "description": "the one"},
        "both": {"type": "any", "env": "OCTO_NOWHERE"},
        "kind": {"type": "string", "default": "a", "choices": ["a", "b"]},
    }
    given = [
        "name=\udcff",
        "naem=x",
        "count=many",
        "count=1.5",
        "loud=yes",
        "files=a,b",
        "table=a",
        "name",
        "kind=c",
        "other=1e999",
    ]
    assert problems(specs, *given, files=[file]) == [
        "--set: input 'name' is no UTF-8",
        "--set: there is no input 'naem'\n  did you mean 'name'?",
        "--set: input 'count' must be a whole number, and is 'many'",
        "--set: input 'count' must be a whole number, and is 1.5",
        "--set: input 'loud' must be true or false, and is 'yes'",
        "--set: input 'files' must be a list, and is 'a,b'\n  as --set 'files=[a, b]'",
        "--set: input 'table' must be a mapping, and is 'a'\n  as --set 'table={a: 1}'",
        "--set: 'name' has no value\n  as --set NAME=VALUE",
        "--set: input 'kind' must be one of 'a', 'b', and is 'c'",
        "--set: input 'other' must be what JSON can hold, and is '1e999'\n"
        "  in the recipe, `type: string` keeps it as text",
        f"{file}:1:1: there is no input 'cuont'\n  did you mean 'count'?",
        f"{file}:2:1: input 'share' must be a number, and is a list",
        f"{file}:3:1: input 'name' must be text, and is a number\n"
        "  put it in quotes to keep it as text",
        f"{file}:4:1: this key is given twice\n  the first one is in line 3",
        "inputs: 'needed' has no value\n  give it by --set needed=...: the one",
        "inputs: 'both' has no value\n  give it by --set both=... or by the variable OCTO_NOWHERE",
    ]


def test_the_safe_ways_to_give_a_secret_are_told_first() -> None:
    specs = {"token": {"secret": True}, "key": {"secret": True, "env": "OCTO_NOWHERE"}}
    assert problems(specs) == [
        "inputs: 'token' has no value\n  give it by --inputs FILE or by --set token=..."
        " where others may see it",
        "inputs: 'key' has no value\n  give it by the variable OCTO_NOWHERE or by --inputs FILE"
        " or by --set key=... where others may see it",
    ]


def test_files_that_cant_be_used_are_told(tmp_path: Path) -> None:
    broken, other, empty = (tmp_path / f"{name}.yaml" for name in "abc")
    broken.write_text("a: [")
    other.write_text("[1]")
    empty.touch()
    found = problems(SPECS, files=[broken, other, tmp_path / "none.yaml", empty, tmp_path])
    assert [each.partition(": ")[2].partition("\n")[0] for each in found] == [
        "is a directory; inputs are in a YAML file",
        "[ opens here, and nothing closes it",
        "must be a mapping: NAME: VALUE, one a line",
        "the file is empty",
        "there is no such file",
    ]
    assert "recipe" not in "".join(found).replace(str(tmp_path), "")


def test_inputs_can_come_from_a_pipe(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with ThreadPoolExecutor() as threads:
        threads.submit(pipe.write_text, "count: 5")
        assert resolve_inputs({"count": {"type": "integer"}}, files=[pipe]) == {"count": 5}


def test_a_recipe_without_inputs_says_so() -> None:
    assert problems({}, "a=1") == ["--set: there is no input 'a'\n  the recipe has no inputs"]


@pytest.mark.parametrize("kind", ["string", "integer", "number", "boolean", "list", "object"])
@pytest.mark.parametrize("secret", ["hunter2", "123456.789", "1e999", "[hunter2", "&hunter2 x"])
def test_no_message_shows_what_is_secret(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, secret: str
) -> None:
    monkeypatch.setenv("OCTO_SECRET", secret)
    file = tmp_path / "in.yaml"
    file.write_text(f"key: {secret}")
    specs = {"key": {"type": kind, "secret": True, "choices": ["a"], "env": "OCTO_SECRET"}}
    for texts, files in (([f"key={secret}"], []), ([], [file]), ([], []), ([secret], [])):
        try:
            resolve_inputs(specs, texts, files)
        except RecipeError as error:
            assert secret not in str(error)
            assert "hunter2" not in str(error)
        else:
            pytest.fail("the value is not among the choices")


@pytest.mark.parametrize("text", ["1e5", "0755", "123456789012345678901", "1.10", "true", "0x1F"])
def test_a_secret_without_a_type_is_text_as_it_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    specs = {"key": {"type": "any", "secret": True, "env": "OCTO_SECRET"}}
    assert resolve_inputs(specs, [f"key={text}"]) == {"key": text}
    monkeypatch.setenv("OCTO_SECRET", text)
    assert resolve_inputs(specs) == {"key": text}
    file = tmp_path / "in.yaml"
    if len(text) < 20:  # beyond 64 bits, a file is asked for quotes
        file.write_text(f"key: {text}")
        assert resolve_inputs(specs, files=[file]) == {"key": text}


def test_a_secret_that_yaml_takes_for_nothing_is_no_null(tmp_path: Path) -> None:
    file = tmp_path / "in.yaml"
    file.write_text("key: #hunter2\n")
    specs: dict[str, dict[str, Any]] = {"key": {"type": "any", "secret": True}}
    assert problems(specs, files=[file]) == [
        f"{file}:1:1: input 'key' must have a value, and is null\n"
        "  nothing is written there; a text that begins with # needs quotes"
    ]
    specs["key"]["default"] = None
    assert resolve_inputs(specs, files=[file]) == {"key": None}


def test_what_a_file_may_hold_that_cant_be_read_is_not_said_to_be_missing(tmp_path: Path) -> None:
    file = tmp_path / "in.yaml"
    file.write_text("key: *hunter2")
    assert problems({"key": {"type": "any", "secret": True}}, files=[file]) == [
        f"{file}:1:6: this alias names no anchor before it\n"
        "  a text that begins with * needs quotes"
    ]


def test_values_of_secrets_are_kept_in_no_cache(tmp_path: Path, own_cache: Path) -> None:
    file = tmp_path / "in.yaml"
    file.write_text("key: never to be kept")
    specs = {"key": {"type": "string", "secret": True}}
    assert resolve_inputs(specs, [], [file]) == {"key": "never to be kept"}
    assert not any("never to be kept" in e.read_text() for e in own_cache.rglob("*") if e.is_file())


def test_a_mistake_says_what_is_expected_and_what_is_there() -> None:
    assert input_mistake({"type": "integer"}, True) == "must be a whole number, and is true"
    assert input_mistake({"type": "number"}, 3) == ""
    assert input_mistake({"type": "any", "choices": [1, "a"]}, True).endswith("and is true")
