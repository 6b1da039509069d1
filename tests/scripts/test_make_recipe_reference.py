"""The reference of the keys of recipes is as the model says."""

from __future__ import annotations

import make_recipe_reference
from make_recipe_reference import PAGE, renewed, tables
from orchestrator.recipe_model import json_schema


def test_the_page_is_as_it_would_be_made_now() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert renewed(page) == page, "make it anew: .venv/bin/python scripts/make_recipe_reference.py"


def test_every_key_of_every_part_has_its_line() -> None:
    schema = json_schema()
    assert set(make_recipe_reference.PARTS) == {"", *schema["$defs"]}
    made = tables(schema)
    for part in (schema, *schema["$defs"].values()):
        for key, value in part["properties"].items():
            assert f"| `{key}` | " in made
            assert value["description"] in made
