"""The model of a step graph: nodes and arrows, checked, with all defaults filled in.

`octo_graph_checks` makes it of what nodes declare.

An arrow is *open* when it is active and its target is active: only then can it be followed, so an
inactive node is never entered. To switch a node or an arrow off is no mistake: a node that is cut
off by it gives a warning, one that no arrow leads to at all is an error.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Container, Iterable
from dataclasses import dataclass, field
from typing import Literal

OnInterrupt = Literal["rerun", "ask", "skip", "probe"]
COMPLETE, COMPLETE_ERROR = "COMPLETE", "COMPLETE_ERROR"
HOOK_OF_STATE = {
    "ENTER": "step_entry",
    "EXECUTE": "step_execute",
    "ADVANCE": "step_advance",
    "EXIT": "step_exit",
}
"""The hook that performs a state of a step; JUMP has none."""


def self_arrow_key(name: str) -> str:
    """The arrow key that stays on the node `name`, declared or not."""
    return "step_arrow_graph_list_key_" + name


@functools.lru_cache(maxsize=1024)  # asked some twenty times for each item that is performed
def item_of(name: str) -> tuple[str, int]:
    """The node, and the number from 0, of one of its items; ("", 0) for a name that is none."""
    node, bracket, number = name[:-1].rpartition("[")
    sound = bracket and name.endswith("]") and number.isdecimal()
    return (node, int(number)) if sound else ("", 0)


# --- the model ------------------------------------------------------------------------------------

# Nodes and arrows don't change. They are not `frozen`, as such a one takes four times as long to
# make, which was a quarter of the time to check a large graph.


@dataclass(slots=True)
class Arrow:
    """A directed edge. `active` is what its dict says; whether it is open also takes its target.

    Attributes:
        module: The module that is said to hold the target; empty if none is said.
        attributes: Graphviz attributes, as text.
    """

    key: str
    source: str
    target: str
    module: str = ""
    active: bool = True
    attributes: dict[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class Node:
    """A step node.

    Attributes:
        attributes: Graphviz attributes, as text; there is always a `label`.
        timeout_s: None for no limit.
        retry_jitter: By which share of itself a wait is longer or shorter, at random.
        own_process: Its hooks run in a worker process whatever the executor.
        continue_on_error: Its last failure counts as done.
        is_final: It runs when all others are done, or when the run ends otherwise.
        items_at_once: How many of its items may run at once; 0 for no limit of its own.
        owns_group: Its hooks keep what they like in its group, also as `result`; else that is what
            it returned, and nothing else.
        hooks: The hooks that the engine has to call; with `step_items` among them, `step_execute`
            is called once for each item of the list that it returns.
        arrows: All arrows, by key, in the order of their declaration.
    """

    name: str
    module: str
    description: str = ""
    attributes: dict[str, str] = field(default_factory=dict)
    active: bool = True
    entry_breakpoint: bool = False
    exit_breakpoint: bool = False
    skip_execute: bool = False
    timeout_s: float | None = None
    max_retries: int = 0
    retry_delay_s: float = 0.0
    retry_backoff: float = 1.0
    retry_jitter: float = 0.0
    error_arrow_key: str | None = None
    join_all: bool = False
    on_interrupt: OnInterrupt = "rerun"
    own_process: bool = False
    continue_on_error: bool = False
    is_final: bool = False
    items_at_once: int = 0
    owns_group: bool = True
    hooks: frozenset[str] = frozenset()
    arrows: dict[str, Arrow] = field(default_factory=dict)


def named(bits: int, names: Iterable[str]) -> list[str]:
    """Of all names, in the order of the graph, those whose bits `StepGraph.bits` has set."""
    return [name for place, name in enumerate(names) if bits >> place & 1]


class StepGraph:
    """Nodes and arrows that fit together; does not change. Every arrow's target is in `nodes`.

    Attributes:
        first: The node that a run begins at.
        by_dependency: Arrows are dependencies: a node is entered when all nodes with an arrow to it
            are done, and it has no other choice than to lead on. Then there is no one first node
            (`first` is "") and no circle, and `nodes` come in an order in which they may be run.
    """

    def __init__(self, nodes: dict[str, Node], first: str, *, by_dependency: bool = False) -> None:
        self.nodes = nodes
        self.first = first
        self.by_dependency = by_dependency
        self._open = {
            name: {
                key: arrow
                for key, arrow in node.arrows.items()
                if arrow.active and nodes[arrow.target].active
            }
            for name, node in nodes.items()
        }

    def node(self, name: str) -> Node:
        """The node of that name; for an item of a node, as in `load[3]`, that node.

        Raises:
            KeyError: There is none.
        """
        node = self.nodes.get(name)
        return self.nodes[item_of(name)[0]] if node is None else node

    def has(self, name: str) -> bool:
        """Whether there is such a node, or a node by dependency of which that is an item."""
        return name in self.nodes or (self.by_dependency and item_of(name)[0] in self.nodes)

    def has_items(self, name: str) -> bool:
        """Whether that is a node that is performed for the items of a list, and no such item."""
        node = self.nodes.get(name)
        return node is not None and "step_items" in node.hooks

    def policy_after_interrupt(self, name: str, state: str) -> OnInterrupt:
        """What becomes of the hook of `state` when an engine ended in the middle of it.

        One that decides is repeated unless the node asks: to decide changes nothing, and without it
        there is no arrow to follow, or no item to perform.
        """
        policy = self.node(name).on_interrupt
        decides = state == "ADVANCE" or (state == "EXECUTE" and self.has_items(name))
        return "rerun" if decides and policy != "ask" else policy

    def dependents(self, name: str) -> list[str]:
        """The nodes that wait for `name`, in a graph by dependency."""
        return self._leads_on_to(name)

    def all_dependents(self, name: str) -> set[str]:
        """`name`, and all nodes that wait for it, directly or not."""
        return reached([name], self.dependents)

    def all_sources(self, name: str) -> set[str]:
        """`name`, and all nodes that it waits for, directly or not."""
        return reached([name], self.sources_into)

    def active_around(self, name: str) -> list[str]:
        """The active nodes nearest to `name` in a graph by dependency, before it and after it."""
        found = self._first_active(name, self.sources_into)
        found |= self._first_active(name, self.dependents)
        return [each for each in self.nodes if each in found]

    def _first_active(self, name: str, beside: Callable[[str], Iterable[str]]) -> set[str]:
        def inactive(node: str) -> list[str]:
            return [each for each in beside(node) if not self.nodes[each].active]

        passed = reached([name], inactive)
        return {each for node in passed for each in beside(node) if self.nodes[each].active}

    def bits(self, names: Iterable[str]) -> int:
        """The nodes as one number, with a bit for each in the order of the graph."""
        bits = bytearray(len(self.nodes) // 8 + 1)
        for name in names:
            byte, bit = divmod(self.positions[name], 8)
            bits[byte] |= 1 << bit
        return int.from_bytes(bits, "little")

    def named(self, bits: int) -> list[str]:
        """The nodes whose bits are set in a number that `bits` has made, in the graph's order."""
        return named(bits, self.nodes)

    @functools.cached_property
    def positions(self) -> dict[str, int]:
        """The place of each node in the order of the graph, from 0."""
        return {name: place for place, name in enumerate(self.nodes)}

    def _leads_on_to(self, name: str) -> list[str]:
        """Where arrows lead from a node; in a graph by dependency, those for errors don't count."""
        if not self.by_dependency:
            return self.targets(name)
        node = self.nodes[name]
        return [arrow.target for arrow in node.arrows.values() if arrow.key != node.error_arrow_key]

    def open_arrows(self, name: str) -> dict[str, Arrow]:
        """The arrows of a node that can be followed: active, and so is their target."""
        return self._open[name]

    def default_arrows(self, name: str) -> tuple[str, ...]:
        """The arrow keys that a node without `step_advance` has to choose from.

        None of them means that the run is complete; several, that the node needs a `step_advance`.
        The error arrow is for errors and does not count, unless the node declares no other.
        """
        node = self.nodes[name]
        if node.error_arrow_key is None or len(node.arrows) == 1:
            return tuple(self._open[name])
        return tuple(key for key in self._open[name] if key != node.error_arrow_key)

    def sources_into(self, name: str) -> frozenset[str]:
        """What a join waits for: the nodes with an open arrow to `name`, other than itself, that
        can be reached from the first node.
        """
        return self._sources[name]

    @functools.cached_property
    def _sources(self) -> dict[str, frozenset[str]]:
        sources: dict[str, set[str]] = {name: set() for name in self.nodes}
        for name in self.nodes if self.by_dependency else self.reachable(self.first):
            for target in self._leads_on_to(name):
                sources[target].add(name)
        return {name: frozenset(found - {name}) for name, found in sources.items()}

    def reachable(self, name: str, *, avoiding: str | None = None) -> frozenset[str]:
        """`name`, and every node that open arrows lead to from there, not through `avoiding`."""
        return frozenset(reached([name], self.targets, (avoiding,)))

    def targets(self, name: str) -> list[str]:
        """The nodes that the open arrows of a node lead to."""
        return [arrow.target for arrow in self._open[name].values()]


def reached(
    starts: Iterable[str],
    targets: Callable[[str], Iterable[str]],
    avoiding: Container[str | None] = (),
) -> set[str]:
    """`starts`, and every node that `targets` lead to from there, not through `avoiding`."""
    seen = {name for name in starts if name not in avoiding}
    todo = list(seen)
    while todo:
        for target in targets(todo.pop()):
            if target not in seen and target not in avoiding:
                seen.add(target)
                todo.append(target)
    return seen
