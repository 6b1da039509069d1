"""The states of a run: the two state machines, what is active, and how a parameter file keeps it.

`transitions` models every legal move, one `Machine` for each table, shared by all models:

    engine  INACTIVE -> STARTUP -> RUNNING -> COMPLETE_SUCCESS | COMPLETE_ERROR
            (a run that rests goes from RUNNING to INACTIVE, and starts from there again; so does
            a run that has ended, when it is told to jump to a node)
    step    INACTIVE -> ENTER -> EXECUTE -> ADVANCE -> EXIT -> JUMP -> INACTIVE

In the parameter file, the group `active_steps` is the engine's own record of the active nodes. The
keys `current_step_*` of `global_parameters` show the node that changed last; nodes may write them
too, and people do, to say where a run at rest is to go on (see `RunState.load`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from transitions import Machine, MachineError

from octo_errors import IllegalMoveError, InstanceError, did_you_mean
from octo_step_graph import StepGraph, self_arrow_key

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
    ("jump", "COMPLETE_SUCCESS", "INACTIVE"),
    ("jump", "COMPLETE_ERROR", "INACTIVE"),
)
GLOBAL, ACTIVE, ARRIVALS = "global_parameters", "active_steps", "join_arrivals"


class _MoveTable:
    """The legal moves of a kind of model: any object with an attribute `state`."""

    def __init__(self, states: tuple[str, ...], moves: tuple[tuple[str, str, str], ...]) -> None:
        self._machine = Machine(
            None, states=list(states), initial=states[0], auto_transitions=False
        )
        for trigger, source, target in moves:
            self._machine.add_transition(trigger, source, target)

    def move(self, model: Token | RunState, trigger: str) -> None:
        """Take the one legal move called `trigger`.

        Raises:
            IllegalMoveError: The table has no such move from the model's state.
        """
        try:
            self._machine.events[trigger].trigger(model)
        except MachineError:
            legal = ", ".join(self._machine.get_triggers(model.state)) or "nothing"
            raise IllegalMoveError(
                f"no move {trigger!r} from {model.state}: {model}", hint=f"legal there: {legal}"
            ) from None


_step_table = _MoveTable(STEP_STATES, STEP_MOVES)
_engine_table = _MoveTable(ENGINE_STATES, ENGINE_MOVES)


@dataclass(slots=True)
class Token:
    """One active node, and how far it is.

    Attributes:
        node: The node's name.
        state: The state being performed, or next to be performed.
        attempt: Which attempt of this state's hook this is, from 1.
        retry_due: Seconds since the epoch when the next attempt is due; None outside a back-off.
        arrows: The arrow keys chosen by ADVANCE, or the error arrow.
        held: The hook of `state` has not been started, since the run was to rest or to end. Of a
            token that is not held, nobody knows how far its hook came when the engine is gone.
        pending: How many more arrivals wait for this node to be free.
    """

    node: str
    state: str = "INACTIVE"
    attempt: int = 1
    retry_due: float | None = None
    arrows: tuple[str, ...] = ()
    held: bool = False
    pending: int = 0

    def move(self, trigger: str) -> None:
        """Take a move of the step's table; raises IllegalMoveError where there is none."""
        _step_table.move(self, trigger)

    def to_dict(self) -> dict[str, Any]:
        """What the parameter file keeps: the state, and what is not as usual."""
        record: dict[str, Any] = {"state": self.state}
        if self.attempt > 1:
            record["attempt"] = self.attempt
        if self.retry_due is not None:
            record["retry_due"] = _iso(self.retry_due)
        if self.arrows:
            record["arrows"] = list(self.arrows)
        if self.held:
            record["held"] = True
        if self.pending:
            record["pending"] = self.pending
        return record

    @classmethod
    def from_dict(cls, node: str, record: dict[str, Any]) -> Token:
        """The token that `to_dict` described; raises InstanceError for what it can't have been."""
        try:
            due = record.get("retry_due")
            token = cls(
                node,
                state=record["state"],
                attempt=int(record.get("attempt", 1)),
                retry_due=None if due is None else datetime.fromisoformat(due).timestamp(),
                arrows=tuple(str(key) for key in record.get("arrows", ())),
                held=bool(record.get("held", False)),
                pending=int(record.get("pending", 0)),
            )
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise _bad_record(f"{ACTIVE}.{node}", record) from error
        if token.state not in STEP_STATES[1:]:
            hint = did_you_mean(str(token.state), STEP_STATES[1:])
            raise InstanceError(f"{ACTIVE}.{node}: unknown state {token.state!r}", hint=hint)
        return token


