"""What a picture of a step graph says, whatever the notation: boxes, lines and their words.

A `Picture` is made once from the graph and, where given, the progress of a run; the writers of DOT
(`octo_graph_dot`) and Mermaid (`octo_graph_mermaid`) only spell it. Rules that hold here:

- Nothing is told by colour alone: each state has a word and a sign of its own in the box.
- Every text is cleaned (`clean_text`), so a writer has to escape, and nothing else.
- With progress, colours mean states; without, the colours of the nodes' own attributes stand.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import combinations
from textwrap import fill
from typing import Any, Literal

from octo_step_graph import COMPLETE, Arrow, Node, StepGraph, self_arrow_key

LABEL_LENGTH, TOOLTIP_LENGTH = 200, 1000  # characters; longer texts end in an ellipsis
WRAP_AT = 40  # characters in a line of a label
MANY_ERROR_ARROWS = 12  # into one node: from here on they are told in words

# Not allowed in XML 1.0, or able to turn the reading direction of what stands around it.
_UNPRINTABLE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\u2028\u2029\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff]"
)


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a run stands, as far as a picture shows it.

    Attributes:
        current: The active nodes and the step state of each (`{"measure": "EXECUTE"}`).
        status: What became of a node: `done`, `failed`, `interrupted`, `waiting`, `skipped`; any
            other word is shown as it is. A node without status that isn't current is pending.
    """

    current: Mapping[str, str] = field(default_factory=dict)
    status: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Look:
    """How a state is drawn. The colours are told apart by colour-blind people, too."""

    sign: str
    fill: str
    line: str
    width: float


TEXT, GREY, ERROR_COLOUR, ERROR_SIGN = "#0f172a", "#94a3b8", "#b3340b", "✗"
PLAIN = Look("", "#ffffff", "#475569", 1.2)
INACTIVE = Look("", "#f8fafc", GREY, 1.2)
LOOKS = {
    "done": Look("✓", "#d3efe3", "#00795a", 1.6),
    "running": Look("►", "#cfe5fb", "#0059b3", 3.5),
    "waiting": Look("…", "#fff0bf", "#946200", 2.5),
    "interrupted": Look("!", "#eadcf5", "#6f3699", 2.5),
    "failed": Look(ERROR_SIGN, "#fbd5c6", ERROR_COLOUR, 3.0),
    "skipped": Look("»", "#e7eaee", "#5b6675", 1.6),
    "pending": PLAIN,
}
_HELD_UP = ("waiting", "interrupted", "failed")  # said of a current node instead of "running"


@dataclass(frozen=True, slots=True)
class Box:
    """A node of the picture. `remarks` are short lines below the label."""

    name: str
    label: str
    remarks: tuple[str, ...] = ()
    tooltip: str = ""
    kind: Literal["step", "inactive", "end", "note"] = "step"
    look: Look = PLAIN
    first: bool = False
    attributes: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Line:
    """An arrow of the picture, between the names of two boxes."""

    source: str
    target: str
    label: str = ""
    tooltip: str = ""
    kind: Literal["open", "error", "inactive"] = "open"
    attributes: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Picture:
    """Boxes and lines in the order in which they are written."""

    title: str
    boxes: list[Box]
    lines: list[Line]


def clean_text(text: object, length: int = LABEL_LENGTH) -> str:
    """The text with what can't be shown replaced, tabs as spaces, and not longer than `length`."""
    shown = _UNPRINTABLE.sub("\ufffd", str(text).replace("\r\n", "\n").replace("\t", " "))
    return shown if len(shown) <= length else shown[: length - 1] + "…"


def label_text(text: object) -> str:
    r"""A label that a user wrote: clean, wrapped, and graphviz' \n, \l and \r are line breaks."""
    lines = clean_text(re.sub(r"\\[nlr]", "\n", str(text))).split("\n")
    return "\n".join(fill(line, WRAP_AT) if len(line) > WRAP_AT else line for line in lines)


def picture_of(graph: StepGraph, progress: Progress | None = None, *, title: str = "") -> Picture:
    """The picture of a graph; with `progress`, of where a run of it stands."""
    nodes, forking = graph.nodes.values(), forks(graph)
    lines = [_line(graph, arrow) for node in nodes for arrow in node.arrows.values()]
    lines, notes, error_targets = _gather_errors(lines)
    boxes = []
    for node in nodes:
        remarks = _remarks(graph, node)
        if node.name in forking:
            remarks.append("forks")
        if node.name in error_targets:
            remarks.append(f"{ERROR_SIGN} → {error_targets[node.name]}")
        boxes.append(_box(node, progress, remarks, is_first=node.name == graph.first))
    boxes += notes
    ends = [node.name for node in nodes if node.active and not graph.default_arrows(node.name)]
    if ends:
        boxes.append(END)
        lines += [Line(name, END.name, tooltip=END.tooltip) for name in ends]
    heading = [clean_text(title), _summary(nodes, progress)]
    return Picture("\n".join(text for text in heading if text), boxes, lines)


def _gather_errors(lines: list[Line]) -> tuple[list[Line], list[Box], dict[str, str]]:
    """Where very many error arrows lead to one node, one arrow from a note stands for them all.

    Thousands of long arrows can be neither followed by a reader nor laid out by graphviz.

    Returns:
        The lines left to draw, the notes, and the target to name in the box of each node concerned.
    """
    counts = Counter(line.target for line in lines if line.kind == "error")
    crowded = {target: n for target, n in counts.items() if n > MANY_ERROR_ARROWS}
    drawn, notes, told = [], [], {}
    for line in lines:
        if line.kind == "error" and line.target in crowded:
            told[line.source] = line.target
        else:
            drawn.append(line)
    for target, count in crowded.items():
        note = Box(f"\n{target}", f"{ERROR_SIGN} an error in {count} nodes", kind="note")
        notes.append(note)  # its name can be no node's
        drawn.append(Line(note.name, target, kind="error", attributes={"weight": "1"}))
    return drawn, notes, told


