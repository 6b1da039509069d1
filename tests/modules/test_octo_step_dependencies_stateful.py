"""Random graphs by dependency, results, requests and kills, against a small model of what is done.

The model decides nothing by itself: it reads what the machine records and calls, and checks each
move. Nothing is entered before all that it depends on is done, nothing is performed twice or left
out, nothing that could be at work waits, and at the end it is said truly how it went.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random
from typing import Any

from hypothesis import Phase, note, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from octo_step_dependencies import DependencyMachine
from octo_step_graph import Arrow, Node, StepGraph, item_of
from octo_step_machine import Limits
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
    SetItems,
    Started,
    StopRequested,
    Tick,
)
from octo_step_states import RunState
from tests.modules.step_machine_support import random_request, saved

ORDER = ("ENTER", "EXECUTE", "ADVANCE", "EXIT", "JUMP")
HOOKS = {"ENTER": "step_entry", "EXECUTE": "step_execute", "EXIT": "step_exit"}
ON_ERROR = "on error"


# --- the model ------------------------------------------------------------------------------------


@dataclass
class Visit:
    """A node, or an item of one, that is at work.

    Attributes:
        state: What is to be performed.
        result: What is known of its hook: "done", "failed" or "passed over" by a policy.
        calling: The hook that is in flight.
        lost: The engine ended while a hook was in flight, which has not been told yet.
        undecided: That has been told, and the run was to end, or nobody has been asked yet: its
            policy is still to be heeded.
        failed: It has failed for good, and nothing is performed in its place.
        instead: It has failed for good, and another node is performed in its place.
        items: For how many items it is performed, and which of them are done.
    """

    state: str = "ENTER"
    result: str = ""
    calling: str = ""
    attempt: int = 1
    due: float | None = None
    lost: bool = False
    undecided: bool = False
    failed: bool = False
    instead: bool = False
    items: int | None = None
    items_done: set[int] = field(default_factory=set)


class Ledger:
    """What a run has done, and so what it may do."""

    def __init__(self, graph: StepGraph) -> None:
        self.graph = graph
        self.visits: dict[str, Visit] = {}
        self.done = {name for name, node in graph.nodes.items() if not node.active}
        self.passed: set[str] = set()
        self.steps = self.steps_at_start = 0
        self.ending = False
        self.jump = ""
        self.final_jump = False  # somebody has jumped to a final node
        self.pause: set[str] = set()
        self.asked: set[str] = set()
        self.limits = Limits()
        self.now = 0.0

    # --- what happens to the run ---

    def engine_is_gone(self, limits: Limits) -> None:
        for visit in self.visits.values():
            visit.lost = visit.lost or bool(visit.calling)
            visit.calling = ""
        self.pause, self.asked = set(), set()
        self.limits, self.steps_at_start = limits, self.steps

    def happens(self, event: Event, state: str) -> None:
        match event:
            case Started() if not (self.pause or self.jump):
                for name, visit in self.visits.items():
                    node = self.graph.node(name)
                    if visit.undecided and (node.is_final or not self.ending):
                        self._decide(name, node.on_interrupt)
            case PauseRequested():
                self.pause.add("pause")
            case StopRequested():
                if not self._is_final_time():
                    self.pause.clear()
                self.ending, self.jump = True, ""
            case JumpRequested(name) if not self.ending and "COMPLETE" not in state:
                self.jump = name if self.graph.nodes[name].active else self.jump
            case HookDone(name, items=items):
                visit = self._lands(name)
                visit.result = "done" if items is None else ""
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

    def _lands(self, name: str) -> Visit:
        visit = self.visits[name]
        assert visit.calling
        visit.calling = ""
        return visit

    # --- what the machine says ---

    def told(self, instruction: Instruction) -> None:
        match instruction:
            case HookCall(name, hook):
                self._call(name, hook)
            case SetItems(name, items):
                self.visits[name].items = len(items)
            case Record({"event": "state"} as record):
                self._performed(record)
            case Record({"event": "step_error"} as record):
                self._failed(record)
            case Record({"event": "interrupted"} as record):
                self._interrupted(record)
            case Record({"event": "jump", "node": name}):
                assert name == self.jump
                assert not self.in_flight()
                self.jumped(name)
            case Record({"event": "jump_refused", "node": name}):
                assert self.ending or not self.graph.nodes[name].active
            case Rest():
                assert not self.in_flight()
                assert self.pause or self.limits.max_steps is not None or self.limits.at_state
                for name in self.asked:
                    self.visits[name].undecided = False
            case Finish(success, reason):
                self._finished(success, reason)

    def _visit(self, name: str) -> Visit:
        """The visit; begun, where it is the first that is heard of it."""
        if name not in self.visits:
            assert len(self.in_flight()) < self.limits.at_once
            self._enter(name)
        return self.visits[name]

    def _enter(self, name: str) -> None:
        assert self.may_enter(name), f"{name} is entered too early, or again"
        self.visits[name] = Visit()

    def _call(self, name: str, hook: str) -> None:
        visit, declared = self._visit(name), self.graph.node(name)
        assert not self.jump
        assert not visit.calling
        assert not visit.failed
        assert visit.due is None
        assert not self.ending or declared.is_final
        if hook == "step_probe":
            assert visit.lost
            assert declared.on_interrupt == "probe"
        else:
            assert not self.pause
            assert hook == self._hook_of(name)
            assert visit.result == "", f"{hook} of {name} was done, and is called again"
            assert not (visit.lost or visit.undecided), f"{hook} of {name} is called untold"
        visit.calling, visit.lost = hook, False

    def _hook_of(self, name: str) -> str:
        visit, declared = self.visits[name], self.graph.node(name)
        if name in self.graph.nodes and "step_items" in declared.hooks:
            return "step_items" if visit.state == "EXECUTE" and visit.items is None else ""
        hook = HOOKS.get(visit.state, "")
        return hook if hook in declared.hooks else ""

    def _performed(self, record: dict[str, Any]) -> None:
        name = record["node"]
        visit = self._visit(name)
        assert (record["state"], record["attempt"]) == (visit.state, visit.attempt)
        if visit.items is not None and visit.state == "EXECUTE":
            assert visit.items_done == set(range(visit.items))
        elif self._hook_of(name):
            assert visit.result in ("done", "passed over"), f"{visit.state} of {name} is left out"
        if visit.state == "JUMP":
            self._leave(name)
            return
        visit.state = ORDER[ORDER.index(visit.state) + 1]
        visit.result, visit.attempt, visit.lost = "", 1, False

    def _leave(self, name: str) -> None:
        visit = self.visits.pop(name)
        if name not in self.graph.nodes:
            parent, number = item_of(name)
            assert number not in self.visits[parent].items_done
            self.visits[parent].items_done.add(number)
            return
        self.steps += 1
        (self.passed if visit.instead else self.done).add(name)

    def _failed(self, record: dict[str, Any]) -> None:
        name, visit = record["node"], self.visits[record["node"]]
        declared = self.graph.node(name)
        assert record["state"] == visit.state
        if visit.items is not None:
            assert self._items_are_over(name)
        else:
            assert visit.result == "failed"
            visit.result = ""
            if visit.attempt <= declared.max_retries:
                visit.attempt, visit.due = visit.attempt + 1, self.now + declared.retry_delay_s
                return
        has_way_out = declared.error_arrow_key in self.graph.open_arrows(declared.name)
        if declared.continue_on_error or (has_way_out and name in self.graph.nodes):
            visit.instead = not declared.continue_on_error
            visit.state, visit.attempt = "JUMP" if visit.state == "EXIT" else "EXIT", 1
        else:
            visit.failed = True
            self.ending |= not (has_way_out or self.limits.keep_going)

    def _items_are_over(self, name: str) -> bool:
        visit = self.visits[name]
        failed = {number for number, item in self._items(name).items() if item.failed}
        left = set(range(visit.items or 0)) - visit.items_done
        return bool(failed) and left == failed

    def _items(self, name: str) -> dict[int, Visit]:
        found = {item_of(each): visit for each, visit in self.visits.items()}
        return {
            number: visit for (parent, number), visit in found.items() if parent == name and parent
        }

    def _interrupted(self, record: dict[str, Any]) -> None:
        visit, policy = self.visits[record["node"]], record["on_interrupt"]
        assert visit.lost, "reported twice, or what was not interrupted"
        assert policy == self.graph.node(record["node"]).on_interrupt
        visit.lost = False
        if self.ending and not self.graph.node(record["node"]).is_final:
            visit.undecided = True
        else:
            self._decide(record["node"], policy)

    def _decide(self, name: str, policy: str) -> None:
        visit = self.visits[name]
        visit.lost, visit.undecided = policy == "probe", False
        if policy == "skip":
            visit.result = "passed over"
        elif policy == "ask":
            self._ask(name)

    def _ask(self, name: str) -> None:
        self.visits[name].undecided = True
        self.asked.add(name)
        self.pause.add("interrupted")

    def _finished(self, success: bool, reason: str) -> None:
        assert not self.in_flight()
        assert bool(reason) == (not success)
        failed = [n for n, visit in self.visits.items() if visit.failed and n in self.graph.nodes]
        assert success == (not failed and not self.ending)
        for name, node in self.graph.nodes.items():
            if node.is_final or success:
                assert not self.may_enter(name), f"{name} is left out"

    # --- rules ---

    def may_enter(self, name: str) -> bool:
        """Whether the node, or item, may be entered now."""
        if name not in self.graph.nodes:
            return self._may_enter_item(*item_of(name))
        node = self.graph.nodes[name]
        if name in self.visits or name in self.done or name in self.passed:
            return False
        if node.is_final != self._is_final_time():
            return False
        return self._is_unblocked(name)

    def _may_enter_item(self, parent: str, number: int) -> bool:
        visit = self.visits[parent]
        items = self._items(parent)
        at_once = self.graph.nodes[parent].items_at_once or self.limits.at_once
        free = sum(not item.failed for item in items.values()) < at_once
        known = 0 <= number < (visit.items or 0)
        return free and known and number not in visit.items_done and number not in items

    def _is_final_time(self) -> bool:
        """All nodes but the final ones have come to their end, or are not to be gone on with."""
        if self.final_jump:
            return True
        ordinary = [v for n, v in self.visits.items() if not self.graph.node(n).is_final]
        if self.ending:
            return not any(visit.calling for visit in ordinary)
        begun = self.visits.keys() | self.done | self.passed
        return all(visit.failed for visit in ordinary) and not any(
            self._is_unblocked(name)
            for name, node in self.graph.nodes.items()
            if not node.is_final and name not in begun
        )

    def _is_unblocked(self, name: str) -> bool:
        triggers = self._triggers(name)
        if triggers:
            return bool(triggers & self.passed)
        return all(source in self.done for source in self._sources(name))

    def _sources(self, name: str) -> list[str]:
        return [
            source
            for source, node in self.graph.nodes.items()
            if any(a.target == name and k != node.error_arrow_key for k, a in node.arrows.items())
        ]

    def _triggers(self, name: str) -> set[str]:
        """The nodes in whose place this one is performed when they fail."""
        return {
            source
            for source, node in self.graph.nodes.items()
            if node.error_arrow_key and node.arrows[node.error_arrow_key].target == name
        }

    def jumped(self, name: str) -> None:
        self.visits, self.jump, self.ending = {name: Visit()}, "", False
        self.asked.clear()
        self.final_jump = self.graph.nodes[name].is_final
        self._undo(self._all_dependents(name) | self._final())

    def reopened(self) -> None:
        self.ending, self.final_jump = False, False
        for name, visit in list(self.visits.items()):
            visit.attempt, visit.due = 1, None
            if visit.items is not None and not self.graph.node(name).is_final:
                visit.failed = False
            elif visit.failed or self.graph.node(name).is_final:
                del self.visits[name]
        self._undo(self._final())

    def _undo(self, names: set[str]) -> None:
        self.done -= {name for name in names if self.graph.nodes[name].active}
        self.passed -= names

    def _final(self) -> set[str]:
        return {name for name, node in self.graph.nodes.items() if node.is_final}

    def _all_dependents(self, name: str) -> set[str]:
        found = {name}
        for each in self.graph.nodes:  # in an order in which they may be run
            if found & {*self._sources(each)}:
                found.add(each)
        return found

    def in_flight(self) -> set[str]:
        return {name for name, visit in self.visits.items() if visit.calling}

    def check_equals(self, machine: DependencyMachine) -> None:
        """The machine has just the visits that it should have, and gets on with them."""
        state = machine.state
        for name, token in state.tokens.items():
            if name not in self.visits and token.held:  # entered, but the run is to rest
                self._enter(name)
        assert self.in_flight() == machine.in_flight
        mine = {
            name: (v.state, v.attempt, v.due, v.failed, v.items, sum(1 << n for n in v.items_done))
            for name, v in self.visits.items()
        }
        assert mine == {
            name: (t.state, t.attempt, t.retry_due, t.failed, t.items, t.items_done)
            for name, t in state.tokens.items()
        }
        assert state.done == self.graph.bits(self.done)
        assert set(state.passed_over) == self.passed
        assert self.steps == state.step_count
        if state.state != "RUNNING" or machine.ready:
            return
        assert machine.in_flight or machine.retries_due(), "nothing will ever happen"
        unhindered = not (self.pause or self.jump or self.ending)
        unlimited = self.limits.max_steps is None and not self.limits.at_state
        if unhindered and unlimited and len(machine.in_flight) < self.limits.at_once:
            assert not [name for name in self._all_names() if self.may_enter(name)]

    def _all_names(self) -> list[str]:
        items = [
            f"{name}[{number}]"
            for name, visit in self.visits.items()
            for number in range(visit.items or 0)
        ]
        return [*self.graph.nodes, *items]


# --- random graphs and results --------------------------------------------------------------------

DICE = st.randoms(use_true_random=True)


def random_graph(dice: Random) -> StepGraph:
    """Up to eight nodes, of which the last ones may be final, and some stand in for others."""
    names = [f"n{number}" for number in range(dice.randint(1, 8))]
    finals = set(names[len(names) - dice.choice([0, 0, 1, 2]) :]) - {names[0]}
    stand_ins: dict[str, str] = {}
    for place, name in enumerate(names[:-1]):
        later = [each for each in names[place + 1 :] if (each in finals) == (name in finals)]
        if later and dice.random() < 0.15 and name not in stand_ins.values():
            stand_ins[name] = dice.choice(later)
    arrows: dict[str, list[Arrow]] = {name: [] for name in names}
    for place, name in enumerate(names):
        if name in stand_ins.values():
            continue
        near = [each for each in names[:place] if (each in finals) == (name in finals)]
        for source in dice.sample(near, dice.randint(0, min(3, len(near)))):
            arrows[source].append(Arrow(name, source, name))
    for name, stand_in in stand_ins.items():
        arrows[name] = [arrow for arrow in arrows[name] if arrow.target != stand_in]
        arrows[name].append(Arrow(ON_ERROR, name, stand_in))
    nodes = {n: random_node(dice, n, arrows[n], n in finals) for n in names}
    return StepGraph(nodes, "", by_dependency=True)


def random_node(dice: Random, name: str, arrows: list[Arrow], is_final: bool) -> Node:
    def rarely(chance: float = 0.1) -> bool:
        return dice.random() < chance

    hooks = {"step_execute"}
    hooks |= {hook for hook in ("step_entry", "step_exit") if rarely(0.3)}
    if rarely(0.2):
        hooks.add("step_items")
    policy = dice.choice(["rerun", "ask", "skip", "probe"])
    if policy == "probe":
        hooks.add("step_probe")
    return Node(
        name,
        "module",
        hooks=frozenset(hooks),
        arrows={arrow.key: arrow for arrow in arrows},
        error_arrow_key=ON_ERROR if any(arrow.key == ON_ERROR for arrow in arrows) else None,
        max_retries=dice.randint(0, 1),
        retry_delay_s=dice.choice([0.0, 5.0]),
        continue_on_error=rarely(),
        items_at_once=dice.choice([0, 0, 1, 2]),
        on_interrupt=policy,  # type: ignore[arg-type]
        is_final=is_final,
        active=name == "n0" or not rarely(0.05),
    )


def random_limits(dice: Random) -> Limits:
    at_once, keep_going = dice.randint(1, 4), dice.random() < 0.3
    return dice.choice(
        [
            *[Limits(at_once=at_once, keep_going=keep_going)] * 4,
            Limits(at_once=at_once, max_steps=dice.randint(0, 4)),
            Limits(at_once=at_once, at_state=dice.choice(["ENTER", "ADVANCE"])),
        ]
    )


# --- the test -------------------------------------------------------------------------------------


class RunsByDependency(RuleBasedStateMachine):
    """Plays the shell around the machine: everything is saved after every event."""

    @initialize(dice=DICE)
    def a_new_instance(self, dice: Random) -> None:
        self.graph = random_graph(dice)
        for each in self.graph.nodes.values():
            note(repr(each))
        self.now = 1000.0
        self.ledger = Ledger(self.graph)
        self.saved: dict[str, Any] = {}
        self.engine_comes(random_limits(dice), [])

    # --- the shell ---

    def engine_comes(self, limits: Limits, requests: list[Event]) -> None:
        """An engine starts from the file; whatever the one before it had in flight is lost."""
        note(repr(limits))
        self.ledger.engine_is_gone(limits)
        state = RunState.load(self.saved, self.graph)
        self.machine = DependencyMachine(self.graph, state, limits)
        for event in [*requests, Started()]:
            self.happens(event)

    def happens(self, event: Event) -> None:
        note(f"{event} at {self.now}")
        self.sound = False  # until everything has been looked at
        self.ledger.now = self.now
        self.ledger.happens(event, self.machine.state.state)
        for instruction in self.machine.handle(event, self.now):
            note(f"    {instruction}")
            self.ledger.told(instruction)
        self.ledger.check_equals(self.machine)
        self.saved = saved(self.machine.state, self.graph, self.now)
        self.sound = True

    def running(self) -> bool:
        return self.machine.state.state == "RUNNING"

    def ended(self) -> bool:
        return self.machine.state.finished

    def names(self) -> list[str]:
        """The nodes that somebody may jump to."""
        return [name for name, node in self.graph.nodes.items() if node.active]

    # --- what may happen ---

    @precondition(lambda self: self.machine.in_flight)
    @rule(dice=DICE, count=st.integers(1, 30))
    def the_run_goes_on(self, dice: Random, count: int) -> None:
        for _ in range(count):
            if self.machine.in_flight:
                self.a_hook_comes_back(dice)
            while self.machine.ready:
                self.happens(Tick())
            if self.running() and self.machine.retries_due() and dice.random() < 0.5:
                self.time_passes(dice.choice([0.5, 20.0]))
            if self.running() and dice.random() < 0.03:
                self.happens(random_request(dice, list(self.graph.nodes)))

    def a_hook_comes_back(self, dice: Random) -> None:
        name = dice.choice(sorted(self.machine.in_flight))
        fates = ["done", "failed", "broken off", "refused"]
        fate = dice.choices(fates, weights=[40, 8, 1, 1])[0]
        calling = self.ledger.visits[name].calling
        if fate == "broken off":
            self.happens(HookInterrupted(name))
        elif calling == "step_probe":
            self.happens(ProbeAnswered(name, dice.choice(["done", "rerun", None])))
        elif fate == "refused":
            self.happens(HookRefused(name, "refused"))
        elif fate == "failed":
            self.happens(HookFailed(name, "it failed"))
        elif calling == "step_items":
            self.happens(HookDone(name, items=list(range(dice.choice([0, 1, 2, 5])))))
        else:
            self.happens(HookDone(name))

    @precondition(lambda self: self.running() and self.machine.retries_due())
    @rule(passing=st.sampled_from([0.5, 20.0]))
    def time_passes(self, passing: float) -> None:
        self.now += passing
        for due, name in self.machine.retries_due():
            if due <= self.now:
                self.happens(RetryDue(name))

    @precondition(lambda self: not self.ended())
    @rule(dice=DICE)
    def the_engine_is_killed_or_rested_and_another_one_starts(self, dice: Random) -> None:
        requests = [random_request(dice, list(self.graph.nodes))] if dice.random() < 0.2 else []
        self.engine_comes(random_limits(dice), requests)

    @precondition(lambda self: self.ended())
    @rule(dice=DICE)
    def a_run_that_has_ended_goes_on_elsewhere(self, dice: Random) -> None:
        state = RunState.load(self.saved, self.graph)
        name = dice.choice(self.names())
        state.jump(name, self.graph)
        self.saved = saved(state, self.graph, self.now)
        self.ledger.jumped(name)
        self.engine_comes(random_limits(dice), [])

    @precondition(lambda self: self.machine.state.has_failed)
    @rule(dice=DICE)
    def what_failed_is_tried_again(self, dice: Random) -> None:
        self.ledger.engine_is_gone(Limits())
        state = RunState.load(self.saved, self.graph)
        assert state.has_failed
        state.reopen(self.graph)
        self.saved = saved(state, self.graph, self.now)
        self.ledger.reopened()
        self.engine_comes(random_limits(dice), [])

    # --- what must be true at the end ---

    def teardown(self) -> None:
        """However it stands, it comes to its end when all goes well."""
        if not getattr(self, "sound", False):
            return
        for _ in range(1000):
            if self.ended():
                return
            if not self.running():
                self.engine_comes(Limits(at_once=2), [])
            elif self.machine.in_flight:
                name = min(self.machine.in_flight)
                calling = self.ledger.visits[name].calling
                if calling == "step_probe":
                    self.happens(ProbeAnswered(name, "rerun"))
                else:
                    self.happens(HookDone(name, items=[1] if calling == "step_items" else None))
            elif self.machine.ready:
                self.happens(Tick())
            else:
                self.now, name = self.machine.retries_due()[0]
                self.happens(RetryDue(name))
        raise AssertionError("the run doesn't come to its end")


TestRunsByDependency = RunsByDependency.TestCase
TestRunsByDependency.settings = settings(
    settings.default,
    max_examples=100,
    stateful_step_count=40,
    phases=(Phase.reuse, Phase.generate),  # not to shrink: that takes minutes
    report_multiple_bugs=False,
)
