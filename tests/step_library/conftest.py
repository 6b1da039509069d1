"""What the tests of the shipped libraries share: their steps in a directory, without an engine."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from octo_step_lib import load_library, make_node
from step_library.bringup.instrument import Instrument, InstrumentGoneError
from tests.support import PROJECT

PARAMETER_FILE = ".octo_step_engine_parameters.json"


class Bench:
    """A library's steps and a parameter file with their initial values, in one directory.

    Every hook is called on a node object of its own: what a step keeps in memory is lost.
    """

    def __init__(self, library: str, directory: Path) -> None:
        self.nodes = load_library(PROJECT / "step_library" / library).nodes
        self.directory = directory
        groups: dict[str, dict[str, Any]] = {"global_parameters": {}}
        for node in self.nodes.values():
            for init in (node.params_init, node.results_init):
                for group, values in init.items():
                    groups.setdefault(group, {}).update(values)
        self._write(groups)

    def hook(self, node: str, hook: str = "step_execute") -> Any:
        """Call one hook of the step `step_node_<node>`."""
        name = f"step_node_{node}"
        node_class = self.nodes[name].node_class
        assert node_class is not None
        return getattr(make_node(node_class, name, False), hook)()

    def group(self, name: str) -> dict[str, Any]:
        """A group of the parameter file."""
        groups: dict[str, dict[str, Any]] = json.loads(self._file.read_text())
        return groups[name]

    def set(self, group: str, **values: object) -> None:
        """Change the parameter file as a user would before a run."""
        groups = json.loads(self._file.read_text())
        groups.setdefault(group, {}).update(values)
        self._write(groups)

    def instrument(self) -> Instrument:
        """A connection of the test's own to the instrument of this bench."""
        address = self.group("instrument")
        return Instrument(address["host"], address["port"])

    @property
    def _file(self) -> Path:
        return self.directory / PARAMETER_FILE

    def _write(self, groups: dict[str, dict[str, Any]]) -> None:
        self._file.write_text(json.dumps(groups, indent=2))


@pytest.fixture
def make_bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Bench]]:
    """Makes the `Bench` of a library in `tmp_path`, and that the working directory."""
    monkeypatch.chdir(tmp_path)
    benches = []

    def make(library: str) -> Bench:
        benches.append(Bench(library, tmp_path))
        return benches[-1]

    yield make
    for bench in benches:
        if "instrument" in json.loads((tmp_path / PARAMETER_FILE).read_text()):
            with contextlib.suppress(InstrumentGoneError), bench.instrument() as instrument:
                instrument.send("SYST:SHUT")
