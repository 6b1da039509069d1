"""What a picture says: labels, remarks and states of the boxes, kinds and words of the lines."""

from __future__ import annotations

from pathlib import Path

import pytest

from octo_graph_checks import dependency_graph
from octo_graph_picture import (
    LABEL_LENGTH,
    LOOKS,
    MANY_ERROR_ARROWS,
    PLAIN,
    Box,
    Line,
    Picture,
    Progress,
    clean_text,
    forks,
    picture_of,
)
from tests.graphs import a_chain, a_graph, an_arrow


def box(picture: Picture, name: str) -> Box:
    return next(each for each in picture.boxes if each.name == name)


def line(picture: Picture, source: str, target: str) -> Line:
    return next(each for each in picture.lines if (each.source, each.target) == (source, target))


def ends(picture: Picture) -> set[str]:
    """The names of the boxes with a line to the terminal."""
    terminals = [each.name for each in picture.boxes if each.kind == "end"]
    assert len(terminals) <= 1
    return {each.source for each in picture.lines if each.target in terminals}


def test_a_box_is_labelled_as_the_node_says_or_else_with_its_name() -> None:
    picture = picture_of(a_graph({"a": {"attributes": {"label": "SM"}}, "b": {}}, "a b"))
    assert (box(picture, "a").label, box(picture, "b").label) == ("SM", "b")


def test_only_the_first_node_is_marked_as_first() -> None:
    picture = picture_of(a_graph("ab", "b a", first="b"))
    assert [each.first for each in picture.boxes] == [False, True, False]


@pytest.mark.parametrize(
    ("fields", "remark"),
    [
        ({"entry_breakpoint": True}, "● stops at entry"),
        ({"exit_breakpoint": True}, "● stops at exit"),
        ({"skip_execute": True}, "execute is skipped"),
        ({"active": False}, "inactive"),
    ],
)
def test_what_is_special_about_a_node_is_said_in_its_box(
    fields: dict[str, bool], remark: str
) -> None:
    assert box(picture_of(a_graph({"a": {}, "b": fields}, "a b")), "b").remarks == (remark,)


def test_the_description_of_a_node_is_its_tooltip() -> None:
    picture = picture_of(a_graph({"a": {"description": "Opens the link."}, "b": {}}))
    assert (box(picture, "a").tooltip, box(picture, "b").tooltip) == ("a: Opens the link.", "b")


# --- progress -------------------------------------------------------------------------------------


def test_without_progress_no_state_is_shown() -> None:
    picture = picture_of(a_chain(2), title="chain")
    assert picture.title == "chain"
    assert all(each.remarks == () and each.look is PLAIN for each in picture.boxes)


@pytest.mark.parametrize("state", sorted(LOOKS.keys() - {"running", "pending"}))
def test_the_state_of_a_node_is_told_by_sign_word_and_colour(state: str) -> None:
    drawn = box(picture_of(a_chain(2), Progress(status={"n0": state})), "n0")
    assert drawn.remarks == (f"{LOOKS[state].sign} {state}",)
    assert drawn.look == LOOKS[state]


def test_no_two_states_share_a_sign_or_a_colour() -> None:
    looks = list(LOOKS.values())
    for part in ("sign", "fill", "line"):
        assert len({getattr(look, part) for look in looks}) == len(looks)


def test_a_current_node_shows_the_state_that_it_is_in() -> None:
    picture = picture_of(a_chain(2), Progress({"n1": "EXECUTE"}, {"n0": "done", "n1": "done"}))
    assert box(picture, "n1").remarks == ("► EXECUTE",)
    assert box(picture, "n1").look == LOOKS["running"]


@pytest.mark.parametrize("status", ["failed", "interrupted", "waiting"])
def test_a_current_node_that_is_held_up_says_where(status: str) -> None:
    drawn = box(picture_of(a_chain(1), Progress({"n0": "ENTER"}, {"n0": status})), "n0")
    assert drawn.remarks == (f"{LOOKS[status].sign} {status} in ENTER",)
    assert drawn.look == LOOKS[status]


def test_a_status_that_is_not_known_is_shown_as_it_is() -> None:
    drawn = box(picture_of(a_chain(1), Progress(status={"n0": "re\x00booting"})), "n0")
    assert drawn.remarks == ("re\ufffdbooting",)


