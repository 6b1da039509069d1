"""What the tests of the step machine share: graphs in a few words, and a machine that is checked.

`CheckedMachine` proves after every event that its state makes sense, whatever the test is about.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import replace
from random import Random
from typing import Any

from octo_step_arrows import leads_to
from octo_step_graph import HOOK_OF_STATE, Arrow, Node, StepGraph
from octo_step_machine import (
    Limits,
    StepMachine,
)
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
    Started,
    StopRequested,
    Tick,
)
from octo_step_moves import STEP_STATES
from octo_step_states import RunState, Token

EXECUTE = frozenset({"step_execute"})
CHOOSES = frozenset({"step_execute", "step_advance"})
ALL_HOOKS = frozenset({"step_entry", "step_execute", "step_advance", "step_exit"})


def node(
    name: str,
    arrows: Mapping[str, str] | Iterable[str] = (),
    *,
    hooks: Iterable[str] = EXECUTE,
    closed: Iterable[str] = (),
    **options: Any,
) -> Node:
    """A node whose arrows are `{key: target}`, or targets that serve as keys, too."""
    targets = arrows if isinstance(arrows, Mapping) else {target: target for target in arrows}
    return Node(
        name,
        f"step_node_{name}",
        hooks=frozenset(hooks),
        arrows={k: Arrow(k, name, t, active=k not in set(closed)) for k, t in targets.items()},
        **options,
    )


def graph(*nodes: Node) -> StepGraph:
    """The first of the nodes is the first node."""
    return StepGraph({each.name: each for each in nodes}, nodes[0].name)


def chain(*names: str, **options: Any) -> StepGraph:
    """Each node leads to the next one."""
    pairs = zip(names, [*names[1:], None], strict=True)
    return graph(*(node(name, [to] if to else [], **options) for name, to in pairs))


def saved(state: RunState, graph: StepGraph, now: float = 0.0) -> dict[str, Any]:
    """The parameter file after this state was saved in it."""
    data: dict[str, Any] = {"somebody_else": {"key": 1}}
    state.store(data, graph, now)
    assert data["somebody_else"] == {"key": 1}
    loaded: dict[str, Any] = json.loads(json.dumps(data))
    return loaded


def reloaded(machine: StepMachine, limits: Limits | None = None) -> CheckedMachine:
    """The machine of the next engine, whether the one before it ended by itself or was killed."""
    state = RunState.load(saved(machine.state, machine.graph), machine.graph)
    return CheckedMachine(machine.graph, state, limits)


def random_request(dice: Random, names: list[str]) -> Event:
    """A pause, a jump to one of the nodes, or a stop."""
    kind = dice.choices(["pause", "jump", "stop"], weights=[3, 2, 1])[0]
    if kind == "jump":
        return JumpRequested(dice.choice(names))
    return PauseRequested("pause") if kind == "pause" else StopRequested("stop")


def kinds(instructions: Iterable[Instruction], kind: str) -> list[dict[str, Any]]:
    """The records of a kind of event."""
    return [
        each.event
        for each in instructions
        if isinstance(each, Record) and each.event["event"] == kind
    ]


class CheckedMachine(StepMachine):
    """A machine that checks itself after every event, and keeps what it said in `said`."""

    def __init__(
        self, graph: StepGraph, state: RunState | None = None, limits: Limits | None = None
    ) -> None:
        super().__init__(graph, state, limits)
        self.said: list[Instruction] = []
        self._interrupted_nodes: set[str] = set()
        self._to_rest = False  # asked by an event before the one at hand

    # --- driving it in few words ---

    def take(self, *events: Event, now: float = 0.0) -> list[str]:
        """Handle the events and all ticks that are needed; say the hooks to call and the ending."""
        told: list[Instruction] = []
        for event in events:
            told += self.handle(event, now)
            ticks = 0
            while self.ready:
                told += self.handle(Tick(), now)
                ticks += 1
                assert ticks < 1000, "goes on for ever without a hook"
        return brief(told)

    def start(self) -> list[str]:
        return self.take(Started())

    def done(self, name: str, *arrows: str, now: float = 0.0) -> list[str]:
        return self.take(HookDone(name, arrows), now=now)

    def run_serially(self, choices: Mapping[str, Iterable[str]] | None = None) -> list[str]:
        """Start, and let every hook succeed, the oldest call first; returns all that was called.

        `choices` are the arrows that step_advance returns, the same ones each time.
        """
        calls = told = self.start()
        waiting = [each for each in told if "." in each]
        while waiting:
            name, hook = waiting.pop(0).split(".")
            arrows = (choices or {}).get(name, ()) if hook == "step_advance" else ()
            told = self.take(HookDone(name, tuple(arrows)))
            waiting += [each for each in told if "." in each]
            calls = calls + told
            assert len(calls) < 10_000
        return calls

    # --- checking ---

    def handle(self, event: Event, now: float = 0.0) -> list[Instruction]:
        steps, ended = self.state.step_count, self.endings()
        in_flight = set(self.in_flight)
        out = super().handle(event, now)
        self.said += out
        if isinstance(event, HookInterrupted):
            self._interrupted_nodes.add(event.node)
        if kinds(out, "jump"):
            self._interrupted_nodes.clear()
        assert self.state.step_count >= steps
        self._check_calls(event, out, in_flight, bool(ended))
        self._check_tokens()
        self._check_ending(out)
        self._check_saving()
        if isinstance(event, PauseRequested | StopRequested | HookInterrupted | HookRefused):
            self._to_rest = True
        return out

    def endings(self) -> list[Rest | Finish]:
        return [each for each in self.said if isinstance(each, Rest | Finish)]

    def _check_calls(
        self, event: Event, out: list[Instruction], in_flight: set[str], ended: bool
    ) -> None:
        if isinstance(event, HookDone | HookFailed | HookInterrupted | HookRefused | ProbeAnswered):
            in_flight.discard(event.node)
        calls = [each for each in out if isinstance(each, HookCall)]
        assert not (calls and (ended or self._to_rest)), f"called when it was to rest: {calls}"
        for call in calls:
            token, declared = self.state.tokens[call.node], self.graph.nodes[call.node]
            assert call.node not in in_flight, f"{call.node} is called twice at a time"
            in_flight.add(call.node)
            assert call.hook in declared.hooks
            assert call.hook in (HOOK_OF_STATE[token.state], "step_probe")
            assert not (call.hook == "step_execute" and declared.skip_execute)
            assert call.timeout_s == declared.timeout_s
            if call.hook == "step_execute" and "step_make_safe" in declared.hooks:
                assert call.node in self.state.armed
        assert in_flight == self.in_flight
        assert len(set(self.state.armed)) == len(self.state.armed)

    def _check_tokens(self) -> None:
        ready = [token.node for token in self._ready]
        assert len(set(ready)) == len(ready)
        for name, token in self.state.tokens.items():
            assert token.node == name
            assert token.state in STEP_STATES[1:]
            assert token.pending >= 0
            assert 1 <= token.attempt <= self.graph.nodes[name].max_retries + 1
            assert all(leads_to(self.graph, name, key) is not None for key in token.arrows)
            assert bool(token.arrows) == (token.state in ("EXIT", "JUMP"))
            if self.state.state == "RUNNING":
                self._check_condition(token, ready)
        assert self.in_flight <= self.state.tokens.keys()
        for join, arrived in self.state.arrivals.items():
            assert self.graph.nodes[join].join_all
            assert self.graph.sources_into(join) - set(arrived), f"{join} should have been entered"

    def _check_condition(self, token: Token, ready: list[str]) -> None:
        """Every token is in just one of these conditions, or would be forgotten."""
        conditions = {
            "in flight": token.node in self.in_flight,
            "ready": token.node in ready,
            "held": token.held,
            "in back-off": token.retry_due is not None,
            "interrupted": token.node in self._interrupted_nodes,
        }
        assert sum(conditions.values()) == 1, f"{token}: {conditions}"

    def _check_ending(self, out: list[Instruction]) -> None:
        endings = self.endings()
        assert len(endings) <= 1
        if self.state.state == "RUNNING":
            assert not endings
            goes_on = self.in_flight or self.ready or self.retries_due()
            assert goes_on, "nothing is in flight, and nothing will ever happen"
        if not endings:
            return
        assert not self.in_flight
        assert not self.ready
        match endings[0]:
            case Rest(reason):
                assert reason
                assert self.state.state == "INACTIVE"
                assert self.state.tokens
            case Finish(success, reason):
                assert self.state.state == ("COMPLETE_SUCCESS" if success else "COMPLETE_ERROR")
                assert bool(reason) == (not success)
                assert not (success and (self.state.tokens or self.state.arrivals))

    def _check_saving(self) -> None:
        """What is saved at this moment is what the next engine finds."""
        found = RunState.load(saved(self.state, self.graph), self.graph)
        mine = self.state
        assert found.crashed == (mine.crashed or mine.state == "RUNNING")
        assert found.state == ("INACTIVE" if mine.state == "RUNNING" else mine.state)
        assert list(found.tokens) == list(mine.tokens)
        for name, token in found.tokens.items():
            due = mine.tokens[name].retry_due
            assert (token.retry_due is None) == (due is None)
            assert due is None or abs((token.retry_due or 0) - due) < 1e-4
            assert replace(token, retry_due=due) == mine.tokens[name]
        assert (found.arrivals, found.armed) == (mine.arrivals, mine.armed)
        assert (found.step_count, found.current) == (mine.step_count, mine.current)
        assert found.jump_target == mine.jump_target
        assert found.ending == ("" if mine.finished else mine.ending)


def brief(instructions: Iterable[Instruction]) -> list[str]:
    """Calls as `node.hook`, endings as `rest: reason`, `success`, `error: reason`."""
    told = []
    for each in instructions:
        match each:
            case HookCall(name, hook):
                told.append(f"{name}.{hook}")
            case Rest(reason):
                told.append(f"rest: {reason}")
            case Finish(success, reason):
                told.append("success" if success else f"error: {reason}")
    return told
