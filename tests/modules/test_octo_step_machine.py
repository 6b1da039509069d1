"""Every decision of the machine, one test each. `CheckedMachine` checks the whole state besides."""

from __future__ import annotations

import itertools
import re
from typing import Any

import pytest

from octo_errors import IllegalMoveError
from octo_step_graph import StepGraph
from octo_step_machine import (
    LONGEST_BACK_OFF_S,
    Limits,
    StepMachine,
)
from octo_step_messages import (
    Event,
    HookCall,
    HookDone,
    HookFailed,
    HookInterrupted,
    HookRefused,
    JumpRequested,
    PauseRequested,
    ProbeAnswered,
    RetryDue,
    SetResult,
    Started,
    StopRequested,
    Tick,
)
from octo_step_states import RunState, Token
from tests.modules.step_machine_support import (
    ALL_HOOKS,
    CHOOSES,
    CheckedMachine,
    brief,
    chain,
    graph,
    kinds,
    node,
    reloaded,
)

STAY = "step_arrow_graph_list_key_"


def started(what: StepGraph, **limits: Any) -> CheckedMachine:
    """A machine whose run has begun."""
    machine = CheckedMachine(what, limits=Limits(**limits))
    machine.start()
    return machine


def standing(what: StepGraph, *tokens: Token, limits: Limits | None = None) -> CheckedMachine:
    """A machine that finds these tokens in the file, and is not started yet."""
    state = RunState(tokens={token.node: token for token in tokens}, current=tokens[-1].node)
    return CheckedMachine(what, state, limits)


def where(machine: StepMachine) -> dict[str, str]:
    return {name: token.state for name, token in machine.state.tokens.items()}


def fork_and_join(**options: Any) -> StepGraph:
    """start -> left and right -> both, with a step_execute everywhere."""
    return graph(
        node("start", ["left", "right"], hooks=CHOOSES),
        node("left", ["both"], **options),
        node("right", ["both"], **options),
        node("both", join_all=True),
    )


def forked(what: StepGraph, **limits: Any) -> CheckedMachine:
    """A machine that has just left `start` for `left` and `right`."""
    machine = started(what, **limits)
    machine.done("start")
    machine.done("start", "left", "right")
    return machine


# --- one node after the other ---------------------------------------------------------------------


def test_the_hooks_of_a_chain_are_called_in_the_users_order() -> None:
    machine = CheckedMachine(chain("a", "b", hooks=ALL_HOOKS))
    calls = machine.run_serially({"a": ["b"], "b": ["COMPLETE"]})
    hooks = ("step_entry", "step_execute", "step_advance", "step_exit")
    assert calls == [*(f"a.{hook}" for hook in hooks), *(f"b.{hook}" for hook in hooks), "success"]
    assert machine.state.step_count == 2
    assert machine.state.tokens == {}


def test_nodes_without_hooks_are_passed_and_recorded() -> None:
    machine = CheckedMachine(chain("a", "b", hooks=()))
    assert machine.start() == ["success"]
    states = [(each["node"], each["state"]) for each in kinds(machine.said, "state")]
    assert states == list(
        itertools.product(("a", "b"), ("ENTER", "EXECUTE", "ADVANCE", "EXIT", "JUMP"))
    )
    assert not any("skipped" in each for each in kinds(machine.said, "state"))


def test_each_state_is_recorded_when_its_hook_is_done_with_the_facts_of_the_call() -> None:
    machine = started(chain("a", "b", hooks=CHOOSES))
    machine.handle(HookDone("a", facts={"duration_s": 1.5}))
    executed = kinds(machine.said, "state")[-1]
    assert executed == {
        "event": "state",
        "node": "a",
        "state": "EXECUTE",
        "attempt": 1,
        "duration_s": 1.5,
    }
    machine.handle(HookDone("a", ("b",)))
    arrows = [each["arrow"] for each in kinds(machine.said, "state") if "arrow" in each]
    assert arrows == ["b", "b"]  # ADVANCE and JUMP


def test_a_hook_is_called_with_the_time_limit_of_its_node() -> None:
    machine = CheckedMachine(graph(node("a", timeout_s=2.5)))
    assert machine.handle(Started())[-1] == HookCall("a", "step_execute", 2.5)


def test_a_node_whose_execute_is_skipped_performs_all_else() -> None:
    machine = CheckedMachine(graph(node("a", hooks=ALL_HOOKS, skip_execute=True)))
    calls = machine.run_serially({"a": ["COMPLETE"]})
    assert calls == ["a.step_entry", "a.step_advance", "a.step_exit", "success"]
    skipped = [each["state"] for each in kinds(machine.said, "state") if each.get("skipped")]
    assert skipped == ["EXECUTE"]


def test_execute_gives_the_node_its_status() -> None:
    machine = started(graph(node("a", hooks=ALL_HOOKS)))
    assert SetResult("a", "SUCCESS") not in machine.handle(HookDone("a"))
    assert SetResult("a", "SUCCESS") in machine.handle(HookDone("a"))


def test_a_machine_that_was_not_started_calls_nothing() -> None:
    machine = CheckedMachine(chain("a"))
    assert machine.take(Tick(), PauseRequested("pause"), RetryDue("a")) == []
    assert machine.state.state == "INACTIVE"


def test_the_run_begins_at_the_first_node_of_the_graph() -> None:
    what = StepGraph({n: node(n) for n in ("a", "b")}, first="b")
    assert CheckedMachine(what).start() == ["b.step_execute"]


# --- which arrow ----------------------------------------------------------------------------------


def chosen(*keys: str, **options: Any) -> tuple[list[str], CheckedMachine]:
    """What comes when `a` chooses these arrows of its own, of which `shut` is not active."""
    arrows = {"go": "b", "other": "c", "shut": "b", "to_off": "off", **options.pop("arrows", {})}
    what = graph(
        node("a", arrows, hooks=["step_advance"], closed=["shut"], **options),
        node("b"),
        node("c"),
        node("off", active=False),
    )
    machine = started(what)
    return machine.done("a", *keys), machine


def test_the_chosen_arrow_is_followed() -> None:
    assert chosen("other")[0] == ["c.step_execute"]


def test_complete_ends_the_run_well_and_complete_error_does_not() -> None:
    assert chosen("COMPLETE")[0] == ["success"]
    assert chosen("COMPLETE_ERROR")[0] == ["error: a returned COMPLETE_ERROR"]


@pytest.mark.parametrize("arrows", [{}, {STAY + "a": "a"}], ids=["undeclared", "declared"])
def test_the_key_of_the_node_itself_enters_it_again(arrows: dict[str, str]) -> None:
    told, machine = chosen(STAY + "a", arrows=arrows)
    assert told == ["a.step_advance"]
    assert machine.state.step_count == 1


@pytest.mark.parametrize(
    ("keys", "error"),
    [
        (("oter",), "step_advance returned 'oter', .*; did you mean 'other'?"),
        (
            ("zzz",),
            r"step_advance returned 'zzz', .* of a \(go, other, COMPLETE, COMPLETE_ERROR\)$",
        ),
        (("b",), "returned 'b', which is no open arrow of a"),
        (("shut",), "returned 'shut', .*: the arrow, or the node it leads to, is not active"),
        (("to_off",), "returned 'to_off', .*: the arrow, or the node it leads to, is not active"),
        ((STAY + "b",), "is no open arrow"),
        (("go", "nowhere"), "returned 'nowhere'"),
        (("go", "other", "go"), "an arrow twice: go, other, go"),
        (("go", "COMPLETE"), "an end among other arrows: go, COMPLETE"),
        (("COMPLETE_ERROR", "go"), "an end among other arrows"),
        (("COMPLETE", "COMPLETE_ERROR"), "an end among other arrows"),
        ((), "returned no arrow"),
    ],
)
def test_a_wrong_choice_is_a_failure_of_advance(keys: tuple[str, ...], error: str) -> None:
    told, machine = chosen(*keys)
    assert told[0].startswith("error: ADVANCE of a failed: step_advance returned ")
    (record,) = kinds(machine.said, "step_error")
    assert record["state"] == "ADVANCE"
    assert re.search(error, record["error"]), record["error"]


