"""Order, levels, ancestors, the longest path and circles, compared with a naive oracle."""

from __future__ import annotations

from itertools import chain, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from octo_errors import RecipeError
from orchestrator.dependency_graph import DependencyGraph, find_cycle

Dependencies = dict[str, list[str]]


@st.composite
def acyclic(draw: st.DrawFn) -> Dependencies:
    """Steps in any order, with dependencies on steps that are lower in a hidden one."""
    hidden = draw(st.permutations([f"s{number}" for number in range(draw(st.integers(0, 12)))]))
    found = {
        step: draw(st.lists(st.sampled_from(hidden[:place]), max_size=5)) if place else []
        for place, step in enumerate(hidden)
    }
    return {step: found[step] for step in sorted(found)}


def oracle_order(dependencies: Dependencies) -> list[str]:
    """Again and again the first step of the recipe that could be next."""
    order: list[str] = []
    while len(order) < len(dependencies):
        order.append(
            next(s for s, of in dependencies.items() if s not in order and set(of) <= {*order})
        )
    return order


def oracle_paths(dependencies: Dependencies, step: str) -> list[list[str]]:
    """All chains that end with a step."""
    chains = [
        chain for parent in dependencies[step] for chain in oracle_paths(dependencies, parent)
    ]
    return [[*chain, step] for chain in chains] or [[step]]


@given(acyclic())
def test_the_order_is_that_of_someone_who_always_takes_the_first_step_that_is_ready(
    dependencies: Dependencies,
) -> None:
    assert DependencyGraph(dependencies).order() == oracle_order(dependencies)


@given(acyclic())
def test_ancestors_dependents_levels_and_depends_are_those_of_all_chains(
    dependencies: Dependencies,
) -> None:
    graph = DependencyGraph(dependencies)
    chains = {step: oracle_paths(dependencies, step) for step in dependencies}
    above = {step: {name for chain in chains[step] for name in chain[:-1]} for step in dependencies}
    for step in dependencies:
        assert graph.ancestors(step) == above[step]
        assert graph.dependents(step) == {each for each in dependencies if step in above[each]}
        assert [e for e in dependencies if graph.depends(step, e)] == sorted(above[step])
        assert step in graph.levels()[max(map(len, chains[step])) - 1]
    assert sorted(chain.from_iterable(graph.levels())) == sorted(dependencies)
    assert all(level == sorted(level) for level in graph.levels())


@given(acyclic(), st.data())
def test_the_critical_path_is_the_longest_chain(
    dependencies: Dependencies, data: st.DataObject
) -> None:
    seconds = {step: float(data.draw(st.integers(0, 9))) for step in dependencies}
    path, length = DependencyGraph(dependencies).critical_path(seconds)
    chains = [chain for step in dependencies for chain in oracle_paths(dependencies, step)]
    assert length == max((sum(seconds[s] for s in path) for path in chains), default=0.0)
    assert length == sum(seconds[step] for step in path)
    assert all(a in dependencies[b] for a, b in pairwise(path))


@given(
    st.dictionaries(
        st.sampled_from("abcdef"), st.lists(st.sampled_from("abcdefx"), max_size=3), max_size=6
    )
)
def test_a_circle_is_found_exactly_where_there_is_one(dependencies: Dependencies) -> None:
    circle = find_cycle(dependencies)
    known = {step: [e for e in of if e in dependencies] for step, of in dependencies.items()}
    if circle is None:
        assert len(DependencyGraph(known)) == len(known)
        return
    assert circle[0] == circle[-1] and len({*circle}) == len(circle) - 1
    assert circle[0] == min(circle, key=list(dependencies).index)
    assert all(b in dependencies[a] for a, b in pairwise(circle))
    with pytest.raises(RecipeError, match="in a circle: "):
        DependencyGraph(known)


def test_an_error_names_the_circle_in_the_order_of_waiting() -> None:
    with pytest.raises(RecipeError) as caught:
        DependencyGraph({"start": [], "a": ["c", "start"], "b": ["a"], "c": ["b"]})
    assert str(caught.value) == (
        "steps depend on each other in a circle: a -> c -> b -> a\n"
        "  each of them waits for the next one"
    )
    assert find_cycle({"a": ["a"]}) == ["a", "a"]


def test_an_error_names_the_nearest_step() -> None:
    with pytest.raises(RecipeError) as caught:
        DependencyGraph({"load": [], "clean": ["laod"]})
    assert str(caught.value) == (
        "step 'clean' depends on 'laod', which is no step\n  did you mean 'load'?"
    )


def test_what_a_graph_hands_out_is_a_copy() -> None:
    graph = DependencyGraph({"a": [], "b": ["a", "a"]})
    graph.order().clear()
    graph.parents("b").clear()
    graph.children("a").clear()
    assert (graph.order(), graph.parents("b"), graph.children("a")) == (["a", "b"], ["a"], ["b"])
    assert "a" in graph and "c" not in graph


def test_without_durations_the_critical_path_counts_steps() -> None:
    assert DependencyGraph({"a": [], "b": ["a"], "c": []}).critical_path() == (["a", "b"], 2.0)
    assert DependencyGraph({}).critical_path() == ([], 0.0)


def test_a_long_chain_is_no_recursion() -> None:
    names = [f"s{number}" for number in range(10_000)]
    steps = {step: [names[place - 1]] if place else [] for place, step in enumerate(names)}
    graph = DependencyGraph(steps)
    assert graph.order() == names
    assert len(graph.levels()) == len(graph.critical_path()[0]) == 10_000
    assert graph.depends(names[-1], names[0]) and not graph.depends(names[0], names[-1])
    assert find_cycle(steps | {names[0]: [names[-1]]}) == [names[0], *names[:0:-1], names[0]]
