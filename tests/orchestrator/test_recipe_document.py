"""How problems with a document are told: in order, with hints, with no more than anybody reads."""

from __future__ import annotations

import pickle

from octo_errors import RecipeError
from orchestrator.recipe_document import Document, Problem, Report, in_order, recipe_error


def test_problems_are_told_in_the_order_of_their_places() -> None:
    problems = [
        Problem("b.yaml", 1, "third", column=1),
        Problem("a.yaml", 10, "second", "do this\nthen that", column=2),
        Problem("a.yaml", 9, "first", column=30),
        Problem("a.yaml", None, "before all"),
    ]
    assert [each.message for each in in_order(problems)] == [
        *("before all", "first", "second", "third")
    ]
    error = recipe_error(problems)
    assert error.message == (
        "a.yaml: before all\na.yaml:9:30: first\n"
        "a.yaml:10:2: second\n  do this\n  then that\nb.yaml:1:1: third"
    )
    copy = pickle.loads(pickle.dumps(error))
    assert isinstance(copy, RecipeError)
    assert copy.details["problems"] == in_order(problems)


def test_hints_are_given_for_as_many_problems_as_anybody_reads() -> None:
    report = Report(Document("r.yaml", {}), [])
    hints = [report.near("laod", ["load"]) for _ in range(Report.MOST_HINTS + 2)]
    assert hints == ["did you mean 'load'?"] * Report.MOST_HINTS + ["", ""]
    assert Report(Document("r.yaml", {}), []).near("x" * 10**6, ["load"]) == "there are: load"