def test_a_wrong_choice_may_be_a_better_one_at_the_next_attempt() -> None:
    told, machine = chosen("oter", max_retries=1)
    assert told == []
    assert machine.take(RetryDue("a")) == ["a.step_advance"]
    assert machine.done("a", "other") == ["c.step_execute"]
    assert SetResult("a", "SUCCESS") in machine.said


def test_a_node_without_step_advance_takes_its_only_open_arrow() -> None:
    what = graph(
        node("a", {"shut": "b", "go": "c", "oops": "b"}, closed=["shut"], error_arrow_key="oops"),
        node("b"),
        node("c"),
    )
    assert CheckedMachine(what).run_serially() == ["a.step_execute", "c.step_execute", "success"]


def test_several_open_arrows_take_a_step_advance() -> None:
    machine = started(graph(node("a", ["b", "c"]), node("b"), node("c")))
    (told,) = machine.done("a")
    assert "several arrows are open (b, c), and no step_advance chooses" in told
    assert where(machine) == {"a": "ADVANCE"}


# --- failure and retry ----------------------------------------------------------------------------


def test_without_retries_and_error_arrow_a_failure_ends_the_run() -> None:
    machine = started(chain("a", "b"))
    out = machine.handle(HookFailed("a", "no answer", {"duration_s": 2.0}))
    assert brief(out) == ["error: EXECUTE of a failed: no answer"]
    assert SetResult("a", "ERROR", "no answer") in out
    (record,) = kinds(out, "step_error")
    assert record == {
        "event": "step_error",
        "node": "a",
        "state": "EXECUTE",
        "attempt": 1,
        "error": "no answer",
        "duration_s": 2.0,
    }
    assert where(machine) == {"a": "EXECUTE"}


def test_retries_wait_longer_each_time_and_are_counted() -> None:
    machine = started(graph(node("a", max_retries=3, retry_delay_s=2.0, retry_backoff=3.0)))
    now = 100.0
    for attempt, delay in ((1, 2.0), (2, 6.0), (3, 18.0)):
        out = machine.handle(HookFailed("a", "no"), now)
        assert brief(out) == []
        (retry,) = kinds(out, "retry")
        assert retry["attempt"] == attempt + 1
        assert retry["delay_s"] == delay
        assert machine.retries_due() == [(now + delay, "a")]
        now += delay
        assert machine.take(RetryDue("a"), now=now) == ["a.step_execute"]
        assert machine.retries_due() == []
    assert machine.take(HookFailed("a", "no")) == ["error: EXECUTE of a failed: no"]


def test_every_state_has_attempts_of_its_own() -> None:
    machine = started(graph(node("a", hooks=ALL_HOOKS, max_retries=1)))
    for _ in range(4):
        assert machine.take(HookFailed("a", "no")) == []
        (call,) = machine.take(RetryDue("a"))
        arrows = ("COMPLETE",) if call == "a.step_advance" else ()
        told = machine.done("a", *arrows)
    assert told == ["success"]


def test_a_retry_that_succeeds_takes_the_error_status_back() -> None:
    machine = started(graph(node("a", hooks=ALL_HOOKS, max_retries=1)))
    machine.done("a")
    machine.done("a")
    machine.take(HookFailed("a", "no"), RetryDue("a"))
    assert SetResult("a", "SUCCESS") in machine.handle(HookDone("a", ("COMPLETE",)))
    machine.take(HookFailed("a", "no"), RetryDue("a"))
    assert SetResult("a", "SUCCESS") in machine.handle(HookDone("a"))


def test_a_retried_exit_on_the_error_arrow_leaves_the_error_status() -> None:
    a = node("a", {"oops": "b"}, hooks=ALL_HOOKS, max_retries=1, error_arrow_key="oops")
    machine = started(graph(a, node("b")))
    machine.take(HookFailed("a", "no"), RetryDue("a"), HookFailed("a", "no"))
    machine.take(HookFailed("a", "no"), RetryDue("a"), HookDone("a"))
    assert where(machine) == {"b": "EXECUTE"}
    assert [each.status for each in machine.said if isinstance(each, SetResult)] == ["ERROR"] * 3


@pytest.mark.parametrize(
    ("delay", "backoff", "expected"),
    [
        (0.0, 2.0, 0.0),
        (1.0, 2.0, LONGEST_BACK_OFF_S),
        (5.0, 0.5, 0.0),
        (3.0, 1.0, 3.0),
        (1e308, 1e308, LONGEST_BACK_OFF_S),
    ],
)
def test_the_wait_after_thousands_of_attempts_is_still_a_date(
    delay: float, backoff: float, expected: float
) -> None:
    what = graph(node("a", max_retries=5000, retry_delay_s=delay, retry_backoff=backoff))
    machine = standing(what, Token("a", "EXECUTE", attempt=4000, held=True))
    machine.start()
    machine.take(HookFailed("a", "no"), now=1.7e9)
    ((due, _),) = machine.retries_due()
    assert due == pytest.approx(1.7e9 + expected)


def test_a_kill_in_a_back_off_restarts_neither_the_wait_nor_the_count() -> None:
    machine = started(graph(node("a", max_retries=2, retry_delay_s=60.0)))
    machine.take(HookFailed("a", "no"), now=1000.0)
    again = reloaded(machine)
    assert again.start() == []
    assert again.retries_due() == [(1060.0, "a")]
    assert again.state.tokens["a"].attempt == 2
    again.take(RetryDue("a"), HookFailed("a", "no"), now=1060.0)
    third = reloaded(again)
    assert third.start() == []
    assert third.take(RetryDue("a"), now=1120.0) == ["a.step_execute"]
    assert third.take(HookFailed("a", "no")) == ["error: EXECUTE of a failed: no"]


def test_retries_are_due_soonest_first() -> None:
    machine = forked(fork_and_join(max_retries=1, retry_delay_s=5.0))
    machine.take(HookFailed("left", "no"), now=10.0)
    machine.take(HookFailed("right", "no"), now=3.0)
    assert machine.retries_due() == [(8.0, "right"), (15.0, "left")]


def test_a_retry_that_is_not_awaited_any_more_means_nothing() -> None:
    """The engine may have seen it and a request in the same look."""
    machine = started(graph(node("a", max_retries=1), node("b")))
    machine.take(HookFailed("a", "no"))
    assert machine.take(JumpRequested("b"), RetryDue("a"), RetryDue("b")) == ["b.step_execute"]


def with_error_arrow(**options: Any) -> StepGraph:
    arrows = {"go": "b", "oops": "mend"}
    return graph(
        node("a", arrows, hooks=ALL_HOOKS, error_arrow_key="oops", **options),
        node("b"),
        node("mend"),
    )


@pytest.mark.parametrize("failing", ["step_entry", "step_execute", "step_advance", "step_exit"])
def test_the_error_arrow_is_followed_from_every_state(failing: str) -> None:
    machine = CheckedMachine(with_error_arrow())
    (call,) = machine.start()
    while call != f"a.{failing}":
        (call,) = machine.done("a", *(["go"] if call == "a.step_advance" else []))
    (call,) = machine.take(HookFailed("a", "no"))
    if failing != "step_exit":
        assert call == "a.step_exit"
        (call,) = machine.done("a")
    assert call == "mend.step_execute"
    assert machine.done("mend") == ["success"]


