"""The decisions of the engine: an event goes in, instructions come out. No file, clock or thread.

Every active node has a `Token` (see `octo_step_states`). A fork makes several tokens, a join waits
until an arrow was followed to it from every source. A state whose hook the node doesn't define is
passed without a call.

The shell around the machine (`octo_step_engine`) calls `handle` with what happened, saves the
`RunState`, and only then carries out the instructions. One call follows at most one arrow per
token, so that a circle of nodes without hooks can't keep the shell from saving and listening;
while `ready` is true, the shell calls `handle(Tick())`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from octo_errors import IllegalMoveError, UsageError, did_you_mean
from octo_step_arrows import followed, wrong_choice
from octo_step_graph import COMPLETE, COMPLETE_ERROR, HOOK_OF_STATE, Node, StepGraph
from octo_step_messages import (
    Event,
    Finish,
    HookCall,
    HookDone,
    HookFailed,
    HookInterrupted,
    HookRefused,
    Instruction,
    JumpRequested,
    PauseRequested,
    ProbeAnswered,
    Record,
    Rest,
    RetryDue,
    SetResult,
    Started,
    StopRequested,
    Tick,
)
from octo_step_states import RunState, Token, check_jump

HALVES = {
    "ENTER": frozenset({"ENTER", "EXECUTE"}),
    "ADVANCE": frozenset({"ADVANCE", "EXIT", "JUMP"}),
}
SINGLE_STEP = "single step"  # why a run rests after one
LONGEST_BACK_OFF_S = 365 * 86400.0  # what grows by a factor would soon be no date any more


@dataclass(frozen=True, slots=True)
class Limits:
    """Where a run is to rest by itself.

    Attributes:
        max_steps: After so many nodes were left; nodes that are active besides rest where they are.
        until: Before this node is entered.
        at_state: Before each half of a node that begins with this state, ENTER or ADVANCE, whatever
            the breakpoints (single stepping). Every active node comes to its own rest.

    And, for a graph by dependency:

        at_once: Enter no further node while so many hooks are in flight.
        keep_going: A node that fails for good ends the run only when nothing else can be done.
    """

    max_steps: int | None = None
    until: str | None = None
    at_state: str | None = None
    at_once: int = 1
    keep_going: bool = False


# --- the machine ----------------------------------------------------------------------------------


class StepMachine:
    """Decides what a run of `graph` does next, from `state`, under `limits`.

    Not thread-safe: the one loop of the engine calls it. The same events in the same order always
    give the same instructions.
    """

    def __init__(
        self, graph: StepGraph, state: RunState | None = None, limits: Limits | None = None
    ) -> None:
        self.graph = graph
        self.state = state if state is not None else RunState()
        self.limits = limits if limits is not None else Limits()
        self.in_flight: set[str] = set()
        self._steps_before = self.state.step_count
        self._ready: list[Token] = []
        self._entered: set[str] = set()  # nodes that were activated by the event at hand
        self._released: set[str] = set()  # rested where they stand, and are not to rest there again
        self._asked: set[str] = set()  # nodes about whose interrupted hook the user is being asked
        self._out: list[Instruction] = []
        self._pause_reason = ""
        self._hold_reason = ""  # where the run stands; a jump leaves it behind, unlike a pause
        self._now = 0.0

    @property
    def ready(self) -> bool:
        """Are there tokens that can go on without an event from outside?"""
        return bool(self._ready)

    def retries_due(self) -> list[tuple[float, str]]:
        """(seconds since the epoch, node) of every back-off that is not over, soonest first."""
        tokens = self.state.tokens.values()
        return sorted((t.retry_due, t.node) for t in tokens if t.retry_due is not None)

    def ahead(self) -> list[tuple[str, str]]:
        """(node, state) of what a run that rests performs next, as far as that is decided."""
        tokens = [t for t in self.state.tokens.values() if not self._waits(t)]
        return [(token.node, token.state) for token in tokens] or self._next_entry()

    def _next_entry(self) -> list[tuple[str, str]]:
        """What is entered where nothing is active."""
        return [(self.graph.first, "ENTER")]

    def handle(self, event: Event, now: float = 0.0) -> list[Instruction]:
        """Take in one event and decide.

        Args:
            event: What happened.
            now: The time, in seconds since the epoch; back-offs count from it.

        Raises:
            IllegalMoveError: The event doesn't fit the state, which is a mistake of the caller.
        """
        self._out, self._entered, self._now = [], set(), now
        match event:
            case HookDone():
                self._hook_done(self._landed(event.node), event)
            case Tick():
                pass
            case HookFailed():
                self._hook_failed(self._landed(event.node), event)
            case RetryDue(node):
                self._retry_due(node)
            case Started():
                self._start()
            case PauseRequested(reason):
                self._pause(reason)
            case StopRequested(reason):
                self._end(reason)
                self.state.jump_target = ""
                if not self.state.finalizing:  # else it ends already, and may be asked to rest
                    self._pause_reason = self._hold_reason = ""
            case JumpRequested(node):
                self._jump_requested(node)
            case HookInterrupted(node):
                self._pause(f"interrupted in {self._landed(node).state} of {node}")
            case HookRefused(node, reason):
                self._landed(node).held = True
                self._pause(f"{node}: {reason}")
            case ProbeAnswered(node, answer, facts):
                self._probe_answered(self._landed(node), answer, facts)
        self._go_on()
        return self._out

    # --- starting ---

    def _start(self) -> None:
        self.state.move("start")
        self.state.move("run")
        self.state.crashed = False
        if self.state.jump_target:
            return
        asked_to_pause = bool(self._pause_reason)
        for token in list(self.state.tokens.values()):
            if token.retry_due is not None or self._waits(token):
                continue
            to_decide = token.interrupted and not self._is_ending(token)
            if (token.held and not to_decide) or not self._hook(token, self._node(token)):
                self._release(token)
            elif not asked_to_pause:  # else it stays interrupted, for the next start
                self._interrupted(token)
        self._enter_first()

    def _enter_first(self) -> None:
        """Where nothing is active, begin."""
        if not self.state.tokens:
            self._activate(self.graph.first)

    def _release(self, token: Token) -> None:
        """Let a token go on that has rested, or waited, before its present state."""
        token.held = False
        self._released.add(token.node)
        self._ready.append(token)

    def _interrupted(self, token: Token) -> None:
        """An engine ended while this token's hook ran, or was about to: do as the node says."""
        policy = self.graph.policy_after_interrupt(token.node, token.state)
        if not token.interrupted:
            self._record("interrupted", token, {"on_interrupt": policy})
        token.held = token.interrupted = self._is_ending(token)
        if token.interrupted:
            return  # until the run is opened again, if it is
        match policy:
            case "ask":
                self._ask(token)
            case "skip":
                self._leave_out(token)
            case "probe":
                self._call(token, "step_probe")
            case _:
                self._release(token)

    def _leave_out(self, token: Token) -> None:
        """Pass what was interrupted: what was not even entered is not executed either."""
        if token.state == "ENTER":
            self._record("state", token, {"skipped": True})
            token.move("performed")
            token.attempt = 1
        self._performed(token, {"skipped": True})

    def _ask(self, token: Token, why: str = "") -> None:
        """Rest, so that whoever starts the run again has decided; a kill before that undoes it."""
        token.held = token.interrupted = True
        self._asked.add(token.node)
        self._hold(f"interrupted in {token.state} of {token.node}{why}")

    def _probe_answered(self, token: Token, answer: str | None, facts: dict[str, Any]) -> None:
        self._record("probe", token, facts)
        match answer:
            case "done":
                self._performed(token, {"skipped": True})
            case "rerun":
                self._release(token)
            case _:
                self._ask(token, ", and its step_probe failed")

    # --- requests ---

    def _pause(self, reason: str) -> None:
        """Rest when nothing is in flight; the first reason counts."""
        self._pause_reason = self._pause_reason or reason

    def _hold(self, reason: str) -> None:
        """Rest because of where the run stands, as at a breakpoint; the first reason counts."""
        self._hold_reason = self._hold_reason or reason

    def _end(self, reason: str) -> None:
        """End without success when nothing is in flight; the first reason counts."""
        self.state.ending = self.state.ending or reason

    def _jump_requested(self, node: str) -> None:
        if node not in self.graph.nodes:
            hint = did_you_mean(node, self.graph.nodes)
            raise IllegalMoveError(f"no node {node!r} to jump to", hint=hint)
        why = self.state.ending or ("the run has ended" if self.state.finished else "")
        try:
            check_jump(node, self.graph)
        except UsageError as error:
            why = why or "; ".join(filter(None, (error.message, error.hint)))
        if why:
            self._out.append(Record({"event": "jump_refused", "node": node, "reason": why}))
        else:
            self.state.jump_target = node

    def _retry_due(self, node: str) -> None:
        token = self.state.tokens.get(node)
        if token is not None and token.retry_due is not None and self.state.state == "RUNNING":
            token.retry_due = None
            self._release(token)

    # --- results of hooks ---

    def _hook_done(self, token: Token, done: HookDone) -> None:
        if token.state == "ADVANCE":
            error = wrong_choice(self.graph, token.node, done.arrows)
            if error:
                self._hook_failed(token, HookFailed(token.node, error, done.facts))
                return
            token.arrows = done.arrows
        facts = {**done.facts, "skipped": True} if done.skipped else done.facts
        self._performed(token, facts, done.output)

    def _hook_failed(self, token: Token, failure: HookFailed) -> None:
        node = self._node(token)
        self._record("step_error", token, {"error": failure.error, **failure.facts})
        self._out.append(SetResult(token.node, "ERROR", failure.error))
        if token.attempt <= node.max_retries:
            delay = _back_off(node, token.attempt, failure.chance)
            token.attempt += 1
            token.retry_due = self._now + delay
            self._record("retry", token, {"delay_s": delay})
        else:
            self._give_up(token, node, failure.error)

    def _give_up(self, token: Token, node: Node, error: str) -> None:
        """The last attempt has failed: follow the error arrow, or end the run."""
        if node.error_arrow_key in self.graph.open_arrows(token.node):
            token.arrows = (str(node.error_arrow_key),)
            self._moved(token, "failed")
        else:
            token.held = True
            if not self.state.jump_target:  # to jump is to leave it behind, failed or not
                self._end(f"{token.state} of {token.node} failed: {error}")

    def _performed(self, token: Token, facts: dict[str, Any], output: Any = None) -> None:
        """The present state of `token` is done: on to the next one."""
        if token.state in ("ADVANCE", "JUMP"):
            facts = {**facts, **self._way(token)}
        self._record("state", token, facts)
        if token.state == "EXECUTE" or (token.attempt > 1 and not self._on_error_arrow(token)):
            status = "SKIPPED" if facts.get("skipped") and token.state == "EXECUTE" else "SUCCESS"
            self._out.append(SetResult(token.node, status, output=output))
        self._moved(token, "performed")

    def _on_error_arrow(self, token: Token) -> bool:
        return self._node(token).error_arrow_key in token.arrows

    def _way(self, token: Token) -> dict[str, Any]:
        """What the event log tells of the arrows that a token follows."""
        return {"arrow": token.arrows[0] if len(token.arrows) == 1 else token.arrows}

    def _moved(self, token: Token, trigger: str) -> None:
        token.move(trigger)
        token.attempt, token.interrupted = 1, False
        self.state.current = token.node
        if token.state == "INACTIVE":
            self._leave(token)
        else:
            self._ready.append(token)

    # --- moving tokens ---

    def _go_on(self) -> None:
        """Move every ready token up to its next hook, over one arrow at most; see what is left."""
        if self.state.jump_target and not self.in_flight:
            self._jump()
        later: list[Token] = []
        while self._ready or self._admit():
            token = self._ready.pop(0)
            node = self._node(token)
            reason = self._reason_to_hold(token, node)
            if reason is not None:
                token.held = True
                self._hold(reason)
            elif token.state == "JUMP" and token.node in self._entered:
                later.append(token)
            elif hook := self._hook(token, node):
                self._call(token, hook)
            else:
                self._pass(token, node)
        self._ready = later
        if not self.in_flight and not later:
            self._conclude()

    def _admit(self) -> bool:
        """Make a node active that nothing leads to at present; False when there is none to."""
        return False

    def _waits(self, token: Token) -> bool:
        """Does `token` go on by itself when others have?"""
        return False

    def _is_ending(self, token: Token) -> bool:
        """Is `token` not to go on because the run is to end?"""
        return bool(self.state.ending)

    def _reason_to_hold(self, token: Token, node: Node) -> str | None:
        """Why the whole run rests before the present state of `token` is performed.

        None if it is to be performed, "" if it alone is not, or if the run rests anyway.
        """
        state, limits = self.state, self.limits
        if self._is_ending(token) or self._rest_reason() or state.jump_target:
            return ""
        if limits.at_state is not None:
            return "" if token.state in HALVES[limits.at_state] else None
        steps = state.step_count - self._steps_before
        if limits.max_steps is not None and steps >= limits.max_steps:
            return f"max-steps {limits.max_steps}"
        if token.node in self._released:
            self._released.discard(token.node)
            return None
        if token.state == "JUMP" and node.exit_breakpoint:
            return f"breakpoint at the exit of {token.node}"
        if token.state == "ENTER" and node.entry_breakpoint:
            return f"breakpoint at the entry of {token.node}"
        if token.state == "ENTER" and limits.until == token.node:
            return f"until {token.node}"
        return None

    def _hook(self, token: Token, node: Node) -> str:
        """The hook that performs the present state of `token`, or "" if there is none to call."""
        hook = HOOK_OF_STATE.get(token.state, "")
        if hook not in node.hooks or (token.state == "EXECUTE" and node.skip_execute):
            return ""
        return hook

    def _call(self, token: Token, hook: str) -> None:
        node = self._node(token)
        if hook == "step_execute" and "step_make_safe" in node.hooks:
            self.state.armed = [name for name in self.state.armed if name != token.node]
            self.state.armed.append(token.node)
        self.in_flight.add(token.node)
        self._out.append(HookCall(token.node, hook, node.timeout_s, node.own_process))

    def _pass(self, token: Token, node: Node) -> None:
        """Perform a state that has no hook to call."""
        if token.state == "ADVANCE":
            choice = self.graph.default_arrows(token.node)
            if len(choice) > 1:
                error = (
                    f"several arrows are open ({', '.join(choice)}), and no step_advance chooses"
                )
                self._hook_failed(token, HookFailed(token.node, error))
                return
            token.arrows = choice or (COMPLETE,)
        skipped = token.state == "EXECUTE" and node.skip_execute
        self._performed(token, {"skipped": True} if skipped else {})

    def _leave(self, token: Token) -> None:
        """`token` has performed JUMP: follow its arrows."""
        del self.state.tokens[token.node]
        self.state.step_count += 1
        if token.pending:
            self._activate(token.node, pending=token.pending - 1)
        if COMPLETE_ERROR in token.arrows:
            self._end(f"{token.node} returned COMPLETE_ERROR")
        for target in followed(self.graph, token.node, token.arrows):
            self._arrive(target, token.node)

    def _arrive(self, name: str, source: str) -> None:
        """An arrow from `source` was followed to the node `name`."""
        if self.graph.nodes[name].join_all and name != source:
            sources = self.graph.sources_into(name)
            arrived = self.state.arrivals.setdefault(name, [])
            arrived.append(source)
            missing = sources.difference(arrived)
            if missing:
                waits = {"event": "join_wait", "node": name, "missing": sorted(missing)}
                self._out.append(Record(waits))
                return
            for each in sources.union(arrived):  # a jump may have led to sources that nobody awaits
                arrived.remove(each)
            if not arrived:
                del self.state.arrivals[name]
        if name in self.state.tokens:
            self.state.tokens[name].pending += 1
        else:
            self._activate(name)

    def _activate(self, name: str, pending: int = 0) -> None:
        token = self.state.tokens[name] = Token(name, pending=pending)
        self._entered.add(name)
        self._moved(token, "activate")

    def _jump(self) -> None:
        """Leave all that is active for the target; a run that has not started stands there."""
        target = self.state.jump_target
        left = self.state.jump(target, self.graph)
        self._out.append(Record({"event": "jump", "node": target, "left": left}))
        self._ready.clear()
        self._released.clear()
        self._asked.clear()
        self._hold_reason = ""
        if self.state.state == "RUNNING":
            self.state.tokens[target].held = False
            self._ready.append(self.state.tokens[target])

    # --- ending ---

    def _conclude(self) -> None:
        """Nothing is in flight and nothing can go on: rest, finish, or wait for a back-off."""
        state = self.state
        if state.state != "RUNNING":
            return  # a request that came before the start
        if not state.tokens:
            self._end(self._unfinished_joins())
        if state.ending:
            state.move("fail")
            self._out.append(Finish(False, state.ending))
        elif not state.tokens:
            state.move("succeed")
            self._out.append(Finish(True))
        elif self._rest_reason() or all(token.held for token in state.tokens.values()):
            self._rest()

    def _rest(self) -> None:
        self.state.move("rest")
        for name in self._asked:
            self.state.tokens[name].interrupted = False
        self._out.append(Rest(self._rest_reason() or SINGLE_STEP))

    def _rest_reason(self) -> str:
        return self._pause_reason or self._hold_reason

    def _unfinished_joins(self) -> str:
        for name, arrived in self.state.arrivals.items():
            missing = ", ".join(sorted(self.graph.sources_into(name).difference(arrived)))
            return f"join {name} waits for {missing}, which ended without an arrow to it"
        return ""

    # --- names and look-ups ---

    def _node(self, token: Token) -> Node:
        return self.graph.node(token.node)

    def _landed(self, node: str) -> Token:
        """The token of a hook that came back."""
        if node not in self.in_flight:
            raise IllegalMoveError(
                f"no hook of {node} is in flight",
                hint=f"in flight: {', '.join(sorted(self.in_flight)) or 'none'}",
            )
        self.in_flight.discard(node)
        return self.state.tokens[node]

    def _record(self, kind: str, token: Token, facts: dict[str, Any]) -> None:
        event = {"event": kind, "node": token.node, "state": token.state, "attempt": token.attempt}
        self._out.append(Record(event | facts))


def _back_off(node: Node, attempt: int, chance: float) -> float:
    """Seconds to wait after the attempt has failed; `chance` is a random number from 0 to 1."""
    if node.retry_delay_s == 0:
        return 0.0
    try:
        delay = node.retry_delay_s * node.retry_backoff ** (attempt - 1)
    except OverflowError:
        return LONGEST_BACK_OFF_S
    return min(delay * (1 + node.retry_jitter * (2 * chance - 1)), LONGEST_BACK_OFF_S)
