"""Recipes compiled: the graph that the engine runs, what each step does, and where it came from."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import orchestrator
from octo_errors import RecipeError
from octo_graph_checks import dependency_graph
from orchestrator.recipe_compiler import compile_recipe
from tests.recipes import SPEC_RECIPES, spec_scriptlet_files
from tests.support import MakeLibrary

CALL = "module: builtins, function: print"


def compiled(directory: Path, text: str) -> dict[str, Any]:
    (directory / "r.yaml").write_text(text)
    return compile_recipe(directory / "r.yaml", directory)


@pytest.mark.parametrize("name", SPEC_RECIPES)
def test_the_recipes_of_the_specification_compile_as_printed(tmp_path: Path, name: str) -> None:
    for file, text in spec_scriptlet_files().items():
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).write_text(text)
    found = compiled(tmp_path, SPEC_RECIPES[name])
    source = (tmp_path / "r.yaml").read_bytes()
    assert found["source"] == str(tmp_path / "r.yaml")
    assert found["source_sha256"] == hashlib.sha256(source).hexdigest()
    assert found["sources"] == {found["source"]: found["source_sha256"]}
    assert json.loads(json.dumps(found)) == found
    graph = dependency_graph(
        found["step_node_graph_dict"], found["step_arrow_graph_dict"], {}, tmp_path
    )
    assert list(graph.nodes) == list(found["steps"])


def test_the_graph_of_the_specifications_pipeline(tmp_path: Path) -> None:
    for file, text in spec_scriptlet_files().items():
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).write_text(text)
    found = compiled(tmp_path, SPEC_RECIPES["advanced_pipeline"])
    assert (found["name"], found["version"]) == ("advanced_data_pipeline", "2.0")
    nodes, arrows = found["step_node_graph_dict"], found["step_arrow_graph_dict"]
    assert [name for name, node in nodes.items() if node["first_node_step_bool"]] == ["setup"]
    assert nodes["process_a"]["timeout_seconds"] == 60
    assert nodes["combine"]["join_all_bool"] == 1
    assert {
        name: [a["arrow_step_name_string"] for a in of.values()] for name, of in arrows.items()
    } == {
        "setup": ["process_a", "process_b"],
        "process_a": ["combine"],
        "process_b": ["combine"],
        "combine": [],
    }
    assert arrows["setup"]["to_process_a"] == {
        "module_name_string": "scriptlets.processors",
        "arrow_step_name_string": "process_a",
        "dg_edge_attr_dict": {},
        "active_arrow_step_bool": 1,
    }
    assert found["steps"]["setup"] == {
        "type": "python",
        "module": "scriptlets.setup",
        "function": "SetupScriptlet",
        "line": 7,
    }


def test_a_step_has_its_own_policy_or_else_the_defaults(tmp_path: Path) -> None:
    text = f"""
defaults: {{timeout: 10, max_retries: 3, retry_delay: 1, on_error: continue, on_interrupt: ask}}
steps:
- {{name: a, {CALL}}}
- {{name: b, {CALL}, timeout: 2, retries: 0, on_error: fail, on_interrupt: skip}}
"""
    nodes = compiled(tmp_path, text)["step_node_graph_dict"]
    keys = ("timeout_seconds", "max_retries", "retry_delay_seconds", "on_interrupt")
    assert [nodes["a"][key] for key in keys] == [10, 3, 1, "ask"]
    assert [nodes["b"][key] for key in keys] == [2, 0, 1, "skip"]
    assert nodes["a"]["continue_on_error_bool"] == 1
    assert "continue_on_error_bool" not in nodes["b"]


def test_where_a_failure_leads_final_steps_and_steps_that_are_left_out(tmp_path: Path) -> None:
    text = f"""
defaults: {{on_error: {{go_to: mend}}}}
steps:
- {{name: a, {CALL}}}
- {{name: mend, {CALL}}}
- {{name: last, {CALL}, finally: true, idx: -5}}
- {{name: never, {CALL}, enabled: false}}
"""
    found = compiled(tmp_path, text)
    nodes, arrows = found["step_node_graph_dict"], found["step_arrow_graph_dict"]
    assert arrows["a"]["on_error"]["arrow_step_name_string"] == "mend"
    assert nodes["a"]["error_arrow_key"] == "on_error"
    assert "error_arrow_key" not in nodes["mend"]
    assert [nodes[each]["first_node_step_bool"] for each in ("a", "mend", "last")] == [1, 0, 0]
    assert nodes["last"]["finally_bool"] == 1
    assert nodes["never"]["active_node_step_bool"] == 0
    assert list(nodes)[-1] == "last"


def test_steps_of_every_type_say_what_they_do(tmp_path: Path, make_library: MakeLibrary) -> None:
    library = make_library({"load": "class step_node_load:\n    pass"}, "mine")
    (tmp_path / "other.yaml").write_text(f"steps: [{{name: x, {CALL}}}]")
    text = """
