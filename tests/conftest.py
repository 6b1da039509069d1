"""Fixtures and settings that tests of every folder share."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import settings

from tests.support import PROJECT, Command, MakeLibrary

# CI must judge the commit, not the draw of the examples: hypothesis' own profile "ci" (which fixes
# the seed) is loaded there. Elsewhere examples are drawn anew each time. A busy machine is no bug.
settings.register_profile("developer", deadline=None)
settings.load_profile("ci" if os.environ.get("CI") else "developer")


@pytest.fixture
def command() -> Command:
    """Runs one of the project's command lines as a process; see `tests.support.Command`."""

    def run(
        script: str | Path,
        *arguments: object,
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
        stdin: str = "",
        timeout: float = 60,
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, str(PROJECT / script), *map(str, arguments)],
            cwd=cwd,
            env={**os.environ, **(env or {})},
            input=stdin,
            capture_output=True,
            encoding="utf-8",
            timeout=timeout,
            check=False,
        )

    return run


@pytest.fixture
def make_library(tmp_path: Path) -> MakeLibrary:
    """Writes a step library for one test; see `tests.support.MakeLibrary`."""

    def make(files: Mapping[str, str], name: str = "example") -> Path:
        library = tmp_path / "step_library" / name
        library.mkdir(parents=True)
        for file, text in files.items():
            path = library / (file if Path(file).suffix else f"step_node_{file}.py")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(textwrap.dedent(text), encoding="utf-8")
        return library

    return make
