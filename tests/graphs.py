"""Step graphs for tests of pictures, written in a line or two."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from hypothesis import strategies as st

from octo_step_graph import Arrow, Node, StepGraph


def a_graph(
    nodes: Iterable[str] | Mapping[str, Mapping[str, Any]],
    *arrows: str | Arrow,
    first: str = "",
) -> StepGraph:
    """Nodes by name, with their fields where they matter; arrows as `"source target key"`."""
    fields = nodes if isinstance(nodes, Mapping) else {name: {} for name in nodes}
    made = [an_arrow(each) if isinstance(each, str) else each for each in arrows]
    return StepGraph(
        {
            name: Node(
                name,
                f"step_node_{name}",
                arrows={arrow.key: arrow for arrow in made if arrow.source == name},
                **more,
            )
            for name, more in fields.items()
        },
        first or next(iter(fields)),
    )


def an_arrow(words: str, **fields: Any) -> Arrow:
    """`"source target"`, or `"source target key"`."""
    source, target, key = (*words.split(), "")[:3]
    return Arrow(key or f"to_{target}", source, target, **fields)


def a_chain(length: int, **fields: Any) -> StepGraph:
    """n0 -> n1 -> ..., all nodes with the same fields."""
    return a_graph(
        {f"n{place}": fields for place in range(length)},
        *(f"n{place} n{place + 1}" for place in range(length - 1)),
    )


HOSTILE = (
    # to XML and HTML
    "<b>x</b>",
    "<<script>alert(1)</script>>",
    '" onload="alert(1)',
    "<!--",
    "]]>",
    "&lt;",
    "&#60;",
    "&amp;amp;",
    "javascript:alert(1)",
    "url(http://x/y)",
    "http://x/?a=1&b='2'",
    # to DOT
    '"]; evil -> more [label="',
    "\\",
    '\\"',
    "\\N",
    "\\E",
    "{a|<p>b}",
    "} }",
    "-->",
    "/etc/passwd",
    # to Mermaid and Markdown
    '"]:::x',
    "#quot;",
    "ﬂ°°60¶ß",
    "%%{init: {}}%%",
    "`**x**`",
    "1. x",
    "- x",
    "_x_",
    "$$x$$",
    "end",
    # to everybody
    "\n",
    "\x00\x1b\ufffe",
    "\u202e",
    "日本 é 🎉",
    "x" * 150,
)

hostile_texts = st.lists(st.sampled_from(HOSTILE) | st.text(max_size=5), max_size=4).map("".join)
