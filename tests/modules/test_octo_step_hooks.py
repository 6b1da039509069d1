"""What a hook returns or raises, and what the result says of it."""

from __future__ import annotations

import enum
import json
import sys
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from octo_step_hooks import HookResult, NodeObjects, StepFailure, perform
from octo_step_lib import make_node


def result_of(hook: str, function: Callable[[], Any]) -> HookResult:
    return perform(type("Node", (), {hook: lambda self: function()})(), "a", hook)


def raising(exc: BaseException) -> HookResult:
    def raise_it() -> None:
        raise exc

    return result_of("step_execute", raise_it)


class Key(str):
    """A string whose `str()` is another one, as that of a member of a string enumeration."""

    def __str__(self) -> str:
        return "not the key"


class Hostile:
    """An object all of whose methods go wrong."""

    def __repr__(self) -> str:
        sys.exit("no")

    def __eq__(self, other: object) -> bool:
        raise ZeroDivisionError

    __hash__ = None  # type: ignore[assignment]


Colour = enum.Enum("Colour", {"RED": "red"}, type=str)
Zero = enum.IntEnum("Zero", {"ZERO": 0})


class TestReturnValues:
    @pytest.mark.parametrize("value", [0, None, Zero.ZERO])
    def test_0_and_none_are_success(self, value: object) -> None:
        result = result_of("step_execute", lambda: value)
        assert (result.node, result.hook) == ("a", "step_execute")
        assert (result.error, result.traceback, result.value) == (None, "", value)
        assert result.duration_s > 0

    @pytest.mark.parametrize(
        "value", ["done", False, True, 1, -1, 0.0, [], {}, b"", float("nan"), 2**70, ("x",)]
    )
    def test_everything_else_is_an_error_that_shows_it(self, value: object) -> None:
        result = result_of("step_execute", lambda: value)
        assert result.error == f"returned {value!r}: a hook returns 0 or None for success"
        json.dumps(result.value, allow_nan=False)

    def test_an_object_that_cannot_be_described_is_an_error(self) -> None:
        result = result_of("step_execute", Hostile)
        assert result.error is not None
        assert result.error.startswith("returned <Hostile that can't be described>: ")

    def test_a_huge_value_is_shown_short(self) -> None:
        result = result_of("step_execute", lambda: [["x" * 10**6] * 100] * 100)
        assert len(str(result.error)) + len(str(result.value)) < 5_000

    def test_an_async_hook_is_an_error_that_says_so(self) -> None:
        async def hook() -> int:
            return 0

        result = result_of("step_execute", hook)
        assert result.error is not None
        assert result.error.endswith("hooks are plain functions, not 'async def'")

    @given(
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
            lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
            max_leaves=8,
        ),
        st.sampled_from(["step_execute", "step_advance", "step_probe"]),
    )
    def test_any_result_can_be_written_as_json(self, value: object, hook: str) -> None:
        result = result_of(hook, lambda: value)
        fields = {name: getattr(result, name) for name in HookResult.__slots__}
        json.dumps(fields, allow_nan=False, ensure_ascii=False).encode()


class TestAdvance:
    @pytest.mark.parametrize(
        ("value", "arrows"),
        [
            ("x", ["x"]),
            (["x", "y"], ["x", "y"]),
            (("x",), ["x"]),
            (Key("x"), ["x"]),
            (Colour["RED"], ["red"]),
        ],
    )
    def test_a_key_or_a_list_of_keys_are_the_arrows(self, value: object, arrows: list[str]) -> None:
        result = result_of("step_advance", lambda: value)
        assert (result.error, result.arrows) == (None, arrows)
        assert all(type(key) is str for key in result.arrows or [])

    @pytest.mark.parametrize("value", [None, 0, [], (), ["x", 1], b"x", {"x": 1}, {"x"}])
    def test_anything_else_is_an_error(self, value: object) -> None:
        result = result_of("step_advance", lambda: value)
        assert result.arrows is None
        assert result.error is not None
        assert result.error.endswith(": step_advance returns an arrow key, or a list of arrow keys")


class TestProbe:
    @pytest.mark.parametrize("answer", ["rerun", "done"])
    def test_rerun_and_done_are_answers(self, answer: str) -> None:
        result = result_of("step_probe", lambda: answer)
        assert (result.error, result.answer) == (None, answer)

    @pytest.mark.parametrize("value", [None, 0, "again", ["done"]])
    def test_anything_else_is_an_error(self, value: object) -> None:
        result = result_of("step_probe", lambda: value)
        assert result.answer is None
        assert result.error == f"returned {value!r}: step_probe returns 'rerun' or 'done'"


