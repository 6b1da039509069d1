"""The laboratory, and a directory to work in, for the tests that break things."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.laboratory import Laboratory
from tests.faults.system_calls import NEEDED

MEMORY = Path("/dev/shm")


@pytest.fixture(scope="session")
def laboratory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Laboratory]:
    """One process that runs all experiments of a test session."""
    if not hasattr(os, "fork"):
        pytest.skip("needs fork(2)")
    with Laboratory(tmp_path_factory.mktemp("laboratory")) as made:
        yield made


@pytest.fixture
def tracer(laboratory: Laboratory) -> Laboratory:
    """A laboratory that can break system calls."""
    if not laboratory.can_trace:
        pytest.skip(NEEDED)
    return laboratory


@pytest.fixture
def work(tmp_path: Path) -> Iterator[Path]:
    """The directory that an experiment works in, which doesn't exist yet.

    In memory where that can be: experiments sync often, and no kill can tell the difference.
    """
    if not os.access(MEMORY, os.W_OK):
        yield tmp_path / "work"
        return
    with tempfile.TemporaryDirectory(dir=MEMORY) as place:
        yield Path(place) / "work"