def test_retries_come_before_the_error_arrow() -> None:
    machine = started(with_error_arrow(max_retries=1))
    assert machine.take(HookFailed("a", "no")) == []
    assert machine.take(RetryDue("a"), HookFailed("a", "no")) == ["a.step_entry", "a.step_exit"]


def test_a_closed_error_arrow_is_none() -> None:
    what = graph(node("a", {"oops": "b"}, closed=["oops"], error_arrow_key="oops"), node("b"))
    assert started(what).take(HookFailed("a", "no")) == ["error: EXECUTE of a failed: no"]


# --- fork and join --------------------------------------------------------------------------------


def test_a_fork_starts_its_targets_in_the_order_of_the_keys() -> None:
    for keys in (("left", "right"), ("right", "left")):
        machine = started(fork_and_join())
        machine.done("start")
        calls = machine.done("start", *keys)
        assert calls == [f"{key}.step_execute" for key in keys]


def test_a_join_is_entered_when_the_last_of_its_sources_arrives() -> None:
    for first, second in (("left", "right"), ("right", "left")):
        machine = forked(fork_and_join())
        assert machine.done(first) == []
        (waits,) = kinds(machine.said, "join_wait")
        assert waits == {"event": "join_wait", "node": "both", "missing": [second]}
        assert machine.state.arrivals == {"both": [first]}
        assert machine.done(second) == ["both.step_execute"]
        assert machine.state.arrivals == {}
        assert machine.done("both") == ["success"]


def test_the_node_that_changed_last_is_the_current_one() -> None:
    machine = forked(fork_and_join(hooks=["step_entry", "step_execute"]))
    assert machine.state.current == "right"
    for name in ("left", "right", "left"):
        machine.done(name)
        if name in machine.state.tokens:
            assert machine.state.current == name


def test_arrivals_at_a_join_survive_a_kill() -> None:
    machine = forked(fork_and_join())
    machine.done("left")
    again = reloaded(machine)
    assert again.start() == ["right.step_execute"]
    assert again.done("right") == ["both.step_execute"]


def test_a_join_fires_once_per_round_even_if_one_branch_is_a_round_ahead() -> None:
    what = graph(
        node("start", ["left", "right"], hooks=CHOOSES),
        node("left", ["both"], hooks=CHOOSES),
        node("right", ["both"], hooks=CHOOSES),
        node("both", ["start"], hooks=["step_advance"], join_all=True),
    )
    machine = forked(what)
    for _ in range(3):
        machine.done("left")
        machine.done("left", "both")
        machine.done("right")
        assert machine.done("right", "both") == ["both.step_advance"]
        assert machine.done("both", "start") == ["start.step_execute"]
        machine.done("start")
        machine.done("start", "left", "right")
    assert machine.state.arrivals == {}


def test_two_arrivals_of_the_same_source_are_not_those_of_two() -> None:
    what = graph(
        node("a", ["b", "c"], hooks=CHOOSES),
        node("b", {"go": "d", "again": "a"}, hooks=CHOOSES),
        node("c", ["d"]),
        node("d", join_all=True),
    )
    machine = started(what)
    machine.done("a")
    machine.done("a", "b", "c")
    machine.done("b")
    machine.done("b", "go", "again")  # b has arrived, and begins a second round
    machine.done("a")
    machine.done("a", "b")
    machine.done("b")
    assert machine.done("b", "go") == []
    assert machine.state.arrivals == {"d": ["b", "b"]}
    assert machine.done("c") == ["d.step_execute"]
    assert machine.state.arrivals == {"d": ["b"]}
    assert machine.done("d") == ["error: join d waits for c, which ended without an arrow to it"]


def test_a_join_whose_source_ended_elsewhere_is_a_failure_that_names_it() -> None:
    what = graph(
        node("start", ["left", "right"], hooks=CHOOSES),
        node("left", ["both"]),
        node("right", {"go": "both"}, hooks=CHOOSES),
        node("both", join_all=True),
    )
    machine = forked(what)
    machine.done("left")
    machine.done("right")
    told = machine.done("right", "COMPLETE")
    assert told == ["error: join both waits for right, which ended without an arrow to it"]


def test_a_join_that_stays_on_itself_needs_no_other_arrival() -> None:
    what = fork_and_join()
    both = node("both", hooks=CHOOSES, join_all=True)
    machine = forked(StepGraph({**what.nodes, "both": both}, "start"))
    machine.done("left")
    machine.done("right")
    machine.done("both")
    assert machine.done("both", STAY + "both") == ["both.step_execute"]
    machine.done("both")
    assert machine.done("both", "COMPLETE") == ["success"]


def test_a_join_that_only_a_jump_can_lead_to_is_entered_each_time() -> None:
    what = graph(node("a"), node("b", ["j"]), node("j", ["j2"], join_all=True), node("j2"))
    machine = started(what)
    machine.done("a")
    machine = CheckedMachine(what, RunState())
    machine.take(JumpRequested("b"), Started())
    assert machine.done("b") == ["j.step_execute"]
    assert machine.state.arrivals == {}
    machine.done("j")
    assert machine.done("j2") == ["success"]


def test_arrivals_from_where_only_a_jump_can_lead_to_are_not_awaited_but_used_up() -> None:
    what = graph(
        node("a", ["j"]),
        node("j", join_all=True),
        node("b", {"go": "j", "back": "a"}, hooks=["step_advance"]),
    )
    machine = CheckedMachine(what)
    machine.take(JumpRequested("b"), Started())
    assert machine.done("b", "go", "back") == ["a.step_execute"]
    assert kinds(machine.said, "join_wait")[0]["missing"] == ["a"]
    assert machine.done("a") == ["j.step_execute"]
    assert machine.done("j") == ["success"]


def test_a_second_arrival_at_an_active_node_is_a_second_visit() -> None:
    what = graph(
        node("a", ["b", "c"], hooks=CHOOSES), node("b", ["d"]), node("c", ["d"]), node("d")
    )
    machine = started(what)
    machine.done("a")
    machine.done("a", "b", "c")
    assert machine.done("b") == ["d.step_execute"]
    assert machine.done("c") == []
    assert machine.state.tokens["d"].pending == 1
    machine = reloaded(machine)
    assert machine.start() == ["d.step_execute"]
    assert machine.done("d") == ["d.step_execute"]
    assert machine.done("d") == ["success"]
    assert machine.state.step_count == 5


def test_pending_arrivals_and_loops_to_the_node_itself_are_all_visits() -> None:
    what = graph(
        node("a", {"one": "b", "two": "b", "three": "b"}, hooks=["step_advance"]),
        node("b", hooks=["step_advance"]),
    )
    machine = started(what)
    machine.done("a", "one", "two", "three")
    assert machine.state.tokens["b"].pending == 2
    machine.done("b", STAY + "b")
    assert machine.state.tokens["b"].pending == 2
    assert [machine.done("b", "COMPLETE") for _ in range(3)] == [
        ["b.step_advance"],
        ["b.step_advance"],
        ["success"],
    ]
    assert machine.state.step_count == 5


def test_complete_in_one_branch_lets_the_others_come_to_their_end() -> None:
    what = graph(node("a", ["b", "c"], hooks=["step_advance"]), node("b"), node("c"))
    machine = started(what)
    machine.done("a", "b", "c")
    assert machine.done("b") == []
    assert machine.done("c") == ["success"]


