"""Writes a picture of a step graph in the DOT language, through the package `graphviz`.

Texts of a library are shown, never interpreted: labels and tooltips are escaped, and an attribute
that could run, load or read something (`image`, `URL` other than http, ...) is left out.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from unicodedata import east_asian_width

from octo_errors import GraphRenderError
from octo_graph_picture import (
    ERROR_COLOUR,
    GREY,
    PLAIN,
    TEXT,
    TOOLTIP_LENGTH,
    Box,
    Line,
    Picture,
    clean_text,
    label_text,
)

_FONT = "Helvetica,Arial,sans-serif"
_GRAPH_STYLE = {
    "bgcolor": "white",
    "fontname": _FONT,
    "fontsize": "13",
    "fontcolor": TEXT,
    "labelloc": "t",
    "nodesep": "0.45",
    "ranksep": "0.45",
    "pad": "0.2",
}
_NODE_STYLE = {
    "shape": "box",
    "style": "rounded,filled",
    "fontname": _FONT,
    "fontsize": "12",
    "fontcolor": TEXT,
    "margin": "0.16,0.08",
    "height": "0.45",
}
_EDGE_STYLE = {
    "color": PLAIN.line,
    "fontname": _FONT,
    "fontsize": "10",
    "fontcolor": PLAIN.line,
    "arrowsize": "0.75",
    "penwidth": "1.2",
}
_END_STYLE = {"fillcolor": "#334155", "color": "#334155", "fontcolor": "white", "fontsize": "10"}
_NOTE_STYLE = {"shape": "plaintext", "fontcolor": ERROR_COLOUR, "fontsize": "10"}
_INACTIVE_NODE_STYLE = {"style": "rounded,filled,dashed", "fontcolor": "#64748b"}
_INACTIVE_EDGE_STYLE = {"style": "dashed", "color": GREY, "fontcolor": "#64748b"}
_ERROR_EDGE_STYLE = {
    "color": ERROR_COLOUR,
    "fontcolor": ERROR_COLOUR,
    "dir": "both",
    "arrowtail": "odot",
    "arrowhead": "onormal",
    "weight": "0",  # the ways of success are drawn straight
}

_REFUSED = frozenset(
    ("_background", "class", "fontpath", "id", "image", "imagepath", "shapefile", "stylesheet")
)
_ATTRIBUTE_NAME = re.compile(r"[A-Za-z_]\w*", re.ASCII)
_WEB_LINK = re.compile(r"https?://[\w.~:/?#@!$&*+,;=%\[\]-]+", re.ASCII)
_PLAIN_VALUE = re.compile(r"[\w #.,:;+\-/%!*|]*")  # graphviz puts some values into SVG unescaped
_PLAIN_ID = re.compile(r"[\w.-]+( [\w.-]+)*")


def write_dot(picture: Picture) -> str:
    """The source text.

    Raises:
        GraphRenderError: The package `graphviz` is not installed.
    """
    try:
        from graphviz import Digraph
    except ImportError as error:
        raise GraphRenderError(
            "drawing a graph needs the package graphviz",
            hint="pip install graphviz, or ask for mermaid",
        ) from error
    heading = {"label": _escape(picture.title)} if picture.title else {}
    digraph = Digraph(
        graph_attr={**_GRAPH_STYLE, **heading}, node_attr=_NODE_STYLE, edge_attr=_EDGE_STYLE
    )
    ids = {  # an id reaches the picture as it is, and the package takes a colon for a port
        box.name: box.name if _PLAIN_ID.fullmatch(box.name) else f"({place})"
        for place, box in enumerate(picture.boxes, start=1)
    }
    for box in picture.boxes:
        digraph.node(ids[box.name], _attributes=_node_attributes(box))
    for line in picture.lines:
        digraph.edge(ids[line.source], ids[line.target], _attributes=_edge_attributes(line))
    return str(digraph.source)


def _node_attributes(box: Box) -> dict[str, str]:
    own = _safe_attributes(box.attributes, f"node {box.name!r}")
    if box.first and own.get("shape", "circle") == "circle":
        own["shape"] = "doublecircle"
    elif box.first:
        own["peripheries"] = "2"
    if "shape" in own or "style" in own:  # not to round the corners of a user's shape
        own["style"] = ",".join(filter(None, (own.get("style"), "filled")))
    look = {"fillcolor": box.look.fill, "color": box.look.line, "penwidth": str(box.look.width)}
    attributes = {**look, **own} if box.look is PLAIN else {**own, **look}
    if box.kind == "inactive":
        style = f"{own['style']},dashed" if "style" in own else _INACTIVE_NODE_STYLE["style"]
        attributes.update(_INACTIVE_NODE_STYLE, style=style)
    elif box.kind == "end":
        attributes.update(_END_STYLE)
    elif box.kind == "note":
        attributes.update(_NOTE_STYLE)
    label = _node_label(box, own.get("shape", ""))
    if width := _unmeasured_width(label):
        attributes.setdefault("width", f"{width:.2f}")
    attributes["label"] = _escape(label)
    attributes.setdefault("tooltip", _escape_tooltip(box.tooltip))
    return attributes


def _node_label(box: Box, shape: str) -> str:
    if shape in ("record", "Mrecord"):  # its label is made of fields, of one line each
        fields = box.label.replace("\n", " ")
        return "{{" + fields + "}|" + "|".join(box.remarks) + "}" if box.remarks else fields
    return "\n".join((box.label, *box.remarks))


def _unmeasured_width(text: str) -> float:
    """About how many inches lines need that the in-process renderer, knowing ASCII, underrates."""
    widths = [
        sum(1.0 if east_asian_width(character) in "WF" else 0.6 for character in line)
        for line in text.split("\n")
        if not line.isascii()
    ]
    return max(widths) * float(_NODE_STYLE["fontsize"]) / 72 + 0.32 if widths else 0.0


def _edge_attributes(line: Line) -> dict[str, str]:
    attributes = _safe_attributes(line.attributes, f"arrow {line.source!r} -> {line.target!r}")
    if line.kind == "error":
        attributes = {**_ERROR_EDGE_STYLE, **attributes}
    elif line.kind == "inactive":
        attributes.update(_INACTIVE_EDGE_STYLE)
    if line.label:
        attributes["label"] = _escape(f"\N{NO-BREAK SPACE}{line.label}")  # a gap beside the line
    attributes.setdefault("tooltip", _escape_tooltip(line.tooltip))
    attributes.setdefault("labeltooltip", attributes["tooltip"])
    return attributes


def _safe_attributes(attributes: Mapping[str, Any], owner: str) -> dict[str, str]:
    """The attributes of a user that graphviz may see; texts escaped, dangerous ones left out."""
    safe = {}
    for name, value in attributes.items():
        shown = _safe_value(name, value)
        if shown is not None:
            safe[name] = shown
        else:
            import logging

            logging.getLogger(__name__).warning("%s: attribute %r is not drawn", owner, name)
    return safe


def _safe_value(name: str, value: object) -> str | None:
    """What the attribute may be set to; None where it could run, load or read something."""
    if not _ATTRIBUTE_NAME.fullmatch(name) or name.lower() in _REFUSED:
        return None
    if name.endswith("label"):
        return _escape(label_text(value))
    text = clean_text(value, TOOLTIP_LENGTH)
    if name.endswith("tooltip"):
        return _escape_tooltip(text)
    harmless = _WEB_LINK if name.lower().endswith(("url", "href")) else _PLAIN_VALUE
    return _escape(text) if harmless.fullmatch(text) else None


def _escape(text: str) -> str:
    r"""The text as graphviz shows it unchanged: it would take `<b>` for HTML, `\N` for the node's
    name, `&lt;` for a bracket.
    """
    from graphviz import nohtml

    text = text.lstrip("\n")  # an empty first line damages the memory of the in-process renderer
    escaped = text.replace("\\", "\\\\").replace("&", "&amp;").replace("\n", "\\n")
    shown: str = nohtml(escaped)
    return shown


def _escape_tooltip(text: str) -> str:
    """As `_escape`, but graphviz resolves the backslashes of tooltips twice."""
    return _escape(text.replace("\\", "\\\\").replace("\n", " "))
