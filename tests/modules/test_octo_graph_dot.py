"""Pictures in DOT and SVG: how they look, and that hostile texts in them are harmless."""

from __future__ import annotations

import logging
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from octo_graph_steps import Progress, draw_dot, draw_machine_dot
from tests.graphs import a_chain, a_graph, an_arrow, hostile_texts
from tests.svg import HREF, SVG, Drawing, assert_harmless, drawing, no_dot_program, one_node

__all__ = ["no_dot_program"]  # a fixture


# --- how it looks ---------------------------------------------------------------------------------


def test_a_node_is_drawn_with_the_label_and_shape_that_it_says() -> None:
    drawn = drawing(a_graph({"first": {}, "a": {"attributes": {"label": "SM", "shape": "box"}}}))
    assert b">SM<" in drawn.source
    assert [each.tag for each in drawn.outlines("a")] == [f"{SVG}polygon"]


@pytest.mark.parametrize(
    ("own", "outline"),
    [({}, "ellipse"), ({"shape": "circle"}, "ellipse"), ({"shape": "box"}, "polygon")],
)
def test_the_first_node_is_a_double_circle_or_has_a_double_border_of_its_own_shape(
    own: dict[str, str], outline: str
) -> None:
    drawn = drawing(a_graph({"a": {"attributes": own}, "b": {"attributes": own}}, "a b"))
    assert [each.tag for each in drawn.outlines("a")] == [f"{SVG}{outline}"] * 2
    assert len(drawn.outlines("b")) == 1


def test_inactive_nodes_and_arrows_are_dashed_and_grey() -> None:
    nodes = {
        "a": {},
        "off": {"active": False, "attributes": {"shape": "box", "color": "red"}},
        "b": {},
    }
    drawn = drawing(a_graph(nodes, "a off", "off b", an_arrow("a b", active=False), "b a"))
    for title in ("off", "a->off", "off->b", "a->b"):
        assert drawn.is_dashed(title), title
        assert drawn.colours(title)[1] == "#94a3b8", title
    for title in ("a", "b", "b->a"):
        assert not drawn.is_dashed(title), title


def test_remarks_stand_below_the_label() -> None:
    graph = a_graph({"a": {"entry_breakpoint": True, "exit_breakpoint": True}})
    assert drawing(graph).texts("a") == ["a", "● stops at entry", "● stops at exit"]


def test_states_have_colours_of_their_own_whatever_the_node_says() -> None:
    nodes = {name: {"attributes": {"fillcolor": "red", "color": "red"}} for name in "abcd"}
    progress = Progress({"b": "EXECUTE"}, {"a": "done", "c": "failed"})
    drawn = drawing(a_graph(nodes), progress)
    colours = [drawn.colours(name) for name in "abcd"]
    assert len(set(colours)) == 4
    assert colours[3] == ("red", "red")  # pending: nothing to be told
    assert [drawn.texts(name)[1:] for name in "abcd"] == [
        ["✓ done"],
        ["► EXECUTE"],
        ["✗ failed"],
        [],
    ]


def test_without_progress_the_colours_of_a_node_stand() -> None:
    assert drawing(one_node(fillcolor="gold", color="navy")).colours("a") == ("gold", "navy")


def test_a_record_keeps_its_fields_beside_its_state() -> None:
    drawn = drawing(one_node(shape="record", label="x|y"), Progress(status={"a": "done"}))
    assert drawn.texts("a") == ["x", "y", "✓ done"]


def test_error_arrows_differ_from_others_in_colour_and_form() -> None:
    graph = a_graph({"a": {"error_arrow_key": "failed"}, "b": {}, "c": {}}, "a b", "a c failed")
    drawn = drawing(graph)
    assert drawn.colours("a->b")[1] != drawn.colours("a->c")[1]
    form = [[each.tag.removeprefix(SVG) for each in drawn.outlines(t)] for t in ("a->b", "a->c")]
    assert form == [["path", "polygon"], ["path", "ellipse", "polygon"]]


def test_a_choice_is_labelled_with_the_keys_of_its_arrows() -> None:
    drawn = drawing(a_graph("abc", "a b pass", "a c fail"))
    assert drawn.texts("a->b") == ["\N{NO-BREAK SPACE}pass"]


def test_attributes_of_nodes_and_arrows_reach_graphviz() -> None:
    graph = a_graph(
        {"a": {"attributes": {"fontcolor": "purple", "tooltip": "mine & yours"}}},
        an_arrow("a a", attributes={"color": "purple", "penwidth": 3, "URL": "https://x.org/?a&b"}),
    )
    drawn = drawing(graph)
    assert next(drawn.group("a").iter(f"{SVG}text")).get("fill") == "purple"
    assert drawn.tooltip("a") == "mine & yours"
    arrow = drawn.outlines("a->a")[0]
    assert (arrow.get("stroke"), arrow.get("stroke-width")) == ("purple", "3")
    assert {link.get(HREF) for link in drawn.group("a->a").iter(f"{SVG}a")} == {
        "https://x.org/?a&b"
    }


def test_tooltips_say_what_there_is_no_room_for() -> None:
    drawn = drawing(a_graph({"a": {"description": "Opens the link."}, "b": {}}, "a b go"))
    assert drawn.tooltip("a") == "a: Opens the link."
    assert drawn.tooltip("a->b") == "go: a → b"


