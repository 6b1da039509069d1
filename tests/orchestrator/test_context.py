from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from octo_errors import InstanceError, ParameterKeyError, ParameterValueError
from octo_parameters_cli import main
from octo_step_engine_parameters import PARAMETER_FILE_NAME, open_parameters
from orchestrator.context import Context
from tests.modules.parameter_support import Python, needs_posix
from tests.support import PROJECT


@pytest.fixture
def instance(tmp_path: Path) -> Path:
    open_parameters(tmp_path).read()
    return tmp_path


@pytest.fixture(params=["file", "memory"])
def context(request: pytest.FixtureRequest, instance: Path) -> Iterator[Context]:
    yield Context(instance) if request.param == "file" else Context()


# --- values ---


def test_what_is_set_is_got(context: Context) -> None:
    context.set("a.b", [1, 2.5, None, True, {"ä": "\n"}], who="load")
    context.set("a", (1, 2))
    assert context.get("a.b") == [1, 2.5, None, True, {"ä": "\n"}]
    assert context.get("a") == [1, 2]
    assert context.keys() == ["a.b", "a"]
    assert context.contains("a.b")
    assert "a" in context and "b" not in context
    assert context.get("b", 7) == 7
    assert json.loads(context.to_json()) == context.to_dict()


def test_a_key_that_is_taken_out_is_gone(context: Context) -> None:
    context.set("a", 1)
    assert context.delete("a", who="cleanup")
    assert not context.delete("a")
    assert "a" not in context
    assert context.get("a") is None


def test_what_get_returns_belongs_to_the_caller(context: Context) -> None:
    given = {"list": [1]}
    context.set("a", given)
    given["list"].append(2)
    context.get("a")["list"].append(3)
    context.to_dict()["a"]["list"].append(4)
    assert context.get("a") == {"list": [1]}
    told: list[Any] = []
    context.subscribe("a", lambda key, value: told.append(value))
    context.update("a", lambda value: {**value, "more": []})["more"].append(5)
    told[0]["more"].append(6)
    assert context.get("a") == {"list": [1], "more": []}


@pytest.mark.parametrize("value", [{1}, b"x", float("nan"), 2**64, "\ud800", {1: 2}, Path("x")])
def test_a_value_that_json_cannot_hold_changes_nothing(context: Context, value: object) -> None:
    context.set("a", 1)
    for change in (
        lambda: context.set("a", value),
        lambda: context.from_dict({"b": 2, "a": [value]}),
        lambda: context.update("a", lambda _: value),
    ):
        with pytest.raises(ParameterValueError, match="context key 'a'"):
            change()
    assert context.to_dict() == {"a": 1}
    assert len(context.history()) == 1


def test_a_key_is_text(context: Context) -> None:
    with pytest.raises(ParameterKeyError, match="not int: 5"):
        context.set(5, 1)  # type: ignore[arg-type]
    assert 5 not in context


def test_the_empty_context_counts_as_true(context: Context) -> None:
    assert context


def test_json_goes_in_and_out(context: Context) -> None:
    context.set("a", 1)
    context.from_json('{"b": [1, {"c": null}], "d": "x"}', who="me")
    assert context.to_dict() == {"a": 1, "b": [1, {"c": None}], "d": "x"}
    assert [change["who"] for change in context.history()] == ["", "me", "me"]
    for text in ("[1]", "{", '{"a": 1, "a": 2}', "NaN"):
        with pytest.raises(ParameterValueError, match="nothing was changed"):
            context.from_json(text)
    assert len(context.history()) == 3


def test_a_counter_counts_what_is_a_number_only(context: Context) -> None:
    assert context.increment("n") == 1
    assert context.increment("n", 4, "me") == 5
    assert context.increment("n", by=0.5) == 5.5
    context.set("t", True)
    context.set("s", "1")
    for key in ("t", "s"):
        with pytest.raises(ParameterValueError, match="no number to count with"):
            context.increment(key)
    with pytest.raises(ParameterValueError, match="no number"):
        context.increment("n", by="1")  # type: ignore[arg-type]


def test_an_update_sees_the_value_and_none_where_there_is_none(context: Context) -> None:
    assert context.update("a", lambda value: [value]) == [None]
    assert context.update("a", lambda value: [*value, 1], "me") == [None, 1]
    with pytest.raises(ZeroDivisionError):
        context.update("a", lambda value: 1 / 0)
    assert context.get("a") == [None, 1]


# --- who, and what was before ---


def test_the_history_tells_who_changed_what(context: Context) -> None:
    context.set("a", 1, "first")
    context.set("b", 2, who="second")
    context.named("third").set("a", [3])
    context.delete("a", who="fourth")
    changes = [
        {key: value for key, value in change.items() if key != "ts"} for change in context.history()
    ]
    assert changes == [
        {"seq": 1, "key": "a", "who": "first", "before": None, "after": 1},
        {"seq": 2, "key": "b", "who": "second", "before": None, "after": 2},
        {"seq": 3, "key": "a", "who": "third", "before": 1, "after": [3]},
        {"seq": 4, "key": "a", "who": "fourth", "before": [3], "deleted": True},
    ]
    assert [change["seq"] for change in context.history("a")] == [1, 3, 4]
    assert all(change["ts"].endswith("Z") for change in context.history())


