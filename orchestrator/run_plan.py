"""What a run would perform: its steps by level, and the longest way through them."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any

from octo_errors import count
from octo_step_graph import Node, StepGraph
from orchestrator.dependency_graph import DependencyGraph


class Plan:
    """The plan of a run.

    Args:
        steps: Those that are to be performed; the others are done, or left out.
    """

    def __init__(self, graph: StepGraph, steps: Collection[str]) -> None:
        self._nodes = {name: graph.nodes[name] for name in graph.nodes if name in set(steps)}
        self._fallbacks: dict[str, list[str]] = {}  # step -> those whose failure it is for
        for name, node in self._nodes.items():
            if node.error_arrow_key:
                target = node.arrows[node.error_arrow_key].target
                self._fallbacks.setdefault(target, []).append(name)
        places = graph.positions
        waits = {
            name: sorted(graph.sources_into(name) & self._nodes.keys(), key=places.__getitem__)
            for name in self._nodes
        }
        for name, failed in self._fallbacks.items():
            if name in waits:
                waits[name] += failed
        self._always = DependencyGraph(
            {n: of for n, of in waits.items() if not self._nodes[n].is_final}
        )
        self._final = DependencyGraph({n: of for n, of in waits.items() if self._nodes[n].is_final})

    def as_dict(self) -> dict[str, Any]:
        """The plan as JSON can hold it."""
        path, _ = self._always.critical_path()
        return {
            "steps": list(self._nodes),
            "levels": self._always.levels(),
            "finally": self._final.order(),
            "critical_path": path,
            "on_error": dict(self._fallbacks),
        }

    def lines(self) -> Iterator[str]:
        """The plan for people."""
        steps = count(len(self._nodes), "step")
        yield f"{steps} to perform, by level (nothing is run now):"
        for number, level in enumerate(self._always.levels(), 1):
            for place, name in enumerate(level):
                yield f"  {number if place == 0 else '':>4}  {self._described(name)}"
        for place, name in enumerate(self._final.order()):
            yield f"  {'at the end' if place == 0 else '':>4}  {self._described(name)}"
        path, _ = self._always.critical_path()
        if len(path) > 1:
            yield f"critical path, {len(path)} of them one after the other: {' -> '.join(path)}"

    def _described(self, name: str) -> str:
        graph = self._always if name in self._always else self._final
        failed = self._fallbacks.get(name, [])
        waits = [each for each in graph.parents(name) if each not in failed]
        facts = [f"after {', '.join(waits)}"] if waits else []
        facts += [f"if {' or '.join(failed)} fails"] if failed else []
        facts += _policy(self._nodes[name])
        return f"{name} ({'; '.join(facts)})" if facts else name


def _policy(node: Node) -> Iterator[str]:
    if node.timeout_s is not None:
        yield f"at most {node.timeout_s:g} s"
    if node.max_retries:
        yield f"tried again {count(node.max_retries, 'time')} at most"
    if "step_items" in node.hooks:
        yield "for each item"
