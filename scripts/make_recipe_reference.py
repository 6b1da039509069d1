"""Renews the tables of keys in docs/reference/recipes.md: `scripts/make_recipe_reference.py`.

They are made from the model of recipes; `tests/scripts/test_make_recipe_reference.py` says when to
make them anew.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from orchestrator.recipe_model import json_schema

PAGE = Path(__file__).resolve().parent.parent / "docs" / "reference" / "recipes.md"
BEGIN = "<!-- made from the model by scripts/make_recipe_reference.py -->\n"
END = "<!-- the end of what is made -->\n"
PARTS = {
    "": "The recipe",
    "Metadata": "`metadata`",
    "Input": "An input",
    "Defaults": "`defaults`",
    "Step": "A step",
    "Success": "`success` of a step",
}
"""The parts of the schema that have a table, and its heading."""
WORDS = {
    "string": "text",
    "integer": "whole number",
    "number": "number",
    "boolean": "`true` or `false`",
    "array": "list",
    "object": "mapping",
    "null": "null",
}


def tables(schema: dict[str, Any]) -> str:
    """A table of keys for each part of the schema."""
    return "\n".join(
        line
        for name, heading in PARTS.items()
        for line in _table(heading, schema["$defs"][name] if name else schema)
    )


def _table(heading: str, part: dict[str, Any]) -> Iterator[str]:
    needed = part.get("required", [])
    yield from (f"### {heading}", "", part["description"], "")
    yield from ("| key | holds | meaning |", "| --- | --- | --- |")
    for key, value in part["properties"].items():
        must = "**needed.** " if key in needed else ""
        yield f"| `{key}` | {_holds(value)} | {must}{_escaped(value['description'])} |"
    yield ""


def _holds(value: dict[str, Any]) -> str:
    """What a key may hold, in words."""
    if "$ref" in value:
        heading = PARTS[value["$ref"].rpartition("/")[2]]
        return f"[{heading}](#{heading.lower().replace('`', '').replace(' ', '-')})"
    if "const" in value:
        return f"`{value['const']}`"
    if "enum" in value:
        return ", ".join(f"`{each}`" for each in value["enum"])
    if "anyOf" in value:
        return " or ".join(dict.fromkeys(map(_holds, value["anyOf"])))
    if value.get("properties"):
        return f"`{{{', '.join(f'{key}: ...' for key in value['properties'])}}}`"
    kinds = value.get("type", [])
    if kinds[:4] == ["string", "number", "boolean", "null"]:
        return f"text{' or list' if 'array' in kinds else ''}, as it is written"
    if isinstance(kinds, list) and len(kinds) > 3:
        return "a value alone"
    words = " or ".join(WORDS[each] for each in ([kinds] if isinstance(kinds, str) else kinds))
    inner = value.get("items") or value.get("additionalProperties")
    if isinstance(inner, dict):
        words += f" of {_holds(inner)}"
    return (words or "any value") + _limits(value)


def _limits(value: dict[str, Any]) -> str:
    limits = {"exclusiveMinimum": "above", "minimum": "from", "maximum": "to"}
    return "".join(f" {word} {value[key]:g}" for key, word in limits.items() if key in value)


def _escaped(text: str) -> str:
    return text.replace("|", "\\|")


def renewed(page: str) -> str:
    """The page with its tables as they are now."""
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    return f"{before}{begin}\n{tables(json_schema())}\n{end}{after}"


if __name__ == "__main__":
    PAGE.write_text(renewed(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
