"""The error tree: what users read, and what crosses process borders."""

from __future__ import annotations

import inspect
import pickle

import pytest

import octo_errors
from octo_errors import OctoError, did_you_mean

LEAVES = [
    kind
    for _, kind in inspect.getmembers(octo_errors, inspect.isclass)
    if issubclass(kind, OctoError) and kind is not OctoError
]


@pytest.mark.parametrize("kind", LEAVES)
def test_an_error_crosses_a_process_border_whole(kind: type[OctoError]) -> None:
    error = pickle.loads(pickle.dumps(kind("what and where", hint="what now", line=3)))
    assert type(error) is kind
    assert (error.message, error.hint, error.details) == (
        "what and where",
        "what now",
        {"line": 3},
    )


@pytest.mark.parametrize("kind", LEAVES)
def test_the_tree_in_the_module_lists_every_error(kind: type[OctoError]) -> None:
    assert f" {kind.__name__} " in (octo_errors.__doc__ or "").replace("\n", " \n")


def test_a_hint_stands_below_the_message_line_by_line() -> None:
    assert str(OctoError("wrong", hint="do this\nor that")) == "wrong\n  do this\n  or that"
    assert str(OctoError("wrong")) == "wrong"


def test_the_nearest_name_is_proposed_alone_where_it_is_near() -> None:
    names = ["measure", "report", "step_node_measure"]
    assert did_you_mean("mesure", names) == "did you mean 'measure'?"


def test_capitals_are_near_to_small_letters() -> None:
    assert did_you_mean("SVG", ["png", "svg", "pdf"]) == "did you mean 'svg'?"
    assert did_you_mean("measure", ["MEASURE", "treasure"]) == "did you mean 'MEASURE'?"


def test_the_dashes_of_options_make_none_alike() -> None:
    assert did_you_mean("--jsno", ["--quiet", "--json"]) == "did you mean '--json'?"
    assert did_you_mean("--bogus", ["--verbose"]) == "there are: --verbose"


def test_names_that_are_equally_near_are_all_proposed() -> None:
    assert did_you_mean("step_c", ["step_a", "step_b"]).count("step_") == 2


def test_without_a_near_name_the_few_there_are_are_listed() -> None:
    assert did_you_mean("xyz", ["one", "two"]) == "there are: one, two"
    assert did_you_mean("xyz", ["one", "\x1b[2J"]) == r"there are: one, '\x1b[2J'"
    assert did_you_mean("xyz", [f"name {n}" for n in range(13)]) == ""
    assert did_you_mean("xyz", []) == ""
