"""Runs of graphs by dependency that rest, or end, at an awkward moment."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import pytest

from octo_errors import InstanceError, UsageError
from octo_step_dependencies import DependencyMachine
from octo_step_graph import Node, StepGraph
from octo_step_machine import Limits
from octo_step_messages import (
    Event,
    HookDone,
    HookFailed,
    HookInterrupted,
    Instruction,
    JumpRequested,
    PauseRequested,
    Started,
    StopRequested,
)
from octo_step_states import RunState
from tests.modules.step_machine_support import EXECUTE, brief, kinds, node, saved

ITEMS = EXECUTE | {"step_items"}


def by_dependency(*nodes: Node) -> StepGraph:
    return StepGraph({each.name: each for each in nodes}, "", by_dependency=True)


def told(machine: DependencyMachine, *events: Event) -> list[Instruction]:
    return [instruction for event in events for instruction in machine.handle(event)]


def reloaded(machine: DependencyMachine, limits: Limits | None = None) -> DependencyMachine:
    """The machine of the next engine."""
    state = RunState.load(saved(machine.state, machine.graph), machine.graph)
    return DependencyMachine(machine.graph, state, limits)


def finished(machine: DependencyMachine, names: Iterable[str]) -> list[str]:
    """Start, and let these hooks succeed in turn; all that is called, and how it ends."""
    return brief(told(machine, Started(), *(HookDone(name) for name in names)))


def test_a_run_that_rests_after_the_last_item_goes_on_with_what_depends_on_them() -> None:
    graph = by_dependency(node("a", ["b"], hooks=ITEMS), node("b"))
    machine = DependencyMachine(graph)
    told(machine, Started(), PauseRequested("pause"))
    assert brief(told(machine, HookDone("a", items=[]))) == ["rest: pause"]
    assert finished(reloaded(machine), ["b"]) == ["b.step_execute", "success"]


def test_each_item_is_armed_when_it_is_performed() -> None:
    graph = by_dependency(node("a", hooks=ITEMS | {"step_make_safe"}))
    machine = DependencyMachine(graph)
    told(machine, Started(), HookDone("a", items=[1, 2]))
    assert machine.state.armed == ["a[0]"]
    told(machine, HookDone("a[0]"))
    assert machine.state.armed == reloaded(machine).state.armed == ["a[0]", "a[1]"]


def test_single_steps_perform_items_before_the_final_nodes() -> None:
    graph = by_dependency(node("a", hooks=ITEMS), node("end", is_final=True))
    machine = DependencyMachine(graph, limits=Limits(at_state="ADVANCE", at_once=2))
    assert brief(told(machine, Started(), HookDone("a", items=[]))) == [
        "a.step_items",
        "rest: single step",
    ]
    assert finished(reloaded(machine), ["end"]) == ["end.step_execute", "success"]


def test_a_stop_outranks_a_pause_and_the_final_nodes_are_performed() -> None:
    graph = by_dependency(node("a", ["b"]), node("b"), node("end", is_final=True))
    machine = DependencyMachine(graph)
    told(machine, Started(), PauseRequested("pause"), StopRequested("stop"))
    assert brief(told(machine, HookDone("a"))) == ["end.step_execute"]
    assert brief(told(machine, HookDone("end"))) == ["error: stop"]


def test_what_is_not_active_stays_out_when_all_is_to_be_done_again() -> None:
    graph = by_dependency(node("a", ["b"], active=False), node("b", ["c"]), node("c"))
    machine = DependencyMachine(graph)
    assert finished(machine, "bc") == ["b.step_execute", "c.step_execute", "success"]
    state = RunState.load(saved(machine.state, graph), graph)
    state.jump("b", graph)
    state.undo(graph.nodes, graph)
    assert not state.done
    again = DependencyMachine(graph, state)
    assert finished(again, "bc") == ["b.step_execute", "c.step_execute", "success"]
    assert state.done == graph.bits("abc")


def test_a_jump_ahead_passes_over_what_the_node_waits_for_and_nothing_else() -> None:
    graph = by_dependency(
        node("a", ["b"]), node("b", ["c"]), node("c", ["d"]), node("other", ["d"]), node("d")
    )
    machine = DependencyMachine(graph, limits=Limits(at_once=2))
    said = told(machine, Started(), JumpRequested("c"), HookDone("a"), HookDone("other"))
    assert brief(said)[2:] == ["c.step_execute", "other.step_execute"]
    assert brief(told(machine, HookDone("c"), HookDone("other"))) == ["d.step_execute"]
    assert brief(told(machine, HookDone("d"))) == ["success"]


def with_one_inactive() -> StepGraph:
    return by_dependency(
        node("a", ["b"]), node("b", ["c"], active=False), node("c", ["d"], active=False), node("d")
    )


def test_a_jump_to_what_nothing_waits_for_is_refused_while_the_run_goes_on() -> None:
    graph = with_one_inactive()
    machine = DependencyMachine(graph, limits=Limits(at_once=2))
    said = told(machine, Started(), JumpRequested("b"))
    [refused] = kinds(said, "jump_refused")
    assert refused["node"] == "b"
    assert refused["reason"].endswith("nothing waits for it; nearest active nodes: a, d")
    assert brief(said) == ["a.step_execute", "d.step_execute"]
    assert brief(told(machine, HookDone("d"), HookDone("a"))) == ["success"]


def test_a_jump_to_what_nothing_waits_for_is_refused_when_the_run_rests() -> None:
    graph = with_one_inactive()
    state = RunState()
    with pytest.raises(UsageError, match=r"'c'.*not active[^$]*: a, d$"):
        state.jump("c", graph)
    data = saved(state, graph)
    data["global_parameters"]["current_step_node"] = "c"
    with pytest.raises(InstanceError, match=r"current_step_node: .*'c'.*not active[^$]*: a, d$"):
        RunState.load(data, graph)


def test_where_nothing_is_near_a_refused_jump_says_what_else_helps() -> None:
    graph = by_dependency(node("a", active=False), node("b"))
    with pytest.raises(UsageError, match="jump elsewhere"):
        RunState().jump("a", graph)


def test_an_interruption_is_told_once_although_the_end_takes_two_starts() -> None:
    graph = by_dependency(node("a"), node("end", is_final=True))
    machine = DependencyMachine(graph)
    told(machine, Started())
    second = reloaded(machine)
    said = told(second, StopRequested("stop"), Started())
    assert brief(said) == ["end.step_execute"]
    third = reloaded(second)
    said += told(third, Started())
    assert [each["node"] for each in kinds(said, "interrupted")] == ["a", "end"]
    assert brief(told(third, HookDone("end"))) == ["error: stop"]


@pytest.mark.parametrize(
    ("policy", "becomes"),
    [
        ("rerun", ["a.step_execute"]),
        ("skip", ["b.step_execute"]),
        ("ask", ["rest: interrupted in EXECUTE of a"]),
        ("probe", ["a.step_probe"]),
    ],
)
@pytest.mark.parametrize("how", ["killed", "broken off"])
def test_what_was_interrupted_before_the_run_ended_is_decided_when_it_is_opened_again(
    policy: str, becomes: list[str], how: str
) -> None:
    graph = by_dependency(
        node("a", ["b"], hooks=EXECUTE | {"step_probe"}, on_interrupt=policy), node("b")
    )
    machine = DependencyMachine(graph)
    told(machine, Started(), StopRequested("stop"))
    if how == "killed":
        machine = reloaded(machine)
        said = told(machine, Started())
    else:
        said = told(machine, HookInterrupted("a"))
    assert brief(said) == ["error: stop"]

    again = reloaded(machine)
    again.state.reopen(graph)
    again = reloaded(again)
    said += told(again, Started())

    assert brief(said) == ["error: stop", *becomes]
    assert len(kinds(said, "interrupted")) == 1
    if policy == "ask":  # the user has answered: go on
        assert brief(told(reloaded(again), Started())) == ["a.step_execute"]


@pytest.mark.parametrize("policy", ["rerun", "skip", "probe", "ask"])
def test_the_list_of_items_is_made_again_unless_the_node_asks(policy: str) -> None:
    graph = by_dependency(
        node("a", hooks=EXECUTE | {"step_items", "step_probe"}, on_interrupt=policy)
    )
    machine = DependencyMachine(graph)
    told(machine, Started())
    machine = reloaded(machine)
    said = brief(told(machine, Started()))
    if policy == "ask":
        assert said == ["rest: interrupted in EXECUTE of a"]
        machine = reloaded(machine)
        said = brief(told(machine, Started()))
    assert said == ["a.step_items"]
    assert brief(told(machine, HookDone("a", items=[1]))) == ["a[0].step_execute"]


@pytest.mark.parametrize(
    ("state", "call"),
    [
        ("ENTER", "a.step_items"),
        ("ADVANCE", "b.step_execute"),
        ("JUMP", "b.step_execute"),
    ],
)
def test_who_sets_the_state_of_a_node_leaves_its_items_behind(state: str, call: str) -> None:
    graph = by_dependency(node("a", ["b"], hooks=ITEMS), node("b"))
    machine = DependencyMachine(graph, limits=Limits(at_once=2))
    told(machine, Started(), HookDone("a", items=[1, 2, 3]), PauseRequested("pause"))
    told(machine, HookDone("a[0]"), HookDone("a[1]"))
    data = saved(machine.state, graph)
    data["global_parameters"].update(current_step_node="a", current_step_state=state)
    again = DependencyMachine(graph, RunState.load(data, graph))
    assert brief(told(again, Started())) == [call]
    assert again.state.tokens.keys() == {call.partition(".")[0]}


def test_who_sets_the_state_of_a_node_that_has_failed_lets_the_run_go_on_there() -> None:
    graph = by_dependency(node("a", ["b"]), node("b"), node("c"))
    machine = DependencyMachine(graph, limits=Limits(keep_going=True))
    told(machine, Started(), HookFailed("a", "no"), PauseRequested("pause"), HookDone("c"))
    data = saved(machine.state, graph)
    assert data["active_steps"]["a"]["failed"]
    data["global_parameters"].update(current_step_node="a", current_step_state="ADVANCE")
    again = DependencyMachine(graph, RunState.load(data, graph))
    assert finished(again, []) == ["b.step_execute"]


def test_who_lets_a_failed_node_go_on_while_the_final_ones_run_puts_them_off() -> None:
    graph = by_dependency(node("a", ["b"]), node("b"), node("end", is_final=True))
    machine = DependencyMachine(graph, limits=Limits(keep_going=True))
    assert finished(machine, []) == ["a.step_execute"]
    assert brief(told(machine, HookFailed("a", "no"))) == ["end.step_execute"]
    assert brief(told(machine, PauseRequested("pause"), HookDone("end"))) == ["rest: pause"]
    data = saved(machine.state, graph)
    data["global_parameters"].update(current_step_node="a", current_step_state="ADVANCE")
    again = DependencyMachine(graph, RunState.load(data, graph))
    assert finished(again, ["b", "end"]) == ["b.step_execute", "end.step_execute", "success"]


def test_who_pauses_an_opened_run_at_once_leaves_what_was_interrupted_undecided() -> None:
    graph = by_dependency(node("a", on_interrupt="skip"))
    machine = DependencyMachine(graph)
    told(machine, Started(), StopRequested("stop"))
    machine = reloaded(machine)
    told(machine, Started())
    machine.state.reopen(graph)
    machine = reloaded(machine)
    assert brief(told(machine, PauseRequested("pause"), Started())) == ["rest: pause"]
    assert brief(told(reloaded(machine), Started())) == ["success"]


def test_failed_items_are_left_with_their_node_when_another_is_performed_in_its_place() -> None:
    graph = by_dependency(node("a", {"bad": "b"}, hooks=ITEMS, error_arrow_key="bad"), node("b"))
    machine = DependencyMachine(graph)
    told(machine, Started(), HookDone("a", items=[1, 2]), HookDone("a[0]"))
    assert brief(told(machine, HookFailed("a[1]", "no"))) == ["b.step_execute"]
    assert list(machine.state.tokens) == ["b"]
    assert not machine.state.has_failed


WITH_ITEMS = by_dependency(
    node("a", {"b": "b", "bad": "d"}, hooks=ITEMS, error_arrow_key="bad"),
    node("b"),
    node("c"),
    node("d"),
    node("end", hooks=ITEMS, is_final=True),
)


def edited(active: dict[str, Any], **progress: Any) -> RunState:
    """The state of a run that rests, after somebody has written that into the engine's record."""
    data = {"active_steps": active, "run_progress": progress}
    return RunState.load(data, WITH_ITEMS)


