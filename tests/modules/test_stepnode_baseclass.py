"""The optional base class: its defaults, its parameters, and that it costs the engine nothing."""

from __future__ import annotations

import json
import shutil
import threading
from pathlib import Path

import pytest

from octo_errors import ParameterFileError, ParameterValueError, UsageError
from octo_graph_checks import build_graph
from octo_step_declaration import HOOKS, declare
from octo_step_problem import Problem
from stepnode_baseclass import stepnode_baseclass


class Bare(stepnode_baseclass):
    """A node with nothing of its own."""


class Branching(stepnode_baseclass):
    step_arrow_graph_dict = {  # noqa: RUF012  (as users write it)
        "off": {"arrow_step_name_string": "Bare", "active_arrow_step_bool": 0},
        "on": {"arrow_step_name_string": "Bare"},
    }


@pytest.fixture
def node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bare:
    monkeypatch.chdir(tmp_path)
    return Bare("bare")


def test_a_node_keeps_its_name_and_verbose_flag() -> None:
    assert vars(Bare("x", True)) == {"name": "x", "verbose_flag": True}
    assert Bare("x").verbose_flag is False


def test_every_hook_has_a_default_that_means_success_and_no_work() -> None:
    node = Bare("x")
    answers = {hook: getattr(node, hook)() for hook in HOOKS}
    assert answers == dict.fromkeys(HOOKS, 0) | {
        "step_advance": "COMPLETE",
        "step_probe": "rerun",
    }


def test_the_default_advance_takes_the_only_active_arrow() -> None:
    assert Branching("x").step_advance() == "on"


def test_the_default_advance_does_not_choose_between_arrows() -> None:
    class Fork(Branching):
        step_arrow_graph_dict = {"a": {}, "b": {}}  # noqa: RUF012

    with pytest.raises(NotImplementedError, match="write step_advance to choose"):
        Fork("x").step_advance()


def test_the_engine_counts_no_default_as_a_hook_of_the_node() -> None:
    problems: list[Problem] = []
    declared = {node.__name__: declare(node, "m", __file__, problems) for node in (Branching, Bare)}
    graph, found = build_graph(declared)
    assert problems == found == [] and graph is not None
    assert all(node.hooks == frozenset() for node in graph.nodes.values())
    assert graph.default_arrows("Branching") == ("on",)


def test_parameters_follow_the_working_directory_and_the_environment(
    node: Bare, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert node.increment("bare", "n") == 1
    other = tmp_path / "other"
    other.mkdir()
    monkeypatch.chdir(other)
    assert node.get("bare", "n", 0) == 0
    monkeypatch.chdir(tmp_path)
    assert node.increment("bare", "n") == 2
    monkeypatch.setenv("OCTO_DURABILITY", "strong")
    with pytest.raises(UsageError, match="OCTO_DURABILITY"):
        node.increment("bare", "n")
    monkeypatch.chdir(other)
    shutil.rmtree(other)
    with pytest.raises(ParameterFileError, match="current directory is gone"):
        node.get("bare", "n")


def test_parameters_are_those_of_the_working_directory(node: Bare, tmp_path: Path) -> None:
    assert node.get("bare", "colour") is None
    assert node.get("bare", "colour", "red") == "red"
    node.set("bare", "colour", ["blue", 2])
    assert node.get("bare", "colour", "red") == ["blue", 2]
    assert node.get("global_parameters", "step_engine_state") == "INACTIVE"
    stored = json.loads((tmp_path / ".octo_step_engine_parameters.json").read_text())
    assert stored["bare"] == {"colour": ["blue", 2]}


def test_a_class_with_an_init_of_its_own_has_parameters_too(node: Bare) -> None:
    class Own(stepnode_baseclass):
        def __init__(self, name: str, verbose_flag: bool = False) -> None:
            pass

    Own("x").set("g", "k", 1)
    assert node.get("g", "k") == 1


def test_counting_is_atomic_and_returns_the_new_value(node: Bare) -> None:
    assert node.increment("bare", "n") == 1
    assert node.increment("bare", "n", up=False) == 0

    def count() -> None:
        for _ in range(20):
            node.increment("bare", "n")

    threads = [threading.Thread(target=count) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert node.get("bare", "n") == 60


def test_what_json_can_not_hold_is_refused(node: Bare) -> None:
    with pytest.raises(ParameterValueError):
        node.set("bare", "k", {1, 2})
    node.set("bare", "text", "no number")
    with pytest.raises(ParameterValueError):
        node.increment("bare", "text")
