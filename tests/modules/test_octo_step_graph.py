"""The graph model: what dicts become, what is wrong with them, and how nodes hang together."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from octo_errors import LibraryError
from octo_graph_checks import build_graph, library_error, library_graph, load_graph
from octo_step_declaration import ARROW_DICT, GRAPH_DICT, HOOKS, PARAMS_INIT, RESULTS_INIT
from octo_step_graph import Arrow, Node, StepGraph, self_arrow_key
from octo_step_keys import ARROW_KEYS, NODE_KEYS
from octo_step_lib import NodeDeclaration, Problem, load_library
from tests.support import PROJECT, MakeLibrary

FILE = "no_such_file.py"  # declared without a source, so problems have no line


def declare(
    name: str,
    arrows: Iterable[str] | dict[str, Any] = (),
    hooks: Iterable[str] = ("step_advance",),
    **graph_dict: Any,
) -> NodeDeclaration:
    """A node whose arrows, named after the nodes they lead to, are all active."""
    if not isinstance(arrows, dict):
        arrows = {target: {"arrow_step_name_string": target} for target in arrows}
    return NodeDeclaration(
        name, "m", FILE, graph_dict=graph_dict, arrow_dict=arrows, hooks=frozenset(hooks)
    )


def build(*declared: NodeDeclaration, first: str | None = None) -> StepGraph:
    """A graph that must be without any problem."""
    graph, problems = build_graph({node.name: node for node in declared}, first=first)
    assert problems == [] and graph is not None
    return graph


def problems_of(*declared: NodeDeclaration, first: str | None = None) -> list[Problem]:
    graph, problems = build_graph({node.name: node for node in declared}, first=first)
    assert (graph is None) == any(problem.severity == "error" for problem in problems)
    return problems


def only_problem(*declared: NodeDeclaration, first: str | None = None) -> Problem:
    problems = problems_of(*declared, first=first)
    assert len(problems) == 1, "\n".join(map(str, problems))
    return problems[0]


# --- from dicts to the model ----------------------------------------------------------------------


def test_a_node_with_empty_dicts_has_all_defaults() -> None:
    graph = build(declare("a", hooks=()))
    assert graph.nodes == {"a": Node("a", "m", attributes={"label": "a"})}
    assert graph.first == "a"
    assert Node("a", "m") == Node(
        name="a",
        module="m",
        description="",
        attributes={},
        active=True,
        entry_breakpoint=False,
        exit_breakpoint=False,
        skip_execute=False,
        timeout_s=None,
        max_retries=0,
        retry_delay_s=0.0,
        retry_backoff=1.0,
        error_arrow_key=None,
        join_all=False,
        on_interrupt="rerun",
        hooks=frozenset(),
        arrows={},
    )


def test_every_key_reaches_its_field() -> None:
    arrow = {
        "module_name_string": "m",
        "arrow_step_name_string": "b",
        "dg_edge_attr_dict": {"label": "go", "penwidth": 2, "constraint": False},
        "active_arrow_step_bool": 1,
    }
    graph = build(
        declare(
            "a",
            {"go": arrow, "back": {"arrow_step_name_string": "a", "active_arrow_step_bool": 0}},
            ("step_advance", "step_probe"),
            module_name_string="m",
            node_step_name_string="a",
            dg_node_attr_dict={"label": "A", "width": 1.5},
            first_node_step_bool=True,
            active_node_step_bool=1,
            node_entry_breakpoint=1,
            node_exit_breakpoint=True,
            skip_step_node_execute_bool=1,
            timeout_seconds=3,
            max_retries=2,
            retry_delay_seconds=0.5,
            retry_backoff_factor=2,
            error_arrow_key="go",
            on_interrupt="probe",
            join_all_bool=0,
        ),
        declare("b"),
    )
    arrows = {
        "go": Arrow(
            "go", "a", "b", "m", True, {"label": "go", "penwidth": "2", "constraint": "false"}
        ),
        "back": Arrow("back", "a", "a", "", False, {}),
    }
    assert graph.nodes["a"] == Node(
        name="a",
        module="m",
        attributes={"label": "A", "width": "1.5"},
        entry_breakpoint=True,
        exit_breakpoint=True,
        skip_execute=True,
        timeout_s=3.0,
        max_retries=2,
        retry_delay_s=0.5,
        retry_backoff=2.0,
        error_arrow_key="go",
        on_interrupt="probe",
        hooks=frozenset({"step_advance", "step_probe"}),
        arrows=arrows,
    )


@pytest.mark.parametrize("limit", [0, 0.0, None])
def test_a_timeout_of_nothing_is_no_limit(limit: object) -> None:
    assert build(declare("a", timeout_seconds=limit)).nodes["a"].timeout_s is None


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("first_node_step_bool", 2, "0 or 1"),
        ("active_node_step_bool", "1", "0 or 1"),
        ("node_entry_breakpoint", None, "0 or 1"),
        ("node_exit_breakpoint", 1.0, "0 or 1"),
        ("skip_step_node_execute_bool", -1, "0 or 1"),
        ("join_all_bool", [], "0 or 1"),
        ("timeout_seconds", -1, "a number of seconds"),
        ("timeout_seconds", "5", "a number of seconds"),
        ("timeout_seconds", True, "a number of seconds"),
        ("timeout_seconds", float("inf"), "a number of seconds"),
        ("max_retries", 1.5, "a whole number"),
        ("max_retries", -1, "a whole number"),
        ("max_retries", True, "a whole number"),
        ("retry_delay_seconds", float("nan"), "a number, 0 or more"),
        ("retry_backoff_factor", None, "a number, 0 or more"),
        ("error_arrow_key", 5, "a name"),
        ("module_name_string", "", "a name"),
        ("node_step_name_string", 5, "a name"),
        ("on_interrupt", "retry", "one of 'rerun', 'ask', 'skip', 'probe'"),
        ("on_interrupt", ["rerun"], "one of 'rerun'"),
        ("dg_node_attr_dict", [], "a dict of strings and numbers"),
        ("dg_node_attr_dict", {"shape": ["box"]}, "a dict of strings and numbers"),
        ("dg_node_attr_dict", {1: "box"}, "a dict of strings and numbers"),
    ],
)
def test_a_wrong_type_is_an_error(key: str, value: Any, expected: str) -> None:
    problem = only_problem(declare("a", **{key: value}))
    assert f"{key} must be {expected}" in problem.message
    assert problem.message.endswith(f"and is {value!r}")


@pytest.mark.parametrize("key", ["timeout_seconds", "retry_delay_seconds", "retry_jitter_factor"])
@pytest.mark.parametrize("digits", [400, 5000])
def test_a_number_that_no_float_holds_is_an_error(key: str, digits: int) -> None:
    assert f"{key} must be a number" in only_problem(declare("a", **{key: 10**digits})).message


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("active_arrow_step_bool", "yes", "0 or 1"),
        ("dg_edge_attr_dict", {"label": None}, "a dict of strings and numbers"),
        ("module_name_string", 5, "a name"),
    ],
)
def test_a_wrong_type_in_an_arrow_is_an_error(key: str, value: object, expected: str) -> None:
    arrow = {"arrow_step_name_string": "b", key: value}
    problem = only_problem(declare("a", {"go": arrow}), declare("b"))
    assert f"{key} must be {expected}" in problem.message


def test_a_misspelt_key_is_an_error_that_says_the_right_one() -> None:
    problem = only_problem(declare("a", timeout_second=5))
    assert "unknown key, 'timeout_second'" in problem.message
    assert "did you mean 'timeout_seconds'" in problem.hint
    arrow = {"arrow_step_name_string": "b", "activ_arrow_step_bool": 0}
    problem = only_problem(declare("a", {"go": arrow}), declare("b"))
    assert "did you mean 'active_arrow_step_bool'" in problem.hint
    not_text: dict[Any, Any] = {5: 6}
    odd = NodeDeclaration("a", "m", FILE, graph_dict=not_text)
    assert "unknown key, 5" in only_problem(odd).message


@pytest.mark.parametrize(
    ("arrows", "message"),
    [
        ({"x": 5}, "must be {key: {...}}, and has 'x': 5"),
        ({5: {"arrow_step_name_string": "a"}}, "must be {key: {...}}, and has 5:"),
        ({"x": {}}, "arrow 'x' has no arrow_step_name_string"),
        ({"x": {"arrow_step_name_string": 5}}, "arrow_step_name_string must be a name"),
        ({"": {"arrow_step_name_string": "a"}}, "an arrow can't have the key ''"),
        ({"COMPLETE": {"arrow_step_name_string": "a"}}, "can't have the key 'COMPLETE'"),
        ({"COMPLETE_ERROR": {"arrow_step_name_string": "a"}}, "key 'COMPLETE_ERROR'"),
        ({"x": {"arrow_step_name_string": "aa"}}, "leads to 'aa', and there is no such node"),
    ],
)
def test_an_arrow_that_can_not_be_is_an_error(arrows: dict[str, Any], message: str) -> None:
    assert message in only_problem(declare("a", arrows)).message


def test_a_missing_target_is_answered_with_the_nearest_nodes() -> None:
    problems = problems_of(declare("load_csv", ["lod_csv"]))
    assert problems[0].hint == "did you mean 'load_csv'?"
    arrow = {"module_name_string": "m", "arrow_step_name_string": "zzzzzzzz"}
    assert problems_of(declare("a", {"x": arrow}))[0].hint == "there are: a"


def test_an_arrow_that_names_another_module_than_its_targets_is_an_error() -> None:
    arrow = {"module_name_string": "other", "arrow_step_name_string": "b"}
    problem = only_problem(declare("a", {"go": arrow}), declare("b"))
    assert "looks for node 'b' in module 'other'" in problem.message
    assert problem.hint == "this node is in 'm'"


def test_an_arrow_into_a_module_that_failed_to_load_is_no_further_problem() -> None:
    arrows = {
        "x": {"module_name_string": "gone", "arrow_step_name_string": "anything"},
        "y": {"arrow_step_name_string": "gone"},
    }
    assert build_graph({"a": declare("a", arrows)}, broken={"gone"})[1] == []


def test_names_in_the_graph_dict_must_be_those_of_the_node() -> None:
    assert "but this is 'm'" in only_problem(declare("a", module_name_string="x")).message
    assert "but this is 'a'" in only_problem(declare("a", node_step_name_string="x")).message


@pytest.mark.parametrize("name", ["global_parameters", "active_steps", "join_arrivals"])
def test_a_node_can_not_be_called_like_a_group_of_the_engine(name: str) -> None:
    assert "the engine keeps a group of that name" in only_problem(declare(name)).message


@pytest.mark.parametrize("name", ["", " ", "a\nb", "a\x1b[0m", "\ud800"])
def test_a_node_can_not_have_a_name_that_can_not_be_shown(name: str) -> None:
    assert "a node can't be called" in only_problem(declare(name)).message


def test_the_key_to_stay_on_a_node_is_its_own() -> None:
    key = self_arrow_key("a")
    assert key == "step_arrow_graph_list_key_a"
    build(declare("a", {key: {"arrow_step_name_string": "a"}}))
    build(declare("a", {self_arrow_key("b"): {"arrow_step_name_string": "b"}}), declare("b"))
    problem = only_problem(declare("a", {key: {"arrow_step_name_string": "b"}}), declare("b"))
    assert "means to stay on 'a', but leads to 'b'" in problem.message


def test_the_error_arrow_must_be_declared() -> None:
    problem = only_problem(declare("a", ["b"], error_arrow_key="c"), declare("b"))
    assert "error_arrow_key is 'c', and this node has no such arrow" in problem.message
    assert problem.hint == "there are: b"


def test_probing_needs_a_probe() -> None:
    assert "without a step_probe" in only_problem(declare("a", on_interrupt="probe")).message


# --- choices --------------------------------------------------------------------------------------


def test_several_open_arrows_need_a_step_advance() -> None:
    b, c = declare("b"), declare("c")
    problem = only_problem(declare("a", ["b", "c"], hooks=()), b, c)
    assert "'a' has 2 open arrows, b, c, and no step_advance that chooses" in problem.message
    build(declare("a", ["b", "c"]), b, c)


def test_only_open_arrows_count_for_the_choice() -> None:
    closed = {"arrow_step_name_string": "c", "active_arrow_step_bool": 0}
    a = declare("a", {"b": {"arrow_step_name_string": "b"}, "c": closed}, hooks=())
    graph, problems = build_graph({n.name: n for n in (a, declare("b"), declare("c"))})
    assert [problem.severity for problem in problems] == ["warning"]
    assert graph is not None and graph.default_arrows("a") == ("b",)
    off = declare("c", active_node_step_bool=0)
    graph = build(declare("a", ["b", "c"], hooks=()), declare("b"), off)
    assert graph.default_arrows("a") == ("b",) and list(graph.open_arrows("a")) == ["b"]


def test_the_error_arrow_is_no_choice_unless_it_is_the_only_arrow() -> None:
    b, c = declare("b"), declare("c")
    graph = build(declare("a", ["b", "c"], hooks=(), error_arrow_key="c"), b, c)
    assert graph.default_arrows("a") == ("b",) and graph.default_arrows("b") == ()
    graph = build(declare("a", ["b"], hooks=(), error_arrow_key="b"), b)
    assert graph.default_arrows("a") == ("b",)
    off = declare("b", active_node_step_bool=0)
    graph = build(declare("a", ["b", "c"], hooks=(), error_arrow_key="c"), off, c)
    assert graph.default_arrows("a") == ()


# --- the first node -------------------------------------------------------------------------------


def test_the_first_node_is_chosen_or_flagged_or_the_only_one_without_an_arrow_to_it() -> None:
    a, b = declare("a", ["b", "a"]), declare("b")
    flagged = declare("b", ["a"], first_node_step_bool=1)
    assert build(b, a).first == "a"
    assert build(a, flagged).first == "b"
    assert build(a, flagged, first="a").first == "a"


def test_two_first_nodes_are_an_error_that_lists_them() -> None:
    nodes = [declare(x, ["d"], first_node_step_bool=1) for x in "abc"]
    problem = only_problem(*nodes, declare("d"))
    assert problem.message.startswith("3 nodes are the first: a (no_such_file.py), b (")


def test_of_two_first_nodes_an_inactive_one_does_not_count() -> None:
    off = declare("b", first_node_step_bool=1, active_node_step_bool=0)
    assert build(declare("a", ["b"], first_node_step_bool=1), off).first == "a"


def test_without_a_clear_first_node_the_candidates_are_listed() -> None:
    message = only_problem(declare("a", ["c"]), declare("b", ["c"]), declare("c")).message
    assert message == (
        "no first node: no arrow leads to any of a (no_such_file.py), b (no_such_file.py)"
    )
    message = only_problem(declare("a", ["b"]), declare("b", ["a"])).message
    assert message.startswith("no first node: arrows lead to all: a (no_such_file.py), b")
    message = only_problem(*(declare(f"n{i}") for i in range(20))).message
    assert message.endswith("n7 (no_such_file.py), and 12 more")
    off = problems_of(declare("a", active_node_step_bool=0))
    assert [problem.message for problem in off] == ["no first node: none is active"]


def test_a_chosen_first_node_must_exist_and_be_active() -> None:
    problem = only_problem(declare("start"), first="strat")
    assert "there is no node 'strat' to start with" in problem.message
    assert problem.hint == "did you mean 'start'?"
    assert problem.place == str(Path(FILE).parent)
    off = declare("a", active_node_step_bool=0)
    assert "'a' is to be the first node, and is not active" in only_problem(off, first="a").message


def test_nothing_is_concluded_from_a_first_node_that_is_not_active() -> None:
    off = declare("off", ["join"], active_node_step_bool=0)
    circle = [declare("join", ["back"], join_all_bool=1), declare("back", ["join"])]
    assert "is not active" in only_problem(off, *circle, first="off").message


# --- reachability ---------------------------------------------------------------------------------


def test_a_node_that_no_arrows_lead_to_is_an_error() -> None:
    a, lost = declare("a", ["a"], first_node_step_bool=1), declare("lost", ["a"])
    problem = only_problem(a, lost)
    assert problem.severity == "error" and "'lost' can't be reached" in problem.message
    assert problem.hint == ""


def test_it_is_a_warning_for_a_chosen_first_node_and_for_an_inactive_node() -> None:
    a, b = declare("a", ["b"]), declare("b")
    assert only_problem(a, b, first="b").severity == "warning"
    off = declare("lost", active_node_step_bool=0)
    first = declare("a", ["b"], first_node_step_bool=1)
    assert only_problem(first, b, off).severity == "warning"


def test_a_node_cut_off_by_something_inactive_is_a_warning() -> None:
    off = declare("b", ["c"], active_node_step_bool=0)
    problem = only_problem(declare("a", ["b"]), off, declare("c"))
    assert problem.severity == "warning" and "'c' is cut off" in problem.message


def test_what_may_be_a_consequence_of_an_error_says_so() -> None:
    a = declare("a", ["nowhere"], first_node_step_bool=1)
    lost = problems_of(a, declare("b"))[-1]
    assert "'b' can't be reached" in lost.message and "could not be read" in lost.hint


# --- joins ----------------------------------------------------------------------------------------


def test_a_join_waits_for_every_node_with_an_open_arrow_to_it() -> None:
    closed = {"j": {"arrow_step_name_string": "j", "active_arrow_step_bool": 0}}
    graph, problems = build_graph(
        {
            node.name: node
            for node in (
                declare("a", ["b", "c", "d", "e"]),
                declare("b", ["j"]),
                declare("c", ["j"]),
                declare("d", closed),
                declare("e", ["j"], active_node_step_bool=0),
                declare("j", ["j"], join_all_bool=1),
            )
        }
    )
    assert problems == [] and graph is not None
    assert graph.sources_into("j") == {"b", "c"} and graph.sources_into("a") == frozenset()


def test_a_join_does_not_wait_for_what_can_not_be_reached_from_the_first_node() -> None:
    nodes = [declare("a", ["b"]), declare("b", ["j"]), declare("c", ["j"], first_node_step_bool=1)]
    join = declare("j", ["a"], join_all_bool=1)
    graph, problems = build_graph({n.name: n for n in (*nodes, join)}, first="a")
    assert graph is not None and graph.sources_into("j") == {"b"}
    assert [problem.severity for problem in problems] == ["warning"]


@pytest.mark.parametrize(("arrows", "told"), [(["j"], "only a leads"), ([], "no node leads")])
def test_a_join_of_fewer_than_two_nodes_is_an_error(arrows: list[str], told: str) -> None:
    problems = problems_of(
        declare("a", arrows, first_node_step_bool=1), declare("j", ["j"], join_all_bool=1)
    )
    assert f"'j' is a join, and {told} to it" in [problem.message for problem in problems]


def test_a_join_that_waits_for_what_comes_after_it_is_an_error() -> None:
    nodes = [
        declare("a", ["b", "j"]),
        declare("b", ["j"]),
        declare("j", ["k"], join_all_bool=1),
        declare("k", ["j"]),
    ]
    problem = only_problem(*nodes)
    assert problem.severity == "error"
    assert problem.message == "join 'j' waits for 'k', which comes only after it: for ever"


def test_a_join_that_is_the_first_node_may_wait_for_what_comes_after_it() -> None:
    build(
        declare("j", ["a"], join_all_bool=1, first_node_step_bool=1),
        declare("a", ["b", "c"]),
        declare("b", ["j"]),
        declare("c", ["j"]),
    )


def test_a_circle_through_a_whole_fork_is_fine_through_a_part_of_it_a_warning() -> None:
    branches = [declare("b", ["j"]), declare("c", ["j"])]
    fork = declare("a", ["b", "c"], first_node_step_bool=1)
    build(fork, *branches, declare("j", ["a"], join_all_bool=1))
    problem = only_problem(fork, *branches, declare("j", ["b"], join_all_bool=1))
    assert problem.severity == "warning"
    assert problem.message == "when b comes to the join 'j' again, it waits for c for ever"


# --- random graphs against an oracle --------------------------------------------------------------

NAMES = "abcdef"


@st.composite
def random_declarations(draw: st.DrawFn) -> dict[str, NodeDeclaration]:
    names = NAMES[: draw(st.integers(1, len(NAMES)))]
    flag = st.integers(0, 1)
    nodes = {}
    for name in names:
        arrows = {
            f"{name}{target}": {"arrow_step_name_string": target, "active_arrow_step_bool": active}
            for target, active in draw(st.dictionaries(st.sampled_from(names), flag)).items()
        }
        keys = draw(
            st.fixed_dictionaries(
                {},
                optional={
                    "active_node_step_bool": flag,
                    "join_all_bool": flag,
                    "first_node_step_bool": flag,
                },
            )
        )
        hooks = draw(st.sampled_from([(), ("step_advance",)]))
        nodes[name] = declare(name, arrows, hooks, **keys)
    return nodes


class Oracle:
    """The same questions answered from matrices of who can get where, and by simple words."""

    def __init__(self, nodes: dict[str, NodeDeclaration], first: str | None) -> None:
        self.names = list(nodes)
        self.nodes = nodes
        self.chosen = first
        self.declared = {
            (name, arrow["arrow_step_name_string"])
            for name, node in nodes.items()
            for arrow in node.arrow_dict.values()
        }
        self.open = {
            (name, arrow["arrow_step_name_string"])
            for name, node in nodes.items()
            for arrow in node.arrow_dict.values()
            if arrow["active_arrow_step_bool"] and self.active(arrow["arrow_step_name_string"])
        }

    def active(self, name: str) -> bool:
        return bool(self.nodes[name].graph_dict.get("active_node_step_bool", 1))

    def ways(self, edges: set[tuple[str, str]], without: str = "") -> set[tuple[str, str]]:
        """Warshall: all (from, to) with a way of any length, 0 included."""
        inner = [name for name in self.names if name != without]
        found = {(name, name) for name in inner}
        found |= {(a, b) for a, b in edges if without not in (a, b)}
        for middle in inner:
            for a in inner:
                for b in inner:
                    if (a, middle) in found and (middle, b) in found:
                        found.add((a, b))
        return found

    def firsts(self) -> list[str]:
        if self.chosen is not None:
            return [self.chosen] if self.active(self.chosen) else []
        active = [name for name in self.names if self.active(name)]
        flagged = [n for n in active if self.nodes[n].graph_dict.get("first_node_step_bool")]
        return flagged or [
            name for name in active if not any(b == name and a != name for a, b in self.declared)
        ]

    def sources(self, first: str, name: str) -> set[str]:
        ways = self.ways(self.open)
        return {a for a, b in self.open if b == name and a != name and (first, a) in ways}

    def join_errors(self, firsts: list[str]) -> int:
        errors = 0
        for join in self.names:
            if not self.nodes[join].graph_dict.get("join_all_bool"):
                continue
            errors += len({a for a, b in self.declared if b == join and a != join}) < 2
            if len(firsts) == 1 and join not in firsts:
                around = self.ways(self.open, without=join)
                sources = self.sources(firsts[0], join)
                errors += sum((firsts[0], source) not in around for source in sources)
        return errors

    def choice_errors(self) -> int:
        return sum(
            self.active(name) and len([1 for a, _ in self.open if a == name]) > 1 and not node.hooks
            for name, node in self.nodes.items()
        )

    def unreachable(self, firsts: list[str]) -> int:
        if self.chosen is not None:
            return 0
        ways = self.ways(self.declared)
        lost = [n for n in self.names if not any((first, n) in ways for first in firsts)]
        return len([name for name in lost if self.active(name)]) if firsts else 0

    def errors(self) -> int:
        firsts = self.firsts()
        found = self.choice_errors() + self.unreachable(firsts) + self.join_errors(firsts)
        return found + (len(firsts) != 1)


@settings(max_examples=250)
@given(random_declarations(), st.data())
def test_random_graphs_are_judged_as_by_the_oracle(
    nodes: dict[str, NodeDeclaration], data: st.DataObject
) -> None:
    first = data.draw(st.none() | st.sampled_from(sorted(nodes)))
    oracle = Oracle(nodes, first)
    graph, problems = build_graph(nodes, first=first)
    errors = [problem for problem in problems if problem.severity == "error"]
    assert len(errors) == oracle.errors(), "\n".join(map(str, problems))
    if graph is None:
        return
    assert [graph.first] == oracle.firsts()
    ways, without = oracle.ways(oracle.open), oracle.ways(oracle.open, without="a")
    for name in nodes:
        opened = {(name, arrow.target) for arrow in graph.open_arrows(name).values()}
        assert opened == {(a, b) for a, b in oracle.open if a == name}
        assert graph.sources_into(name) == oracle.sources(graph.first, name)
        assert graph.reachable(name) == {b for a, b in ways if a == name}
        assert graph.reachable(name, avoiding="a") == {b for a, b in without if a == name}


@given(
    st.dictionaries(
        st.text(max_size=3) | st.integers() | st.none(),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
            lambda inner: st.lists(inner) | st.dictionaries(st.text(max_size=3), inner),
            max_leaves=4,
        ),
    ),
    st.dictionaries(
        st.text(max_size=3) | st.integers(),
        st.integers()
        | st.dictionaries(
            st.sampled_from(["arrow_step_name_string", "module_name_string", "odd"]),
            st.sampled_from(["a", "b", 5, None]),
        ),
    ),
)
def test_no_dict_however_odd_raises(graph_dict: dict[Any, Any], arrow_dict: dict[Any, Any]) -> None:
    node = NodeDeclaration("a", "m", FILE, graph_dict=graph_dict, arrow_dict=arrow_dict)
    graph, problems = build_graph({"a": node})
    assert (graph is None) == any(problem.severity == "error" for problem in problems)


# --- libraries ------------------------------------------------------------------------------------

BROKEN = {
    "a": """
        class step_node_a:
            step_node_graph_dict = {
                "step_node_a": {
                    "first_node_step_bool": 1,
                    "timeout_second": 5,
                    "max_retries": "3",
                },
            }
            step_arrow_graph_dict = {
                "go": {
                    "arrow_step_name_string": "step_node_bb",
                },
                "gone": {"arrow_step_name_string": "step_node_e"},
                "same": {"arrow_step_name_string": "step_node_b"},
            }
            def step_advance(self): return "go"
    """,
    "b": """
        class step_node_b:
            step_node_graph_dict = {"step_node_b": {
                "first_node_step_bool": 1}}
            def step_excute(self): ...
        class other:
            name = "step_node_a"
        step_node_class_list = [step_node_b, other]
    """,
    "c": "class step_node_c: ...",
    "e": "import no_such_module",
}


def test_all_problems_of_a_library_and_its_graph_come_at_once_with_file_and_line(
    make_library: MakeLibrary,
) -> None:
    library = make_library(BROKEN)
    graph, problems = library_graph(load_library(library))
    assert graph is None
    expected = [
        ("step_node_a.py:6: ", "['step_node_a'] has an unknown key, 'timeout_second'"),
        ("step_node_a.py:7: ", "max_retries must be a whole number"),
        ("step_node_a.py:12: ", "arrow 'go' leads to 'step_node_bb'"),
        ("step_node_b.py:4: ", "2 nodes are the first: step_node_a ("),
        ("step_node_b.py:5: ", "warning: step_excute means nothing to the engine"),
        ("step_node_b.py:6: ", "there is a node 'step_node_a' already, in"),
        ("step_node_c.py:1: ", "'step_node_c' can't be reached"),
        ("step_node_e.py:1: ", "No module named 'no_such_module'"),
    ]
    assert len(problems) == len(expected)
    for problem, (place, message) in zip(problems, expected, strict=True):
        assert str(problem).startswith(f"{library}/{place}") and message in str(problem)


def test_a_library_error_lists_everything_and_carries_the_problems(
    make_library: MakeLibrary,
) -> None:
    library = make_library(BROKEN)
    with pytest.raises(LibraryError) as caught:
        load_graph(library)
    error = caught.value
    assert len(error.details["problems"]) == 8
    assert all(str(problem) in str(error) for problem in error.details["problems"])
    assert str(library_error(library, error.details["problems"])) == str(error)


def test_a_sound_library_becomes_a_graph(make_library: MakeLibrary) -> None:
    go = "step_arrow_graph_dict = {'go': {'arrow_step_name_string': 'step_node_b'}}"
    graph = load_graph(
        make_library({"a": f"class step_node_a:\n    {go}", "b": "class step_node_b: ..."})
    )
    assert list(graph.nodes) == ["step_node_a", "step_node_b"] and graph.first == "step_node_a"
    assert graph.nodes["step_node_a"].arrows["go"].target == "step_node_b"


def test_a_library_without_nodes_has_no_graph(make_library: MakeLibrary) -> None:
    graph, problems = library_graph(load_library(make_library({"a": "x = ("})))
    assert graph is None and len(problems) == 1


# --- the reference --------------------------------------------------------------------------------

REFERENCE = (PROJECT / "docs/reference/step_nodes.md").read_text(encoding="utf-8")


def documented(heading: str) -> dict[str, list[str]]:
    """The first cells of the table under a heading, without backticks, and the other cells."""
    section = REFERENCE.partition(f"\n## {heading}")[2].partition("\n##")[0]
    rows = [line.strip("| ").split(" | ") for line in section.splitlines() if "| `" in line[:3]]
    return {first.strip("`").partition("(")[0]: rest for first, *rest in rows}


def test_the_reference_lists_every_key_with_its_default() -> None:
    assert documented("Keys of a node").keys() == NODE_KEYS.keys()
    assert documented("Keys of an arrow").keys() == ARROW_KEYS.keys()
    defaults = Node("NODE", "m", attributes={"label": "NODE"})
    for key, (_, default, _) in documented("Keys of a node").items():
        field = NODE_KEYS[key].field
        if field and field != "error_arrow_key":
            assert ast.literal_eval(default.strip("`")) == getattr(defaults, field), key


def test_the_reference_lists_every_member() -> None:
    members = documented("Members of the class").keys()
    dicts = (GRAPH_DICT, ARROW_DICT, PARAMS_INIT, RESULTS_INIT)
    assert members == {"name", "description", "__init__", *HOOKS, *dicts}


def test_the_nodes_of_the_reference_are_sound_and_complete(make_library: MakeLibrary) -> None:
    heat, greet = re.findall(r"```python\n(.*?)```", REFERENCE, re.DOTALL)
    others = {
        "bake": "class step_node_bake: ...",
        "report": "from stepnode_baseclass import stepnode_baseclass as b\n"
        "class step_node_report(b):\n"
        "    step_arrow_graph_dict = {'x': {'arrow_step_name_string': 'step_node_greet'}}",
    }
    library = load_library(make_library({"heat": heat, "greet": greet, **others}))
    graph, problems = library_graph(library)
    assert problems == [] and graph is not None
    declared = library.nodes["step_node_heat"]
    assert declared.graph_dict.keys() == NODE_KEYS.keys()
    assert declared.arrow_dict["warm"].keys() == ARROW_KEYS.keys()
    assert declared.hooks == set(HOOKS)
    assert graph.nodes["step_node_greet"].hooks == {"step_execute"}
