from __future__ import annotations

import gc
import logging
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from octo_errors import UsageError
from octo_parameters_cli import main
from octo_step_engine_parameters import open_parameters
from orchestrator.context import Context

WATCHER = "octo-context-watch"


@pytest.fixture
def instance(tmp_path: Path) -> Path:
    open_parameters(tmp_path).read()
    return tmp_path


@pytest.fixture(params=["file", "memory"])
def context(request: pytest.FixtureRequest, instance: Path) -> Context:
    return Context(instance) if request.param == "file" else Context()


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def watchers() -> int:
    return sum(thread.name == WATCHER for thread in threading.enumerate())


def test_own_changes_are_told_one_by_one_before_the_call_returns(context: Context) -> None:
    told: list[tuple[Any, ...]] = []
    end = context.subscribe("a", lambda *news: told.append(news))
    context.set("a", 1, who="me")
    context.set("b", 1)
    context.set("a", 1)
    context.increment("a")
    context.delete("a")
    assert told == [("a", 1, "me"), ("a", 2, ""), ("a", None, "")]
    end()
    end()
    context.set("a", 9)
    assert len(told) == 3


def test_a_pattern_names_several_keys(context: Context) -> None:
    told: list[str] = []
    end = context.subscribe("load.*", callback=lambda key, value: told.append(key))
    context.from_dict({"load.a": 1, "load.b": 2, "save.a": 3})
    context.set("[x]", 1)
    end_exact = context.subscribe("[x]", lambda key, value: told.append(key))
    context.set("[x]", 2)
    assert told == ["load.a", "load.b", "[x]"]
    end()
    end_exact()


def test_a_callback_that_raises_is_logged_and_does_no_harm(
    context: Context, caplog: pytest.LogCaptureFixture
) -> None:
    told: list[Any] = []
    ends = [
        context.subscribe("a", lambda key, value: 1 / 0),
        context.subscribe("a", lambda key, value: told.append(value)),
    ]
    with caplog.at_level(logging.ERROR):
        context.set("a", 1)
    assert told == [1]
    assert "ZeroDivisionError" in caplog.text
    for end in ends:
        end()


def test_a_callback_may_change_the_context(context: Context) -> None:
    end = context.subscribe("a", lambda key, value: context.set("b", value + 1))
    context.set("a", 1)
    assert context.get("b") == 2
    end()


def test_a_callback_that_can_not_be_called_is_refused(context: Context) -> None:
    for callback in (lambda: None, lambda key: None, 5):
        with pytest.raises(UsageError, match="can't be told"):
            context.subscribe("a", callback)  # type: ignore[arg-type]


def test_changes_of_others_are_noticed(instance: Path) -> None:
    told: list[tuple[Any, ...]] = []
    context = Context(instance)
    context.set("gone", 1)
    end = context.subscribe("*", lambda *news: told.append(news))
    assert main([str(instance), "context", "a", "1"]) == 0
    until(lambda: told == [("a", 1, "")])
    Context(instance, who="other").delete("gone")
    until(lambda: told[1:] == [("gone", None, "")])
    end()


def test_changes_of_others_are_told_before_an_own_one(instance: Path) -> None:
    told: list[tuple[str, Any]] = []
    context = Context(instance)
    end = context.subscribe("*", lambda key, value: told.append((key, value)))
    Context(instance).set("a", 1)
    context.set("a", 2)
    assert told in ([("a", 1), ("a", 2)], [("a", 2)]) and told[-1] == ("a", 2)
    Context(instance).set("a", 3)
    context.poll()
    assert told[-1] == ("a", 3)
    end()


def test_the_newest_value_always_arrives_and_own_changes_in_order(instance: Path) -> None:
    told: dict[str, list[int]] = {}
    context = Context(instance)
    end = context.subscribe("*", lambda key, value: told.setdefault(key, []).append(value))

    def change(through: Context, key: str) -> None:
        for number in range(40):
            through.set(key, number)

    threads = [
        threading.Thread(target=change, args=(through, key))
        for through, key in ((context, "own1"), (context, "own2"), (Context(instance), "other"))
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    until(lambda: told.get("other", [0])[-1] == 39)
    assert told["own1"] == told["own2"] == list(range(40))
    assert told["other"] == sorted(set(told["other"]))
    end()


def test_nobody_watches_when_nobody_is_subscribed(instance: Path) -> None:
    until(lambda: watchers() == 0)
    context = Context(instance)
    ends = [context.subscribe("a", print), context.subscribe("b", print)]
    assert watchers() == 1
    for end in ends:
        end()
    until(lambda: watchers() == 0)
    end = context.subscribe("a", print)
    assert watchers() == 1
    del context, end, ends
    gc.collect()
    until(lambda: watchers() == 0)


def test_a_file_that_can_not_be_read_is_told_and_does_not_end_the_watch(
    instance: Path, caplog: pytest.LogCaptureFixture
) -> None:
    told: list[Any] = []
    context = Context(instance)
    end = context.subscribe("a", lambda key, value: told.append(value))
    file = instance / ".octo_step_engine_parameters.json"
    sound = file.read_bytes()
    file.write_bytes(b"{")
    until(lambda: "can't be watched" in caplog.text)
    file.write_bytes(sound)
    Context(instance).set("a", 1)
    until(lambda: told == [1])
    end()