@pytest.mark.parametrize(
    ("record", "key"),
    [
        ({"a": {"state": "EXECUTE", "items": -1}}, "a.items"),
        ({"a": {"state": "EXECUTE", "items": 2, "items_done": "0x4"}}, "a.items_done"),
        ({"b": {"state": "EXECUTE", "items": 2}}, "b.items"),
        ({"a": {"state": "JUMP", "arrows": ["b"]}}, "a.arrows"),
        ({"a": {"state": "EXECUTE", "items": 2}, "a[0]": {"state": "ENTER", "items": 2}}, "a[0]."),
    ],
)
def test_what_cannot_be_in_the_record_is_named(record: dict[str, Any], key: str) -> None:
    with pytest.raises(InstanceError, match=re.escape(f"active_steps.{key}")):
        edited(record)


def test_no_other_node_is_performed_for_one_that_has_no_way_out() -> None:
    with pytest.raises(InstanceError, match=re.escape("run_progress.steps_passed_over: 'b'")):
        edited({}, steps_passed_over=["b"])


@pytest.mark.parametrize(
    "node_of_it",
    [
        {},
        {"a": {"state": "ADVANCE"}},
        {"a": {"state": "EXECUTE", "items": 1}},
        {"a": {"state": "EXECUTE", "items": 2, "items_done": "0x2"}},
    ],
)
def test_an_item_that_its_node_does_not_wait_for_is_dropped(node_of_it: dict[str, Any]) -> None:
    found = edited({**node_of_it, "a[1]": {"state": "ENTER", "held": True}})
    assert found.tokens.keys() == node_of_it.keys()


def test_final_nodes_are_not_performed_before_their_time() -> None:
    found = edited({"c": {"state": "EXECUTE"}, "end": {"state": "EXECUTE", "items": 2}})
    assert list(found.tokens) == ["c"]


def test_what_stands_in_for_another_node_is_left_when_the_run_ends() -> None:
    graph = by_dependency(
        node("a", {"bad": "b"}, error_arrow_key="bad"),
        node("b"),
        node("c"),
        node("end", is_final=True),
    )
    machine = DependencyMachine(graph, limits=Limits(at_once=2))
    assert brief(told(machine, Started())) == ["a.step_execute", "c.step_execute"]
    again = reloaded(machine)  # with room for one of them
    assert brief(told(again, Started())) == ["a.step_execute", "c.step_execute"]
    said = told(again, HookFailed("a", "no"), StopRequested("stop"), HookDone("c"))
    assert brief(said) == ["end.step_execute"]
    assert "b" not in again.state.tokens
