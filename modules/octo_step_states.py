"""The state of a run: what is active, how far it is, and how a parameter file keeps it.

In the parameter file, the groups `active_steps` and `join_arrivals` are the engine's own record of
what is active. The keys `current_step_*` of `global_parameters` show the node that changed last;
nodes may write them too, and people do, to say where a run at rest is to go on (`RunState.load`).
What was decided and not yet carried out (to end, to jump) is in the file as well. In a graph by
dependency the group `run_progress` says which nodes are done, as one number with a bit for each
node in the order of the graph: a list of names would have to be written again at each step.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, MutableMapping
from dataclasses import dataclass, field
from typing import Any

from octo_errors import InstanceError, UsageError, did_you_mean
from octo_parameter_schema import (
    ACTIVE_GROUP,
    ARMED_KEY,
    ARRIVALS_GROUP,
    END_PENDING,
    GLOBAL_GROUP,
    JUMP_PENDING,
    PROGRESS_GROUP,
)
from octo_step_arrows import followed, leads_to
from octo_step_graph import COMPLETE, StepGraph, item_of
from octo_step_moves import ENGINE_STATES, ENGINE_TABLE, STEP_STATES, STEP_TABLE
from octo_step_record import (
    bad_record,
    bits_in,
    group_in,
    moment_in,
    moment_text,
    names_in,
    value_in,
)
from octo_timestamp import timestamp

_NAMED = 5  # so many nodes are named in a hint


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
        interrupted: An engine ended in the middle of the hook, which has been told; what becomes of
            it is decided when the run goes on, which it can't while it is to end, or when the run
            has come to rest to have it decided.
        pending: How many more arrivals wait for this node to be free.
        failed: It has failed for good, and waits for the run to be opened again.
        items: For how many items the node is performed; None before that is known, or if for none.
        items_done: Those that are done, one bit for each.
    """

    node: str
    state: str = "INACTIVE"
    attempt: int = 1
    retry_due: float | None = None
    arrows: tuple[str, ...] = ()
    held: bool = False
    interrupted: bool = False
    pending: int = 0
    failed: bool = False
    items: int | None = None
    items_done: int = 0

    def move(self, trigger: str) -> None:
        """Take a move of the step's table; raises IllegalMoveError where there is none."""
        STEP_TABLE.move(self, trigger)

    def to_dict(self) -> dict[str, Any]:
        """What the parameter file keeps: the state, and what is not as usual."""
        record: dict[str, Any] = {"state": self.state}
        if self.attempt > 1:
            record["attempt"] = self.attempt
        if self.retry_due is not None:
            record["retry_due"] = moment_text(self.retry_due)
        if self.arrows:
            record["arrows"] = list(self.arrows)
        if self.held:
            record["held"] = True
        if self.interrupted:
            record["interrupted"] = True
        if self.pending:
            record["pending"] = self.pending
        if self.failed:
            record["failed"] = True
        if self.items is not None:
            record |= {"items": self.items, "items_done": hex(self.items_done)}
        return record

    def stand_at(self, state: str) -> None:
        """Be about to perform `state` for the first time, because somebody wants that."""
        self.state, self.held, self.interrupted, self.failed = state, True, False, False
        self.attempt, self.retry_due = 1, None
        self.items, self.items_done = None, 0
        if state not in ("EXIT", "JUMP"):
            self.arrows = ()

    @classmethod
    def from_dict(cls, node: str, record: object) -> Token:
        """The token that `to_dict` described; raises InstanceError for what it can't have been."""
        where = f"{ACTIVE_GROUP}.{node}"
        if not isinstance(record, dict):
            raise bad_record(where, record)
        token = cls(
            node,
            state=_step_state(record.get("state"), f"{where}.state"),
            attempt=value_in(record, where, "attempt", 1),
            retry_due=moment_in(record, where, "retry_due"),
            arrows=tuple(names_in(record, where, "arrows")),
            held=value_in(record, where, "held", False),
            interrupted=value_in(record, where, "interrupted", False),
            pending=value_in(record, where, "pending", 0),
            failed=value_in(record, where, "failed", False),
            items=value_in(record, where, "items", 0) if "items" in record else None,
            items_done=bits_in(record, where, "items_done"),
        )
        for key, value, least in (
            ("attempt", token.attempt, 1),
            ("pending", token.pending, 0),
            ("items", token.items or 0, 0),
        ):
            if value < least:
                raise bad_record(f"{where}.{key}", value)
        if token.held and token.retry_due is not None:  # it would rest for ever
            raise bad_record(f"{where}.held", token.held)
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
        ending: Why the run is to end without success as soon as nothing is in flight, or has.
        jump_target: The node to jump to as soon as nothing is in flight.
        crashed: The engine before this one did not end by itself. Until a new one has started, the
            file goes on saying that the run is RUNNING.
        done: In a graph by dependency, the nodes that are done, one bit for each in its order.
        passed_over: Nodes there that have failed, and for which another was performed.
        finalizing: The final nodes may run, and no others.
    """

    state: str = "INACTIVE"
    tokens: dict[str, Token] = field(default_factory=dict)
    arrivals: dict[str, list[str]] = field(default_factory=dict)
    armed: list[str] = field(default_factory=list)
    step_count: int = 0
    current: str = ""
    ending: str = ""
    jump_target: str = ""
    crashed: bool = False
    done: int = 0
    passed_over: list[str] = field(default_factory=list)
    finalizing: bool = False

    def move(self, trigger: str) -> None:
        """Take a move of the engine's table; raises IllegalMoveError where there is none."""
        ENGINE_TABLE.move(self, trigger)

    @property
    def finished(self) -> bool:
        """Has the run ended, well or not?"""
        return self.state.startswith("COMPLETE_")

    @property
    def has_failed(self) -> bool:
        """Has anything failed for which nothing else was performed? The run may go on still."""
        if self.finished or self.ending:
            return self.state != "COMPLETE_SUCCESS"
        failed = [token.node for token in self.tokens.values() if token.failed]
        return any(item_of(name)[0] not in self.passed_over for name in failed)

    @property
    def begun(self) -> bool:
        """Has anything been done in this run that would be lost if it began anew?"""
        return bool(self.tokens or (self.done and self.step_count))

    def jump(self, node: str, graph: StepGraph) -> list[str]:
        """Leave all that is active, and stand at the entry of `node`; nothing is in flight.

        In a graph by dependency, `node` and all that depends on it is to be done again, and what it
        depends on is passed over, as if done.

        Returns:
            What was left, as people read it.

        Raises:
            UsageError: `check_jump` refuses it.
        """
        check_jump(node, graph)
        left = [f"{token.node} in {token.state}" for token in self.tokens.values()]
        self.move("jump")
        self.tokens = {node: Token(node, "ENTER", held=True)}
        self.arrivals = {}
        self.current = node
        self.ending = self.jump_target = ""
        self.finalizing = graph.nodes[node].is_final
        if graph.by_dependency:
            self.undo(graph.all_dependents(node), graph)
            self.done |= graph.bits(graph.all_sources(node) - {node, *self.passed_over})
        return left

    def leave_items(self, node: str) -> None:
        """Let the items of a node that are active be so no more: it goes on without them."""
        for name in [name for name in self.tokens if item_of(name)[0] == node]:
            del self.tokens[name]

    def undo(self, nodes: Collection[str], graph: StepGraph) -> None:
        """Let these nodes be done again, in a graph by dependency; and the final ones."""
        again = {*nodes, *(name for name, node in graph.nodes.items() if node.is_final)}
        self.done &= ~graph.bits(again)
        self.passed_over = [name for name in self.passed_over if name not in again]

    def reopen(self, graph: StepGraph) -> None:
        """Let a run that has failed go on: what failed is to be tried again."""
        self.move("reopen")
        self.ending = ""
        self._leave_final(graph)
        for name, token in list(self.tokens.items()):
            if token.retry_due is not None:
                token.held = True  # others that aren't held were interrupted, and stay so
            token.attempt, token.retry_due = 1, None
            if token.items is not None:
                token.failed = token.held = False  # the items that are done stay done
            elif token.failed:
                del self.tokens[name]

    def _leave_final(self, graph: StepGraph) -> None:
        """Others go on: the final nodes are performed after them, all of them again."""
        self.finalizing = False
        for name in [name for name in self.tokens if graph.node(name).is_final]:
            del self.tokens[name]
        self.undo((), graph)

    def store(self, data: MutableMapping[str, Any], graph: StepGraph, now: float) -> None:
        """Write this state, as it is at the time `now`, into the groups of the parameter file."""
        shared = data.setdefault(GLOBAL_GROUP, {})
        if self.current not in self.tokens and (self.tokens or graph.by_dependency):
            self.current = next(reversed(self.tokens), "")
        token = self.tokens.get(self.current)
        state = "INACTIVE" if token is None else token.state
        if (shared.get("current_step_node"), shared.get("current_step_state")) != (
            self.current,
            state,
        ):
            shared["current_step_since"] = f"{timestamp(now)}+00:00"
        targets = [] if token is None else followed(graph, token.node, token.arrows)
        shared["step_engine_state"] = "RUNNING" if self.crashed else self.state
        shared["current_step_node"] = self.current
        shared["current_step_module"] = graph.node(self.current).module if self.current else ""
        shared["current_step_state"] = state
        shared["next_step_node"] = ",".join(targets)
        shared["next_step_module"] = ",".join(graph.nodes[name].module for name in targets)
        shared["engine_step_count"] = self.step_count
        shared[ARMED_KEY] = list(self.armed)
        ending = "" if self.finished else self.ending
        for key, value in ((END_PENDING, ending), (JUMP_PENDING, self.jump_target)):
            shared.pop(key, None)
            if value:
                shared[key] = value
        data[ACTIVE_GROUP] = {name: token.to_dict() for name, token in self.tokens.items()}
        if self.arrivals or ARRIVALS_GROUP in data:
            data[ARRIVALS_GROUP] = {name: list(sources) for name, sources in self.arrivals.items()}
        if graph.by_dependency:
            data[PROGRESS_GROUP] = self._progress(graph)

    def _progress(self, graph: StepGraph) -> dict[str, Any]:
        return {
            "steps_total": len(graph.nodes),
            "steps_done": self.done.bit_count(),
            "steps_failed": [token.node for token in self.tokens.values() if token.failed],
            "steps_passed_over": self.passed_over,
            "finalizing_bool": self.finalizing,
            "done_bits": hex(self.done),
        }

    @classmethod
    def load(cls, data: Mapping[str, Any], graph: StepGraph) -> RunState:
        """Read the state of a run that no engine drives at present.

        A `current_step_node` that is not active is somebody's wish to go on there, from ENTER if
        they didn't set the state, too. So is a changed `current_step_state` of a run that rests.
        After a crash it is not: the node may have written it itself, so the engine's own record
        counts.

        Raises:
            InstanceError: The groups say what can't be, such as a node that the graph doesn't have.
        """
        run = cls.read(data, by_dependency=graph.by_dependency)
        run.done &= graph.bits(graph.nodes)
        if not run.finished:
            run._heed_current(_wished_state(group_in(data, GLOBAL_GROUP)), graph)
        run._check_names(graph)
        if not run.finished:
            run._check_arrows(graph)
            if graph.by_dependency:
                run._check_items(graph)
                run._draw_conclusions(graph)
        return run

    @classmethod
    def read(cls, data: Mapping[str, Any], *, by_dependency: bool) -> RunState:
        """What the groups say, as far as that can be understood without the graph.

        Args:
            by_dependency: Whether it is the state of a run through a graph by dependency.

        Raises:
            InstanceError: What is there is not what the engine, or who steers it, writes there.
        """
        shared = group_in(data, GLOBAL_GROUP)
        engine_state = shared.get("step_engine_state", "INACTIVE")
        if engine_state not in ENGINE_STATES:
            hint = did_you_mean(str(engine_state), ENGINE_STATES)
            raise InstanceError(
                f"{GLOBAL_GROUP}.step_engine_state: unknown {engine_state!r}", hint=hint
            )
        joins = group_in(data, ARRIVALS_GROUP)
        run = cls(
            state=engine_state if engine_state.startswith("COMPLETE_") else "INACTIVE",
            tokens={n: Token.from_dict(n, r) for n, r in group_in(data, ACTIVE_GROUP).items()},
            arrivals={name: names_in(joins, ARRIVALS_GROUP, name) for name in joins},
            armed=_armed(shared),
            step_count=value_in(shared, GLOBAL_GROUP, "engine_step_count", 0),
            current=value_in(shared, GLOBAL_GROUP, "current_step_node", ""),
            ending=value_in(shared, GLOBAL_GROUP, END_PENDING, ""),
            jump_target=value_in(shared, GLOBAL_GROUP, JUMP_PENDING, ""),
            # Without the engine's own record it is a start that somebody has prepared by hand.
            crashed=engine_state in ("STARTUP", "RUNNING") and ACTIVE_GROUP in data,
        )
        if by_dependency:
            progress = group_in(data, PROGRESS_GROUP)
            run.done = bits_in(progress, PROGRESS_GROUP, "done_bits")
            run.passed_over = names_in(progress, PROGRESS_GROUP, "steps_passed_over")
            run.finalizing = value_in(progress, PROGRESS_GROUP, "finalizing_bool", False)
        run._check_wish(shared)
        return run

    def _check_wish(self, shared: dict[str, Any]) -> None:
        """The state to go on in must be one, where it counts; see `load`."""
        counts = self.current and not (self.finished or self.crashed)
        left_at = [token.state for token in self.tokens.values()]
        if counts and (self.current in self.tokens or _wished_state(shared) not in left_at):
            _step_state(_wished_state(shared), f"{GLOBAL_GROUP}.current_step_state", STEP_STATES)

    def _check_names(self, graph: StepGraph) -> None:
        """All nodes that are named must be nodes of the graph."""
        named = {
            f"{GLOBAL_GROUP}.current_step_node": [self.current],
            f"{GLOBAL_GROUP}.{JUMP_PENDING}": [self.jump_target],
            f"{GLOBAL_GROUP}.{ARMED_KEY}": self.armed,
            ACTIVE_GROUP: self.tokens,
            ARRIVALS_GROUP: self.arrivals,
            **{f"{ARRIVALS_GROUP}.{name}": sources for name, sources in self.arrivals.items()},
            f"{PROGRESS_GROUP}.steps_passed_over": self.passed_over,
        }
        for where, names in named.items():
            for name in names:
                if name and not graph.has(name):
                    hint = did_you_mean(name, graph.nodes)
                    raise InstanceError(f"{where}: the library has no node {name!r}", hint=hint)

    def _heed_current(self, wished: object, graph: StepGraph) -> None:
        token = self.tokens.get(self.current)
        if self.current in graph.nodes and token is None:
            left_at = [token.state for token in self.tokens.values()]
            try:
                self.jump(self.current, graph)
            except UsageError as error:
                where = f"{GLOBAL_GROUP}.current_step_node"
                raise InstanceError(f"{where}: {error.message}", hint=error.hint) from None
            token = self.tokens[self.current]
            if wished in left_at:
                return  # the engine wrote it, for the node that was current then
        if token is None or self.crashed:
            return
        if wished not in (token.state, "INACTIVE"):
            token.stand_at(str(wished))
            self.leave_items(token.node)

    def _check_arrows(self, graph: StepGraph) -> None:
        """Beyond ADVANCE there must be arrows to follow; ADVANCE is the one to choose them."""
        for token in self.tokens.values():
            if token.state in ("EXIT", "JUMP") and not token.arrows:
                token.stand_at("ADVANCE")
            for key in token.arrows:
                if leads_to(graph, graph.node(token.node).name, key) is None:
                    raise InstanceError(
                        f"{ACTIVE_GROUP}.{token.node}.arrows: the library has no open arrow"
                        f" {key!r}",
                        hint="open it again, or name another node to go on at in"
                        f" {GLOBAL_GROUP}.current_step_node",
                    )

    def _check_items(self, graph: StepGraph) -> None:
        """In a graph by dependency, all that is said of items and of ways on must be possible."""
        for name in self.passed_over:
            if graph.node(name).error_arrow_key is None:
                raise bad_record(f"{PROGRESS_GROUP}.steps_passed_over", name)
        for name, token in self.tokens.items():
            where = f"{ACTIVE_GROUP}.{name}"
            if token.items is not None and not graph.has_items(name):
                raise bad_record(f"{where}.items", token.items)
            if token.items_done >> (token.items or 0):
                raise bad_record(f"{where}.items_done", hex(token.items_done))
            if token.arrows not in ((), (COMPLETE,), (graph.node(name).error_arrow_key,)):
                raise bad_record(f"{where}.arrows", list(token.arrows))

    def _draw_conclusions(self, graph: StepGraph) -> None:
        """What follows from changes that somebody has made, in a graph by dependency.

        An item is active only while its node waits for it. While others go on, it is too early for
        the final nodes.
        """
        for name in list(self.tokens):
            if name not in graph.nodes and not self._waits_for(*item_of(name)):
                del self.tokens[name]
        final = [name for name in self.tokens if graph.node(name).is_final]
        failed = [name for name, token in self.tokens.items() if token.failed]
        goes_on = not self.ending and bool(self.tokens.keys() - {*final, *failed})
        if (self.finalizing and goes_on) or (final and not self.finalizing):
            self._leave_final(graph)

    def _waits_for(self, node: str, item: int) -> bool:
        token = self.tokens.get(node)
        if token is None or token.state != "EXECUTE":
            return False
        return item < (token.items or 0) and not token.items_done >> item & 1