def test_progress_of_nodes_that_are_not_in_the_graph_changes_nothing() -> None:
    graph = a_chain(2)
    strange = Progress({"gone": "ENTER"}, {"other": "done"})
    assert picture_of(graph, strange) == picture_of(graph, Progress())


def test_the_title_counts_the_active_nodes_in_each_state() -> None:
    graph = a_graph({"a": {}, "b": {}, "c": {}, "d": {"active": False}}, "a b", "b c", "c d")
    picture = picture_of(graph, Progress({"b": "ENTER"}, {"a": "done"}), title="run")
    assert picture.title == "run\n✓ 1 done   ► 1 running   1 pending"


# --- arrows ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arrows", "label"),
    [
        (["a b go"], ""),  # no choice
        (["a b go", "a c stop"], "go"),
        (["a b b", "a c stop"], ""),  # the key says what the line says
        (["a b to_b", "a c stop"], ""),
        (["a b step_arrow_graph_list_key_b", "a c stop"], ""),
        (["a b go", "a c failed"], ""),  # the other one is the error arrow
    ],
)
def test_an_arrow_shows_its_key_where_that_says_something(arrows: list[str], label: str) -> None:
    graph = a_graph({"a": {"error_arrow_key": "failed"}, "b": {}, "c": {}}, *arrows)
    assert line(picture_of(graph), "a", "b").label == label


def test_the_label_that_an_arrow_is_given_is_always_shown() -> None:
    graph = a_graph("ab", an_arrow("a b", attributes={"label": "when warm"}))
    assert line(picture_of(graph), "a", "b").label == "when warm"


def test_the_tooltip_of_an_arrow_tells_its_key() -> None:
    assert line(picture_of(a_graph("ab", "a b go")), "a", "b").tooltip == "go: a → b"


def test_arrows_that_can_not_be_followed_are_inactive() -> None:
    graph = a_graph(
        {"a": {}, "off": {"active": False}, "b": {}},
        "a a",
        an_arrow("a b", active=False),
        "a off",
        "off b",
        "b a",
    )
    kinds = {(each.source, each.target): each.kind for each in picture_of(graph).lines}
    assert kinds == {
        ("a", "a"): "open",
        ("a", "b"): "inactive",
        ("a", "off"): "inactive",
        ("off", "b"): "inactive",
        ("b", "a"): "open",
    }


def test_the_error_arrow_is_of_a_kind_of_its_own() -> None:
    graph = a_graph({"a": {"error_arrow_key": "to_c"}, "b": {}, "c": {}}, "a b", "a c")
    picture = picture_of(graph)
    assert (line(picture, "a", "b").kind, line(picture, "a", "c").kind) == ("open", "error")


def test_very_many_error_arrows_into_a_node_are_told_in_words() -> None:
    def failing(count: int) -> Picture:
        nodes = {f"n{place}": {"error_arrow_key": "failed"} for place in range(count)}
        forward = [f"n{place} n{place + 1} next" for place in range(count - 1)]
        return picture_of(
            a_graph({**nodes, "rescue": {}}, *forward, *(f"{name} rescue failed" for name in nodes))
        )

    few, many = failing(MANY_ERROR_ARROWS), failing(MANY_ERROR_ARROWS + 1)
    assert sum(each.kind == "error" for each in few.lines) == MANY_ERROR_ARROWS
    assert box(few, "n0").remarks == ()

    (drawn,) = [each for each in many.lines if each.kind == "error"]
    assert drawn.target == "rescue"
    assert box(many, drawn.source).label == f"✗ an error in {MANY_ERROR_ARROWS + 1} nodes"
    assert box(many, "n0").remarks == ("✗ → rescue",)


def test_a_node_without_an_arrow_to_follow_leads_to_the_end() -> None:
    graph = a_graph(
        {"a": {}, "b": {}, "c": {}, "off": {"active": False}}, "a b", "a c", "c off", "b b again"
    )
    picture = picture_of(graph)
    assert ends(picture) == {"c"}
    assert [each.label for each in picture.boxes if each.kind == "end"] == ["COMPLETE"]


