"""What is kept in the parameter file of how a step went."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from octo_graph_checks import dependency_graph
from octo_step_graph import StepGraph
from octo_step_messages import SetItems, SetResult
from octo_step_results import keep_items, keep_result
from tests.graphs import a_graph


def recipe_graph(*hooks: str, owners: tuple[str, ...] = ()) -> StepGraph:
    """A graph by dependency of the one node `a`."""
    return dependency_graph({"a": {}}, {}, {"a": hooks or ("step_execute",)}, Path("r"), owners)


LIBRARY = a_graph(["a"])


def kept(result: SetResult, group: dict[str, Any], graph: StepGraph) -> dict[str, Any]:
    data = {"a": {"step_results_key_last_status": "SUCCESS", **group}}
    keep_result(result, data, graph)
    return {key: value for key, value in data["a"].items() if not key.startswith("step_results")}


@pytest.mark.parametrize("graph", [LIBRARY, recipe_graph(owners=("a",))])
def test_what_a_node_keeps_in_its_group_stays_whatever_it_is_called(graph: StepGraph) -> None:
    own = {"items": [1, 2], "item_results": {}, "result": 5}
    assert kept(SetResult("a", "SUCCESS"), own, graph) == own
    assert kept(SetResult("a", "ERROR", "it"), own, graph) == {**own, "last_error": "it"}


@pytest.mark.parametrize("status", ["SUCCESS", "SKIPPED", "ERROR"])
def test_what_a_step_returned_another_time_is_kept_no_more(status: str) -> None:
    assert "result" not in kept(SetResult("a", status), {"result": 5}, recipe_graph())
    assert kept(SetResult("a", "SUCCESS", output=6), {"result": 5}, recipe_graph()) == {"result": 6}


def test_the_items_and_what_they_returned_become_the_result() -> None:
    graph = recipe_graph("step_items", "step_execute")
    data: dict[str, Any] = {"a": {"result": "of another time"}}
    keep_items(SetItems("a", ["x", "y"]), data)
    assert data["a"] == {"items": ["x", "y"], "item_results": {}}
    keep_result(SetResult("a[1]", "SUCCESS", output=5), data, graph)
    keep_result(SetResult("a[0]", "SUCCESS"), data, graph)
    keep_result(SetResult("a", "SUCCESS"), data, graph)
    assert data["a"] == {"result": [None, 5], "step_results_key_last_status": "SUCCESS"}


def test_a_success_with_nothing_to_keep_leaves_no_trace_in_a_recipes_run() -> None:
    data: dict[str, Any] = {}
    keep_result(SetResult("a", "SUCCESS"), data, recipe_graph())
    assert data == {}
    keep_result(SetResult("a", "SUCCESS"), data, LIBRARY)
    assert data == {"a": {"step_results_key_last_status": "SUCCESS"}}
