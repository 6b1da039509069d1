"""Makes a `StepGraph` of what nodes declare, or says everything that is wrong with it.

Where the declarations come from (classes of a library, steps of a recipe) makes no difference.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from octo_errors import LibraryError, did_you_mean
from octo_step_declaration import ARROW_DICT, ENGINE_GROUPS, GRAPH_DICT
from octo_step_graph import (
    COMPLETE,
    COMPLETE_ERROR,
    Arrow,
    Node,
    StepGraph,
    reached,
    self_arrow_key,
)
from octo_step_keys import ARROW_KEYS, DEPENDENCY_KEYS, NODE_KEYS, Key, read_keys
from octo_step_lib import NodeDeclaration, Problem, StepLibrary, load_library
from octo_step_problem import Reporter, shown

_FIRST, _ACTIVE, _JOIN = "first_node_step_bool", "active_node_step_bool", "join_all_bool"


def load_graph(path: str | Path, *, first: str | None = None) -> StepGraph:
    """The graph of the library at `path`.

    Raises:
        LibraryError: The library has errors; lists all problems, also as `details["problems"]`.
    """
    graph, problems = library_graph(load_library(path), first=first)
    if graph is None:
        raise library_error(path, problems)
    return graph


def library_graph(
    library: StepLibrary, *, first: str | None = None
) -> tuple[StepGraph | None, list[Problem]]:
    """The graph of a loaded library, and all problems of library and graph, sorted by place."""
    graph, problems = None, list(library.problems)
    if library.nodes:
        graph, found = build_graph(library.nodes, first=first, broken=library.broken)
        problems += found
    problems.sort(key=lambda problem: (problem.file, problem.line or 0))
    return (None if _any_error(problems) else graph), problems


def library_error(path: str | Path, problems: list[Problem]) -> LibraryError:
    """The error that lists the problems of a library."""
    listing = "\n".join(map(str, problems))
    return LibraryError(f"step library {path} can't be used:\n{listing}", problems=problems)


def build_graph(
    nodes: Mapping[str, NodeDeclaration],
    *,
    first: str | None = None,
    broken: Collection[str] = (),
) -> tuple[StepGraph | None, list[Problem]]:
    """Check the declarations and make the graph of them; None if any problem is an error.

    Args:
        nodes: At least one, in the order in which they are to be shown.
        first: The first node, chosen by the user instead of by the nodes.
        broken: Modules that could not be imported: an arrow into one of them is no new problem.
    """
    problems: list[Problem] = []
    reports = {name: declared.reporter(problems) for name, declared in nodes.items()}
    made = {name: _read_node(declared, reports[name]) for name, declared in nodes.items()}
    for name, node in made.items():
        for arrow in list(node.arrows.values()):
            if not _leads_somewhere(arrow, made, broken, reports[name]):
                del node.arrows[arrow.key]
    library = Reporter(problems, Path(next(iter(nodes.values())).file).parent)
    incomplete = bool(broken) or _any_error(problems)
    checks = _StructureChecks(nodes, made, reports, library, incomplete)
    starts = checks.first_nodes(first)
    graph = StepGraph(made, starts[0])
    checks.reachability(graph, starts, chosen=first is not None)
    checks.choices(graph)
    checks.joins(graph, first_is_known=len(starts) == 1 and made[starts[0]].active)
    return (None if _any_error(problems) else graph), problems


def dependency_graph(
    nodes: Mapping[str, Mapping[str, Any]],
    arrows: Mapping[str, Mapping[str, Mapping[str, Any]]],
    hooks: Mapping[str, Collection[str]],
    file: Path,
    owners: Collection[str] = (),
) -> StepGraph:
    """The graph of node and arrow dicts, by node, whose arrows are dependencies.

    They come from a compiler that has checked all that its user wrote.

    Args:
        nodes: In an order in which they may be run.
        hooks: The hooks of each node; `step_execute` where there is no entry.
        file: Where the dicts are kept, to be named in errors.
        owners: The nodes whose hooks keep what they like in their groups (`Node.owns_group`).

    Raises:
        LibraryError: They are no such graph; lists all problems.
    """
    problems: list[Problem] = []
    made: dict[str, Node] = {}
    for name, given in nodes.items():
        declared = NodeDeclaration(
            name,
            str(given.get("module_name_string", "")),
            str(file),
            graph_dict=dict(given),
            arrow_dict=dict(arrows.get(name, {})),
            hooks=frozenset(hooks.get(name, ("step_execute",))),
        )
        made[name] = _read_node(declared, Reporter(problems, file), DEPENDENCY_KEYS)
        made[name].owns_group = name in owners
    for name, node in made.items():
        for arrow in list(node.arrows.values()):
            _leads_somewhere(arrow, made, (), Reporter(problems, file, name))
    if problems:
        raise library_error(file, problems)
    return StepGraph(made, "", by_dependency=True)


def _any_error(problems: Iterable[Problem]) -> bool:
    return any(problem.severity == "error" for problem in problems)


def _read_node(
    declared: NodeDeclaration, report: Reporter, keys: Mapping[str, Key] = NODE_KEYS
) -> Node:
    """The node, with what is good in its dicts; arrows may still lead to nodes that don't exist."""
    name, given, inside = declared.name, declared.graph_dict, (GRAPH_DICT, declared.name)
    if not name.isprintable() or not name.strip():
        report.error(f"a node can't be called {name!r}", "name")
    if name in ENGINE_GROUPS:
        message = f"a node can't be called {name!r}: the engine keeps a group of that name"
        report.error(message, "name", hint="each node has a group in the parameter file, too")
    for key, right in (("module_name_string", declared.module), ("node_step_name_string", name)):
        said = given.get(key)
        if isinstance(said, str) and said not in ("", right):
            report.error(f"{key} is {said!r}, but this is {right!r}", *inside, key)
    fields = read_keys(given, keys, report, *inside)
    error_key = fields.get("error_arrow_key")
    if error_key is not None and error_key not in declared.arrow_dict:
        message = f"error_arrow_key is {error_key!r}, and this node has no such arrow"
        hint = did_you_mean(error_key, map(str, declared.arrow_dict))
        report.error(message, *inside, "error_arrow_key", hint=hint)
    if fields.get("on_interrupt") == "probe" and "step_probe" not in declared.hooks:
        hint = "write step_probe(self) that returns 'rerun' or 'done'"
        report.error(
            "on_interrupt is 'probe', without a step_probe", *inside, "on_interrupt", hint=hint
        )
    fields["attributes"] = {"label": name, **fields.get("attributes", {})}
    fields["arrows"] = {
        key: arrow
        for key, arrow_dict in declared.arrow_dict.items()
        if (arrow := _read_arrow(name, key, arrow_dict, report))
    }
    return Node(name, declared.module, declared.description, hooks=declared.hooks, **fields)


