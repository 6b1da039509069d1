"""The state of a run: what becomes of it, what the parameter file keeps, and how it is read."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from octo_errors import InstanceError
from octo_step_moves import STEP_STATES
from octo_step_states import RunState, Token
from tests.modules.step_machine_support import chain, graph, node, saved

FORK = graph(node("a", ["b", "c"]), node("b", ["d"]), node("c", ["d"]), node("d", join_all=True))

# --- jumps ----------------------------------------------------------------------------------------


def test_a_run_that_jumps_stands_at_the_entry_of_one_node_and_forgets_what_it_owed() -> None:
    run = RunState("COMPLETE_ERROR", {"b": Token("b", "EXECUTE")}, {"d": ["c"]}, ["b"], 3, "b")
    run.ending = "b failed"
    run.jump("c", FORK)
    assert run.state == "INACTIVE"
    assert run.tokens == {"c": Token("c", "ENTER", held=True)}
    assert (run.arrivals, run.current, run.ending, run.jump_target) == ({}, "c", "", "")
    assert (run.armed, run.step_count) == (["b"], 3)


# --- what the file keeps --------------------------------------------------------------------------


def test_a_token_as_usual_takes_one_key_in_the_file() -> None:
    assert Token("a", "EXECUTE").to_dict() == {"state": "EXECUTE"}


def test_a_due_time_in_the_file_is_utc_and_readable() -> None:
    record = Token("a", "EXECUTE", attempt=2, retry_due=1_700_000_000.5).to_dict()
    expected = {
        "state": "EXECUTE",
        "attempt": 2,
        "retry_due": "2023-11-14T22:13:20.500000+00:00",
    }
    assert record == expected


tokens = st.builds(
    Token,
    node=st.just("a"),
    state=st.sampled_from(STEP_STATES[1:]),
    attempt=st.integers(1, 10**6),
    retry_due=st.none() | st.floats(0, 4e9),
    arrows=st.lists(st.text(max_size=3), max_size=3).map(tuple),
    held=st.booleans(),
    pending=st.integers(0, 99),
).filter(lambda token: token.retry_due is None or not token.held)


@given(tokens)
def test_a_token_comes_back_from_json_as_it_was(token: Token) -> None:
    record = json.loads(json.dumps(token.to_dict()))
    found = Token.from_dict("a", record)
    due, found.retry_due = found.retry_due, token.retry_due
    assert found == token
    if token.retry_due is not None:
        assert due == pytest.approx(token.retry_due, abs=1e-4)


def test_the_file_shows_the_node_that_changed_last_and_what_comes_next() -> None:
    run = RunState("RUNNING", {"b": Token("b", "JUMP", arrows=("d",)), "c": Token("c", "ENTER")})
    run.current, run.step_count, run.armed, run.arrivals = "b", 7, ["b", "c"], {"d": ["c"]}
    data = saved(run, FORK)
    assert data["global_parameters"] == {
        "step_engine_state": "RUNNING",
        "current_step_node": "b",
        "current_step_module": "step_node_b",
        "current_step_state": "JUMP",
        "current_step_since": "1970-01-01T00:00:00.000000+00:00",
        "next_step_node": "d",
        "next_step_module": "step_node_d",
        "engine_step_count": 7,
        "make_safe": ["b", "c"],
    }
    assert data["active_steps"] == {
        "b": {"state": "JUMP", "arrows": ["d"]},
        "c": {"state": "ENTER"},
    }
    assert data["join_arrivals"] == {"d": ["c"]}


def test_what_follows_a_fork_is_shown_in_one_text() -> None:
    shared = saved(RunState("RUNNING", {"a": Token("a", "EXIT", arrows=("c", "b"))}), FORK)
    assert shared["global_parameters"]["next_step_node"] == "c,b"
    assert shared["global_parameters"]["next_step_module"] == "step_node_c,step_node_b"


def test_when_the_current_node_was_left_the_newest_active_one_is_shown() -> None:
    run = RunState("RUNNING", {"b": Token("b", "ENTER"), "c": Token("c", "EXECUTE")}, current="a")
    shared = saved(run, FORK)["global_parameters"]
    assert (shared["current_step_node"], shared["current_step_state"]) == ("c", "EXECUTE")


def test_the_last_node_is_shown_as_inactive_after_the_end() -> None:
    shared = saved(RunState("COMPLETE_SUCCESS", current="d"), FORK)["global_parameters"]
    assert (shared["current_step_node"], shared["current_step_state"]) == ("d", "INACTIVE")
    assert (shared["next_step_node"], shared["next_step_module"]) == ("", "")


def test_the_file_says_since_when_the_shown_state_is_current() -> None:
    data: dict[str, Any] = {}
    run = RunState("RUNNING", {"a": Token("a", "ENTER")}, current="a")
    for now, state in ((10.0, "ENTER"), (20.0, "ENTER"), (30.0, "EXECUTE")):
        run.tokens["a"].state = state
        run.store(data, FORK, now)
    assert data["global_parameters"]["current_step_since"] == "1970-01-01T00:00:30.000000+00:00"
    run.store(data, FORK, 40.0)
    assert data["global_parameters"]["current_step_since"] == "1970-01-01T00:00:30.000000+00:00"


def test_an_end_and_a_jump_that_were_decided_on_survive_the_engine() -> None:
    run = RunState("RUNNING", {"a": Token("a", "EXECUTE")}, current="a", ending="b failed")
    data = saved(run, FORK)
    assert RunState.load(data, FORK).ending == "b failed"
    run.ending, run.jump_target = "", "c"
    run.store(data, FORK, 0.0)
    found = RunState.load(data, FORK)
    assert (found.ending, found.jump_target) == ("", "c")
    run.jump("c", FORK)
    run.store(data, FORK, 0.0)
    assert not [key for key in data["global_parameters"] if key.endswith("_pending")]


# --- reading it -----------------------------------------------------------------------------------


def test_a_file_without_a_run_is_a_run_that_has_not_begun() -> None:
    assert RunState.load({}, FORK) == RunState()
    assert RunState.load({"global_parameters": {"current_step_node": ""}}, FORK) == RunState()


@pytest.mark.parametrize(
    ("written", "state", "crashed"),
    [
        ("INACTIVE", "INACTIVE", False),
        ("STARTUP", "INACTIVE", True),
        ("RUNNING", "INACTIVE", True),
        ("COMPLETE_SUCCESS", "COMPLETE_SUCCESS", False),
        ("COMPLETE_ERROR", "COMPLETE_ERROR", False),
    ],
)
def test_an_engine_that_was_running_has_crashed(written: str, state: str, crashed: bool) -> None:
    data = {"global_parameters": {"step_engine_state": written}, "active_steps": {}}
    run = RunState.load(data, FORK)
    assert (run.state, run.crashed, run.finished) == (state, crashed, state != "INACTIVE")


def test_a_state_that_no_engine_wrote_is_no_crash() -> None:
    run = RunState.load({"global_parameters": {"step_engine_state": "STARTUP"}}, FORK)
    assert (run.state, run.crashed) == ("INACTIVE", False)


def test_a_crash_is_not_forgotten_by_saving_before_the_next_start() -> None:
    """The engine makes safe before it starts, and may be killed while it does so."""
    run = RunState.load(resting("RUNNING"), FORK)
    for _ in range(3):
        run.armed = []
        run = RunState.load(saved(run, FORK), FORK)
        assert run.crashed
    run.jump("c", FORK)
    assert RunState.load(saved(run, FORK), FORK).crashed


def resting(engine: str = "INACTIVE", **shared: Any) -> dict[str, Any]:
    """A run that rests in a fork, at b, with something kept of everything."""
    b = Token("b", "EXECUTE", attempt=3, retry_due=5.0, pending=2)
    c = Token("c", "JUMP", arrows=("d",), held=True)
    run = RunState(engine, {"c": c, "b": b}, {"d": ["b"]}, ["b"], 4, "b")
    data = saved(run, FORK)
    data["global_parameters"].update(shared)
    return data


def test_a_changed_state_of_a_run_at_rest_is_where_it_goes_on() -> None:
    run = RunState.load(resting(current_step_state="ADVANCE"), FORK)
    assert run.tokens["b"] == Token("b", "ADVANCE", held=True, pending=2)
    assert list(run.tokens) == ["c", "b"]
    assert run.arrivals == {"d": ["b"]}


def test_a_changed_state_of_a_run_that_crashed_may_be_the_nodes_own_doing() -> None:
    for written in ("ADVANCE", "EXIT", "anything at all", None, 5):
        run = RunState.load(resting("RUNNING", current_step_state=written), FORK)
        assert run.tokens["b"] == Token("b", "EXECUTE", attempt=3, retry_due=5.0, pending=2)


def test_an_unchanged_state_or_inactive_leaves_the_token_as_it_was() -> None:
    for written in ("EXECUTE", "INACTIVE"):
        run = RunState.load(resting(current_step_state=written), FORK)
        assert run.tokens["b"] == Token("b", "EXECUTE", attempt=3, retry_due=5.0, pending=2)


def test_arrows_are_kept_where_only_the_exit_is_to_be_performed_again() -> None:
    data = resting(current_step_node="c", current_step_state="EXIT")
    run = RunState.load(data, FORK)
    assert run.tokens["c"] == Token("c", "EXIT", arrows=("d",), held=True)
    data["global_parameters"]["current_step_state"] = "EXECUTE"
    assert RunState.load(data, FORK).tokens["c"] == Token("c", "EXECUTE", held=True)


@pytest.mark.parametrize("state", ["EXIT", "JUMP"])
def test_a_node_that_has_chosen_no_arrow_does_so_before_it_is_left(state: str) -> None:
    run = RunState.load(resting(current_step_state=state), FORK)
    assert run.tokens["b"] == Token("b", "ADVANCE", held=True, pending=2)


@pytest.mark.parametrize("engine", ["INACTIVE", "RUNNING"])
@pytest.mark.parametrize("state", ["EXECUTE", "JUMP", "INACTIVE", "ENTER"])
def test_a_changed_node_alone_is_entered(engine: str, state: str) -> None:
    """EXECUTE and JUMP were left by the nodes that were active then."""
    run = RunState.load(resting(engine, current_step_node="a", current_step_state=state), FORK)
    assert run.tokens == {"a": Token("a", "ENTER", held=True)}
    assert (run.arrivals, run.current, run.step_count, run.armed) == ({}, "a", 4, ["b"])


def test_a_changed_node_goes_on_at_the_state_that_was_set_with_it() -> None:
    run = RunState.load(resting(current_step_node="a", current_step_state="ADVANCE"), FORK)
    assert run.tokens == {"a": Token("a", "ADVANCE", held=True)}


def test_after_a_crash_a_changed_node_is_entered_whatever_the_state() -> None:
    run = RunState.load(
        resting("RUNNING", current_step_node="a", current_step_state="ADVANCE"), FORK
    )
    assert run.tokens == {"a": Token("a", "ENTER", held=True)}


def test_the_users_way_to_begin_at_a_node_works() -> None:
    """As in the specification: an instance script writes these four."""
    shared = {
        "step_engine_state": "STARTUP",
        "current_step_module": "step_node_b",
        "current_step_node": "b",
        "current_step_state": "ENTER",
    }
    run = RunState.load({"global_parameters": shared}, FORK)
    assert run.tokens == {"b": Token("b", "ENTER", held=True)}


def test_a_run_that_has_ended_is_read_as_it_is() -> None:
    data = resting("COMPLETE_ERROR", current_step_node="a", current_step_state="nonsense")
    run = RunState.load(data, FORK)
    assert run.finished
    assert list(run.tokens) == ["c", "b"]


def test_an_edit_elsewhere_takes_back_an_end_and_a_jump_that_were_decided_on() -> None:
    data = resting("RUNNING", current_step_node="a", end_pending="b failed", jump_pending="c")
    run = RunState.load(data, FORK)
    assert (run.ending, run.jump_target) == ("", "")


# --- what can't be --------------------------------------------------------------------------------


def wrong(where: str, value: Any) -> dict[str, Any]:
    """A good file with one value replaced; `where` is `group.key[.key]`, or a group."""
    data = resting()
    *path, last = where.split(".")
    inner = data
    for key in path:
        inner = inner[key]
    inner[last] = value
    return data


@pytest.mark.parametrize(
    ("where", "value"),
    [
        ("global_parameters", []),
        ("global_parameters.step_engine_state", "RUNING"),
        ("global_parameters.step_engine_state", None),
        ("global_parameters.step_engine_state", ["RUNNING"]),
        ("global_parameters.current_step_node", "bb"),
        ("global_parameters.current_step_node", ["b"]),
        ("global_parameters.current_step_node", None),
        ("global_parameters.current_step_state", "EXECUT"),
        ("global_parameters.current_step_state", {"a": 1}),
        ("global_parameters.engine_step_count", "4"),
        ("global_parameters.engine_step_count", True),
        ("global_parameters.make_safe", "b"),
        ("global_parameters.make_safe", [1]),
        ("global_parameters.make_safe", ["bb"]),
        ("global_parameters.end_pending", 1),
        ("global_parameters.jump_pending", "bb"),
        ("active_steps", ["b"]),
        ("active_steps.b", "EXECUTE"),
        ("active_steps.b", None),
        ("active_steps.b", {}),
        ("active_steps.b", {"state": "EXECUTE", "held": True, "retry_due": "2026-11-26T00:00:00Z"}),
        ("active_steps.b.state", "INACTIVE"),
        ("active_steps.b.state", ["ENTER"]),
        ("active_steps.b.attempt", "2"),
        ("active_steps.b.attempt", 0),
        ("active_steps.b.attempt", 1.5),
        ("active_steps.b.attempt", True),
        ("active_steps.b.pending", -1),
        ("active_steps.b.items", -1),
        ("active_steps.b.held", 1),
        ("active_steps.b.retry_due", "soon"),
        ("active_steps.b.retry_due", 5),
        ("active_steps.b.retry_due", ""),
        ("active_steps.b.retry_due", "0001-01-01T00:00:00+23:59"),
        ("active_steps.c.arrows", "d"),
        ("active_steps.c.arrows", [["d"]]),
        ("active_steps.c.arrows", ["gone"]),
        ("join_arrivals", "d"),
        ("join_arrivals.d", "b"),
        ("join_arrivals.d", ["bb"]),
    ],
)
def test_what_the_engine_would_not_write_is_an_error_that_names_the_key(
    where: str, value: Any
) -> None:
    with pytest.raises(InstanceError) as caught:
        RunState.load(wrong(where, value), FORK)
    assert caught.value.message.startswith(where)
    assert caught.value.hint


def test_a_misspelt_state_or_node_comes_with_the_nearest_one() -> None:
    for where, value, near in (
        ("global_parameters.step_engine_state", "RUNING", "'RUNNING'"),
        ("global_parameters.current_step_state", "EXECUT", "'EXECUTE'"),
        ("active_steps.b.state", "ADVANZ", "'ADVANCE'"),
    ):
        with pytest.raises(InstanceError, match=f"did you mean {near}"):
            RunState.load(wrong(where, value), FORK)
    data = {"global_parameters": {"current_step_node": "prepair"}}
    with pytest.raises(InstanceError, match="did you mean 'prepare'"):
        RunState.load(data, chain("prepare", "measure"))


def test_a_node_or_join_that_the_library_lost_is_named() -> None:
    data = resting()
    data["active_steps"]["old"] = {"state": "ENTER"}
    with pytest.raises(InstanceError, match=r"active_steps: .*no node 'old'"):
        RunState.load(data, FORK)
    data = resting()
    data["active_steps"]["b[0]"] = {"state": "ENTER"}  # items are of graphs by dependency
    with pytest.raises(InstanceError, match=r"active_steps: .*no node 'b\[0\]'"):
        RunState.load(data, FORK)
    data = resting()
    data["join_arrivals"]["old"] = ["b"]
    with pytest.raises(InstanceError, match=r"join_arrivals: .*no node 'old'"):
        RunState.load(data, FORK)


def test_a_run_stuck_at_a_lost_node_can_be_told_to_go_on_elsewhere() -> None:
    data = resting("RUNNING", current_step_node="a")
    data["active_steps"]["old"] = {"state": "ENTER"}
    assert RunState.load(data, FORK).tokens == {"a": Token("a", "ENTER", held=True)}


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=5,
)
PLACES = [
    "global_parameters",
    *(f"global_parameters.{key}" for key in resting()["global_parameters"]),
    "global_parameters.end_pending",
    "global_parameters.jump_pending",
    "active_steps",
    "active_steps.b",
    *(f"active_steps.b.{key}" for key in ("state", "attempt", "retry_due", "held", "pending")),
    "active_steps.c.arrows",
    "join_arrivals",
    "join_arrivals.d",
]


@given(st.sampled_from(PLACES), json_values)
def test_whatever_is_in_the_file_is_read_or_refused(where: str, value: Any) -> None:
    try:
        run = RunState.load(wrong(where, value), FORK)
    except InstanceError:
        return
    saved(run, FORK)
