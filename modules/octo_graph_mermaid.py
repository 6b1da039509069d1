"""Writes a picture of a step graph as a Mermaid flowchart, which many Markdown pages show as such.

Texts are quoted, and what means something to Mermaid, to HTML or to the Markdown that Mermaid reads
in labels is written as its number (`#60;` for `<`): a label can't end its quotes, open a tag, give
a directive or become a list.
"""

from __future__ import annotations

import json
import re

from octo_graph_picture import ERROR_COLOUR, GREY, INACTIVE, LOOKS, TEXT, Box, Line, Look, Picture

# Around the quoted text; shapes are named as in graphviz, and a first node has a double border.
_SHAPES = {
    "box": ("[", "]"),
    "rect": ("[", "]"),
    "rectangle": ("[", "]"),
    "square": ("[", "]"),
    "circle": ("((", "))"),
    "doublecircle": ("(((", ")))"),
    "ellipse": ("([", "])"),
    "oval": ("([", "])"),
    "diamond": ("{", "}"),
    "hexagon": ("{{", "}}"),
    "cylinder": ("[(", ")]"),
}
_ROUNDED, _FIRST, _FIRST_ROUND, _END = ("(", ")"), ("[[", "]]"), ("(((", ")))"), ("([", "])")
# The letters are those with which Mermaid marks its own escapes before it reads a line.
_SPECIAL = re.compile(r"[!-+\--/:-@\[-^`{-~]|\b_|_\b|[ﬂ°¶ß]")
_LINKS = {"open": "-->", "error": "--x", "inactive": "-.->"}


def write_mermaid(picture: Picture) -> str:
    """The text of the flowchart, with a title where the picture has one."""
    ids = {box.name: f"n{place}" for place, box in enumerate(picture.boxes, start=1)}
    classes = {box.name: _class_name(box) for box in picture.boxes}
    text = []
    if picture.title:
        title = " - ".join(picture.title.split("\n"))
        text += ["---", f"title: {json.dumps(title, ensure_ascii=False)}", "---"]
    text.append("flowchart TD")
    text += [f"    {ids[box.name]}{_node(box)}:::{classes[box.name]}" for box in picture.boxes]
    text += [f"    {ids[line.source]} {_link(line)} {ids[line.target]}" for line in picture.lines]
    text += [f"    {style}" for name, style in _CLASSES.items() if name in classes.values()]
    for kind, colour in (("error", ERROR_COLOUR), ("inactive", GREY)):
        places = [str(place) for place, line in enumerate(picture.lines) if line.kind == kind]
        if places:
            text.append(f"    linkStyle {','.join(places)} stroke:{colour},color:{colour}")
    return "\n".join(text) + "\n"


def _node(box: Box) -> str:
    shape = str(box.attributes.get("shape", ""))
    opening, closing = _SHAPES.get(shape, _ROUNDED)
    if box.kind == "end":
        opening, closing = _END
    elif box.first:
        opening, closing = _FIRST_ROUND if shape in ("", "circle") else _FIRST
    return f'{opening}"{_escape(chr(10).join((box.label, *box.remarks)))}"{closing}'


def _link(line: Line) -> str:
    return f'{_LINKS[line.kind]}|"{_escape(line.label)}"|' if line.label else _LINKS[line.kind]


def _class_name(box: Box) -> str:
    if box.kind != "step":
        return box.kind + "_node"  # `end` alone is a word of Mermaid's own
    return next(name for name, look in LOOKS.items() if look == box.look)


def _style(name: str, look: Look, more: str = "") -> str:
    return (
        f"classDef {name} fill:{look.fill},stroke:{look.line},"
        f"stroke-width:{look.width}px,color:{TEXT}{more}"
    )


_CLASSES = {
    **{name: _style(name, look) for name, look in LOOKS.items()},
    "inactive_node": _style("inactive_node", INACTIVE, ",stroke-dasharray:5 5"),
    "note_node": f"classDef note_node fill:none,stroke:none,color:{ERROR_COLOUR}",
    "end_node": "classDef end_node fill:#334155,stroke:#334155,color:#ffffff",
}


def _escape(text: str) -> str:
    lines = [_SPECIAL.sub(lambda found: f"#{ord(found[0])};", line) for line in text.split("\n")]
    return "<br/>".join(line.strip() for line in lines) or " "
