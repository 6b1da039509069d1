"""The two state machines: their tables, and that there is no other move."""

from __future__ import annotations

from typing import Any

import pytest

from octo_errors import IllegalMoveError
from octo_step_moves import ENGINE_MOVES, ENGINE_STATES, STEP_MOVES, STEP_STATES
from octo_step_states import RunState, Token


def reached_by(moves: tuple[tuple[str, str, str], ...], trigger: str) -> dict[str, str]:
    return {source: target for name, source, target in moves if name == trigger}


def test_a_step_goes_through_the_states_in_the_users_order() -> None:
    assert STEP_STATES == ("INACTIVE", "ENTER", "EXECUTE", "ADVANCE", "EXIT", "JUMP")
    assert reached_by(STEP_MOVES, "activate") == {"INACTIVE": "ENTER"}
    assert reached_by(STEP_MOVES, "performed") == {
        "ENTER": "EXECUTE",
        "EXECUTE": "ADVANCE",
        "ADVANCE": "EXIT",
        "EXIT": "JUMP",
        "JUMP": "INACTIVE",
    }


def test_a_step_that_failed_exits_and_jumps() -> None:
    assert reached_by(STEP_MOVES, "failed") == {
        "ENTER": "EXIT",
        "EXECUTE": "EXIT",
        "ADVANCE": "EXIT",
        "EXIT": "JUMP",
    }
    assert {trigger for trigger, _, _ in STEP_MOVES} == {"activate", "performed", "failed"}


def test_the_engine_starts_up_runs_and_ends_well_or_not() -> None:
    assert set(ENGINE_STATES) == {
        "INACTIVE",
        "STARTUP",
        "RUNNING",
        "COMPLETE_SUCCESS",
        "COMPLETE_ERROR",
    }
    assert set(ENGINE_MOVES) == {
        ("start", "INACTIVE", "STARTUP"),
        ("run", "STARTUP", "RUNNING"),
        ("rest", "RUNNING", "INACTIVE"),
        ("succeed", "RUNNING", "COMPLETE_SUCCESS"),
        ("fail", "RUNNING", "COMPLETE_ERROR"),
        ("jump", "INACTIVE", "INACTIVE"),
        ("jump", "RUNNING", "RUNNING"),
        ("jump", "COMPLETE_SUCCESS", "INACTIVE"),
        ("jump", "COMPLETE_ERROR", "INACTIVE"),
        ("reopen", "INACTIVE", "INACTIVE"),
        ("reopen", "COMPLETE_ERROR", "INACTIVE"),
    }


@pytest.mark.parametrize(
    ("make", "states", "moves"),
    [(Token, STEP_STATES, STEP_MOVES), (RunState, ENGINE_STATES, ENGINE_MOVES)],
)
def test_only_the_moves_of_the_table_are_possible(
    make: Any, states: tuple[str, ...], moves: tuple[tuple[str, str, str], ...]
) -> None:
    for state in states:
        for trigger in {name for name, _, _ in moves}:
            model = Token("a", state) if make is Token else RunState(state)
            target = reached_by(moves, trigger).get(state)
            if target is not None:
                model.move(trigger)
                assert model.state == target
                continue
            with pytest.raises(IllegalMoveError) as caught:
                model.move(trigger)
            assert model.state == state
            assert trigger in caught.value.message
            assert state in caught.value.message
            for legal in {name for name, source, _ in moves if source == state}:
                assert legal in caught.value.hint