def _box(node: Node, progress: Progress | None, remarks: list[str], *, is_first: bool) -> Box:
    state, words = _standing(node, progress)
    look = LOOKS.get(state, PLAIN) if node.active else INACTIVE
    if words:
        remarks = [f"{look.sign} {words}".strip(), *remarks]
    return Box(
        node.name,
        label_text(node.attributes.get("label", node.name)),
        tuple(clean_text(remark) for remark in remarks),
        clean_text(": ".join(filter(None, (node.name, node.description))), TOOLTIP_LENGTH),
        "step" if node.active else "inactive",
        look,
        is_first,
        node.attributes,
    )


def _standing(node: Node, progress: Progress | None) -> tuple[str, str]:
    """The state of a node, a key of `LOOKS` where it is one, and the words for it in the box."""
    if not node.active:
        return "inactive", "inactive"
    if progress is None:
        return "pending", ""
    step_state = progress.current.get(node.name)
    status = progress.status.get(node.name, "pending")
    if step_state is None:
        return status, "" if status == "pending" else status
    if status in _HELD_UP:
        return status, f"{status} in {step_state}"
    return "running", step_state


def _remarks(graph: StepGraph, node: Node) -> list[str]:
    """What makes the node special by itself, whatever the progress."""
    remarks = []
    if node.join_all and not graph.by_dependency:  # where every node waits for all
        remarks.append(f"waits for all {len(graph.sources_into(node.name))}")
    if node.skip_execute:
        remarks.append("execute is skipped")
    if node.entry_breakpoint:
        remarks.append("● stops at entry")
    if node.exit_breakpoint:
        remarks.append("● stops at exit")
    return remarks


def _line(graph: StepGraph, arrow: Arrow) -> Line:
    source = graph.nodes[arrow.source]
    is_error = arrow.key == source.error_arrow_key
    is_open = source.active and arrow.key in graph.open_arrows(arrow.source)
    label = label_text(arrow.attributes.get("label", _telling_key(source, arrow)))
    return Line(
        arrow.source,
        arrow.target,
        label,
        clean_text(f"{arrow.key}: {arrow.source} → {arrow.target}", TOOLTIP_LENGTH),
        "inactive" if not is_open else "error" if is_error else "open",
        arrow.attributes,
    )


def _telling_key(source: Node, arrow: Arrow) -> str:
    """The key of an arrow where it says more than the line itself: a choice among several."""
    choices = source.arrows.keys() - {source.error_arrow_key}
    if len(choices) == 1 or arrow.key not in choices:
        return ""
    key = arrow.key.removeprefix(self_arrow_key("")).removeprefix("to_").removeprefix("step_node_")
    return "" if key == arrow.target.removeprefix("step_node_") else arrow.key


def _summary(nodes: Iterable[Node], progress: Progress | None) -> str:
    """How many nodes are in each state, with the signs used in the boxes: a legend that counts."""
    if progress is None:
        return ""
    states = [_standing(node, progress)[0] for node in nodes if node.active]
    counts = sorted(Counter(states).items(), key=lambda item: [*LOOKS, item[0]].index(item[0]))
    return "   ".join(
        f"{LOOKS.get(state, PLAIN).sign} {count} {clean_text(state)}".strip()
        for state, count in counts
    )


def forks(graph: StepGraph) -> frozenset[str]:
    """The nodes that have to start several arrows at once, since a join needs more than one.

    Which arrows a node takes is decided when it runs. But where a join waits for two nodes of which
    each lies behind another arrow only, taking one arrow would wait there for ever.

    None in a graph by dependency: there, all arrows are taken anyway.
    """
    if graph.by_dependency:
        return frozenset()
    bit = {name: 1 << place for place, name in enumerate(graph.nodes)}
    joins = {
        name: sum(bit[source] for source in graph.sources_into(name))
        for name, node in graph.nodes.items()
        if node.active and node.join_all
    }
    if not joins:
        return frozenset()
    behind = _nodes_behind(graph, bit)
    found = set()
    for name in graph.nodes:
        targets = {graph.open_arrows(name)[key].target for key in graph.default_arrows(name)}
        for a, b in combinations(targets - {name}, 2):
            if any(
                (bit[name] if a == join else behind[a] & ~behind[b]) & sources
                and (bit[name] if b == join else behind[b] & ~behind[a]) & sources
                for join, sources in joins.items()
            ):
                found.add(name)
                break
    return frozenset(found)


def _nodes_behind(graph: StepGraph, bit: Mapping[str, int]) -> dict[str, int]:
    """Each node with all downstream of it, as bits of a number; arrows that lead back apart."""
    behind: dict[str, int] = {}
    on_the_way: set[str] = set()
    for start in (graph.first, *graph.nodes):
        todo = [start]
        while todo:
            name = todo[-1]
            on_the_way.add(name)
            targets = [arrow.target for arrow in graph.open_arrows(name).values()]
            ahead = next((t for t in targets if t not in behind and t not in on_the_way), None)
            if ahead is not None:
                todo.append(ahead)
                continue
            behind[name] = bit[name]
            for target in targets:
                behind[name] |= behind.get(target, 0)
            on_the_way.discard(todo.pop())
    return behind


END = Box("", COMPLETE, tooltip="the run is complete", kind="end")  # no step node is called ""
