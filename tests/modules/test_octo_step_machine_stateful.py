"""Random graphs, results, requests and kills, against a small model of what a run is.

To the rules of a visit, which `step_ledger` tells, come those of forks, of joins and of arrows
that are chosen. After every event, the model must hold the same nodes as the machine.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from graphlib import TopologicalSorter
from random import Random
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from octo_step_graph import Node, StepGraph
from octo_step_machine import Limits, StepMachine
from octo_step_messages import (
    HookDone,
    HookInterrupted,
    Instruction,
    Record,
    StopRequested,
)
from tests.modules.step_ledger import DICE, LEFT_OUT, Ledger, RunsAgainstLedger, Visit
from tests.modules.step_machine_support import CheckedMachine, brief, graph, node

ENDS = ("COMPLETE", "COMPLETE_ERROR")


# --- the model ------------------------------------------------------------------------------------


@dataclass
class ArrowVisit(Visit):
    """One visit of a node.

    Attributes:
        arrows: Those that it follows at its end.
        chosen: Those that its step_advance has returned.
        queued: More visits of the same node, after this one.
    """

    arrows: tuple[str, ...] = ()
    chosen: tuple[str, ...] = ()
    queued: int = 0


class ArrowLedger(Ledger[ArrowVisit]):
    """What a run that follows arrows has done, and so what it may do."""

    def __init__(self, graph: StepGraph) -> None:
        super().__init__(graph, ArrowVisit)
        self.arrivals: Counter[tuple[str, str]] = Counter()

    # --- what happens to the run ---

    def _starts(self) -> None:
        super()._starts()
        if not self.visits and not self.jump:
            self.visits[self.graph.first] = ArrowVisit()

    def _succeeds(self, visit: ArrowVisit, done: HookDone) -> None:
        super()._succeeds(visit, done)
        visit.chosen = done.arrows
        if visit.state == "ADVANCE" and not self._good_choice(done.node, done.arrows):
            visit.result = "failed"

    # --- what the machine says ---

    def told(self, instruction: Instruction) -> None:
        super().told(instruction)
        match instruction:
            case Record({"event": "join_wait", "node": name, "missing": missing}):
                assert missing == self._missing(name)
                assert missing

    def _performed(self, record: dict[str, Any]) -> None:
        visit, declared = self.visits[record["node"]], self.graph.nodes[record["node"]]
        is_off = visit.state == "EXECUTE" and declared.skip_execute
        assert record.get("skipped", False) == (is_off or visit.result in LEFT_OUT)
        if visit.state == "ADVANCE":
            visit.arrows = visit.chosen or self._only_arrow(declared)
        super()._performed(record)

    def _fails_for_good(self, name: str) -> None:
        visit, declared = self.visits[name], self.graph.nodes[name]
        if declared.error_arrow_key in self._open(declared):
            visit.give_up()
            visit.arrows = (str(declared.error_arrow_key),)
        elif not self.jump:
            self.ending = True

    def _rests(self, reason: str) -> None:
        assert self.visits
        super()._rests(reason)

    def _finished(self, success: bool, reason: str) -> None:
        failed = self.ending or any(self.arrivals.values())
        assert success == (not failed)
        assert self.ending or not self.visits
        super()._finished(success, reason)

    # --- rules ---

    def _leave(self, name: str) -> None:
        visit = self.visits.pop(name)
        self.steps += 1
        if visit.queued:
            self.visits[name] = ArrowVisit(queued=visit.queued - 1)
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
            self.visits[name] = ArrowVisit()

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
        super().jumped(name)
        self.arrivals.clear()

    def check_equals(self, machine: StepMachine) -> None:
        super().check_equals(machine)
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
        if machine.state.state == "RUNNING" and not machine.in_flight and not machine.ready:
            assert not self.ending
            assert self.visits


# --- random graphs and results --------------------------------------------------------------------


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


class RunsOfRandomGraphs(RunsAgainstLedger):
    """Along arrows, which may lead in circles; somebody may set the current node by hand."""

    machine_type, twin_type = CheckedMachine, StepMachine
    fates = (40, 4, 2, 1)

    def random_graph(self, dice: Random) -> StepGraph:
        return random_graph(dice)

    def new_ledger(self) -> ArrowLedger:
        return ArrowLedger(self.graph)

    def random_limits(self, dice: Random) -> Limits:
        return random_limits(dice, self.names())

    def random_success(self, dice: Random, name: str, hook: str) -> HookDone:
        choice = random_choice(dice, self.graph, name) if hook == "step_advance" else ()
        return HookDone(name, choice)

    @precondition(lambda self: self.resting())
    @rule(dice=DICE)
    def somebody_sets_the_current_node(self, dice: Random) -> None:
        inactive = [name for name in self.names() if name not in self.machine.state.tokens]
        if inactive:
            name = dice.choice(inactive)
            self.saved["global_parameters"]["current_step_node"] = name
            self.ledger.jumped(name)
            self.engine_comes(Limits())

    @precondition(lambda self: self.ended())
    @rule(dice=DICE)
    def another_instance(self, dice: Random) -> None:
        self.begin_anew(dice)

    def teardown(self) -> None:
        """However it stands, it can be brought to its end, at the latest by a stop."""
        if not self.sound or self.comes_to_its_end(60):
            return
        if self.resting():
            self.engine_comes(Limits(), StopRequested("stop"))
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
