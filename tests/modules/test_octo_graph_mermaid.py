"""Mermaid flowcharts: what stands in them, and that no text can break out of its quotes."""

from __future__ import annotations

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from octo_graph_mermaid import write_mermaid
from octo_graph_picture import Progress, picture_of
from octo_step_graph import StepGraph
from tests.graphs import a_chain, a_graph, an_arrow, hostile_texts

# The whole of the language that is used: a line of any other form is a text that broke out.
TEXT = r"(?:[A-Za-z0-9 ,_]|[^\x00-\x7fﬂ°¶ß]|#\d+;|<br/>)*"
LINE = re.compile(
    "|".join(
        (
            "flowchart TD",
            rf'    n\d+[(\[{{]{{1,3}}"{TEXT}"[)\]}}]{{1,3}}:::\w+',
            rf'    n\d+ (?:-->|--x|-\.->)(?:\|"{TEXT}"\|)? n\d+',
            r"    classDef \w+ [\w:#,. -]+",
            r"    linkStyle [\d,]+ stroke:#\w+,color:#\w+",
        )
    )
)


def mermaid(graph: StepGraph, progress: Progress | None = None, title: str = "") -> list[str]:
    return write_mermaid(picture_of(graph, progress, title=title)).splitlines()


def shown(line: str) -> str:
    """The text between the quotes of a line, as Mermaid shows it."""
    text = line.partition('"')[2].rpartition('"')[0].replace("<br/>", "\n")
    return re.sub(r"#(\d+);", lambda found: chr(int(found[1])), text)


def test_a_small_graph_in_full() -> None:
    graph = a_graph({"go": {}, "end": {"attributes": {"label": "SM", "shape": "box"}}}, "go end")
    assert mermaid(graph) == [
        "flowchart TD",
        '    n1((("go"))):::pending',
        '    n2["SM"]:::pending',
        '    n3(["COMPLETE"]):::end_node',
        "    n1 --> n2",
        "    n2 --> n3",
        "    classDef pending fill:#ffffff,stroke:#475569,stroke-width:1.2px,color:#0f172a",
        "    classDef end_node fill:#334155,stroke:#334155,color:#ffffff",
    ]


@pytest.mark.parametrize(("shape", "drawn"), [("circle", '((("a")))'), ("box", '[["a"]]')])
def test_the_first_node_keeps_its_own_shape(shape: str, drawn: str) -> None:
    assert (
        mermaid(a_graph({"a": {"attributes": {"shape": shape}}}))[1] == f"    n1{drawn}:::pending"
    )


def test_states_are_classes_and_words() -> None:
    lines = mermaid(a_chain(3), Progress({"n1": "EXECUTE"}, {"n0": "failed"}))
    assert lines[4:7] == [
        '    n1((("n0<br/>✗ failed"))):::failed',
        '    n2("n1<br/>► EXECUTE"):::running',
        '    n3("n2"):::pending',
    ]
    defined = {line.split()[1] for line in lines if "classDef" in line}
    assert defined == {"failed", "running", "pending", "end_node"}


def test_error_arrows_and_inactive_arrows_differ_in_form_and_colour() -> None:
    graph = a_graph(
        {"a": {"error_arrow_key": "failed"}, "b": {}, "c": {}},
        "a b ok",
        "a c failed",
        an_arrow("a a again", active=False),
    )
    lines = mermaid(graph)
    assert lines[5:8] == ['    n1 -->|"ok"| n2', "    n1 --x n3", '    n1 -.->|"again"| n1']
    assert [line.split()[1:] for line in lines if "linkStyle" in line] == [
        ["1", "stroke:#b3340b,color:#b3340b"],
        ["2", "stroke:#94a3b8,color:#94a3b8"],
    ]


def test_the_title_is_one_line_of_yaml() -> None:
    title = 'a "quoted"\n--- title: x %%{init: {}}%%'
    assert mermaid(a_chain(1), Progress(), title)[:3] == [
        "---",
        'title: "a \\"quoted\\" - --- title: x %%{init: {}}%% - 1 pending"',
        "---",
    ]


@given(hostile_texts, hostile_texts, hostile_texts, hostile_texts)
def test_no_text_breaks_out_of_its_quotes(name: str, label: str, key: str, status: str) -> None:
    look = {"label": label, "shape": key}
    arrow = an_arrow("a a", attributes={"label": key})
    nodes = {"a": {"attributes": look}, f"{name}.": {"attributes": {"label": name}}}
    picture = picture_of(a_graph(nodes, arrow), Progress(status={"a": status}))
    for line in write_mermaid(picture).split("\n")[3:-1]:
        assert LINE.fullmatch(line), line


@given(st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1, max_size=40))
@example("<b>#60;</b>")
@example("_private_ __x__ a_b")
@example("ﬂ°°60¶ß")
def test_a_label_is_shown_as_it_is(label: str) -> None:
    label = label.replace("\\", "/")
    line = mermaid(a_graph({"a": {"attributes": {"label": label}}}))[1]
    assert shown(line) == label