def test_a_failed_branch_ends_the_run_when_nothing_is_in_flight_any_more() -> None:
    machine = forked(fork_and_join())
    assert machine.take(HookFailed("left", "no")) == []
    assert machine.done("right") == ["error: EXECUTE of left failed: no"]
    assert where(machine) == {"left": "EXECUTE", "right": "ADVANCE"}


def test_a_failed_branch_does_not_wait_for_the_back_off_of_another() -> None:
    machine = forked(fork_and_join(max_retries=1, retry_delay_s=60.0))
    machine.take(HookFailed("left", "no"))
    machine.take(HookFailed("right", "no"), RetryDue("right"))
    assert machine.take(HookFailed("right", "never")) == ["error: EXECUTE of right failed: never"]


def test_the_first_of_several_failures_is_the_reason() -> None:
    machine = forked(fork_and_join())
    machine.take(HookFailed("right", "first"))
    assert machine.take(HookFailed("left", "second")) == ["error: EXECUTE of right failed: first"]


def test_complete_error_in_one_branch_is_not_forgotten_in_a_crash() -> None:
    what = graph(node("a", ["b", "c"], hooks=["step_advance"]), node("b", hooks=CHOOSES), node("c"))
    machine = started(what)
    machine.done("a", "b", "c")
    machine.done("b")
    assert machine.done("b", "COMPLETE_ERROR") == []
    again = reloaded(machine)
    assert again.start() == ["error: b returned COMPLETE_ERROR"]


def test_a_failure_and_a_stop_are_not_forgotten_in_a_crash() -> None:
    machine = forked(fork_and_join())
    machine.take(HookFailed("left", "no"))
    assert reloaded(machine).start() == ["error: EXECUTE of left failed: no"]
    machine = forked(fork_and_join())
    machine.take(StopRequested("stop requested"))
    again = reloaded(machine)
    assert again.start() == ["error: stop requested"]
    assert len(kinds(again.said, "interrupted")) == 2


# --- resting --------------------------------------------------------------------------------------


def test_a_breakpoint_at_the_entry_rests_once_and_goes_on_at_the_next_start() -> None:
    what = graph(node("a", ["b"]), node("b", entry_breakpoint=True))
    machine = started(what)
    assert machine.done("a") == ["rest: breakpoint at the entry of b"]
    assert where(machine) == {"b": "ENTER"}
    assert reloaded(machine).run_serially() == ["b.step_execute", "success"]


def test_a_breakpoint_at_the_exit_rests_after_the_exit_hook() -> None:
    what = graph(node("a", ["b"], hooks=ALL_HOOKS, exit_breakpoint=True), node("b"))
    machine = CheckedMachine(what)
    assert machine.run_serially({"a": ["b"]})[-1] == "rest: breakpoint at the exit of a"
    assert where(machine) == {"a": "JUMP"}
    assert reloaded(machine).run_serially() == ["b.step_execute", "success"]


def test_a_breakpoint_at_the_first_node_counts() -> None:
    what = graph(node("a", entry_breakpoint=True, exit_breakpoint=True))
    machine = CheckedMachine(what)
    assert machine.start() == ["rest: breakpoint at the entry of a"]
    machine = reloaded(machine)
    assert machine.run_serially()[-1] == "rest: breakpoint at the exit of a"
    assert reloaded(machine).start() == ["success"]


def test_each_turn_of_a_loop_comes_to_the_breakpoint() -> None:
    machine = CheckedMachine(graph(node("a", hooks=["step_advance"], entry_breakpoint=True)))
    for _ in range(3):
        assert machine.start()[-1] == "rest: breakpoint at the entry of a"
        machine = reloaded(machine)
        machine.start()
        assert machine.done("a", STAY + "a") == ["rest: breakpoint at the entry of a"]
        machine = reloaded(machine)
        assert machine.start() == ["a.step_advance"]
        assert machine.done("a", STAY + "a") == ["rest: breakpoint at the entry of a"]
        machine = CheckedMachine(machine.graph)


@pytest.mark.parametrize("until", ["", "b"])
def test_a_retry_of_the_entry_does_not_come_to_its_breakpoint_again(until: str) -> None:
    b = node("b", hooks=["step_entry"], entry_breakpoint=not until, max_retries=2)
    machine = started(graph(node("a", ["b"]), b), until=until)
    assert machine.done("a")[0].startswith("rest: ")
    again = reloaded(machine, Limits(until=until))
    assert again.start() == ["b.step_entry"]
    assert again.take(HookFailed("b", "no"), RetryDue("b")) == ["b.step_entry"]
    third = reloaded(again, Limits(until=until))  # killed
    assert third.start() == ["b.step_entry"]
    assert third.take(HookFailed("b", "no"), RetryDue("b")) == ["b.step_entry"]
    assert third.done("b") == ["success"]


def test_a_breakpoint_in_one_branch_lets_the_others_rest_where_they_are() -> None:
    what = graph(
        node("start", ["left", "right"], hooks=CHOOSES),
        node("left", entry_breakpoint=True),
        node("right", hooks=["step_entry", "step_execute"]),
    )
    machine = started(what)
    machine.done("start")
    assert machine.done("start", "right", "left") == ["right.step_entry"]
    assert machine.done("right") == ["rest: breakpoint at the entry of left"]
    assert where(machine) == {"right": "EXECUTE", "left": "ENTER"}
    assert reloaded(machine).start() == ["right.step_execute", "left.step_execute"]


def test_until_rests_before_the_node_and_the_next_run_goes_through_it() -> None:
    what = graph(node("a", ["b"]), node("b", ["a"], hooks=CHOOSES))
    machine = started(what, until="b")
    assert machine.done("a") == ["rest: until b"]
    again = reloaded(machine, Limits(until="b"))
    assert again.run_serially({"b": ["a"]})[-1] == "rest: until b"
    assert again.state.step_count == 3


def test_until_the_first_node_rests_before_it() -> None:
    assert CheckedMachine(chain("a"), limits=Limits(until="a")).start() == ["rest: until a"]


def test_max_steps_counts_the_nodes_left_in_this_run() -> None:
    machine = CheckedMachine(chain(*"abcdefg"), limits=Limits(max_steps=2))
    assert machine.run_serially()[-1] == "rest: max-steps 2"
    assert where(machine) == {"c": "ENTER"}
    machine = reloaded(machine, Limits(max_steps=3))
    assert machine.run_serially()[-1] == "rest: max-steps 3"
    assert where(machine) == {"f": "ENTER"}
    assert reloaded(machine).run_serially()[-1] == "success"


def test_a_run_that_ends_with_its_last_step_has_ended() -> None:
    assert CheckedMachine(chain("a", "b"), limits=Limits(max_steps=2)).run_serially()[-1] == (
        "success"
    )


def test_not_one_node_more_than_max_steps_is_left_in_a_fork() -> None:
    for most in range(1, 5):
        machine = CheckedMachine(fork_and_join(), limits=Limits(max_steps=most))
        told = machine.run_serially({"start": ["left", "right"]})
        assert machine.state.step_count == most
        assert told[-1] == ("success" if most == 4 else f"rest: max-steps {most}")
        if most < 4:
            machine = reloaded(machine)
            assert machine.run_serially({"start": ["left", "right"]})[-1] == "success"


def test_no_step_at_all_is_performed_with_max_steps_0() -> None:
    machine = CheckedMachine(chain("a"), limits=Limits(max_steps=0))
    assert machine.start() == ["rest: max-steps 0"]
    assert reloaded(machine, Limits(max_steps=0)).start() == ["rest: max-steps 0"]


# --- single steps ---------------------------------------------------------------------------------

STEP, ADVANCE = Limits(at_state="ADVANCE"), Limits(at_state="ENTER")


