"""What the models of runs share: a ledger of visits, and the shell that plays a run against it.

The ledger decides nothing by itself: it reads what the machine records and calls, and checks each
move against the rules of a visit: its states one after the other, each hook once, retries after
their back-off, policies after an interruption, rests only for a reason. It must not ask the code
under test what is right. What leads from one visit to the next is told by the model of each kind
of graph.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import Any, Generic, TypeVar

from hypothesis import note
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from octo_step_graph import StepGraph
from octo_step_machine import Limits, StepMachine
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
    Started,
    StopRequested,
    Tick,
)
from octo_step_states import RunState
from tests.modules.step_machine_support import random_request, saved

ORDER = ("ENTER", "EXECUTE", "ADVANCE", "EXIT", "JUMP")
HALVES = {"ENTER": ORDER[:2], "ADVANCE": ORDER[2:]}
HOOKS = {
    "ENTER": "step_entry",
    "EXECUTE": "step_execute",
    "ADVANCE": "step_advance",
    "EXIT": "step_exit",
}
LEFT_OUT = ("passed over", "left out")
FATES = ("done", "failed", "broken off", "refused")
DICE = st.randoms(use_true_random=True)
"""Hypothesis draws once for many events, not for each detail: that is many times faster."""


# --- the model ------------------------------------------------------------------------------------


@dataclass
class Visit:
    """One visit of a node, or of an item of one.

    Attributes:
        state: What is to be performed.
        result: What is known of the hook of `state`: it came back "done" or "failed", it is
            "passed over" since the probe said so, or "left out" by policy.
        calling: The hook that is in flight.
        done: The hooks that came back well in this visit.
        due: When the back-off is over, after which the hook is called again.
        lost: A hook was broken off, or the engine ended while it was in flight; not told yet.
        undecided: That has been told, and the run was to end, or nobody has been asked yet what is
            to become of it: its policy is still to be heeded.
        found_at: The state in which the last start found this visit.
    """

    state: str = "ENTER"
    result: str = ""
    calling: str = ""
    done: list[str] = field(default_factory=list)
    attempt: int = 1
    due: float | None = None
    lost: bool = False
    undecided: bool = False
    found_at: str = ""

    def give_up(self) -> None:
        """Its state has failed for good, and it is not to stay there: on to its end."""
        self.state = "JUMP" if self.state == "EXIT" else "EXIT"
        self.attempt = 1


AnyVisit = TypeVar("AnyVisit", bound=Visit)


class Ledger(Generic[AnyVisit]):
    """What a run has done, and so what it may do."""

    def __init__(self, graph: StepGraph, new_visit: Callable[[], AnyVisit]) -> None:
        self.graph = graph
        self.new_visit = new_visit
        self.visits: dict[str, AnyVisit] = {}
        self.steps = self.steps_at_start = 0
        self.ending = False
        self.jump = ""
        self.pause: set[str] = set()
        self.asked: set[str] = set()
        self.limits = Limits()
        self.now = 0.0

    # --- what a kind of graph adds ---

    def may_jump_to(self, name: str) -> bool:
        return True

    def _leave(self, name: str) -> None:
        """The visit has performed JUMP."""
        raise NotImplementedError

    def _fails_for_good(self, name: str) -> None:
        """The last attempt at the present state has failed."""
        raise NotImplementedError

    # --- what happens to the run ---

    def engine_is_gone(self, limits: Limits) -> None:
        """Another one comes, which is to keep to the limits."""
        for visit in self.visits.values():
            visit.lost = visit.lost or bool(visit.calling)
            visit.calling = ""
        self.pause, self.asked = set(), set()
        self.limits, self.steps_at_start = limits, self.steps

    def happens(self, event: Event, state: str) -> None:
        match event:
            case Started():
                self._starts()
            case PauseRequested():
                self.pause.add("pause")
            case StopRequested():
                self.ending, self.jump = True, ""
            case JumpRequested(name) if not self.ending and "COMPLETE" not in state:
                self.jump = name if self.may_jump_to(name) else self.jump
            case HookDone(name):
                self._succeeds(self._lands(name), event)
            case HookFailed(name):
                self._lands(name).result = "failed"
            case HookInterrupted(name):
                self._lands(name).lost = True
                self.pause.add("interrupted")
            case HookRefused(name):
                self._lands(name)
                self.pause.add("refused")
            case ProbeAnswered(name, answer):
                visit = self._lands(name)
                if answer == "done":
                    visit.result = "passed over"
                elif answer is None:
                    self._ask(name)
            case RetryDue(name) if state == "RUNNING" and name in self.visits:
                self.visits[name].due = None

    def _starts(self) -> None:
        for visit in self.visits.values():
            visit.found_at = visit.state
        if self.pause or self.jump:
            return
        for name, visit in self.visits.items():
            if visit.undecided and not self._is_to_end(name):
                self._decide(name, self._policy(name))

    def _lands(self, name: str) -> AnyVisit:
        visit = self.visits[name]
        assert visit.calling
        visit.calling = ""
        return visit

    def _succeeds(self, visit: AnyVisit, done: HookDone) -> None:
        visit.result = "done"

    # --- what the machine says ---

    def told(self, instruction: Instruction) -> None:
        match instruction:
            case HookCall(name, hook):
                self._call(name, hook)
            case Record({"event": "state"} as record):
                self._performed(record)
            case Record({"event": "step_error"} as record):
                self._failed(record)
            case Record({"event": "retry", "node": name, "delay_s": delay}):
                assert delay == self._back_off(name, self.visits[name].attempt - 1)
                assert self.visits[name].due == self.now + delay
            case Record({"event": "interrupted"} as record):
                self._interrupted(record)
            case Record({"event": "probe", "node": name, "state": state}):
                assert state == self.visits[name].state
            case Record({"event": "jump", "node": name}):
                assert name == self.jump
                assert not self.in_flight()
                self.jumped(name)
            case Record({"event": "jump_refused", "node": name}):
                assert self.ending or not self.may_jump_to(name)
            case Rest(reason):
                self._rests(reason)
            case Finish(success, reason):
                self._finished(success, reason)
        if self.limits.max_steps is not None:
            assert self._steps_of_engine() <= self.limits.max_steps

    def _visit(self, name: str) -> AnyVisit:
        """The visit that is spoken of."""
        return self.visits[name]

    def _call(self, name: str, hook: str) -> None:
        visit = self._visit(name)
        assert not visit.calling
        assert visit.due is None
        if hook == "step_probe":
            assert visit.lost
            assert self.graph.node(name).on_interrupt == "probe"
            assert not self.jump
            assert not self._is_to_end(name)
        else:
            assert hook == self._hook_of(name)
            assert hook not in visit.done, f"{hook} of {name} was done, and is called again"
            assert visit.result == "", f"{hook} of {name} came back, and is called again"
            assert not visit.lost, f"{hook} of {name} is called, and its loss was not told"
            assert not visit.undecided, f"{hook} of {name} is called, and nobody was asked"
            self._check_may_go_on(name)
        visit.calling, visit.lost = hook, False

    def _hook_of(self, name: str) -> str:
        """The hook that performs the present state of the visit, or "" if there is none."""
        state, declared = self.visits[name].state, self.graph.node(name)
        hook = HOOKS.get(state, "")
        skipped = state == "EXECUTE" and declared.skip_execute
        return hook if hook in declared.hooks and not skipped else ""

    def _performed(self, record: dict[str, Any]) -> None:
        name = record["node"]
        visit = self._visit(name)
        assert (record["state"], record["attempt"]) == (visit.state, visit.attempt)
        self._check_performed(name)
        if visit.state == "JUMP":
            self._leave(name)
            return
        stays_out = visit.result == "left out" and visit.state == "ENTER"
        visit.state = ORDER[ORDER.index(visit.state) + 1]
        visit.result = "left out" if stays_out else ""
        visit.attempt, visit.lost = 1, False

    def _check_performed(self, name: str) -> None:
        """All that the present state takes has been done."""
        visit, hook = self.visits[name], self._hook_of(name)
        if hook:
            assert visit.result in ("done", *LEFT_OUT), f"{hook} of {name} is left out"
            visit.done.append(hook)
        elif visit.result == "left out":
            assert visit.state == "EXECUTE"
        else:
            assert visit.result == ""
            self._check_may_go_on(name)

    def _check_may_go_on(self, name: str) -> None:
        """The present state of the visit is begun now; nothing may forbid that."""
        visit, declared, limits = self.visits[name], self.graph.node(name), self.limits
        assert not self.pause
        assert not self.jump
        assert not self._is_to_end(name)
        assert limits.max_steps is None or self._steps_of_engine() < limits.max_steps
        if limits.at_state:
            assert visit.state not in HALVES[limits.at_state]
        elif visit.found_at != visit.state:
            assert not (visit.state == "ENTER" and declared.entry_breakpoint)
            assert not (visit.state == "ENTER" and limits.until == name)
            assert not (visit.state == "JUMP" and declared.exit_breakpoint)

    def _failed(self, record: dict[str, Any]) -> None:
        name = record["node"]
        visit, declared = self.visits[name], self.graph.node(name)
        assert (record["state"], record["attempt"]) == (visit.state, visit.attempt)
        assert visit.result == "failed"
        visit.result = ""
        if visit.attempt <= declared.max_retries:
            visit.due = self.now + self._back_off(name, visit.attempt)
            visit.attempt += 1
        else:
            self._fails_for_good(name)

    def _back_off(self, name: str, attempt: int) -> float:
        """How long is waited after the attempt has failed."""
        declared = self.graph.node(name)
        return float(declared.retry_delay_s * declared.retry_backoff ** (attempt - 1))

    def _interrupted(self, record: dict[str, Any]) -> None:
        name, policy = record["node"], record["on_interrupt"]
        visit = self.visits[name]
        assert visit.lost, "reported twice, or what was not interrupted"
        assert record["state"] == visit.state
        assert policy == self._policy(name)
        if self._is_to_end(name):
            visit.lost, visit.undecided = False, True
        else:
            self._decide(name, policy)

    def _policy(self, name: str) -> str:
        declared: str = self.graph.node(name).on_interrupt
        decides = self.visits[name].state == "ADVANCE" or self._hook_of(name) == "step_items"
        return "rerun" if decides and declared != "ask" else declared

    def _decide(self, name: str, policy: str) -> None:
        visit = self.visits[name]
        visit.lost, visit.undecided = policy == "probe", False
        if policy == "skip":
            visit.result = "left out"
        elif policy == "ask":
            self._ask(name)

    def _ask(self, name: str) -> None:
        self.visits[name].undecided = True
        self.asked.add(name)
        self.pause.add("asked")

    def _rests(self, reason: str) -> None:
        assert not self.in_flight()
        for name in self.asked:
            self.visits[name].undecided = False
        kind, _, name = reason.replace("breakpoint at the ", "").partition(" ")
        match kind:
            case "pause":
                assert kind in self.pause
            case "interrupted":
                assert self.pause & {"interrupted", "asked"}
            case "until":
                assert name == self.limits.until
                assert self.visits[name].state == "ENTER" != self.visits[name].found_at
            case "max-steps":
                assert self._steps_of_engine() == self.limits.max_steps
            case "single":
                assert self.limits.at_state
            case _ if reason.endswith(": refused"):
                assert "refused" in self.pause
            case _:
                self._rests_at_breakpoint(kind, name.removeprefix("of "))

    def _rests_at_breakpoint(self, kind: str, name: str) -> None:
        visit, declared = self.visits[name], self.graph.nodes[name]
        assert {"entry": declared.entry_breakpoint, "exit": declared.exit_breakpoint}[kind]
        assert visit.state == {"entry": "ENTER", "exit": "JUMP"}[kind]
        assert visit.found_at != visit.state, "rests there for the second time"

    def _finished(self, success: bool, reason: str) -> None:
        assert not self.in_flight()
        assert bool(reason) == (not success)
        self.ending = True

    # --- how it stands ---

    def jumped(self, name: str) -> None:
        """All that was active has been left, and the run stands at the entry of the node."""
        self.visits, self.jump, self.ending = {name: self.new_visit()}, "", False
        self.asked.clear()
        self.pause.discard("asked")

    def in_flight(self) -> set[str]:
        return {name for name, visit in self.visits.items() if visit.calling}

    def _is_to_end(self, name: str) -> bool:
        """The run is to end, and so the visit is not gone on with."""
        return self.ending

    def _steps_of_engine(self) -> int:
        return self.steps - self.steps_at_start

    def check_equals(self, machine: StepMachine) -> None:
        """The machine has just the visits that it should have, and gets on with them."""
        assert self.in_flight() == machine.in_flight
        assert self.steps == machine.state.step_count
        if machine.state.state == "RUNNING" and not machine.in_flight and not machine.ready:
            assert not self.pause
            assert not self.jump
            assert machine.retries_due(), "nothing will ever happen"


# --- the shell ------------------------------------------------------------------------------------


class RunsAgainstLedger(RuleBasedStateMachine):
    """Plays the shell around a machine: everything is saved after every event.

    Attributes:
        machine_type: What is tested.
        twin_type: The same without checks: it hears the same events, and has to say the same.
        fates: How often a hook comes to each of FATES, relative to the others.
        sound: All that followed from the last event was looked at, and was right.
    """

    machine_type: type[StepMachine]
    twin_type: type[StepMachine]
    fates: tuple[int, int, int, int]
    ledger: Ledger[Any]
    now = 1000.0
    sound = False

    # --- what a kind of graph adds ---

    def random_graph(self, dice: Random) -> StepGraph:
        raise NotImplementedError

    def new_ledger(self) -> Ledger[Any]:
        raise NotImplementedError

    def random_limits(self, dice: Random) -> Limits:
        raise NotImplementedError

    def random_success(self, dice: Random, name: str, hook: str) -> HookDone:
        raise NotImplementedError

    # --- the shell ---

    @initialize(dice=DICE)
    def a_new_instance(self, dice: Random) -> None:
        self.begin_anew(dice)

    def begin_anew(self, dice: Random) -> None:
        self.graph = self.random_graph(dice)
        for each in self.graph.nodes.values():
            note(repr(each))
        self.ledger = self.new_ledger()
        self.saved: dict[str, Any] = {}
        self.engine_comes(self.random_limits(dice))

    def engine_comes(self, limits: Limits, *requests: Event) -> None:
        """An engine starts from the file; whatever the one before it had in flight is lost."""
        note(repr(limits))
        self.ledger.engine_is_gone(limits)
        self.machine = self.machine_type(self.graph, self.loaded(), limits)
        self.twin = self.twin_type(self.graph, self.loaded(), limits)
        for event in [*requests, Started()]:
            self.happens(event)

    def loaded(self) -> RunState:
        return RunState.load(self.saved, self.graph)

    def happens(self, event: Event) -> None:
        note(f"{event} at {self.now}")
        self.sound = False
        self.ledger.now = self.now
        self.ledger.happens(event, self.machine.state.state)
        said = self.machine.handle(event, self.now)
        for instruction in said:
            note(f"    {instruction}")
            self.ledger.told(instruction)
        self.ledger.check_equals(self.machine)
        assert said == self.twin.handle(event, self.now), "it depends on more than the events"
        self.saved = saved(self.machine.state, self.graph, self.now)
        self.sound = True

    def running(self) -> bool:
        return self.machine.state.state == "RUNNING"

    def resting(self) -> bool:
        return self.machine.state.state == "INACTIVE"

    def ended(self) -> bool:
        return self.machine.state.finished

    def names(self) -> list[str]:
        return list(self.graph.nodes)

    # --- what may happen ---

    @precondition(lambda self: self.machine.in_flight)
    @rule(dice=DICE, count=st.integers(1, 30))
    def the_run_goes_on(self, dice: Random, count: int) -> None:
        for _ in range(count):
            if self.machine.in_flight:
                self.a_hook_comes_back(dice)
            if self.machine.ready and dice.random() < 0.9:
                self.happens(Tick())
            if self.machine.retries_due() and dice.random() < 0.5:
                self.time_passes(dice.choice([0.5, 20.0]))
            if self.running() and dice.random() < 0.08:
                self.happens(random_request(dice, self.names()))

    def a_hook_comes_back(self, dice: Random) -> None:
        name = dice.choice(sorted(self.machine.in_flight))
        hook = self.ledger.visits[name].calling
        (fate,) = dice.choices(FATES, self.fates)
        if fate == "broken off":
            self.happens(HookInterrupted(name))
        elif hook == "step_probe":
            self.happens(ProbeAnswered(name, dice.choice(["done", "rerun", None])))
        elif fate == "failed":
            self.happens(HookFailed(name, "it failed"))
        elif fate == "refused":
            self.happens(HookRefused(name, "refused"))
        else:
            self.happens(self.random_success(dice, name, hook))

    @precondition(lambda self: self.machine.ready)
    @rule()
    def the_shell_ticks(self) -> None:
        self.happens(Tick())

    @precondition(lambda self: self.running() and self.machine.retries_due())
    @rule(passing=st.sampled_from([0.5, 20.0]))
    def time_passes(self, passing: float) -> None:
        self.now += passing
        for due, name in self.machine.retries_due():
            if due <= self.now:
                self.happens(RetryDue(name))

    @precondition(lambda self: self.running() and self.machine.retries_due())
    @rule(dice=DICE)
    def a_request_is_seen_together_with_retries_that_are_due(self, dice: Random) -> None:
        waiting = [name for _, name in self.machine.retries_due()]
        self.happens(random_request(dice, self.names()))
        for name in waiting:
            self.happens(RetryDue(name))

    @precondition(lambda self: not self.ended())
    @rule(dice=DICE)
    def the_engine_is_killed_or_rested_and_another_one_starts(self, dice: Random) -> None:
        requests = [random_request(dice, self.names())] if dice.random() < 0.2 else []
        self.engine_comes(self.random_limits(dice), *requests)

    @precondition(lambda self: self.ended())
    @rule(dice=DICE)
    def a_run_that_has_ended_goes_on_elsewhere(self, dice: Random) -> None:
        state = self.loaded()
        name = dice.choice([each for each in self.names() if self.ledger.may_jump_to(each)])
        state.jump(name, self.graph)
        self.saved = saved(state, self.graph, self.now)
        self.ledger.jumped(name)
        self.engine_comes(self.random_limits(dice))

    # --- what must be true at the end ---

    def comes_to_its_end(self, events: int) -> bool:
        """Whether the run ends within so many events, when all goes well from here."""
        for _ in range(events):
            if self.ended():
                return True
            if self.resting():
                self.engine_comes(Limits(at_once=2))
            elif self.machine.in_flight:
                self.a_hook_comes_back_well(min(self.machine.in_flight))
            elif self.machine.ready:
                self.happens(Tick())
            else:
                self.now, name = self.machine.retries_due()[0]
                self.happens(RetryDue(name))
        return self.ended()

    def a_hook_comes_back_well(self, name: str) -> None:
        match self.ledger.visits[name].calling:
            case "step_probe":
                self.happens(ProbeAnswered(name, "rerun"))
            case "step_advance":
                self.happens(HookDone(name, ("COMPLETE",)))
            case "step_items":
                self.happens(HookDone(name, items=[1]))
            case _:
                self.happens(HookDone(name))