def test_a_graph_that_never_ends_has_no_end() -> None:
    assert all(each.kind == "step" for each in picture_of(a_graph("ab", "a b", "b a")).boxes)


def test_a_node_called_complete_is_not_taken_for_the_end() -> None:
    picture = picture_of(a_graph(["COMPLETE", "b"], "COMPLETE b"))
    assert ends(picture) == {"b"}
    assert box(picture, "COMPLETE").kind == "step"


# --- forks and joins ------------------------------------------------------------------------------


def test_a_join_says_how_many_nodes_it_waits_for() -> None:
    graph = a_graph(
        {"a": {}, "b": {}, "c": {}, "j": {"join_all": True}}, "a b", "a c", "b j", "c j"
    )
    assert box(picture_of(graph), "j").remarks == ("waits for all 2",)
    assert box(picture_of(graph), "a").remarks == ("forks",)


@pytest.mark.parametrize(
    ("arrows", "forking"),
    [
        (["a b", "a c", "b j", "c j"], {"a"}),
        (["a b", "a j", "b j"], {"a"}),  # one branch is the arrow itself
        (["a b", "a c", "b j", "c j", "j a", "j d"], {"a"}),  # round and round
        (["a b", "a c", "b d", "c d", "d j", "j e"], set()),  # a choice that meets before the join
        (["a b", "b c", "b b again", "b j", "c j"], {"b"}),
        (["a a again", "a j", "j b"], set()),  # staying is no branch
        (["a b", "a c", "b d", "b e", "d j", "e j", "c j"], {"a", "b"}),
        (["a b", "a c failed", "b j", "c j"], set()),  # nobody takes an error arrow on purpose
    ],
)
def test_a_node_forks_where_a_join_needs_more_than_one_of_its_arrows(
    arrows: list[str], forking: set[str]
) -> None:
    nodes = {name: {"error_arrow_key": "failed"} for name in "abcde"}
    assert forks(a_graph({**nodes, "j": {"join_all": True}}, *arrows)) == forking


def test_nothing_forks_without_a_join() -> None:
    assert forks(a_graph("abcd", "a b", "a c", "b d", "c d")) == frozenset()


def test_where_arrows_are_dependencies_every_node_joins_and_forks_and_none_says_so() -> None:
    leads = {"a": "bc", "b": "j", "c": "j"}
    arrows = {
        source: {target: {"arrow_step_name_string": target} for target in targets}
        for source, targets in leads.items()
    }
    nodes = {"a": {}, "b": {}, "c": {}, "j": {"join_all_bool": 1}}
    graph = dependency_graph(nodes, arrows, {}, Path("recipe.yaml"))
    picture = picture_of(graph)
    assert [each.remarks for each in picture.boxes if each.kind == "step"] == [()] * 4
    assert ends(picture) == {"j"}


# --- texts ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("a\x00b\x07c", "a\ufffdb\ufffdc"),
        ("\ud800 \ufffe \u202egnp.exe", "\ufffd \ufffd \ufffdgnp.exe"),
        ("a\tb\r\nc", "a b\nc"),
        ("é 日本 🎉 e\u0301", "é 日本 🎉 e\u0301"),
        (5, "5"),
        ("x" * LABEL_LENGTH, "x" * LABEL_LENGTH),
        ("x" * (LABEL_LENGTH + 1), "x" * (LABEL_LENGTH - 1) + "…"),
    ],
)
def test_a_text_is_cleaned_of_what_can_not_be_shown(text: object, clean: str) -> None:
    assert clean_text(text) == clean


@pytest.mark.parametrize("label", ["one\ntwo", r"one\ntwo", r"one\ltwo", r"one\rtwo"])
def test_a_label_breaks_lines_as_in_python_and_as_in_graphviz(label: str) -> None:
    graph = a_graph({"a": {"attributes": {"label": label}}})
    assert box(picture_of(graph), "a").label == "one\ntwo"


def test_a_long_label_is_wrapped() -> None:
    graph = a_graph({"a": {"attributes": {"label": "measure the voltage " * 4}}})
    lines = box(picture_of(graph), "a").label.split("\n")
    assert len(lines) == 2
    assert " ".join(lines) == ("measure the voltage " * 4).strip()