def test_step_and_advance_perform_a_node_by_halves_whatever_its_breakpoints() -> None:
    what = chain("a", "b", hooks=ALL_HOOKS, entry_breakpoint=True, exit_breakpoint=True)
    machine = CheckedMachine(what, limits=STEP)
    assert machine.run_serially() == ["a.step_entry", "a.step_execute", "rest: single step"]
    machine = reloaded(machine, ADVANCE)
    told = machine.run_serially({"a": ["b"]})
    assert told == ["a.step_advance", "a.step_exit", "rest: single step"]
    assert where(machine) == {"b": "ENTER"}
    machine = reloaded(machine, STEP)
    assert machine.run_serially()[-1] == "rest: single step"
    machine = reloaded(machine, ADVANCE)
    assert machine.run_serially({"b": ["COMPLETE"]})[-1] == "success"


def test_all_branches_of_a_fork_are_stepped_and_none_is_left_behind() -> None:
    machine = CheckedMachine(fork_and_join(), limits=STEP)
    choices = {"start": ["left", "right"]}
    seen = [machine.run_serially()]
    for limits in (ADVANCE, STEP, ADVANCE, STEP, ADVANCE):
        machine = reloaded(machine, limits)
        seen.append(machine.run_serially(choices))
    assert seen == [
        ["start.step_execute", "rest: single step"],
        ["start.step_advance", "rest: single step"],
        ["left.step_execute", "right.step_execute", "rest: single step"],
        ["rest: single step"],
        ["both.step_execute", "rest: single step"],
        ["success"],
    ]


def test_a_branch_that_comes_to_the_end_of_its_half_first_does_not_stop_the_others() -> None:
    what = graph(
        node("start", ["left", "right"], hooks=["step_advance"]),
        node("left", hooks=["step_advance", "step_exit"]),
        node("right", hooks=["step_advance", "step_exit"]),
    )
    left, right = Token("left", "ADVANCE", held=True), Token("right", "ADVANCE", held=True)
    machine = standing(what, left, right, limits=ADVANCE)
    machine.start()
    machine.done("left", STAY + "left")
    machine.done("left")
    assert where(machine) == {"right": "ADVANCE", "left": "ENTER"}
    assert machine.done("right", "COMPLETE") == ["right.step_exit"]
    assert machine.done("right") == ["rest: single step"]
    assert where(machine) == {"left": "ENTER"}


def test_a_failure_while_stepping_goes_no_further_than_the_half() -> None:
    machine = CheckedMachine(with_error_arrow(), limits=STEP)
    machine.start()
    assert machine.take(HookFailed("a", "no")) == ["rest: single step"]
    assert where(machine) == {"a": "EXIT"}
    machine = reloaded(machine, ADVANCE)
    assert machine.run_serially() == ["a.step_exit", "rest: single step"]
    assert where(machine) == {"mend": "ENTER"}


def test_a_step_waits_for_its_retries() -> None:
    machine = CheckedMachine(chain("a", max_retries=1), limits=STEP)
    machine.start()
    assert machine.take(HookFailed("a", "no")) == []
    assert machine.take(RetryDue("a")) == ["a.step_execute"]
    assert machine.done("a") == ["rest: single step"]


def test_tokens_in_the_other_half_stay_where_they_are() -> None:
    left, right = Token("left", "ADVANCE", held=True), Token("right", "ENTER", held=True)
    machine = standing(fork_and_join(), left, right, limits=STEP)
    assert machine.run_serially() == ["right.step_execute", "rest: single step"]
    assert where(machine) == {"left": "ADVANCE", "right": "ADVANCE"}


# --- requests -------------------------------------------------------------------------------------


def test_a_pause_lets_the_hooks_in_flight_come_back_and_starts_no_other() -> None:
    machine = forked(fork_and_join())
    assert machine.take(PauseRequested("pause requested")) == []
    assert machine.done("left") == []
    assert machine.done("right") == ["rest: pause requested"]
    assert where(machine) == {"left": "ADVANCE", "right": "ADVANCE"}
    assert reloaded(machine).run_serially() == ["both.step_execute", "success"]


def test_the_first_of_several_reasons_to_rest_counts() -> None:
    machine = forked(fork_and_join())
    machine.take(PauseRequested("first"), PauseRequested("second"))
    assert machine.take(HookInterrupted("left"), HookDone("right")) == ["rest: first"]


def test_a_pause_seen_together_with_the_last_hook_rests_before_the_jump() -> None:
    machine = started(chain("a", hooks=["step_exit"]))
    assert machine.take(PauseRequested("pause"), HookDone("a")) == ["rest: pause"]
    assert where(machine) == {"a": "JUMP"}
    assert reloaded(machine).start() == ["success"]


def test_a_failure_while_pausing_ends_the_run() -> None:
    machine = started(chain("a"))
    told = machine.take(PauseRequested("pause"), HookFailed("a", "no"))
    assert told == ["error: EXECUTE of a failed: no"]


def test_a_pause_does_not_wait_for_a_back_off_which_goes_on_after_it() -> None:
    machine = started(chain("a", max_retries=1, retry_delay_s=60.0))
    machine.take(HookFailed("a", "no"), now=100.0)
    assert machine.take(PauseRequested("pause"), now=110.0) == ["rest: pause"]
    again = reloaded(machine)
    assert again.start() == []
    assert again.retries_due() == [(160.0, "a")]
    assert again.take(RetryDue("a")) == ["a.step_execute"]


def test_a_retry_that_is_due_while_pausing_is_not_made() -> None:
    machine = forked(fork_and_join(max_retries=1))
    machine.take(HookFailed("left", "no"))
    machine.take(PauseRequested("pause"))
    assert machine.take(RetryDue("left")) == []
    assert machine.done("right") == ["rest: pause"]
    assert reloaded(machine).start() == ["left.step_execute"]


def test_a_retry_that_is_due_in_the_look_that_brought_the_pause_stays_due() -> None:
    machine = started(chain("a", max_retries=1, retry_delay_s=5.0))
    machine.take(HookFailed("a", "no"))
    assert machine.take(PauseRequested("pause"), RetryDue("a")) == ["rest: pause"]
    assert reloaded(machine).retries_due() == [(5.0, "a")]


def test_a_pause_before_the_start_rests_before_the_first_hook() -> None:
    machine = CheckedMachine(chain("a"))
    assert machine.take(PauseRequested("pause"), Started()) == ["rest: pause"]
    assert where(machine) == {"a": "ENTER"}
    assert reloaded(machine).start() == ["a.step_execute"]


def test_a_stop_ends_the_run_when_nothing_is_in_flight() -> None:
    machine = forked(fork_and_join())
    assert machine.take(StopRequested("stop requested")) == []
    assert machine.done("left") == []
    assert machine.done("right") == ["error: stop requested"]
    assert not machine.state.arrivals


def test_a_stop_does_not_wait_for_a_back_off() -> None:
    machine = started(chain("a", max_retries=1, retry_delay_s=60.0))
    machine.take(HookFailed("a", "no"))
    assert machine.take(StopRequested("stop"), RetryDue("a")) == ["error: stop"]


def test_a_run_at_rest_is_stopped_by_starting_it() -> None:
    machine = started(chain("a", "b"))
    machine.take(PauseRequested("pause"), HookDone("a"))
    assert reloaded(machine).take(StopRequested("stop"), Started()) == ["error: stop"]


def test_a_stop_outranks_a_pause() -> None:
    machine = started(chain("a"))
    machine.take(PauseRequested("pause"), StopRequested("stop"))
    assert machine.done("a") == ["error: stop"]