inputs: {n: 3, key: {secret: true}}
steps:
- {name: a, type: shell, args: {command: ls, env: {A: x}}, when: inputs.n > 1}
- {name: b, type: recipe, recipe: other.yaml}
- {name: c, type: step_node, module: mine, function: step_node_load}
- {name: d, module: builtins, function: print, args: [1], foreach: [1, 2], foreach_limit: 1}
"""
    found = compiled(tmp_path, text)
    steps = found["steps"]
    assert steps["a"]["command"] == "ls"
    assert steps["a"]["args"] == {"env": {"A": "x"}}
    assert steps["a"]["when"] == "inputs.n > 1"
    assert steps["b"]["recipe"] == str(tmp_path / "other.yaml")
    assert set(found["sources"]) == {str(tmp_path / "r.yaml"), str(tmp_path / "other.yaml")}
    assert steps["c"]["library"] == str(library)
    assert steps["d"]["foreach"] == [1, 2]
    assert found["step_node_graph_dict"]["d"]["foreach_limit"] == 1
    assert found["inputs"] == {
        "n": {"type": "integer", "default": 3},
        "key": {"type": "any", "secret": True},
    }


def test_a_recipe_with_problems_is_refused_with_all_of_them(tmp_path: Path) -> None:
    with pytest.raises(RecipeError) as error:
        compiled(tmp_path, "steps: [{name: a}, {name: a, typ: x}]")
    assert len(error.value.details["problems"]) == 4
    assert len(error.value.message.splitlines()) >= 4


def test_the_package_offers_it() -> None:
    assert orchestrator.compile_recipe is compile_recipe
    with pytest.raises(AttributeError):
        orchestrator.nothing  # noqa: B018


@st.composite
def dags(draw: st.DrawFn) -> tuple[dict[str, list[str]], dict[str, int]]:
    """Steps in any order, their dependencies, and an idx for some of them."""
    hidden = draw(st.permutations([f"s{number}" for number in range(draw(st.integers(1, 10)))]))
    found = {
        step: draw(st.lists(st.sampled_from(hidden[:place]), max_size=4)) if place else []
        for place, step in enumerate(hidden)
    }
    steps = draw(st.permutations(sorted(found)))
    numbers = draw(st.lists(st.integers(-20, 20), unique=True, max_size=len(steps)))
    return {step: found[step] for step in steps}, dict(zip(steps, numbers, strict=False))


@given(dags())
def test_random_recipes_have_the_order_and_the_arrows_of_their_dependencies(
    tmp_path_factory: pytest.TempPathFactory, drawn: tuple[dict[str, list[str]], dict[str, int]]
) -> None:
    dependencies, numbers = drawn
    steps = [
        {"name": step, "module": "builtins", "function": "print", "depends_on": of}
        | ({"idx": numbers[step]} if step in numbers else {})
        for step, of in dependencies.items()
    ]
    directory = tmp_path_factory.getbasetemp()
    found = compiled(directory, json.dumps({"steps": steps}))
    places = {step: place for place, step in enumerate(dependencies)}
    wanted = sorted(dependencies, key=lambda step: numbers.get(step, places[step]))
    order: list[str] = []
    while len(order) < len(wanted):
        order.append(next(s for s in wanted if s not in order and {*dependencies[s]} <= {*order}))
    assert list(found["steps"]) == order
    arrows = {
        (source, arrow["arrow_step_name_string"])
        for source, of in found["step_arrow_graph_dict"].items()
        for arrow in of.values()
    }
    assert arrows == {(source, step) for step, of in dependencies.items() for source in of}
    for step, of in dependencies.items():
        node = found["step_node_graph_dict"][step]
        assert node["first_node_step_bool"] == (not of)
        assert node.get("join_all_bool", 0) == (len(set(of)) > 1)
