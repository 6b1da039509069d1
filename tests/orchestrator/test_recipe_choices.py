"""What a run does otherwise than its recipe says."""

from __future__ import annotations

from typing import Any

import pytest

from octo_errors import UsageError
from orchestrator.recipe_choices import Choices, steps_from


def compiled(depends_on: dict[str, list[str]], **nodes: dict[str, Any]) -> dict[str, Any]:
    arrows: dict[str, dict[str, Any]] = {name: {} for name in depends_on}
    for name, sources in depends_on.items():
        for source in sources:
            arrows[source][f"to_{name}"] = {"arrow_step_name_string": name}
    return {
        "step_node_graph_dict": {name: nodes.get(name, {}) for name in depends_on},
        "step_arrow_graph_dict": arrows,
    }


CHAIN = compiled({"a": [], "b": ["a"], "c": ["b"], "z": []}, z={"finally_bool": 1})


def performed(choices: Choices, recipe: dict[str, Any] = CHAIN) -> list[str]:
    nodes = choices.apply(recipe)["step_node_graph_dict"]
    return [name for name, node in nodes.items() if node.get("active_node_step_bool", 1)]


def test_nothing_chosen_changes_nothing() -> None:
    assert Choices().apply(CHAIN) == CHAIN
    assert Choices().given() == {}


@pytest.mark.parametrize(
    ("choices", "names"),
    [
        (Choices(only=("a", "c")), ["a", "c"]),
        (Choices(skip=("a",)), ["b", "c", "z"]),
        (Choices(from_step="b"), ["b", "c", "z"]),
        (Choices(from_step="b", skip=("z",), only=("b", "z")), ["b"]),
    ],
)
def test_what_is_not_chosen_is_left_out(choices: Choices, names: list[str]) -> None:
    assert performed(choices) == names


def test_a_step_that_is_switched_off_stays_so() -> None:
    recipe = compiled({"a": [], "b": []}, b={"active_node_step_bool": 0})
    assert performed(Choices(only=("a", "b")), recipe) == ["a"]


def test_a_step_that_is_asked_for_waits_for_no_failure_of_one_that_is_left_out() -> None:
    recipe = compiled(
        {"a": [], "b": [], "out": []},
        a={"error_arrow_key": "on_error"},
        b={"error_arrow_key": "on_error"},
    )
    for name in ("a", "b"):
        recipe["step_arrow_graph_dict"][name]["on_error"] = {"arrow_step_name_string": "out"}
    ways = {}
    for choices in (
        Choices(only=("out",)),
        Choices(from_step="out"),
        Choices(only=("a", "out")),
        Choices(skip=("a",)),
    ):
        nodes = choices.apply(recipe)["step_node_graph_dict"]
        ways[choices] = [name for name, node in nodes.items() if "error_arrow_key" in node]
    assert list(ways.values()) == [[], [], ["a"], ["a", "b"]]


def test_how_steps_are_tried_goes_before_what_they_say() -> None:
    recipe = compiled({"a": [], "b": []}, a={"max_retries": 5, "timeout_seconds": 9.0})
    nodes = Choices(step_timeout=1.5, max_retries=0, retry_delay=0.0).apply(recipe)[
        "step_node_graph_dict"
    ]
    wanted = {"timeout_seconds": 1.5, "max_retries": 0, "retry_delay_seconds": 0.0}
    assert nodes == {"a": wanted, "b": wanted}


@pytest.mark.parametrize("choices", [Choices(only=("aa",)), Choices(skip=("aa",))])
def test_a_wrong_name_is_told_with_the_right_one(choices: Choices) -> None:
    with pytest.raises(UsageError, match=r"no step 'aa'(?s:.*)'a'"):
        choices.apply(CHAIN)


def test_they_are_kept_as_json_holds_them_and_chosen_anew() -> None:
    first = Choices(skip=("c",), max_retries=2)
    assert Choices.of({"skip": ["c"], "max_retries": 2}) == Choices.of(first.given()) == first
    assert first.changed(Choices()) == first
    assert first.changed(Choices(only=("a",))) == Choices(only=("a",), max_retries=2)
    assert first.changed(Choices(max_retries=0)) == Choices(skip=("c",), max_retries=0)


def test_steps_from_one_on_are_those_that_any_arrow_leads_to() -> None:
    recipe = compiled({"a": [], "b": ["a"], "way_out": [], "after": ["way_out"], "other": []})
    recipe["step_arrow_graph_dict"]["b"]["on_error"] = {"arrow_step_name_string": "way_out"}
    assert steps_from(recipe, "b") == {"b", "way_out", "after"}


@pytest.mark.parametrize(
    ("choices", "message"),
    [
        (Choices(only=("b",)), "--only: the recipe has no step 'b'\n  did you mean 'bb'?"),
        (
            Choices(only=("x", "y"), skip=("e",)),
            "--only: the recipe has no step 'x'\n"
            '  a name with a comma needs quotes of its own: --only \'"x, ""y"""\'\n'
            "--only: the recipe has no step 'y'\n  there are: a, bb, x, \"y\"\n"
            "--skip: the recipe has no step 'e'\n  there are: a, bb, x, \"y\"",
        ),
        (Choices(from_step="x"), "--from-step: the recipe has no step 'x'\n  there are: a, bb"),
    ],
)
def test_all_names_that_are_none_of_a_step_are_told(choices: Choices, message: str) -> None:
    with pytest.raises(UsageError) as error:
        choices.apply(compiled({"a": [], "bb": [], 'x, "y"': []}))
    assert str(error.value).startswith(message)
