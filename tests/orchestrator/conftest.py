"""What tests of recipes share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.orchestrator.runner_support import WORK, Place


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Recipes are cached below a directory of the tests, not of whoever runs them."""
    with pytest.MonkeyPatch.context() as patch:
        directory = tmp_path_factory.mktemp("cache")
        patch.setenv("XDG_CACHE_HOME", str(directory))
        yield directory


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """A working directory with the module `work`."""
    found = Place(tmp_path)
    found.write("work.py", WORK)
    return found
