from __future__ import annotations

import pytest

from octo_graph_checks import library_graph
from octo_step_lib import NodeDeclaration, load_library
from tests.support import PROJECT

LIBRARIES = {
    "hello": "step_node_hello",
    "bringup": "step_node_power_on",
    "dataprocess": "step_node_validate",
}


@pytest.mark.parametrize("name, first", LIBRARIES.items())
def test_a_shipped_library_has_neither_errors_nor_warnings(name: str, first: str) -> None:
    graph, problems = library_graph(load_library(PROJECT / "step_library" / name))
    assert problems == []
    assert graph is not None
    assert graph.first == first


def test_every_shipped_library_is_tested_here() -> None:
    shipped = {file.parent.name for file in PROJECT.glob("step_library/*/step_node_*.py")}
    assert shipped == set(LIBRARIES)


def parameters(node: NodeDeclaration) -> set[str]:
    inits = (node.params_init, node.results_init)
    return {key for init in inits for group in init.values() for key in group}


@pytest.mark.parametrize("name", LIBRARIES)
def test_the_readme_of_a_library_tells_every_step_and_parameter(name: str) -> None:
    library = load_library(PROJECT / "step_library" / name)
    text = (library.path / "README.md").read_text(encoding="utf-8")
    for node in library.nodes.values():
        short = node.name.removeprefix("step_node_")
        assert f"`{node.name}`" in text or f"`{short}`" in text
        for key in parameters(node) - {"instrument_lost_bool"}:  # of the step itself
            assert key in text, key