def test_a_circle_of_nodes_without_hooks_can_be_paused_and_stopped() -> None:
    """One call follows one arrow at most, so the shell gets a word in."""
    for size in (1, 2, 5):
        names = [f"n{i}" for i in range(size)]
        nodes = [node(n, [names[(i + 1) % size]], hooks=()) for i, n in enumerate(names)]
        machine = CheckedMachine(graph(*nodes))
        machine.handle(Started())
        for turn in range(20):
            assert machine.ready
            machine.handle(Tick())
            assert machine.state.step_count == turn + 1
        assert brief(machine.handle(PauseRequested("pause"))) == ["rest: pause"]
        machine = reloaded(machine)
        machine.handle(Started())
        assert brief(machine.handle(StopRequested("stop"))) == ["error: stop"]


def test_a_circle_without_hooks_counts_against_max_steps() -> None:
    machine = CheckedMachine(graph(node("a", ["a"], hooks=())), limits=Limits(max_steps=50))
    assert machine.start() == ["rest: max-steps 50"]


def test_a_circle_without_hooks_is_killed_and_goes_on() -> None:
    machine = CheckedMachine(graph(node("a", ["a"], hooks=())))
    machine.handle(Started())
    again = reloaded(machine)
    again.handle(Started())
    again.handle(Tick())
    assert again.state.step_count == 2
    assert not kinds(again.said, "interrupted")


# --- jumps ----------------------------------------------------------------------------------------


def test_a_jump_waits_for_what_is_in_flight_and_leaves_all_that_is_active() -> None:
    machine = forked(fork_and_join())
    machine.done("left")
    assert machine.take(JumpRequested("start")) == []
    assert machine.done("right") == ["start.step_execute"]
    (record,) = kinds(machine.said, "jump")
    assert record == {"event": "jump", "node": "start", "left": ["right in ADVANCE"]}
    assert where(machine) == {"start": "EXECUTE"}
    assert machine.state.arrivals == {}


def test_no_other_hook_is_called_before_a_jump() -> None:
    machine = forked(fork_and_join(hooks=ALL_HOOKS))
    machine.take(JumpRequested("both"))
    assert machine.done("left") == []
    assert where(machine) == {"left": "EXECUTE", "right": "ENTER"}
    assert machine.done("right") == ["both.step_execute"]


def test_a_jump_in_a_back_off_is_made_at_once() -> None:
    machine = started(graph(node("a", ["b"], max_retries=1, retry_delay_s=60.0), node("b")))
    machine.take(HookFailed("a", "no"))
    assert machine.take(JumpRequested("b")) == ["b.step_execute"]
    assert machine.retries_due() == []


def test_a_jump_to_the_node_in_back_off_enters_it_anew() -> None:
    machine = started(graph(node("a", hooks=["step_entry", "step_execute"], max_retries=1)))
    machine.done("a")
    machine.take(HookFailed("a", "no"))
    assert machine.take(JumpRequested("a")) == ["a.step_entry"]
    assert machine.state.tokens["a"].attempt == 1


def test_the_last_of_several_jumps_counts() -> None:
    machine = started(chain("a", "b", "c"))
    machine.take(JumpRequested("b"), JumpRequested("c"))
    assert machine.done("a") == ["c.step_execute"]


def test_a_jump_is_a_way_to_leave_a_node_that_then_fails() -> None:
    machine = started(chain("a", "b"))
    machine.take(JumpRequested("b"))
    assert machine.take(HookFailed("a", "no")) == ["b.step_execute"]
    assert kinds(machine.said, "step_error")
    assert machine.done("b") == ["success"]


def test_a_run_that_is_to_end_jumps_nowhere() -> None:
    machine = forked(fork_and_join())
    machine.take(HookFailed("left", "no"))
    machine.take(JumpRequested("start"))
    (refused,) = kinds(machine.said, "jump_refused")
    assert refused["node"] == "start"
    assert refused["reason"] == "EXECUTE of left failed: no"
    assert machine.done("right") == ["error: EXECUTE of left failed: no"]


def test_a_stop_takes_a_jump_back() -> None:
    machine = started(chain("a", "b"))
    machine.take(JumpRequested("b"), StopRequested("stop"))
    assert machine.done("a") == ["error: stop"]
    assert where(machine) == {"a": "ADVANCE"}


def test_a_jump_after_the_end_is_refused() -> None:
    machine = started(chain("a", "b"))
    machine.take(HookDone("a"), HookDone("b"), JumpRequested("a"))
    assert kinds(machine.said, "jump_refused")[0]["reason"] == "the run has ended"
    assert machine.state.state == "COMPLETE_SUCCESS"


def test_a_pause_and_a_jump_rest_at_the_target() -> None:
    machine = started(chain("a", "b"))
    machine.take(PauseRequested("pause"), JumpRequested("b"))
    assert machine.done("a") == ["rest: pause"]
    assert where(machine) == {"b": "ENTER"}
    assert reloaded(machine).start() == ["b.step_execute"]


def test_a_jump_seen_together_with_a_pause_that_found_nothing_in_flight_is_not_lost() -> None:
    machine = started(graph(node("a", max_retries=1, retry_delay_s=60.0), node("b")))
    machine.take(HookFailed("a", "no"))
    assert machine.take(PauseRequested("pause"), JumpRequested("b")) == ["rest: pause"]
    assert where(machine) == {"b": "ENTER"}
    assert reloaded(machine).start() == ["b.step_execute"]


def test_a_jump_before_the_start_is_where_the_run_begins() -> None:
    machine = CheckedMachine(chain("a", "b"))
    assert machine.take(JumpRequested("b"), Started()) == ["b.step_execute"]


def test_a_jump_before_the_start_leaves_what_was_interrupted() -> None:
    machine = reloaded(started(chain("a", "b", on_interrupt="ask")))
    assert machine.take(JumpRequested("b"), Started()) == ["b.step_execute"]
    assert kinds(machine.said, "jump")[0]["left"] == ["a in EXECUTE"]


def test_a_jump_that_was_decided_on_survives_a_crash() -> None:
    machine = started(chain("a", "b"))
    machine.take(JumpRequested("b"))
    again = reloaded(machine)
    assert again.start() == ["b.step_execute"]
    assert not kinds(again.said, "interrupted")


def test_a_jump_goes_into_a_join_directly_and_comes_to_its_breakpoint() -> None:
    what = fork_and_join()
    both = node("both", join_all=True, entry_breakpoint=True)
    machine = forked(StepGraph({**what.nodes, "both": both}, "start"))
    machine.take(JumpRequested("both"))
    machine.done("left")
    assert machine.done("right") == ["rest: breakpoint at the entry of both"]


def test_a_jump_comes_to_the_breakpoint_of_a_node_that_was_about_to_go_on() -> None:
    what = graph(
        node("start", ["left", "right"], hooks=["step_advance"]),
        node("left", hooks=["step_entry"], max_retries=1, entry_breakpoint=True),
        node("right"),
    )
    machine = started(what)
    assert machine.done("start", "left", "right") == ["rest: breakpoint at the entry of left"]
    machine = reloaded(machine)
    assert machine.start() == ["left.step_entry", "right.step_execute"]
    machine.take(HookFailed("left", "no"), JumpRequested("left"), RetryDue("left"))
    assert machine.done("right") == ["rest: breakpoint at the entry of left"]


def test_a_jump_leaves_the_breakpoint_behind_at_which_another_branch_has_come_to_rest() -> None:
    what = graph(
        node("start", ["left", "right"], hooks=CHOOSES),
        node("left"),
        node("right", ["held"]),
        node("held", entry_breakpoint=True),
        node("elsewhere"),
    )
    machine = forked(what)
    machine.done("right")
    assert where(machine) == {"left": "EXECUTE", "held": "ENTER"}
    assert machine.take(JumpRequested("elsewhere")) == []
    assert machine.done("left") == ["elsewhere.step_execute"]


