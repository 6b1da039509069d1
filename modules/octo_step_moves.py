"""The two state machines of a run: their states, and every legal move.

`transitions` models them, one `Machine` for each, shared by all that have such a state:

    engine  INACTIVE -> STARTUP -> RUNNING -> COMPLETE_SUCCESS | COMPLETE_ERROR
            (a run that rests goes from RUNNING to INACTIVE, and starts from there again; so does
            a run that has ended, when it is told to jump to a node, and one that has failed when
            it is opened again, which may be before it has ended; STARTUP is never saved)
    step    INACTIVE -> ENTER -> EXECUTE -> ADVANCE -> EXIT -> JUMP -> INACTIVE
"""

from __future__ import annotations

from typing import Protocol

from transitions import Machine

from octo_errors import IllegalMoveError

STEP_STATES = ("INACTIVE", "ENTER", "EXECUTE", "ADVANCE", "EXIT", "JUMP")
STEP_MOVES = (
    # trigger, from, to
    ("activate", "INACTIVE", "ENTER"),
    ("performed", "ENTER", "EXECUTE"),
    ("performed", "EXECUTE", "ADVANCE"),
    ("performed", "ADVANCE", "EXIT"),
    ("performed", "EXIT", "JUMP"),
    ("performed", "JUMP", "INACTIVE"),
    ("failed", "ENTER", "EXIT"),
    ("failed", "EXECUTE", "EXIT"),
    ("failed", "ADVANCE", "EXIT"),
    ("failed", "EXIT", "JUMP"),
)
ENGINE_STATES = ("INACTIVE", "STARTUP", "RUNNING", "COMPLETE_SUCCESS", "COMPLETE_ERROR")
ENGINE_MOVES = (
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
)


class Model(Protocol):
    """What is in a state."""

    state: str


class MoveTable:
    """The legal moves of a kind of model.

    `transitions` checks and holds the table. A move here has no callbacks, so it is looked up there
    once: triggering it each time would cost a quarter of the engine's time.
    """

    def __init__(self, states: tuple[str, ...], moves: tuple[tuple[str, str, str], ...]) -> None:
        self._machine = Machine(
            None, states=list(states), initial=states[0], auto_transitions=False
        )
        for trigger, source, target in moves:
            self._machine.add_transition(trigger, source, target)
        self._targets: dict[tuple[str, str], str | None] = {
            (trigger, transition.source): transition.dest
            for trigger in self._machine.events
            for transition in self._machine.get_transitions(trigger)
        }

    def move(self, model: Model, trigger: str) -> None:
        """Take the one legal move called `trigger`.

        Raises:
            IllegalMoveError: The table has no such move from the model's state.
        """
        target = self._targets.get((trigger, model.state))
        if target is None:
            legal = ", ".join(self._machine.get_triggers(model.state)) or "nothing"
            raise IllegalMoveError(
                f"no move {trigger!r} from {model.state}: {model}", hint=f"legal there: {legal}"
            )
        model.state = target


STEP_TABLE = MoveTable(STEP_STATES, STEP_MOVES)
ENGINE_TABLE = MoveTable(ENGINE_STATES, ENGINE_MOVES)