@dataclass(slots=True)
class RunState:
    """All that a run has to remember.

    Attributes:
        state: The engine's state.
        tokens: The active nodes by name, in the order in which they became active.
        arrivals: For each join that waits, the nodes from which an arrow was followed to it.
        armed: Nodes whose `step_make_safe` is owed if the run doesn't succeed, newest last.
        step_count: How many nodes were left since the run began.
        current: The node that changed last.
        crashed: The engine before this one did not end by itself.
    """

    state: str = "INACTIVE"
    tokens: dict[str, Token] = field(default_factory=dict)
    arrivals: dict[str, list[str]] = field(default_factory=dict)
    armed: list[str] = field(default_factory=list)
    step_count: int = 0
    current: str = ""
    crashed: bool = False

    def move(self, trigger: str) -> None:
        """Take a move of the engine's table; raises IllegalMoveError where there is none."""
        _engine_table.move(self, trigger)

    @property
    def finished(self) -> bool:
        """Has the run ended, well or not?"""
        return self.state.startswith("COMPLETE_")

    def jump(self, node: str) -> None:
        """Of a run that rests or has ended: leave all, and stand at the entry of `node`."""
        self.move("jump")
        self.tokens = {node: Token(node, "ENTER", held=True)}
        self.arrivals = {}
        self.current = node

    def store(self, data: dict[str, Any], graph: StepGraph, now: float) -> None:
        """Write this state, as it is at the time `now`, into the groups of the parameter file."""
        shared = data.setdefault(GLOBAL, {})
        if self.current not in self.tokens and self.tokens:
            self.current = next(reversed(self.tokens))
        token = self.tokens.get(self.current)
        state = "INACTIVE" if token is None else token.state
        if (shared.get("current_step_node"), shared.get("current_step_state")) != (
            self.current,
            state,
        ):
            shared["current_step_since"] = _iso(now)
        targets = [] if token is None else followed(graph, token)
        shared["step_engine_state"] = self.state
        shared["current_step_node"] = self.current
        shared["current_step_module"] = graph.nodes[self.current].module if self.current else ""
        shared["current_step_state"] = state
        shared["next_step_node"] = ",".join(targets)
        shared["next_step_module"] = ",".join(graph.nodes[name].module for name in targets)
        shared["engine_step_count"] = self.step_count
        shared["make_safe"] = list(self.armed)
        data[ACTIVE] = {name: token.to_dict() for name, token in self.tokens.items()}
        data[ARRIVALS] = {name: list(sources) for name, sources in self.arrivals.items()}

    @classmethod
    def load(cls, data: dict[str, Any], graph: StepGraph) -> RunState:
        """Read the state of a run that no engine drives at present.

        A `current_step_node` that is not active is somebody's wish to go on there. So is a changed
        `current_step_state` of a run that rests. After a crash it is not: the node may have written
        it itself, so the engine's own record counts.

        Raises:
            InstanceError: The groups say what can't be, such as a node that the graph doesn't have.
        """
        shared = data.get(GLOBAL, {})
        engine_state = shared.get("step_engine_state", "INACTIVE")
        if engine_state not in ENGINE_STATES:
            hint = did_you_mean(str(engine_state), ENGINE_STATES)
            raise InstanceError(f"{GLOBAL}.step_engine_state: unknown {engine_state!r}", hint=hint)
        run = cls(
            state=engine_state if engine_state.startswith("COMPLETE_") else "INACTIVE",
            tokens={n: Token.from_dict(n, r) for n, r in _group(data, ACTIVE).items()},
            arrivals={n: _names(s, f"{ARRIVALS}.{n}") for n, s in _group(data, ARRIVALS).items()},
            armed=_names(shared.get("make_safe", []), f"{GLOBAL}.make_safe"),
            step_count=shared.get("engine_step_count", 0),
            current=shared.get("current_step_node", ""),
            crashed=engine_state in ("STARTUP", "RUNNING"),
        )
        if not run.finished:
            run._heed_current(shared.get("current_step_state", "INACTIVE"))
        for name in (run.current, *run.tokens, *run.arrivals, *run.armed):
            if name and name not in graph.nodes:
                hint = did_you_mean(name, graph.nodes)
                raise InstanceError(f"the library has no node {name!r}", hint=hint)
        return run

    def _heed_current(self, wished: str) -> None:
        token = self.tokens.get(self.current)
        if self.current and token is None:
            self.tokens.clear()
            self.arrivals.clear()
            token = self.tokens[self.current] = Token(self.current, "ENTER", held=True)
        elif self.crashed:
            return
        if token is not None and wished not in (token.state, "INACTIVE"):
            record = {"state": wished, "arrows": list(token.arrows), "held": True}
            token = self.tokens[self.current] = Token.from_dict(self.current, record)
        if token is not None and token.state in ("EXIT", "JUMP") and not token.arrows:
            token.state = "ADVANCE"  # only ADVANCE can say where to go


def followed(graph: StepGraph, token: Token) -> list[str]:
    """The nodes that the chosen arrows of `token` lead to; the ends of a run are no nodes."""
    arrows = graph.open_arrows(token.node)
    stay = self_arrow_key(token.node)
    return [
        arrows[key].target if key in arrows else token.node
        for key in token.arrows
        if key in arrows or key == stay
    ]


def _iso(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).isoformat()


def _group(data: dict[str, Any], name: str) -> dict[str, Any]:
    group = data.get(name, {})
    if not isinstance(group, dict):
        raise _bad_record(name, group)
    return group


def _names(value: object, where: str) -> list[str]:
    if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
        raise _bad_record(where, value)
    return list(value)


def _bad_record(where: str, value: object) -> InstanceError:
    return InstanceError(
        f"{where}: {value!r} is not what the engine writes there",
        hint="put it right, or start anew with `reset`, which archives the old state",
    )
