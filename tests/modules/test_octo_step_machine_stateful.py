"""Random graphs, results, requests and kills, against a small model of what a run is.

The model is a ledger of visits. It decides nothing by itself: it reads what the machine records and
calls, and checks each move against the rules of a visit (ENTER to JUMP, one after the other, each
hook once), of forks and of joins. After every event, it must hold the same nodes as the machine.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from graphlib import TopologicalSorter
from random import Random
from typing import Any

from hypothesis import given, note, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from octo_step_graph import Node, StepGraph
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
    RetryDue,
    Started,
    StopRequested,
    Tick,
)
from octo_step_states import RunState
from tests.modules.step_machine_support import (
    CheckedMachine,
    brief,
    graph,
    node,
    random_request,
    saved,
)

ORDER = ("ENTER", "EXECUTE", "ADVANCE", "EXIT", "JUMP")
HOOKS = {
    "ENTER": "step_entry",
    "EXECUTE": "step_execute",
    "ADVANCE": "step_advance",
    "EXIT": "step_exit",
}
ENDS = ("COMPLETE", "COMPLETE_ERROR")


# --- the model ------------------------------------------------------------------------------------


@dataclass
class Visit:
    """One visit of a node.

    Attributes:
        state: What is to be performed.
        result: What is known of the hook of `state`: it came back "done" or "failed", or it is
            "passed over" by a policy.
        calling: The hook that is in flight.
        done: The hooks that came back well in this visit.
        lost: The engine ended while a hook was in flight.
        undecided: That has been told, and nobody has been asked yet what is to become of it.
        found_at: The state in which the last start found this visit.
        queued: More visits of the same node, after this one.
    """

    state: str = "ENTER"
    result: str = ""
    calling: str = ""
    done: list[str] = field(default_factory=list)
    arrows: tuple[str, ...] = ()
    chosen: tuple[str, ...] = ()
    attempt: int = 1
    due: float | None = None
    lost: bool = False
    undecided: bool = False
    found_at: str = ""
    queued: int = 0


class Ledger:
    """What a run has done, and so what it may do."""

    def __init__(self, what: StepGraph) -> None:
        self.graph = what
        self.visits: dict[str, Visit] = {}
        self.arrivals: Counter[tuple[str, str]] = Counter()
        self.steps = 0
        self.steps_at_start = 0
        self.ending = False
        self.jump = ""
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
        self.limits = limits
        self.steps_at_start = self.steps

    def happens(self, event: Event, state: str) -> None:
        match event:
            case Started():
                for name, visit in self.visits.items():
                    visit.found_at = visit.state
                    if visit.undecided and not (self.ending or self.pause or self.jump):
                        self._decide(name, self._policy(name))
                if not self.visits and not self.jump:
                    self.visits[self.graph.first] = Visit()
            case PauseRequested():
                self.pause.add("pause")
            case StopRequested():
                self.ending, self.jump = True, ""
            case JumpRequested(name) if not self.ending and "COMPLETE" not in state:
                self.jump = name
            case HookDone(name, arrows):
                visit = self._lands(name)
                visit.result, visit.chosen = "done", arrows
                if visit.state == "ADVANCE" and not self._good_choice(name, arrows):
                    visit.result = "failed"
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
            case Record({"event": "state"} as record):
                self._performed(record)
            case Record({"event": "step_error"} as record):
                self._failed(record)
            case Record({"event": "retry", "node": name, "delay_s": delay}):
                declared, visit = self.graph.nodes[name], self.visits[name]
                factor = declared.retry_backoff ** (visit.attempt - 2)
                assert delay == declared.retry_delay_s * factor
                assert visit.due == self.now + delay
            case Record({"event": "interrupted"} as record):
                self._interrupted(record)
            case Record({"event": "join_wait", "node": name, "missing": missing}):
                assert missing == self._missing(name)
                assert missing
            case Record({"event": "jump", "node": name}):
                assert name == self.jump
                assert not self._in_flight()
                self.jumped(name)
            case Record({"event": "jump_refused"}):
                assert self.ending or not self.visits
            case Rest(reason):
                self._rests(reason)
            case Finish(success):
                failed = self.ending or any(self.arrivals.values())
                assert success == (not failed)
                assert self.ending or not self.visits
                self.ending = True
        if self.limits.max_steps is not None:
            assert self.steps - self.steps_at_start <= self.limits.max_steps

    def _call(self, name: str, hook: str) -> None:
        visit = self.visits[name]
        if hook == "step_probe":
            assert visit.lost
            assert self.graph.nodes[name].on_interrupt == "probe"
        else:
            assert hook == HOOKS[visit.state]
            assert hook not in visit.done, f"{hook} of {name} was done, and is called again"
            assert visit.result == ""
            assert not visit.undecided, f"{hook} of {name} is called, and nobody was asked"
            self._check_not_to_rest_before(name)
        assert visit.due is None
        assert not visit.calling
        visit.calling, visit.lost = hook, False

    def _performed(self, record: dict[str, Any]) -> None:
        name, declared = record["node"], self.graph.nodes[record["node"]]
        visit = self.visits[name]
        assert record["state"] == visit.state
        assert record["attempt"] == visit.attempt
        hook = HOOKS.get(visit.state, "")
        if hook in declared.hooks and not (visit.state == "EXECUTE" and declared.skip_execute):
            assert visit.result in ("done", "passed over"), f"{hook} of {name} is left out"
            visit.done.append(hook)
        if visit.result != "passed over":
            assert record.get("skipped", False) == (
                visit.state == "EXECUTE" and declared.skip_execute
            )
            if visit.result == "":
                self._check_not_to_rest_before(name)
        if visit.state == "ADVANCE":
            visit.arrows = visit.chosen or self._only_arrow(declared)
        if visit.state == "JUMP":
            self._leave(name)
            return
        visit.state = ORDER[ORDER.index(visit.state) + 1]
        visit.result, visit.attempt, visit.lost = "", 1, False

    def _failed(self, record: dict[str, Any]) -> None:
        name, declared = record["node"], self.graph.nodes[record["node"]]
        visit = self.visits[name]
        assert (record["state"], record["attempt"]) == (visit.state, visit.attempt)
        assert visit.result == "failed"
        visit.result = ""
        if visit.attempt <= declared.max_retries:
            wait = declared.retry_delay_s * declared.retry_backoff ** (visit.attempt - 1)
            visit.attempt, visit.due = visit.attempt + 1, self.now + wait
        elif declared.error_arrow_key in self._open(declared):
            visit.state = "JUMP" if visit.state == "EXIT" else "EXIT"
            visit.arrows, visit.attempt = (str(declared.error_arrow_key),), 1
        elif not self.jump:
            self.ending = True

    def _interrupted(self, record: dict[str, Any]) -> None:
        visit, policy = self.visits[record["node"]], record["on_interrupt"]
        assert visit.lost, "reported twice, or what was not interrupted"
        assert record["state"] == visit.state
        assert policy == self._policy(record["node"])
        self._decide(record["node"], policy)

    def _policy(self, name: str) -> str:
        declared: str = self.graph.nodes[name].on_interrupt
        advance = self.visits[name].state == "ADVANCE"
        return "rerun" if advance and declared != "ask" else declared

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

    def _rests(self, reason: str) -> None:
        assert self.visits
        for name in self.asked:
            self.visits[name].undecided = False
        assert not self._in_flight()
        kind, _, name = reason.replace("breakpoint at the ", "").partition(" ")
        match kind:
            case "pause" | "interrupted":
                assert kind in self.pause
            case "until":
                assert name == self.limits.until
                assert self.visits[name].state == "ENTER" != self.visits[name].found_at
            case "max-steps":
                assert self.steps - self.steps_at_start == self.limits.max_steps
            case "single":
                assert self.limits.at_state
            case _ if reason.endswith(": refused"):
                assert "refused" in self.pause
            case _:
                visit = self.visits[name.removeprefix("of ")]
                assert visit.state == {"entry": "ENTER", "exit": "JUMP"}[kind]
                assert visit.found_at != visit.state, "rests there for the second time"

    # --- rules ---

    def _check_not_to_rest_before(self, name: str) -> None:
        """The present state of the node is performed now; nothing may forbid that."""
        visit, declared, limits = self.visits[name], self.graph.nodes[name], self.limits
        assert not self.pause
        assert not self.jump
        assert limits.max_steps is None or self.steps - self.steps_at_start < limits.max_steps
        if limits.at_state:
            half = ("ENTER", "EXECUTE") if limits.at_state == "ENTER" else ORDER[2:]
            assert visit.state not in half
        elif visit.found_at != visit.state:
            assert not (visit.state == "ENTER" and declared.entry_breakpoint)
            assert not (visit.state == "ENTER" and limits.until == name)
            assert not (visit.state == "JUMP" and declared.exit_breakpoint)

    def _leave(self, name: str) -> None:
        visit = self.visits.pop(name)
        self.steps += 1
        if visit.queued:
            self.visits[name] = Visit(queued=visit.queued - 1)
        self.ending = self.ending or "COMPLETE_ERROR" in visit.arrows
        for key in visit.arrows:
            if key not in ENDS:
                arrow = self.graph.nodes[name].arrows.get(key)
                self._arrive(arrow.target if arrow else name, name)

    def _arrive(self, name: str, source: str) -> None:
        if self.graph.nodes[name].join_all and name != source:
            self.arrivals[name, source] += 1
            if self._missing(name):
                return
            came = {s for (join, s), count in self.arrivals.items() if join == name and count}
            for each in came:  # from wherever
                self.arrivals[name, each] -= 1
        if name in self.visits:
            self.visits[name].queued += 1
        else:
            self.visits[name] = Visit()

    def _awaited(self, join: str) -> set[str]:
        """By the definition: what has an open arrow to it, and can be reached from the first."""
        reached, seen = {self.graph.first}, set[str]()
        while reached != seen:
            seen = set(reached)
            reached |= {
                self.graph.nodes[name].arrows[key].target
                for name in seen
                for key in self._open(self.graph.nodes[name])
            }
        open_targets = {
            name: [
                self.graph.nodes[name].arrows[k].target for k in self._open(self.graph.nodes[name])
            ]
            for name in reached
        }
        return {name for name, targets in open_targets.items() if join in targets} - {join}

    def _missing(self, join: str) -> list[str]:
        return sorted(each for each in self._awaited(join) if not self.arrivals[join, each])

    def _open(self, declared: Node) -> list[str]:
        nodes = self.graph.nodes
        return [k for k, a in declared.arrows.items() if a.active and nodes[a.target].active]

    def _only_arrow(self, declared: Node) -> tuple[str, ...]:
        spared = declared.error_arrow_key if len(declared.arrows) > 1 else None
        return tuple(k for k in self._open(declared) if k != spared) or ("COMPLETE",)

    def _good_choice(self, name: str, keys: tuple[str, ...]) -> bool:
        declared = self.graph.nodes[name]
        stay = {f"step_arrow_graph_list_key_{name}"} - declared.arrows.keys()
        known = all(key in {*self._open(declared), *ENDS, *stay} for key in keys)
        alone = len(keys) == 1 or not set(keys) & set(ENDS)
        return bool(keys) and known and alone and len(set(keys)) == len(keys)

    def jumped(self, name: str) -> None:
        self.visits, self.jump = {name: Visit()}, ""
        self.arrivals.clear()
        self.asked.clear()
        self.ending = False

    def _in_flight(self) -> set[str]:
        return {name for name, visit in self.visits.items() if visit.calling}

    def check_equals(self, machine: StepMachine) -> None:
        """The machine has just the visits that it should have, and gets on with them."""
        assert self._in_flight() == machine.in_flight
        mine = {
            name: (visit.state, visit.attempt, visit.queued, visit.due, visit.arrows)
            for name, visit in self.visits.items()
        }
        found = {
            name: (token.state, token.attempt, token.pending, token.retry_due, token.arrows)
            for name, token in machine.state.tokens.items()
        }
        assert mine == found
        arrived = Counter((j, s) for j, ss in machine.state.arrivals.items() for s in ss)
        assert +self.arrivals == arrived
        assert self.steps == machine.state.step_count
        if machine.state.state == "RUNNING" and not machine.in_flight and not machine.ready:
            assert not self.ending
            assert not self.pause
            assert not self.jump
            assert self.visits


# --- random graphs and results --------------------------------------------------------------------

DICE = st.randoms(use_true_random=True)
"""Hypothesis draws once for many events, not for each detail: that is many times faster."""


def random_graph(dice: Random) -> StepGraph:
    """Up to seven nodes that fork and join, with some arrows back.

    Every node has a hook, so that something happens in every circle.
    """
    names = [f"n{i}" for i in range(dice.randint(1, 7))]
    targets: dict[str, list[str]] = {name: [] for name in names}
    sources = {names[0]: set[str]()}
    for i, name in enumerate(names[1:], 1):
        near = names[max(0, i - 3) : i]
        sources[name] = set(dice.sample(near, dice.randint(1, len(near))))
        for source in sorted(sources[name]):
            targets[source].append(name)
    for name in names:
        if dice.random() < 0.2:
            targets[name].append(dice.choice(names))
    return graph(*(random_node(dice, n, targets[n], len(sources[n]) > 1) for n in names))


def random_node(dice: Random, name: str, targets: list[str], may_join: bool) -> Node:
    def rarely() -> bool:
        return dice.random() < 0.1

    arrows = {f"{i}-{target}": target for i, target in enumerate(targets)}
    hooks = {"step_execute", *dice.sample(["step_entry", "step_exit", "step_make_safe"], 1)}
    if len(arrows) > 1 or rarely():
        hooks.add("step_advance")
    skip = rarely()
    if skip:
        hooks.add("step_exit")
    policy = dice.choice(["rerun", "ask", "skip", "probe"])
    if policy == "probe":
        hooks.add("step_probe")
    return node(
        name,
        arrows,
        hooks=hooks,
        closed=[key for key in arrows if rarely()],
        skip_execute=skip,
        entry_breakpoint=rarely(),
        exit_breakpoint=rarely(),
        max_retries=dice.randint(0, 2),
        retry_delay_s=dice.choice([0.0, 1.0, 5.0]),
        retry_backoff=dice.choice([1.0, 2.0]),
        error_arrow_key=dice.choice([None, *arrows]) if rarely() else None,
        join_all=may_join and dice.random() < 0.8,
        on_interrupt=policy,
        active=name == "n0" or dice.random() < 0.95,
    )


def random_limits(dice: Random, names: list[str]) -> Limits:
    return dice.choice(
        [
            *[Limits()] * 5,
            Limits(max_steps=dice.randint(0, 6), until=dice.choice([None, *names])),
            Limits(at_state=dice.choice(["ENTER", "ADVANCE"])),
        ]
    )


def random_choice(dice: Random, what: StepGraph, name: str) -> tuple[str, ...]:
    """Most often a fork into all open arrows; sometimes an end, a loop, or a mistake."""
    arrows = [*what.open_arrows(name)]
    stay = f"step_arrow_graph_list_key_{name}"
    match dice.randrange(10):
        case 0:
            odd = [*what.nodes[name].arrows, *ENDS, stay, "nonsense"]
            return tuple(dice.choices(odd, k=dice.randint(0, 2)))
        case 1:
            return (stay,)
        case 2 | 3 if arrows:
            return tuple(dice.sample(arrows, dice.randint(1, len(arrows))))
        case _:
            return tuple(arrows) or ("COMPLETE",)


# --- the test -------------------------------------------------------------------------------------


class RunsOfRandomGraphs(RuleBasedStateMachine):
    """Plays the shell around the machine: everything is saved after every event."""

    @initialize(dice=DICE)
    def a_new_instance(self, dice: Random) -> None:
        self.graph = random_graph(dice)
        self.now = 1000.0
        self.begin_anew()

    def begin_anew(self) -> None:
        for each in self.graph.nodes.values():
            note(repr(each))
        self.ledger = Ledger(self.graph)
        self.saved: dict[str, Any] = {}
        self.engine_comes(Limits(), [])

    # --- the shell ---

    def engine_comes(self, limits: Limits, requests: list[Event]) -> None:
        """An engine starts from the file; whatever the one before it had in flight is lost."""
        self.ledger.engine_is_gone(limits)
        self.origin, self.limits = self.saved, limits
        state = RunState.load(self.saved, self.graph)
        self.machine = CheckedMachine(self.graph, state, limits)
        for event in [*requests, Started()]:
            self.happens(event)

    def happens(self, event: Event) -> None:
        note(f"{event} at {self.now}")
        self.ledger.now = self.now
        self.ledger.happens(event, self.machine.state.state)
        for instruction in self.machine.handle(event, self.now):
            self.ledger.told(instruction)
        self.ledger.check_equals(self.machine)
        self.saved = saved(self.machine.state, self.graph, self.now)

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
            if self.running() and dice.random() < 0.03:
                self.happens(random_request(dice, self.names()))

    def a_hook_comes_back(self, dice: Random) -> None:
        name = dice.choice(sorted(self.machine.in_flight))
        fates = ["done", "failed", "broken off", "refused"]
        fate = dice.choices(fates, weights=[40, 4, 2, 1])[0]
        calling = self.ledger.visits[name].calling
        if fate == "broken off":
            self.happens(HookInterrupted(name))
        elif calling == "step_probe":
            self.happens(ProbeAnswered(name, dice.choice(["done", "rerun", None])))
        elif fate == "failed":
            self.happens(HookFailed(name, "it failed"))
        elif fate == "refused":
            self.happens(HookRefused(name, "refused"))
        elif calling == "step_advance":
            self.happens(HookDone(name, random_choice(dice, self.graph, name)))
        else:
            self.happens(HookDone(name))

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
        self.check_determinism()
        requests = [random_request(dice, self.names())] if dice.random() < 0.2 else []
        self.engine_comes(random_limits(dice, self.names()), requests)

    @precondition(lambda self: self.resting())
    @rule(dice=DICE)
    def somebody_sets_the_current_node(self, dice: Random) -> None:
        inactive = [name for name in self.names() if name not in self.machine.state.tokens]
        if inactive:
            name = dice.choice(inactive)
            self.saved["global_parameters"]["current_step_node"] = name
            self.ledger.jumped(name)
            self.engine_comes(Limits(), [])

    @precondition(lambda self: self.ended())
    @rule(dice=DICE)
    def a_run_that_has_ended_goes_on_elsewhere(self, dice: Random) -> None:
        self.check_determinism()
        state = RunState.load(self.saved, self.graph)
        name = dice.choice(self.names())
        state.jump(name, self.graph)
        self.saved = saved(state, self.graph, self.now)
        self.ledger.jumped(name)
        self.engine_comes(Limits(), [])

    @precondition(lambda self: self.ended())
    @rule(dice=DICE)
    def another_instance(self, dice: Random) -> None:
        self.check_determinism()
        self.graph = random_graph(dice)
        self.begin_anew()

    # --- what must be true at the end ---

    def check_determinism(self) -> None:
        again = StepMachine(self.graph, RunState.load(self.origin, self.graph), self.limits)
        said = [i for event, now in self.machine.events for i in again.handle(event, now)]
        assert said == self.machine.said

    def teardown(self) -> None:
        """However it stands, it can be brought to its end, at the latest by a stop."""
        if not hasattr(self, "machine"):
            return
        self.check_determinism()
        for _ in range(60):
            if self.ended():
                return
            if self.resting():
                self.engine_comes(Limits(), [])
            elif self.machine.in_flight:
                name = min(self.machine.in_flight)
                calling = self.ledger.visits[name].calling
                if calling == "step_probe":
                    self.happens(ProbeAnswered(name, "rerun"))
                else:
                    self.happens(HookDone(name, ("COMPLETE",) if calling == "step_advance" else ()))
            elif self.machine.ready:
                self.happens(Tick())
            else:
                self.now, name = self.machine.retries_due()[0]
                self.happens(RetryDue(name))
        if self.resting():
            self.engine_comes(Limits(), [StopRequested("stop")])
        else:
            self.happens(StopRequested("stop"))
        for name in sorted(self.machine.in_flight):
            self.happens(HookInterrupted(name))
        assert self.ended()


TestRunsOfRandomGraphs = RunsOfRandomGraphs.TestCase
TestRunsOfRandomGraphs.settings = settings(
    settings.default, max_examples=60, stateful_step_count=50
)


# --- the order of a graph without circles ---------------------------------------------------------


@st.composite
def forks_and_joins(draw: st.DrawFn) -> dict[str, set[str]]:
    """Node -> its predecessors, in a random graph without circles."""
    before: dict[str, set[str]] = {"n0": set()}
    for i in range(1, draw(st.integers(1, 12))):
        earlier = st.sampled_from(sorted(before))
        before[f"n{i}"] = draw(st.sets(earlier, min_size=1, max_size=4))
    return before


@given(before=forks_and_joins(), data=st.data())
def test_steps_execute_as_soon_as_all_before_them_are_done_and_never_earlier(
    before: dict[str, set[str]], data: st.DataObject
) -> None:
    after = {n: [m for m, sources in before.items() if n in sources] for n in before}
    machine = CheckedMachine(
        graph(
            *(
                node(n, after[n], hooks=["step_execute", "step_advance"], join_all=len(s) > 1)
                for n, s in before.items()
            )
        )
    )
    oracle = TopologicalSorter(before)
    oracle.prepare()
    executing = set(oracle.get_ready())
    assert machine.start() == ["n0.step_execute"]
    told: list[str] = []
    while executing:
        name = data.draw(st.sampled_from(sorted(executing)))
        executing.remove(name)
        assert machine.done(name) == [f"{name}.step_advance"]
        told = machine.done(name, *(after[name] or ["COMPLETE"]))
        oracle.done(name)
        ready = oracle.get_ready()
        executing.update(ready)
        assert sorted(each for each in told if "." in each) == sorted(
            f"{each}.step_execute" for each in ready
        )
    assert told[-1] == "success"
    assert machine.state.step_count == len(before)
    assert brief(machine.said).count("success") == 1