def _read_arrow(source: str, key: object, given: object, report: Reporter) -> Arrow | None:
    """The arrow of a dict; None if it has no usable key or target."""
    inside = (ARROW_DICT, key)
    if not isinstance(key, str) or not isinstance(given, dict):
        message = f"{ARROW_DICT} must be {{key: {{...}}}}, and has {shown(key)}: {shown(given)}"
        report.error(message, *inside)
        return None
    fields = read_keys(given, ARROW_KEYS, report, *inside)
    target = fields.pop("target", None)
    if not key or key in (COMPLETE, COMPLETE_ERROR):
        why = ": for step_advance it ends the run" if key else ""
        report.error(f"an arrow can't have the key {key!r}{why}", *inside, hint="choose another")
    if key == self_arrow_key(source) and target not in (None, source):
        message = f"the arrow key {key!r} means to stay on {source!r}, but leads to {target!r}"
        report.error(message, *inside, hint="choose another key")
    if target is None and given.keys() <= ARROW_KEYS.keys() - {"arrow_step_name_string"}:
        message = f"arrow {key!r} has no arrow_step_name_string, the node that it leads to"
        report.error(message, *inside)
    return Arrow(key, source, target, **fields) if target is not None else None


def _leads_somewhere(
    arrow: Arrow, nodes: Mapping[str, Node], broken: Collection[str], report: Reporter
) -> bool:
    """Does `arrow` lead to a node that there is? Reports it if not, or if its module is another."""
    target = nodes.get(arrow.target)
    if target is not None and arrow.module not in ("", target.module):
        key, hint = "module_name_string", f"this node is in {target.module!r}"
        message = f"arrow {arrow.key!r} looks for node {arrow.target!r} in module {arrow.module!r}"
        report.error(message, ARROW_DICT, arrow.key, key, hint=hint)
    elif target is None and (arrow.module or arrow.target) not in broken:
        in_module = [node.name for node in nodes.values() if node.module == arrow.module]
        hint = did_you_mean(arrow.target, nodes) or did_you_mean(arrow.target, in_module)
        message = f"arrow {arrow.key!r} leads to {arrow.target!r}, and there is no such node"
        report.error(message, ARROW_DICT, arrow.key, "arrow_step_name_string", hint=hint)
    return target is not None


