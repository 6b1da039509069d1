"""The model of recipes, and the JSON Schema that editors complete and check with."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import jsonschema
import pytest

from octo_step_executors import KINDS
from orchestrator.recipe_model import json_schema, parse_model
from orchestrator.recipe_yaml import load_yaml
from tests.recipes import SPEC_RECIPES

SCHEMA = json_schema()
RIGHT = {
    **SPEC_RECIPES,
    "users": """
test_meta: {test_id: T-7, tester: ada, version: 1.0, tags: 7, rack: {row: 4}}
steps:
- name: measure
  idx: 1
  module: tasks
  function: Measure
  success: {ctx_has_keys: [voltage, current]}
""",
    "everything": """
format: 1
metadata: {name: x, tags: [a], author: , mine: 5}
inputs:
  alone: 5
  nothing:
  size: {type: integer, default: 3, choices: [3, 4], description: how big}
  key: {secret: true, env: KEY}
defaults: {timeout: 1.5, retries: 2, executor: processes, workers: 4, on_error: continue}
steps:
- {name: a, module: builtins, function: print, args: [1], depends_on: b, when: true}
- {name: b, type: shell, command: [ls, 3], foreach: [1, 2], foreach_limit: 1, on_interrupt: ask}
- {name: c, type: recipe, recipe: other.yaml, args: {x: 1}, finally: true, enabled: false}
- {name: d, type: step_node, module: hello, function: greet, on_error: {go_to: a}, idx: -1}
""",
}
WRONG = [
    "[]",
    "{}",
    "steps: []",
    "steps: [{}]",
    "steps: [{name: 5}]",
    "steps: [{name: a, typ: shell}]",
    "steps: [{name: a, type: shel}]",
    "steps: [{name: a, timeout: 0}]",
    "steps: [{name: a, retries: 1.5}]",
    "steps: [{name: a, enabled: no}]",
    "steps: [{name: a, on_error: {go_to: 5}}]",
    "steps: [{name: a, depends_on: [1]}]",
    "steps: [{name: a, args: x}]",
    "{steps: [{name: a}], inputs: {a: {typ: x}}}",
    "{steps: [{name: a}], metadata: }",
    "{steps: [{name: a}], test_meta: }",
    "{steps: [{name: a}], defaults: }",
    "steps: [{name: a, success: }]",
]


def value(text: str) -> Any:
    return load_yaml(text.encode(), "r.yaml").value


def properties(schema: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    """All keys that a schema describes, at any depth."""
    if isinstance(schema, dict):
        yield from schema.get("properties", {}).items() if "if" not in schema else ()
        for key, inner in schema.items():
            if key not in ("if", "then"):
                yield from properties(inner)
    elif isinstance(schema, list):
        for inner in schema:
            yield from properties(inner)


def test_the_schema_is_one_and_describes_every_key() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    found = list(properties(SCHEMA))
    assert len(found) > 50
    assert [key for key, each in found if not each.get("description", "").endswith(".")] == []


def test_the_executors_are_those_of_the_engine() -> None:
    assert json_schema()["$defs"]["Defaults"]["properties"]["executor"]["enum"] == [*KINDS]


@pytest.mark.parametrize("name", RIGHT)
def test_the_schema_and_the_model_take_what_is_right(name: str) -> None:
    jsonschema.validate(value(RIGHT[name]), SCHEMA)
    recipe, problems = parse_model(load_yaml(RIGHT[name].encode(), "r.yaml"))
    assert problems == []
    assert recipe is not None


@pytest.mark.parametrize("text", WRONG)
def test_the_schema_refuses_what_the_model_refuses(text: str) -> None:
    assert not jsonschema.Draft202012Validator(SCHEMA).is_valid(value(text))
    assert parse_model(load_yaml(text.encode(), "r.yaml"))[1] != []


@pytest.mark.parametrize(
    "text", ["steps: [{name: a, type: recipe}]", "{steps: [{name: a}], format: 2}"]
)
def test_the_schema_refuses_some_of_what_takes_more_than_a_key_to_judge(text: str) -> None:
    assert not jsonschema.Draft202012Validator(SCHEMA).is_valid(value(text))


def test_metadata_are_texts_as_they_are_written() -> None:
    text = "metadata: {name: 0x10, version: 1.10, mine: 1.10}\nsteps: [{name: a}]"
    recipe, _ = parse_model(load_yaml(text.encode(), "r.yaml"))
    assert recipe is not None
    assert recipe.metadata is not None
    assert (recipe.metadata.name, recipe.metadata.version) == ("0x10", "1.10")
    assert recipe.metadata.model_extra == {"mine": 1.1}


def test_a_value_that_is_wrong_is_left_out_and_the_rest_is_there() -> None:
    text = "steps: [{name: a, retries: x, timeout: 3}, 5, {name: b}]"
    recipe, problems = parse_model(load_yaml(text.encode(), "r.yaml"))
    assert recipe is not None
    assert len(problems) == 2
    assert [step.name for step in recipe.steps] == ["a", "b"]
    assert recipe.steps[0].broken == {"retries"}
    assert recipe.steps[0].timeout == 3
    assert recipe.steps[1].path == ("steps", 2)
