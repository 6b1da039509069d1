"""The plan that a dry run shows."""

from __future__ import annotations

from pathlib import Path

from orchestrator.recipe_compiler import compile_recipe
from orchestrator.recipe_program import recipe_graph
from orchestrator.run_plan import Plan

RECIPE = """\
steps:
  - {name: a, type: shell, command: "true", timeout: 5}
  - {name: b, type: shell, command: "true", depends_on: a, retries: 2, on_error: {go_to: w}}
  - {name: c, type: shell, command: "true", depends_on: [a, b], foreach: [1, 2]}
  - {name: w, type: shell, command: "true"}
  - {name: y, type: shell, command: "true", finally: true}
  - {name: z, type: shell, command: "true", finally: true, depends_on: y}
"""


def plan(tmp_path: Path, steps: str = "abcwyz") -> Plan:
    file = tmp_path / "r.yaml"
    file.write_text(RECIPE)
    return Plan(recipe_graph(compile_recipe(file)), steps)


def test_it_has_levels_the_longest_way_and_what_comes_at_the_end(tmp_path: Path) -> None:
    assert plan(tmp_path).as_dict() == {
        "steps": ["a", "b", "c", "w", "y", "z"],
        "levels": [["a"], ["b"], ["c", "w"]],
        "finally": ["y", "z"],
        "critical_path": ["a", "b", "c"],
        "on_error": {"w": ["b"]},
    }


def test_people_read_what_each_step_waits_for_and_how_it_is_tried(tmp_path: Path) -> None:
    lines = list(plan(tmp_path).lines())
    assert lines[1:] == [
        "     1  a (at most 5 s)",
        "     2  b (after a; tried again 2 times at most)",
        "     3  c (after a, b; for each item)",
        "        w (if b fails)",
        "  at the end  y",
        "        z (after y)",
        "critical path, 3 of them one after the other: a -> b -> c",
    ]


def test_what_is_done_or_left_out_is_waited_for_no_more(tmp_path: Path) -> None:
    left = plan(tmp_path, "cz").as_dict()
    assert (left["steps"], left["levels"], left["finally"]) == (["c", "z"], [["c"]], ["z"])
    assert left["critical_path"] == ["c"]
