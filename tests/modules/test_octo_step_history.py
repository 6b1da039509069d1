"""What became of the nodes of a run, what a jump means, and how events read."""

from __future__ import annotations

from typing import Any

import pytest

from octo_step_graph import Arrow, Node, StepGraph
from octo_step_history import Fate, event_text, fates, history_line, marks, preview_jump
from octo_step_status import ActiveNode, Status, status_of


def state(node: str, state: str, **facts: object) -> dict[str, Any]:
    return {"event": "state", "node": node, "state": state, **facts}


def failure(node: str, state: str = "EXECUTE") -> dict[str, Any]:
    return {"event": "step_error", "node": node, "state": state, "error": "no"}


def passed(node: str) -> list[dict[str, Any]]:
    return [state(node, each) for each in ("ENTER", "EXECUTE", "ADVANCE", "EXIT", "JUMP")]


def status(*active: ActiveNode, engine_state: str = "INACTIVE", running: bool = False) -> Status:
    data = {
        "global_parameters": {"step_engine_state": engine_state},
        "active_steps": {each.node: {"state": each.state, "held": each.held} for each in active},
    }
    return status_of(data, RUNNER if running else None)


RUNNER: Any = object()


def test_a_node_that_was_left_is_done() -> None:
    assert fates([*passed("a"), state("b", "ENTER")]) == {"a": "done"}


def test_a_node_whose_execution_was_left_out_is_skipped() -> None:
    events = [state("a", "ENTER"), state("a", "EXECUTE", skipped=True), state("a", "JUMP")]
    assert fates(events) == {"a": "skipped"}


def test_a_node_that_left_by_its_error_arrow_has_failed() -> None:
    events = [state("a", "ENTER"), failure("a"), state("a", "EXIT"), state("a", "JUMP")]
    assert fates(events) == {"a": "failed"}


def test_a_retry_that_succeeds_undoes_the_failure() -> None:
    events = [state("a", "ENTER"), failure("a"), *passed("a")[1:]]
    assert fates(events) == {"a": "done"}
    assert fates([*events, state("a", "ENTER")]) == {}  # it is on its way again


def test_a_new_run_forgets_the_one_before() -> None:
    assert fates([*passed("a"), {"event": "run_start"}]) == {}


def test_the_picture_marks_what_is_active_by_how_the_run_stands() -> None:
    a = ActiveNode("a", "EXECUTE")
    assert marks(status(a, running=True), {"a": "done", "b": "done"}) == {"b": "done"}
    assert marks(status(a), {}) == {"a": "waiting"}
    assert marks(status(a, engine_state="RUNNING"), {}) == {"a": "interrupted"}
    assert marks(status(a, engine_state="COMPLETE_ERROR"), {"a": "failed"}) == {"a": "failed"}


def step(name: str, target: str | None = None, **facts: Any) -> Node:
    arrows = {"on": Arrow("on", name, target, target)} if target else {}
    return Node(name, name, hooks=frozenset({"step_execute"}), arrows=arrows, **facts)


def chain(*names: str) -> StepGraph:
    """A graph of nodes one after the other, each with step_execute only."""
    pairs = zip(names, [*names[1:], None], strict=True)
    return StepGraph({name: step(name, target) for name, target in pairs}, names[0])


def test_a_jump_ahead_passes_nodes_over() -> None:
    preview = preview_jump(chain(*"abcd"), status(ActiveNode("b", "ENTER")), {"a": "done"}, "d")
    assert preview.left == ["b in ENTER, without step_execute"]
    assert (preview.again, preview.passed_over) == ([], ["c"])


def test_a_jump_back_runs_again_what_was_done() -> None:
    before = fates([*passed("a"), *passed("b")])
    preview = preview_jump(chain(*"abcd"), status(ActiveNode("c", "ADVANCE")), before, "a")
    assert preview.left == ["c in ADVANCE"]
    assert (preview.again, preview.passed_over) == (["a", "b"], [])


def test_a_jump_after_the_end_leaves_nothing() -> None:
    preview = preview_jump(
        chain(*"ab"), status(engine_state="COMPLETE_SUCCESS"), {"a": "done", "b": "done"}, "b"
    )
    assert preview.lines() == [
        "  left         nothing",
        "  runs again   b",
        "  passed over  nothing",
    ]


def test_a_jump_in_a_recipe_passes_over_what_the_step_waits_for() -> None:
    steps = [step(*names) for names in ("ab", "bc", "cd", "de", ("other", "e"), "e")]
    steps += [step("end", is_final=True), step("off", "d", active=False)]
    graph = StepGraph({each.name: each for each in steps}, "", by_dependency=True)
    now = status(ActiveNode("b", "EXECUTE"), ActiveNode("other", "EXECUTE"))
    before: dict[str, Fate] = {"a": "done", "b": "failed", "e": "done", "end": "done"}
    preview = preview_jump(graph, now, before, "d")
    assert preview.left == [f"{name} in EXECUTE, without step_execute" for name in ("b", "other")]
    assert preview.again == ["other", "e", "end"]
    assert preview.passed_over == ["c"]
    back = preview_jump(graph, status(), before, "a")
    assert (back.again, back.passed_over) == (["a", "b", "e", "end"], [])


@pytest.mark.parametrize(
    ("event", "text"),
    [
        (state("a", "ENTER", duration_s=0.004), "done, 4.0 ms"),
        (state("a", "JUMP", arrow="on"), "-> on"),
        (state("a", "JUMP", arrow=["x", "y"]), "-> x + y"),
        (state("a", "EXECUTE", attempt=2, duration_s=1), "done, attempt 2, 1.0 s"),
        (state("a", "EXECUTE", result_not_kept="set"), "done; its result is not kept: set"),
        ({**failure("a"), "error": "one\ntwo"}, "FAILED: one ..."),
        ({"event": "retry", "attempt": 2, "delay_s": 0.5}, "attempt 2 in 500 ms"),
        ({"event": "join_wait", "node": "d", "missing": ["b", "c"]}, "waits for b, c"),
        ({"event": "make_safe", "node": "a", "error": "stuck"}, "MAKE-SAFE FAILED: stuck"),
        ({"event": "resume", "crashed": True}, "run goes on after a crash"),
        ({"event": "jump", "node": "d", "left": []}, "jump here; left: nothing"),
        ({"event": "jump_refused", "node": "d", "reason": "no such node"}, "jump refused: no such"),
        ({"event": "left_running", "what": ["7 sleep"]}, "hooks left running: 7 sleep"),
        (
            {"event": "run_end", "engine_state": "COMPLETE_ERROR", "reason": "x"},
            "COMPLETE_ERROR: x",
        ),
        ({"event": "new_kind", "fact": 3}, "new_kind fact=3"),
    ],
)
def test_an_event_reads_as_a_sentence(event: dict[str, Any], text: str) -> None:
    assert event_text(event).startswith(text)


def test_a_line_of_the_history_has_local_time_and_place() -> None:
    event = {"ts": "2026-01-02T03:04:05.678901Z", **state("step_node_a", "ENTER")}
    line = history_line(event)
    assert line[19:] == ".678  step_node_a ENTER                done"
    assert history_line({"event": "odd"}).endswith("odd")
