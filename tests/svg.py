"""SVG pictures for tests: drawn without the program `dot`, parsed, and looked into."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from octo_graph_steps import Progress, draw_dot, render
from octo_step_graph import StepGraph
from tests.graphs import a_graph

SVG = "{http://www.w3.org/2000/svg}"
HREF = "{http://www.w3.org/1999/xlink}href"
TITLE = "{http://www.w3.org/1999/xlink}title"


@pytest.fixture(autouse=True, scope="module")
def no_dot_program(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A directory that is all of PATH, and empty."""
    empty = tmp_path_factory.mktemp("path")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", str(empty))
        yield empty


class Drawing:
    """An SVG, parsed."""

    def __init__(self, dot: str) -> None:
        self.source = render(dot, "svg")
        self.root = ET.fromstring(self.source)  # raises where it is not well-formed

    def group(self, title: str) -> ET.Element:
        """The node (`a`) or arrow (`a->b`) of that name."""
        return next(
            group
            for group in self.root.iter(f"{SVG}g")
            if group.findtext(f"{SVG}title", "") == title
        )

    def texts(self, title: str) -> list[str]:
        return [text.text or "" for text in self.group(title).iter(f"{SVG}text")]

    def outlines(self, title: str) -> list[ET.Element]:
        kinds = ("path", "polygon", "polyline", "ellipse")
        return [each for each in self.group(title).iter() if each.tag.removeprefix(SVG) in kinds]

    def colours(self, title: str) -> tuple[str | None, str | None]:
        outline = self.outlines(title)[0]
        return outline.get("fill"), outline.get("stroke")

    def is_dashed(self, title: str) -> bool:
        return any(each.get("stroke-dasharray") for each in self.outlines(title))

    def tooltip(self, title: str) -> str | None:
        return next(link.get(TITLE) for link in self.group(title).iter(f"{SVG}a"))


def drawing(graph: StepGraph, progress: Progress | None = None, title: str = "") -> Drawing:
    return Drawing(draw_dot(graph, progress, title=title))


def one_node(**attributes: Any) -> StepGraph:
    return a_graph({"a": {"attributes": attributes}}, "a a")


def assert_harmless(drawn: Drawing) -> None:
    """Nothing in the picture runs, loads or links to anything."""
    for element in drawn.root.iter():
        assert element.tag.removeprefix(SVG) in {
            *("svg", "g", "a", "title", "text"),
            *("path", "polygon", "polyline", "ellipse", "defs", "linearGradient", "stop"),
        }
        for name, value in element.attrib.items():
            assert not name.lower().startswith("on"), name
            assert name == TITLE or not re.match(r"url\((?!#)", value), value
            if name.endswith("href"):
                assert re.match(r"https?://", value), value