def check_jump(node: str, graph: StepGraph) -> None:
    """Refuse a jump that would enter nodes too early.

    An inactive node counts as done in a graph by dependency, so nothing would wait for it.

    Raises:
        UsageError: It is such a node; names the nearest that can be jumped to.
    """
    if graph.by_dependency and not graph.nodes[node].active:
        near = ", ".join(graph.active_around(node)[:_NAMED])
        raise UsageError(
            f"no jump to {node!r}: it is not active, so nothing waits for it",
            hint=f"nearest active nodes: {near}" if near else "let it be active, or jump elsewhere",
        )


# --- what people may have edited ------------------------------------------------------------------


def _armed(shared: dict[str, Any]) -> list[str]:
    try:
        return names_in(shared, GLOBAL_GROUP, ARMED_KEY)
    except InstanceError as error:  # nobody knows what is armed: a `reset` must not forget it
        hint = "make safe by hand whatever is armed, then put [] there, an empty list"
        raise InstanceError(error.message, hint=hint) from None


def _wished_state(shared: dict[str, Any]) -> object:
    return shared.get("current_step_state", "INACTIVE")


def _step_state(value: object, where: str, states: tuple[str, ...] = STEP_STATES[1:]) -> str:
    if value not in states:
        hint = did_you_mean(str(value), states)
        raise InstanceError(f"{where}: unknown state {value!r}", hint=hint)
    return str(value)