def test_the_same_value_again_is_no_change(context: Context) -> None:
    context.set("a", 1)
    context.set("a", 1)
    context.set("a", 1.0)
    context.set("a", True)
    assert [change["after"] for change in context.history()] == [1, 1.0, True]


def test_the_history_does_not_keep_long_values(context: Context) -> None:
    context.set("a", "x" * 20_000)
    context.set("a", ["y" * 20_000])
    context.set("a", 1)
    assert [change["before"] for change in context.history()] == [
        None,
        {"not_kept": "str, 20000 characters"},
        {"not_kept": "list, 20004 characters"},
    ]


def test_keys_values_and_names_are_kept_as_the_cleaner_returns_them(instance: Path) -> None:
    context = Context(instance, clean=lambda value: str(value).replace("secret", "***"))
    context.set("my secret", "a secret", who="secretary")
    assert context.get("my secret") == "a ***"
    assert context.history()[0]["who"] == "***ary"
    assert context.delete("my secret")
    for file in instance.iterdir():
        assert b"secret" not in file.read_bytes()


# --- an instance ---


def test_the_parameter_command_line_sees_and_changes_it(
    instance: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    context = Context(instance)
    context.set("rows", 17)
    assert main([str(instance), "context", "rows"]) == 0
    assert capsys.readouterr().out == "17\n"
    assert main([str(instance), "context", "rows", "18"]) == 0
    assert context.get("rows") == 18
    context.set("rows", 19)
    assert context.history()[-1]["before"] == 18


def test_a_directory_that_is_no_instance_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InstanceError, match="no parameter file"):
        Context(tmp_path)


def test_a_change_keeps_the_groups_of_others(instance: Path) -> None:
    with open_parameters(instance).transaction() as groups:
        groups["other"] = {"key": [1]}
    context = Context(instance)
    context.set("a", 1)
    context.delete("a")
    groups_now = json.loads((instance / PARAMETER_FILE_NAME).read_bytes())
    assert groups_now["other"] == {"key": [1]}
    assert groups_now["context"] == {}


def test_fifty_threads_count_fifty(context: Context) -> None:
    start = threading.Barrier(50)

    def count() -> None:
        start.wait()
        context.increment("n")
        context.update("list", lambda value: [*(value or []), 1])

    threads = [threading.Thread(target=count) for _ in range(50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert context.get("n") == 50
    assert len(context.get("list")) == 50
    assert [change["seq"] for change in context.history()] == list(range(1, 101))


COUNT = f"""
import sys
sys.path.insert(0, {str(PROJECT)!r})
from orchestrator.context import Context
context = Context(sys.argv[1], who=sys.argv[2])
input()
for turn in range(int(sys.argv[3])):
    context.increment("n")
    context.set(f"mine.{{sys.argv[2]}}", turn)
    print(turn, flush=True)
"""


@needs_posix
def test_processes_that_contend_and_are_killed_lose_nothing_acknowledged(instance: Path) -> None:
    turns, processes = 40, [Python(COUNT, instance, f"p{n}", 40) for n in range(3)]
    victim = Python(COUNT, instance, "victim", 100_000)
    try:
        for each in [*processes, victim]:
            each.go_on()
        acknowledged = 0
        while acknowledged < 20:
            acknowledged = int(victim.line())
        acknowledged = max([acknowledged, *map(int, victim.killed())])
        for each in processes:
            assert each.output().split()[-1] == str(turns - 1)
    finally:
        for each in [*processes, victim]:
            each.__exit__()
    context = Context(instance)
    done = context.get("mine.victim") + 1
    assert done > acknowledged
    assert context.get("n") in (3 * turns + done, 3 * turns + done + 1)  # killed between the two
    changes = context.history()
    assert [change["seq"] for change in changes] == list(range(1, len(changes) + 1))
    assert changes[-1]["key"] in context.to_dict()
    last = {change["key"]: change["after"] for change in changes}
    assert last == context.to_dict()


@needs_posix
def test_a_writer_that_is_killed_again_and_again_loses_nothing_acknowledged(instance: Path) -> None:
    least = 0  # what "n" must be, by all that was acknowledged
    for round in range(12):
        with Python(COUNT, instance, f"w{round}", 100_000) as writer:
            writer.go_on()
            turn = -1
            while turn < round:  # killed a little later each time
                turn = int(writer.line())
            turn = max([turn, *map(int, writer.killed())])
        context = Context(instance)
        least += turn + 1
        assert context.get(f"mine.w{round}") in (turn, turn + 1)
        assert context.get("n") in (least, least + 1)  # killed before it could tell
        least = context.get("n")
        changes = context.history()
        assert [change["seq"] for change in changes] == list(range(1, len(changes) + 1))
        assert {change["key"]: change["after"] for change in changes} == context.to_dict()


@needs_posix
def test_a_child_process_goes_on_with_the_context_of_its_parent(instance: Path) -> None:
    context = Context(instance)
    context.set("a", 1)
    child = os.fork()
    if child == 0:
        try:
            context.increment("a")
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    context.increment("a")
    assert context.get("a") == 3
    assert len(context.history()) == 3
