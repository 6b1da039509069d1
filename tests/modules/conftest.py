"""Fixtures of the tests of executors and of their workers."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from octo_step_executors import KINDS
from tests.modules.executor_bench import Bench, MakeBench, node_module
from tests.support import MakeLibrary


@pytest.fixture
def make_bench(make_library: MakeLibrary, tmp_path: Path) -> Iterator[MakeBench]:
    """Gives `make_bench(kind, workers, a="body of class step_node_a", ...)`; closes them after."""
    made: list[Bench] = []

    def make(kind: str, workers: int | None = None, **bodies: str) -> Bench:
        files = {node: node_module(node, body) for node, body in bodies.items()}
        directory = tmp_path / "instance"
        directory.mkdir()
        made.append(Bench(kind, make_library(files), directory, workers))
        return made[-1]

    yield make
    for bench in made:
        bench.close()


@pytest.fixture(params=KINDS)
def bench_of(request: pytest.FixtureRequest, make_bench: MakeBench) -> MakeBench:
    """Makes a bench of each kind, in turn: `bench_of(a="body of class step_node_a", ...)`."""
    return lambda **bodies: make_bench(request.param, **bodies)


@pytest.fixture
def open_place() -> Iterator[Path]:
    """A directory that other users may enter, as they may not enter `tmp_path`."""
    with tempfile.TemporaryDirectory() as name:
        place = Path(name).resolve()
        place.chmod(0o755)
        yield place