@pytest.mark.parametrize("policy", ["ask", "probe"])
def test_a_jump_leaves_the_question_behind_what_becomes_of_an_interrupted_hook(policy: str) -> None:
    what = graph(
        node("start", ["left", "right"], hooks=CHOOSES),
        node("left", hooks=["step_execute", "step_probe"], on_interrupt="probe"),
        node("right", hooks=["step_execute", "step_probe"], on_interrupt=policy),
        node("elsewhere"),
    )
    machine = reloaded(forked(what))
    machine.start()
    if policy == "probe":
        machine.take(ProbeAnswered("right", None))
    assert machine.take(JumpRequested("elsewhere")) == []
    assert machine.take(ProbeAnswered("left", "done")) == ["elsewhere.step_execute"]


def test_a_jump_to_an_unknown_node_is_a_mistake_of_the_caller() -> None:
    with pytest.raises(IllegalMoveError, match="did you mean 'prepare'"):
        started(chain("prepare")).take(JumpRequested("prepair"))


def test_a_jump_keeps_what_is_armed() -> None:
    what = graph(node("a", ["b"], hooks=["step_execute", "step_make_safe"]), node("b"))
    machine = started(what)
    machine.take(JumpRequested("b"), HookDone("a"))
    assert machine.state.armed == ["a"]


# --- after a crash --------------------------------------------------------------------------------


def interrupted_in(hook: str, policy: str, **options: Any) -> CheckedMachine:
    """The machine after a kill while this hook of `a` ran."""
    hooks = {*ALL_HOOKS, "step_probe"}
    machine = CheckedMachine(graph(node("a", hooks=hooks, on_interrupt=policy, **options)))
    (call,) = machine.start()
    while call != f"a.{hook}":
        (call,) = machine.done("a", *(["COMPLETE"] if call == "a.step_advance" else []))
    return reloaded(machine)


def the_report(machine: CheckedMachine) -> str:
    """The policy in the one record of an interruption."""
    (record,) = kinds(machine.said, "interrupted")
    assert record["node"] == "a"
    return str(record["on_interrupt"])


@pytest.mark.parametrize("hook", ["step_entry", "step_execute", "step_advance", "step_exit"])
def test_an_interrupted_hook_is_called_again(hook: str) -> None:
    machine = interrupted_in(hook, "rerun")
    assert machine.start() == [f"a.{hook}"]
    assert the_report(machine) == "rerun"


@pytest.mark.parametrize("hook", ["step_entry", "step_execute", "step_advance", "step_exit"])
def test_an_interrupted_hook_is_asked_about_and_called_again_by_the_next_run(hook: str) -> None:
    machine = interrupted_in(hook, "ask")
    (state,) = where(machine).values()
    assert machine.start() == [f"rest: interrupted in {state} of a"]
    assert the_report(machine) == "ask"
    again = reloaded(machine)
    assert again.start() == [f"a.{hook}"]
    assert not kinds(again.said, "interrupted")


@pytest.mark.parametrize(
    ("hook", "then"),
    [
        ("step_entry", "a.step_advance"),  # without an entry there is nothing to execute
        ("step_execute", "a.step_advance"),
        ("step_advance", "a.step_advance"),  # without it there is no arrow
        ("step_exit", "success"),
    ],
)
def test_an_interrupted_hook_is_skipped_but_not_the_choice_of_an_arrow(
    hook: str, then: str
) -> None:
    machine = interrupted_in(hook, "skip")
    assert machine.start() == [then]
    assert the_report(machine) == ("rerun" if hook == "step_advance" else "skip")
    skipped = [each["state"] for each in kinds(machine.said, "state") if each.get("skipped")]
    assert (
        skipped
        == {
            "step_entry": ["ENTER", "EXECUTE"],
            "step_execute": ["EXECUTE"],
            "step_advance": [],
            "step_exit": ["EXIT"],
        }[hook]
    )
    results = [each for each in machine.said if isinstance(each, SetResult)]
    assert results == [SetResult("a", "SKIPPED")] * ("EXECUTE" in skipped)


def test_a_skipped_retry_of_the_entry_leaves_no_attempt_to_what_follows() -> None:
    what = chain("a", hooks=["step_entry", "step_advance"], on_interrupt="skip", max_retries=2)
    machine = started(what)
    machine.take(HookFailed("a", "no"), RetryDue("a"))
    again = reloaded(machine)
    assert again.start() == ["a.step_advance"]
    attempts = [(each["state"], each["attempt"]) for each in kinds(again.said, "state")]
    assert attempts == [("ENTER", 2), ("EXECUTE", 1)]
    assert again.state.tokens["a"].attempt == 1


@pytest.mark.parametrize(
    ("hook", "done"),
    [
        ("step_entry", "a.step_execute"),
        ("step_execute", "a.step_advance"),
        ("step_exit", "success"),
    ],
)
def test_the_probe_says_whether_an_interrupted_hook_had_done_its_work(hook: str, done: str) -> None:
    machine = interrupted_in(hook, "probe", timeout_s=3.0)
    out = machine.handle(Started())
    assert out[-1] == HookCall("a", "step_probe", 3.0)
    assert the_report(machine) == "probe"
    assert machine.take(ProbeAnswered("a", "rerun")) == [f"a.{hook}"]
    machine = interrupted_in(hook, "probe")
    machine.start()
    assert machine.take(ProbeAnswered("a", "done")) == [done]
    for answer in (None, "perhaps"):
        machine = interrupted_in(hook, "probe")
        machine.start()
        (told,) = machine.take(ProbeAnswered("a", answer))
        assert told.startswith("rest: interrupted in ")
        assert told.endswith(" of a, and its step_probe failed")
        assert reloaded(machine).start() == [f"a.{hook}"]


def test_the_probe_is_not_asked_about_a_choice() -> None:
    machine = interrupted_in("step_advance", "probe")
    assert machine.start() == ["a.step_advance"]


def test_a_kill_while_the_probe_runs_asks_it_again() -> None:
    machine = interrupted_in("step_execute", "probe")
    machine.start()
    again = reloaded(machine)
    assert again.start() == ["a.step_probe"]
    assert again.take(HookInterrupted("a")) == ["rest: interrupted in EXECUTE of a"]
    assert reloaded(again).start() == ["a.step_probe"]


def test_an_interrupted_attempt_is_not_counted_as_failed() -> None:
    machine = started(chain("a", max_retries=1))
    machine.take(HookFailed("a", "no"), RetryDue("a"))
    again = reloaded(machine)
    assert again.start() == ["a.step_execute"]
    assert again.state.tokens["a"].attempt == 2
    assert again.take(HookFailed("a", "no"))[0].startswith("error: ")


def test_a_run_that_has_started_again_and_rests_has_not_crashed() -> None:
    machine = interrupted_in("step_execute", "ask")
    assert machine.state.crashed
    machine.start()
    assert not reloaded(machine).state.crashed


def test_a_hook_that_was_done_is_not_called_again_after_a_kill() -> None:
    machine = CheckedMachine(chain("a", "b", hooks=ALL_HOOKS))
    (call,) = machine.start()
    calls = [call]
    while call != "success":
        machine = reloaded(machine)
        assert machine.start() == [call]
        name, hook = call.split(".")
        (call,) = machine.done(
            name, *(["b" if name == "a" else "COMPLETE"] if hook == "step_advance" else [])
        )
        calls.append(call)
    assert len(calls) == len(set(calls)) == 9