class TestExceptions:
    @pytest.mark.parametrize(
        ("exc", "error"),
        [
            (ValueError("no signal"), "ValueError: no signal"),
            (BaseException("all"), "BaseException: all"),
            (GeneratorExit(), "GeneratorExit"),
            (SystemExit("bye"), "called sys.exit('bye'): a hook returns 0 or None for success"),
            (SystemExit(0), "called sys.exit(0): a hook returns 0 or None for success"),
            (OSError("\udcff"), "OSError: \\udcff"),
            (ExceptionGroup("both", [ValueError("x")]), "ExceptionGroup: both (1 sub-exception)"),
        ],
    )
    def test_an_exception_is_an_error_with_the_traceback_of_the_hook(
        self, exc: BaseException, error: str
    ) -> None:
        result = raising(exc)
        assert result.error == error
        assert "in raise_it" in result.traceback
        assert "in perform" not in result.traceback
        assert not result.interrupted

    def test_an_exception_whose_text_goes_wrong_is_an_error_all_the_same(self) -> None:
        class Mute(Exception):
            def __str__(self) -> str:
                raise RuntimeError

        assert raising(Mute()).error == "Mute: <Mute that can't be described>"

    def test_keyboard_interrupt_is_an_interrupt(self) -> None:
        result = raising(KeyboardInterrupt())
        assert (result.interrupted, result.error, result.traceback) == (True, "interrupted", "")

    def test_texts_are_of_a_size_that_fits_a_log(self) -> None:
        def endless(depth: int = 0) -> int:
            return endless(depth + 1)

        for result in (raising(ValueError("x" * 10**6)), result_of("step_execute", endless)):
            assert result.error
            assert len(result.error) < 5_000
            assert len(result.traceback) < 50_000


class TestNodeObjects:
    def test_one_object_of_a_node_is_made_and_kept(self) -> None:
        made: list[str] = []

        class Node:
            count = 0

            def step_entry(self) -> None:
                self.count += 1

            def step_probe(self) -> str:
                return "done" if self.count == 2 else "rerun"

        def make(node: str) -> Node:
            made.append(node)
            return Node()

        objects = NodeObjects(make)
        for _ in range(2):
            objects.perform("a", "step_entry")
        assert objects.perform("a", "step_probe").answer == "done"
        assert objects.perform("b", "step_probe").answer == "rerun"
        assert made == ["a", "b"]

    def test_a_node_that_cannot_be_made_is_an_error_and_is_tried_again(self) -> None:
        problems: list[BaseException] = [SystemExit(3), RuntimeError("no licence")]

        def make(node: str) -> object:
            if problems:
                raise problems.pop()
            return object()

        objects = NodeObjects(make)
        errors = [objects.perform("a", "step_execute").error for _ in range(3)]
        assert errors[0] == "the node can't be made: RuntimeError: no licence"
        assert errors[1] is not None
        assert errors[1].startswith("the node can't be made: called sys.exit(3)")
        assert errors[2] is None

    def test_what_init_raised_is_told_and_not_what_was_made_of_it(self) -> None:
        class Broken:
            def __init__(self, name: str, verbose_flag: bool) -> None:
                raise RuntimeError("no licence")

        result = NodeObjects(lambda node: make_node(Broken, node, False)).perform("a", "step_entry")
        assert result.error == "the node can't be made: RuntimeError: no licence"
        assert result.traceback.count("Traceback") == 1
        assert 'raise RuntimeError("no licence")' in result.traceback

    def test_a_hook_that_a_node_does_not_have_succeeds(self) -> None:
        for hook in ("step_entry", "step_advance", "step_probe"):
            result = perform(object(), "a", hook)
            assert (result.error, result.arrows, result.answer) == (None, None, None)

    def test_a_failure_that_a_hook_words_itself_is_told_as_it_is(self) -> None:
        result = raising(StepFailure("exit code 3", "user.py, line 7", {"cpu_s": 1.5}))
        assert result.error == "exit code 3"
        assert result.traceback == "user.py, line 7"
        assert result.facts == {"cpu_s": 1.5}