# --- how the nodes hang together ------------------------------------------------------------------


@dataclass
class _StructureChecks:
    """The checks that take more than one node; each reports what it finds.

    Attributes:
        library: For what no node is to blame for.
        incomplete: Some nodes or arrows are missing because of errors already reported.
        leading: For each node, the other nodes that have an arrow to it, open or not.
    """

    declared: Mapping[str, NodeDeclaration]
    nodes: Mapping[str, Node]
    reports: Mapping[str, Reporter]
    library: Reporter
    incomplete: bool
    leading: dict[str, list[str]] = field(init=False)

    def __post_init__(self) -> None:
        self.leading = {name: [] for name in self.nodes}
        for name, node in self.nodes.items():
            for target in {arrow.target for arrow in node.arrows.values()} - {name}:
                self.leading[target].append(name)

    def first_nodes(self, chosen: str | None) -> list[str]:
        """The first node; where it isn't clear, which is reported, those that could be meant."""
        if chosen is not None:
            self._check_chosen(chosen)
            return [chosen] if chosen in self.nodes else list(self.nodes)
        flagged = [name for name, node in self.nodes.items() if node.active and self._flag(name)]
        if len(flagged) > 1:
            message = f"{len(flagged)} nodes are the first: {self._listed(flagged, _FIRST)}"
            hint = f"leave {_FIRST} 1 in one of them"
            self.reports[flagged[1]].error(message, GRAPH_DICT, flagged[1], _FIRST, hint=hint)
        return flagged or self._unled_nodes()

    def _check_chosen(self, chosen: str) -> None:
        node = self.nodes.get(chosen)
        if node is None:
            message = f"there is no node {chosen!r} to start with"
            self.library.error(message, hint=did_you_mean(chosen, self.nodes))
        elif not node.active:
            message = f"{chosen!r} is to be the first node, and is not active"
            self.reports[chosen].error(message, GRAPH_DICT, chosen, _ACTIVE)

    def _unled_nodes(self) -> list[str]:
        """The active nodes that no other node has an arrow to; reported if it is not one."""
        active = [name for name, node in self.nodes.items() if node.active]
        unled = [name for name in active if not self.leading[name]]
        if len(unled) != 1:
            listed = self._listed(unled or active)
            why = f"no arrow leads to any of {listed}" if unled else f"arrows lead to all: {listed}"
            some = (unled or active or list(self.nodes))[0]
            message = f"no first node: {why if active else 'none is active'}"
            self.reports[some].error(message, hint=f"set {_FIRST} to 1 in one of them")
        return unled or active or list(self.nodes)

    def reachability(self, graph: StepGraph, starts: Sequence[str], *, chosen: bool) -> None:
        """Every node is to be reached from the first one."""
        by_open_arrows = reached(starts, graph.targets)
        if len(by_open_arrows) == len(self.nodes):
            return  # as in nearly all graphs
        by_any_arrow = reached(
            starts, lambda name: [arrow.target for arrow in self.nodes[name].arrows.values()]
        )
        hint = "perhaps an arrow to it is among what could not be read" if self.incomplete else ""
        first = starts[0] if len(starts) == 1 else "any first node"
        for name, node in self.nodes.items():
            if name in by_any_arrow:
                if node.active and name not in by_open_arrows:
                    message = f"{name!r} is cut off: a node or an arrow before it is not active"
                    self.reports[name].warning(message)
                continue
            message = f"{name!r} can't be reached: no arrows lead to it from {first}"
            report = self.reports[name]
            (report.warning if chosen or not node.active else report.error)(message, hint=hint)

    def choices(self, graph: StepGraph) -> None:
        """Where several arrows are open, the node has to choose."""
        for name, node in self.nodes.items():
            choice = graph.default_arrows(name)
            if node.active and len(choice) > 1 and "step_advance" not in node.hooks:
                message = f"{name!r} has {len(choice)} open arrows, {', '.join(choice)}, and no "
                message += "step_advance that chooses"
                hint = "write step_advance(self): return the key of one, or a list to follow them"
                self.reports[name].error(message, ARROW_DICT, hint=hint)

    def joins(self, graph: StepGraph, *, first_is_known: bool) -> None:
        """A join needs several nodes to wait for, and none of them only after itself."""
        joins = [name for name, node in self.nodes.items() if node.join_all]
        circle_of = _circles(graph) if joins else {}
        for join in joins:
            leading = self.leading[join]
            if len(leading) < 2:
                listed = f"only {leading[0]} leads" if leading else "no node leads"
                message = f"{join!r} is a join, and {listed} to it"
                hint = "a join waits for two nodes or more"
                self.reports[join].error(message, GRAPH_DICT, join, _JOIN, hint=hint)
            sources = graph.sources_into(join)
            again = {name for name in sources if circle_of[name] == circle_of[join]}
            if again and first_is_known:
                self._check_circle(graph, join, sources, again)

    def _check_circle(
        self, graph: StepGraph, join: str, sources: Collection[str], again: set[str]
    ) -> None:
        """A join in a circle: `again` are those of its sources that come again after it."""
        hint = "lead the arrow back to a node before the fork"
        before = graph.reachable(graph.first, avoiding=join)
        too_late = again - before if join != graph.first else set()
        for source in sorted(too_late):
            key = next(a.key for a in graph.open_arrows(source).values() if a.target == join)
            message = f"join {join!r} waits for {source!r}, which comes only after it: for ever"
            self.reports[source].error(message, ARROW_DICT, key, hint=hint)
        once = sorted(set(sources) - again)
        if once and not too_late:
            message = f"when {' or '.join(sorted(again))} comes to the join {join!r} again, "
            message += f"it waits for {', '.join(once)} for ever"
            self.reports[join].warning(message, GRAPH_DICT, join, _JOIN, hint=hint)

    def _flag(self, name: str) -> bool:
        flag = self.declared[name].graph_dict.get(_FIRST, 0)
        return NODE_KEYS[_FIRST].accepts(flag) and bool(flag)

    def _listed(self, names: Sequence[str], key: str = "") -> str:
        """Names with their places; of many, the first ones."""
        few = [f"{name} ({self.declared[name].place(GRAPH_DICT, name, key)})" for name in names[:8]]
        more = [f"and {len(names) - len(few)} more"] if len(names) > len(few) else []
        return ", ".join(few + more)


def _circles(graph: StepGraph) -> dict[str, str]:
    """Each node's circle: two nodes have the same if open arrows lead from each to the other.

    These are the strongly connected components, found in linear time as Kosaraju does: in the
    order in which a depth-first search is done with the nodes, backwards along the arrows.
    """
    sources: dict[str, list[str]] = {name: [] for name in graph.nodes}
    done: list[str] = []
    seen: set[str] = set()
    for root in graph.nodes:
        way = [] if root in seen else [(root, iter(graph.targets(root)))]
        seen.add(root)
        while way:
            name, targets = way[-1]
            for target in targets:
                sources[target].append(name)
                if target not in seen:
                    seen.add(target)
                    way.append((target, iter(graph.targets(target))))
                    break
            else:
                done.append(way.pop()[0])
    circle_of: dict[str, str] = {}
    for root in reversed(done):
        circle_of |= dict.fromkeys(reached([root], sources.__getitem__, circle_of), root)
    return circle_of