def test_a_hook_that_the_user_broke_off_is_treated_like_one_that_a_kill_did() -> None:
    for policy, then in (("rerun", "a.step_execute"), ("skip", "success")):
        machine = started(chain("a", on_interrupt=policy))
        assert machine.take(HookInterrupted("a")) == ["rest: interrupted in EXECUTE of a"]
        again = reloaded(machine)
        assert again.start() == [then]
        assert the_report(again) == policy


def test_a_hook_that_could_not_be_called_rests_and_has_neither_failed_nor_been_interrupted() -> (
    None
):
    machine = started(chain("a", max_retries=0, on_interrupt="skip"))
    assert machine.take(HookRefused("a", "no space")) == ["rest: a: no space"]
    again = reloaded(machine)
    assert again.start() == ["a.step_execute"]
    assert not kinds(machine.said + again.said, "step_error")
    assert not kinds(again.said, "interrupted")


def test_what_was_interrupted_and_what_was_held_are_told_apart() -> None:
    machine = forked(fork_and_join())
    machine.take(HookInterrupted("right"), HookDone("left"))
    again = reloaded(machine)
    again.start()
    assert [each["node"] for each in kinds(again.said, "interrupted")] == ["right"]


def test_a_pause_before_the_start_leaves_the_interruption_to_the_next_start() -> None:
    for policy in ("rerun", "ask", "skip", "probe"):
        machine = interrupted_in("step_execute", policy)
        assert machine.take(PauseRequested("pause"), Started()) == ["rest: pause"]
        assert not kinds(machine.said, "interrupted")
        again = reloaded(machine)
        again.start()
        assert the_report(again) == policy


def test_a_stop_before_the_start_reports_the_interruption_and_calls_nothing() -> None:
    for policy in ("rerun", "ask", "skip", "probe"):
        machine = interrupted_in("step_execute", policy)
        assert machine.take(StopRequested("stop"), Started()) == ["error: stop"]
        assert the_report(machine) == policy
        assert where(machine) == {"a": "EXECUTE"}


def test_all_interrupted_branches_are_asked_about_at_once() -> None:
    machine = reloaded(forked(fork_and_join(on_interrupt="ask")))
    assert machine.start() == ["rest: interrupted in EXECUTE of left"]
    assert len(kinds(machine.said, "interrupted")) == 2
    assert reloaded(machine).start() == ["left.step_execute", "right.step_execute"]


def test_one_branch_that_asks_holds_the_others() -> None:
    what = graph(
        node("start", ["left", "right"], hooks=CHOOSES),
        node("left"),
        node("right", on_interrupt="ask"),
    )
    machine = reloaded(forked(what))
    assert machine.start() == ["rest: interrupted in EXECUTE of right"]
    again = reloaded(machine)
    assert again.start() == ["left.step_execute", "right.step_execute"]
    assert not kinds(again.said, "interrupted")


def test_what_was_to_be_asked_is_asked_by_the_next_engine_after_a_kill_before_the_rest() -> None:
    what = graph(
        node("start", ["left", "right"], hooks=CHOOSES),
        node("left", hooks=["step_execute", "step_probe"], on_interrupt="probe"),
        node("right", on_interrupt="ask"),
    )
    killed = reloaded(forked(what))
    assert killed.start() == ["left.step_probe"]
    again = reloaded(killed)
    assert again.start() == ["left.step_probe"]
    assert [each["node"] for each in kinds(again.said, "interrupted")] == ["left"]
    assert again.take(ProbeAnswered("left", "done")) == ["rest: interrupted in EXECUTE of right"]
    assert "right.step_execute" in reloaded(again).start()


def test_a_hook_that_the_library_lost_is_passed_after_a_kill() -> None:
    killed = started(chain("a", "b"))
    state = reloaded(killed).state
    machine = CheckedMachine(graph(node("a", ["b"], hooks=()), node("b")), state)
    assert machine.start() == ["b.step_execute"]


# --- make safe ------------------------------------------------------------------------------------


def heater(name: str, *targets: str, **options: Any) -> Any:
    return node(name, targets, hooks=["step_execute", "step_make_safe"], **options)


def test_a_node_is_armed_before_its_execute_and_stays_so() -> None:
    machine = CheckedMachine(graph(heater("a", "b"), heater("b")))
    assert machine.start() == ["a.step_execute"]
    assert machine.state.armed == ["a"]
    machine.done("a")
    assert machine.state.armed == ["a", "b"]


def test_a_node_that_executes_again_is_the_newest_one_armed() -> None:
    machine = started(graph(heater("a", "b"), heater("b", "a", max_retries=1)))
    machine.done("a")
    machine.done("b")
    assert machine.state.armed == ["b", "a"]
    machine.done("a")
    machine.take(HookFailed("b", "no"), RetryDue("b"))
    assert machine.state.armed == ["a", "b"]


def test_only_execute_arms() -> None:
    what = graph(
        node("a", ["b"], hooks=["step_entry", "step_make_safe"]),
        heater("b", "c", skip_execute=True),
        node("c", hooks=["step_execute"]),
    )
    machine = CheckedMachine(what)
    assert machine.run_serially() == ["a.step_entry", "c.step_execute", "success"]
    assert machine.state.armed == []


# --- mistakes of the caller -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "event",
    [
        HookDone("a"),
        HookFailed("b", "no"),
        HookInterrupted("b"),
        ProbeAnswered("nobody", "done"),
        Started(),
    ],
)
def test_an_event_that_does_not_fit_the_state_is_refused_and_changes_nothing(event: Event) -> None:
    machine = started(chain("a", "b"))
    machine.done("a")
    if isinstance(event, HookFailed | HookInterrupted):
        machine.done("b")
    before = (machine.state.state, where(machine), set(machine.in_flight))
    with pytest.raises(IllegalMoveError) as caught:
        StepMachine.handle(machine, event)
    assert caught.value.hint
    assert (machine.state.state, where(machine), set(machine.in_flight)) == before


def test_a_run_that_has_ended_is_not_started() -> None:
    machine = CheckedMachine(chain("a"), RunState("COMPLETE_SUCCESS", current="a"))
    with pytest.raises(IllegalMoveError):
        StepMachine.handle(machine, Started())


def test_the_same_hook_does_not_come_back_twice() -> None:
    machine = started(graph(node("a", hooks=["step_execute"], max_retries=1)))
    machine.take(HookFailed("a", "no"))
    with pytest.raises(IllegalMoveError, match="no hook of a is in flight"):
        StepMachine.handle(machine, HookFailed("a", "no"))


# --- size -----------------------------------------------------------------------------------------


def test_a_loop_of_many_turns_leaves_nothing_behind() -> None:
    machine = StepMachine(graph(node("a", hooks=["step_advance"])))
    machine.handle(Started())
    for _ in range(2000):
        machine.handle(HookDone("a", (STAY + "a",)))
    assert machine.state.step_count == 2000
    kept = {k: v for k, v in vars(machine).items() if isinstance(v, list | set | dict)}
    assert all(len(value) <= 10 for value in kept.values()), kept


def test_a_fork_into_a_thousand_branches_joins_again() -> None:
    names = [f"n{i}" for i in range(1000)]
    what = graph(
        node("start", names, hooks=["step_advance"]),
        *(node(name, ["end"]) for name in names),
        node("end", join_all=True),
    )
    machine = StepMachine(what)
    machine.handle(Started())
    assert len(machine.handle(HookDone("start", tuple(names)))) > 1000
    for name in names:
        out = machine.handle(HookDone(name))
    assert brief(out) == ["end.step_execute"]
