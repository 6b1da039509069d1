"""Random graphs by dependency, results, requests and kills, against a small model of what is done.

To the rules of a visit, which `step_ledger` tells, come those of dependencies and of items. Nothing
is entered before all that it depends on is done, nothing is performed twice or left out, nothing
that could be at work waits, and at the end it is said truly how it went.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random
from typing import Any

from hypothesis import Phase, settings
from hypothesis.stateful import precondition, rule

from octo_step_dependencies import DependencyMachine
from octo_step_graph import Arrow, Node, StepGraph, item_of
from octo_step_machine import Limits, StepMachine
from octo_step_messages import Event, HookDone, Instruction, SetItems, StopRequested
from tests.modules.step_ledger import DICE, Ledger, RunsAgainstLedger, Visit
from tests.modules.step_machine_support import saved

ON_ERROR = "on error"


# --- the model ------------------------------------------------------------------------------------


@dataclass
class DependencyVisit(Visit):
    """A node, or an item of one, that is at work.

    Attributes:
        failed: It has failed for good, and nothing is performed in its place.
        instead: It has failed for good, and another node is performed in its place.
        items: For how many items it is performed, and which of them are done.
    """

    failed: bool = False
    instead: bool = False
    items: int | None = None
    items_done: set[int] = field(default_factory=set)


class DependencyLedger(Ledger[DependencyVisit]):
    """What a run by dependency has done, and so what it may do."""

    def __init__(self, graph: StepGraph) -> None:
        super().__init__(graph, DependencyVisit)
        self.done = {name for name, node in graph.nodes.items() if not node.active}
        self.passed: set[str] = set()
        self.final_jump = False  # somebody has jumped to a final node

    # --- what happens to the run ---

    def happens(self, event: Event, state: str) -> None:
        if isinstance(event, StopRequested) and not self._is_final_time():
            self.pause.clear()  # final steps are still to be performed
        super().happens(event, state)

    def may_jump_to(self, name: str) -> bool:
        return self.graph.nodes[name].active

    def _succeeds(self, visit: DependencyVisit, done: HookDone) -> None:
        if done.items is None:  # else what it has to do is known, and not done yet
            super()._succeeds(visit, done)

    # --- what the machine says ---

    def told(self, instruction: Instruction) -> None:
        super().told(instruction)
        match instruction:
            case SetItems(name, items):
                self.visits[name].items = len(items)

    def _visit(self, name: str) -> DependencyVisit:
        """The visit; begun, where it is the first that is heard of it."""
        if name not in self.visits:
            assert len(self.in_flight()) < self.limits.at_once
            self._enter(name)
        return self.visits[name]

    def _enter(self, name: str) -> None:
        assert self.may_enter(name), f"{name} is entered too early, or again"
        self.visits[name] = DependencyVisit()

    def _call(self, name: str, hook: str) -> None:
        assert not self._visit(name).failed
        super()._call(name, hook)

    def _hook_of(self, name: str) -> str:
        if name in self.graph.nodes and "step_items" in self.graph.nodes[name].hooks:
            visit = self.visits[name]
            return "step_items" if visit.state == "EXECUTE" and visit.items is None else ""
        return super()._hook_of(name)

    def _check_performed(self, name: str) -> None:
        visit = self.visits[name]
        if visit.items is not None and visit.state == "EXECUTE":
            assert visit.items_done == set(range(visit.items))
        else:
            super()._check_performed(name)

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
        if visit.items is None:
            super()._failed(record)
            return
        assert (record["state"], record["attempt"]) == (visit.state, visit.attempt)
        assert self._items_are_over(name)
        self._fails_for_good(name)

    def _fails_for_good(self, name: str) -> None:
        visit, declared = self.visits[name], self.graph.node(name)
        has_way_out = declared.error_arrow_key in self.graph.open_arrows(declared.name)
        if declared.continue_on_error or (has_way_out and name in self.graph.nodes):
            visit.give_up()
            visit.instead = not declared.continue_on_error
            for number in self._items(name):
                del self.visits[f"{name}[{number}]"]
        else:
            visit.failed = True
            self.ending |= not (has_way_out or self.limits.keep_going)

    def _items_are_over(self, name: str) -> bool:
        visit = self.visits[name]
        failed = {number for number, item in self._items(name).items() if item.failed}
        left = set(range(visit.items or 0)) - visit.items_done
        return bool(failed) and left == failed

    def _items(self, name: str) -> dict[int, DependencyVisit]:
        found = {item_of(each): visit for each, visit in self.visits.items()}
        return {
            number: visit for (parent, number), visit in found.items() if parent == name and parent
        }

    def _finished(self, success: bool, reason: str) -> None:
        failed = [n for n, visit in self.visits.items() if visit.failed and n in self.graph.nodes]
        assert success == (not failed and not self.ending)
        for name, node in self.graph.nodes.items():
            if node.is_final or success:
                assert not self.may_enter(name), f"{name} is left out"
        super()._finished(success, reason)

    # --- rules ---

    def _is_to_end(self, name: str) -> bool:
        return self.ending and not self.graph.node(name).is_final

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
        super().jumped(name)
        self.final_jump = self.graph.nodes[name].is_final
        self._undo(self._all_dependents(name) | self._final())
        self.done |= self._all_sources(name) - {name} - self.passed

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

    def _all_sources(self, name: str) -> set[str]:
        found = {name}
        for each in reversed(list(self.graph.nodes)):
            if each in found:
                found |= {*self._sources(each)}
        return found

    def check_equals(self, machine: StepMachine) -> None:
        state = machine.state
        for name, token in state.tokens.items():
            if name not in self.visits and token.held:  # entered, but the run is to rest
                self._enter(name)
        super().check_equals(machine)
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
        if state.state != "RUNNING" or machine.ready:
            return
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


class RunsByDependency(RunsAgainstLedger):
    """By dependency, with items and final nodes; what has failed may be tried again."""

    machine_type = twin_type = DependencyMachine
    fates = (40, 8, 1, 1)
    ledger: DependencyLedger

    def random_graph(self, dice: Random) -> StepGraph:
        return random_graph(dice)

    def new_ledger(self) -> DependencyLedger:
        return DependencyLedger(self.graph)

    def random_limits(self, dice: Random) -> Limits:
        return random_limits(dice)

    def random_success(self, dice: Random, name: str, hook: str) -> HookDone:
        if hook == "step_items":
            return HookDone(name, items=list(range(dice.choice([0, 1, 2, 5]))))
        return HookDone(name)

    @precondition(lambda self: self.machine.state.has_failed)
    @rule(dice=DICE)
    def what_failed_is_tried_again(self, dice: Random) -> None:
        self.ledger.engine_is_gone(Limits())
        state = self.loaded()
        assert state.has_failed
        state.reopen(self.graph)
        self.saved = saved(state, self.graph, self.now)
        self.ledger.reopened()
        self.engine_comes(self.random_limits(dice))

    def teardown(self) -> None:
        """However it stands, it comes to its end when all goes well."""
        assert not self.sound or self.comes_to_its_end(1000)


TestRunsByDependency = RunsByDependency.TestCase
TestRunsByDependency.settings = settings(
    settings.default,
    max_examples=100,
    stateful_step_count=40,
    phases=(Phase.reuse, Phase.generate),  # not to shrink: that takes minutes
    report_multiple_bugs=False,
)
