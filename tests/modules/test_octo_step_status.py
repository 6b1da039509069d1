"""Where an instance stands, read from its parameter file: pure functions, and people's edits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from octo_instance_dir import InstanceDir, Runner
from octo_instance_setup import create_instance
from octo_library_pin import PIN_FILE_NAME
from octo_step_engine import StepEngine
from octo_step_status import (
    ActiveNode,
    read_status,
    status_line,
    status_lines,
    status_of,
)
from tests.support import PROJECT

RUNNER = Runner(7, "here", "octo_step_instance.py run", "2026-01-01T00:00:00+00:00")


def parameters(**shared: object) -> dict[str, Any]:
    active = {"step_node_a": {"state": "EXECUTE", "attempt": 3}}
    return {"global_parameters": shared, "active_steps": active}


@pytest.mark.parametrize(
    ("engine_state", "runner", "condition"),
    [
        ("INACTIVE", None, "paused"),
        ("STARTUP", None, "interrupted"),
        ("RUNNING", None, "interrupted"),
        ("RUNNING", RUNNER, "running"),
        ("COMPLETE_ERROR", RUNNER, "running"),  # it still makes safe
        ("COMPLETE_SUCCESS", None, "complete_success"),
        ("COMPLETE_ERROR", None, "complete_error"),
    ],
)
def test_the_condition_follows_from_the_state_and_from_who_runs_it(
    engine_state: str, runner: Runner | None, condition: str
) -> None:
    assert status_of(parameters(step_engine_state=engine_state), runner).condition == condition


def test_a_run_without_active_nodes_is_new() -> None:
    assert status_of({"global_parameters": {"step_engine_state": "INACTIVE"}}).condition == "new"


def test_between_two_steps_of_a_recipe_none_is_active_and_the_run_is_not_new() -> None:
    data: dict[str, Any] = {
        "global_parameters": {"run_id": "r", "pause_reason": "max-steps 2", "engine_step_count": 7},
        "active_steps": {},
        "run_progress": {"steps_total": 6, "steps_done": 2},
    }
    status = status_of(data)
    assert status.condition == "paused" and status.progress == {"done": 2, "total": 6}
    assert "  steps     2 of 6 done" in status_lines(status, "P")
    assert status_line(status).endswith("steps done: 2 of 6")


def test_every_active_node_is_told_with_its_attempt_and_back_off() -> None:
    data = parameters(step_engine_state="RUNNING")
    due = "2999-01-01T00:00:00+00:00"
    data["active_steps"]["step_node_b"] = {"state": "ENTER", "retry_due": due, "held": True}
    status = status_of(data, RUNNER)
    assert status.active == [
        ActiveNode("step_node_a", "EXECUTE", 3),
        ActiveNode("step_node_b", "ENTER", 1, due, held=True),
    ]
    text = "\n".join(status_lines(status, "./octo_step_instance.py"))
    assert "step_node_a EXECUTE, attempt 3\n" in text
    assert "step_node_b ENTER due in " in text and "days" in text


@pytest.mark.parametrize(
    ("engine_state", "node", "state", "goes_on"),
    [
        ("INACTIVE", "step_node_a", "EXECUTE", ""),
        ("INACTIVE", "step_node_a", "INACTIVE", ""),
        ("INACTIVE", "step_node_a", "ADVANCE", "at step_node_a ADVANCE, as current_step_state"),
        ("INACTIVE", "step_node_b", "EXECUTE", "at step_node_b ENTER, as current_step_node says"),
        ("INACTIVE", "step_node_b", "ADVANCE", "at step_node_b ADVANCE, as current_step_node"),
        ("RUNNING", "step_node_a", "ADVANCE", ""),  # a node may have written it
        ("RUNNING", "step_node_b", "ADVANCE", "at step_node_b ENTER, as current_step_node says"),
        ("COMPLETE_ERROR", "step_node_b", "EXECUTE", ""),
    ],
)
def test_where_people_let_it_go_on_is_told(
    engine_state: str, node: str, state: str, goes_on: str
) -> None:
    data = parameters(
        step_engine_state=engine_state, current_step_node=node, current_step_state=state
    )
    lines = "\n".join(status_lines(status_of(data), "P"))
    assert (f"\n  goes on   {goes_on}" in lines) if goes_on else ("goes on" not in lines)


def test_requests_joins_and_armed_nodes_are_told() -> None:
    data = parameters(
        step_engine_state="INACTIVE",
        pause_request_bool=True,
        jump_request_node="step_node_c",
        end_pending="a failed",
        make_safe=["step_node_a"],
    )
    data["join_arrivals"] = {"step_node_d": ["step_node_a"]}
    status = status_of(data)
    assert status.requests == ["pause", "jump to step_node_c", "end: a failed"]
    text = "\n".join(status_lines(status, "x/octo_step_instance.py"))
    assert "joins     step_node_d was reached from step_node_a, and waits for the rest" in text
    assert "armed     step_node_a" in text and "x/octo_step_instance.py make-safe" in text


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=5,
)
KEYS = [
    "step_engine_state",
    "current_step_node",
    "current_step_since",
    "next_step_node",
    "engine_step_count",
    "make_safe",
    "pause_request_bool",
    "jump_request_node",
    "end_pending",
    "pause_reason",
]


@settings(max_examples=50)
@given(
    st.dictionaries(st.sampled_from(KEYS), json_values),
    st.dictionaries(st.text(max_size=5), json_values),
    st.dictionaries(st.text(max_size=5), json_values),
)
def test_whatever_people_write_into_the_file_status_can_be_shown(
    shared: dict[str, Any], active: dict[str, Any], joins: dict[str, Any]
) -> None:
    data = {"global_parameters": shared, "active_steps": active, "join_arrivals": joins}
    status = status_of(data, instance="x")
    assert "\x1b" not in "".join(status_lines(status, "y")) + status_line(status)


def test_a_library_that_is_not_there_any_more_is_told(tmp_path: Path) -> None:
    instance, _ = create_instance(tmp_path / "x", PROJECT / "step_library" / "hello")
    with instance.parameters.transaction() as data:
        data["global_parameters"].update(step_engine_library_path="/gone", current_step_node="a")
    lines = status_lines(read_status(InstanceDir(instance.path)), "y")
    assert "  library   /gone, which is not there" in lines


def test_a_parameter_file_alone_is_nothing_to_run() -> None:
    assert status_lines(status_of({"global_parameters": {}}, instance="x"), "y") == [
        "x: not started",
        "  library   none, so there is nothing to run",
    ]


def test_an_instance_of_no_library_names_what_it_is_one_of() -> None:
    shared = {"step_engine_program": "scriptlets"}
    lines = status_lines(status_of({"global_parameters": shared}, instance="x"), "y")
    assert lines[0] == "x: not started"
    assert any(line.startswith("  program   the steps that a Python program") for line in lines)
    assert not any("library" in line for line in lines)


def test_a_bad_pin_of_the_library_hides_nothing_else(tmp_path: Path) -> None:
    instance, _ = create_instance(tmp_path / "i", PROJECT / "step_library" / "hello")
    StepEngine(instance).run(max_steps=1)
    (instance.path / PIN_FILE_NAME).write_text("{")
    status = read_status(instance)
    assert (status.condition, status.changed_files) == ("paused", [])
