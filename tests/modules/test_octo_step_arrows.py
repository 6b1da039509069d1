"""Arrow keys: where they lead. What is wrong with a choice of them: test_octo_step_machine."""

from __future__ import annotations

from octo_step_arrows import followed, leads_to
from tests.modules.step_machine_support import graph, node

STAY = "step_arrow_graph_list_key_"


def test_an_arrow_key_leads_to_a_node_to_an_end_or_nowhere() -> None:
    one = graph(
        node("a", {"go": "b", "shut": "b", "off": "c"}, closed=["shut"]),
        node("b"),
        node("c", active=False),
    )
    keys = ["go", "COMPLETE", "COMPLETE_ERROR", STAY + "a", "shut", "off", STAY + "b", "b", ""]
    found = [leads_to(one, "a", key) for key in keys]
    assert found == ["b", "", "", "a", None, None, None, None, None]


def test_a_declared_arrow_to_the_node_itself_can_be_shut() -> None:
    key = STAY + "a"
    assert leads_to(graph(node("a", {key: "a"})), "a", key) == "a"
    assert leads_to(graph(node("a", {key: "a"}, closed=[key])), "a", key) is None


def test_several_arrows_are_followed_in_their_order() -> None:
    fork = graph(node("a", ["b", "c"]), node("b"), node("c"))
    assert followed(fork, "a", ("c", "COMPLETE", "b", STAY + "a")) == ["c", "b", "a"]