def test_the_picture_has_a_title_and_a_background_of_its_own() -> None:
    drawn = drawing(a_chain(2), title="bringup")
    graph = next(group for group in drawn.root if group.get("class") == "graph")
    assert graph.findtext(f"{SVG}text") == "bringup"
    background = graph.find(f"{SVG}polygon")
    assert background is not None
    assert background.get("fill") == "white"


def test_names_are_the_ids_in_dot_where_they_can_be() -> None:
    dot = draw_dot(a_graph(["load", "b: c", 'x"'], first="load"))
    assert "\tload [" in dot
    assert re.findall(r'^\t("?\(\d\)"?) \[', dot, re.MULTILINE) == ['"(2)"', '"(3)"', '"(4)"']


def test_a_state_machine_is_drawn_in_the_same_style() -> None:
    moves = [("off", "on", "push"), ("on", "off", "push"), ("on", "broken", "drop")]
    drawn = Drawing(draw_machine_dot(["off", "on", "broken"], moves, title="lamp"))
    assert len(drawn.outlines("off")) == 2
    assert len(drawn.outlines("on")) == 1
    assert drawn.colours("broken") != drawn.colours("on")  # an end
    assert drawn.texts("on->broken") == ["\N{NO-BREAK SPACE}drop"]


def test_letters_that_the_renderer_can_not_measure_get_room() -> None:
    def width(label: str) -> float:
        points = drawing(one_node(label=label, shape="box")).outlines("a")[0].get("points", "")
        places = [float(point.split(",")[0]) for point in points.split()]
        return max(places) - min(places)

    assert width("手順" * 8) >= 16 * 12  # each is as wide as the font is high


# --- hostile texts --------------------------------------------------------------------------------


@given(hostile_texts, hostile_texts, hostile_texts, hostile_texts)
def test_no_text_can_break_out_of_the_picture(name: str, label: str, key: str, status: str) -> None:
    nodes = {
        "a": {"attributes": {"label": label, "tooltip": key}},
        f"{name}.": {"description": key},
    }
    arrow = an_arrow("a a", attributes={"label": key, "xlabel": label, "tooltip": name})
    graph = a_graph(nodes, arrow)
    drawn = drawing(graph, Progress({"a": key}, {f"{name}.": status}), title=label)
    assert_harmless(drawn)
    kinds = [group.get("class") for group in drawn.root.iter(f"{SVG}g")]
    assert (kinds.count("node"), kinds.count("edge")) == (3, 2)  # with the end, and the way there


printable = hostile_texts.filter(
    lambda text: text.isprintable() and len(text) < 200 and not re.search(r"\\[nlr]", text)
)


@given(printable)
def test_a_label_is_shown_as_it_is(label: str) -> None:
    graph = a_graph({"a": {"attributes": {"label": label, "tooltip": label}}}, "a a")
    drawn = drawing(graph)
    assert "".join("".join(drawn.texts("a")).split()) == "".join(label.split())
    if label.strip():
        assert "".join((drawn.tooltip("a") or "").split()) == "".join(label.split())


ATTRIBUTES = """
    arrowhead class color colorscheme comment constraint dir fillcolor
    fixedsize fontcolor fontname fontsize group headURL headlabel headport
    height href id image imagescale label labelURL labeltooltip layer
    lhead margin minlen nojustify ordering orientation penwidth peripheries
    pos rank regular samplepoints shape shapefile sides skew style
    stylesheet tailport target tooltip URL weight width xlabel z
    _background
"""
SHAPES = ("record", "Mrecord", "point", "plaintext", "none", "custom", "epsf", "star", "invis")


@given(
    st.dictionaries(
        st.sampled_from(ATTRIBUTES.split()) | hostile_texts,
        st.integers(-5, 50) | st.sampled_from(SHAPES) | hostile_texts | st.none() | st.booleans(),
        max_size=5,
    )
)
def test_no_attribute_can_make_the_picture_harmful(attributes: dict[str, Any]) -> None:
    graph = a_graph({"a": {"attributes": attributes}}, an_arrow("a a", attributes=attributes))
    assert_harmless(drawing(graph))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("URL", "javascript:alert(1)"),
        ("href", "data:text/html,x"),
        ("labelURL", " JavaScript:x"),
        ("URL", 'https://x" onclick="y'),
        ("image", "/etc/passwd"),
        ("shapefile", "x.png"),
        ("stylesheet", "http://x/y.css"),
        ("id", "login"),
        ("class", "btn"),
        ("fontname", 'x" onload="alert(1)'),
        ("fillcolor", "url(http://x/y)"),
        ('x="1"]; evil [y', "z"),
        ('x="1"]; evil [label', "z"),
        ("<a>=1]; evil [y=<b>", "z"),
    ],
)
def test_a_dangerous_attribute_is_left_out_with_a_warning(
    name: str, value: str, caplog: pytest.LogCaptureFixture
) -> None:
    plain = draw_dot(one_node(label="a"))
    assert draw_dot(one_node(**{"label": "a", name: value})) == plain
    assert caplog.messages == [f"node 'a': attribute {name!r} is not drawn"]
    assert caplog.records[0].levelno == logging.WARNING


@given(st.text(st.sampled_from("\n a►&"), max_size=40), st.sampled_from(["box", "record"]))
def test_no_label_crashes_the_renderer(label: str, shape: str) -> None:
    graph = a_graph({"a": {"attributes": {"label": label, "shape": shape, "xlabel": label}}})
    assert drawing(graph, Progress({"a": label}), title=label)
