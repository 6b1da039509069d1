"""Arrow keys: where they lead, and what is wrong with those that a `step_advance` has chosen."""

from __future__ import annotations

from collections.abc import Iterable

from octo_errors import did_you_mean
from octo_step_graph import COMPLETE, COMPLETE_ERROR, StepGraph, self_arrow_key


def leads_to(graph: StepGraph, node: str, key: str) -> str | None:
    """The node that an arrow key of `node` leads to, "" for an end of the run, None for nowhere."""
    if key in (COMPLETE, COMPLETE_ERROR):
        return ""
    if key not in graph.node(node).arrows and key == self_arrow_key(node):
        return node
    arrow = graph.open_arrows(node).get(key)
    return None if arrow is None else arrow.target


def followed(graph: StepGraph, node: str, keys: Iterable[str]) -> list[str]:
    """The nodes that arrow keys of `node` lead to; the ends of a run are no nodes."""
    return [target for key in keys if (target := leads_to(graph, node, key))]


def wrong_choice(graph: StepGraph, node: str, keys: tuple[str, ...]) -> str:
    """What is wrong with the arrow keys that step_advance returned, or ""."""
    for key in keys:
        if leads_to(graph, node, key) is None:
            return f"step_advance returned {key!r}, {_no_arrow(graph, node, key)}"
    if len(set(keys)) != len(keys):
        return f"step_advance returned an arrow twice: {', '.join(keys)}"
    if len(keys) > 1 and (COMPLETE in keys or COMPLETE_ERROR in keys):
        return f"step_advance returned an end among other arrows: {', '.join(keys)}"
    return "" if keys else "step_advance returned no arrow"


def _no_arrow(graph: StepGraph, node: str, key: str) -> str:
    """Why `key` can't be followed, and what could be."""
    names = [*graph.open_arrows(node), COMPLETE, COMPLETE_ERROR]
    text = f"which is no open arrow of {node} ({', '.join(names)})"
    if key in graph.nodes[node].arrows:
        return f"{text}: the arrow, or the node it leads to, is not active"
    near = did_you_mean(key, names)
    return f"{text}; {near}" if near.startswith("did you mean") else text
