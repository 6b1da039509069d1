"""Turns the dicts of step nodes into one checked model of the graph."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from octo_errors import LibraryError
from octo_step_lib import NodeDeclaration, Problem, StepLibrary, load_library

OnInterrupt = Literal["rerun", "ask", "skip", "probe"]
COMPLETE, COMPLETE_ERROR = "COMPLETE", "COMPLETE_ERROR"


def self_arrow_key(name: str) -> str:
    """The arrow key that stays on the node `name`, declared or not."""
    return "step_arrow_graph_list_key_" + name


@dataclass(frozen=True, slots=True)
class Arrow:
    """A directed edge. `active` is what its dict says; whether it is open also takes its target."""

    key: str
    source: str
    target: str
    module: str
    active: bool = True
    attributes: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Node:
    """A step node, checked, with all defaults filled in. `timeout_s` None: no limit."""

    name: str
    module: str
    description: str = ""
    attributes: dict[str, Any] = field(default_factory=dict)
    active: bool = True
    entry_breakpoint: bool = False
    exit_breakpoint: bool = False
    skip_execute: bool = False
    timeout_s: float | None = None
    max_retries: int = 0
    retry_delay_s: float = 0.0
    retry_backoff: float = 1.0
    error_arrow_key: str | None = None
    join_all: bool = False
    on_interrupt: OnInterrupt = "rerun"
    hooks: frozenset[str] = frozenset()
    arrows: dict[str, Arrow] = field(default_factory=dict)


class StepGraph:
    """The nodes and arrows of a library that can be run; immutable."""

    def __init__(self, nodes: dict[str, Node], first: str) -> None:
        self.nodes = nodes
        self.first = first
        self._open = {
            name: {
                key: arrow
                for key, arrow in node.arrows.items()
                if arrow.active and nodes[arrow.target].active
            }
            for name, node in nodes.items()
        }
        sources: dict[str, set[str]] = {name: set() for name in nodes}
        for name in self.reachable(first):
            for arrow in self._open[name].values():
                if arrow.target != name:
                    sources[arrow.target].add(name)
        self._sources = {name: frozenset(found) for name, found in sources.items()}

    def open_arrows(self, name: str) -> dict[str, Arrow]:
        """The arrows of a node that can be followed: active, and so is their target."""
        return self._open[name]

    def default_arrows(self, name: str) -> tuple[str, ...]:
        """The keys among which a node without `step_advance` goes: none (the run is complete), or
        one. The error arrow is not among them, unless it is the only arrow declared.
        """
        node = self.nodes[name]
        spared = node.error_arrow_key if len(node.arrows) > 1 else None
        return tuple(key for key in self._open[name] if key != spared)

    def sources_into(self, name: str) -> frozenset[str]:
        """What a join waits for: the nodes with an open arrow into `name`, other than itself, that
        can be reached from the first node.
        """
        return self._sources[name]

    def reachable(self, name: str) -> frozenset[str]:
        """`name` and every node that open arrows lead to from there."""
        seen, todo = {name}, [name]
        while todo:
            for arrow in self._open[todo.pop()].values():
                if arrow.target not in seen:
                    seen.add(arrow.target)
                    todo.append(arrow.target)
        return frozenset(seen)


def build_graph(
    nodes: Mapping[str, NodeDeclaration],
    *,
    first: str | None = None,
    broken: Collection[str] = (),
) -> tuple[StepGraph | None, list[Problem]]:
    """Check the declarations and make the graph; None when a problem is an error.

    Args:
        first: The first node, chosen by the user instead of by the nodes.
        broken: Modules that could not be imported: an arrow into one of them is no new problem.
    """
    made = {}
    for name, declared in nodes.items():
        inner = declared.graph_dict
        arrows = {
            key: Arrow(
                key,
                name,
                arrow["arrow_step_name_string"],
                arrow.get("module_name_string", ""),
                bool(arrow.get("active_arrow_step_bool", 1)),
                arrow.get("dg_edge_attr_dict", {}),
            )
            for key, arrow in declared.arrow_dict.items()
        }
        made[name] = Node(
            name,
            declared.module,
            declared.description,
            {"label": name, **inner.get("dg_node_attr_dict", {})},
            bool(inner.get("active_node_step_bool", 1)),
            bool(inner.get("node_entry_breakpoint", 0)),
            bool(inner.get("node_exit_breakpoint", 0)),
            bool(inner.get("skip_step_node_execute_bool", 0)),
            inner.get("timeout_seconds"),
            inner.get("max_retries", 0),
            inner.get("retry_delay_seconds", 0.0),
            inner.get("retry_backoff_factor", 1.0),
            inner.get("error_arrow_key"),
            bool(inner.get("join_all_bool", 0)),
            inner.get("on_interrupt", "rerun"),
            declared.hooks,
            arrows,
        )
    targets = {arrow.target for node in made.values() for arrow in node.arrows.values()}
    start = first or next(
        (n for n, d in nodes.items() if d.graph_dict.get("first_node_step_bool")), ""
    )
    start = start or next((name for name in made if name not in targets), "")
    return StepGraph(made, start), []


def library_graph(
    library: StepLibrary, *, first: str | None = None
) -> tuple[StepGraph | None, list[Problem]]:
    """The graph of a loaded library, and all problems of library and graph in the order of place."""
    graph, problems = build_graph(library.nodes, first=first, broken=library.broken)
    problems = sorted([*library.problems, *problems], key=lambda p: (p.file, p.line or 0))
    return (None if any(p.severity == "error" for p in problems) else graph), problems


def load_graph(path: str | Path, *, first: str | None = None) -> StepGraph:
    """The graph of the library at `path`.

    Raises:
        LibraryError: The library has errors; lists all problems, also as `details["problems"]`.
    """
    graph, problems = library_graph(load_library(path), first=first)
    if graph is None:
        raise library_error(path, problems)
    return graph


def library_error(path: str | Path, problems: list[Problem]) -> LibraryError:
    """The error that lists the problems of a library."""
    listing = "\n".join(str(problem) for problem in problems)
    return LibraryError(f"step library {path} can't be used:\n{listing}", problems=problems)
