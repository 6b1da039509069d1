"""The types of the shared fixtures, for annotations: `from tests.support import Command`."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

PROJECT = Path(__file__).resolve().parent.parent


class Command(Protocol):
    """Runs a Python file as a user's shell would, and returns what came of it.

    `script` is a path below the project (`"modules/octo_step_instance.py"`) or an absolute one.
    Standard input is what `stdin` holds: a command never waits for the terminal of the tests.
    """

    def __call__(
        self,
        script: str | Path,
        *arguments: object,
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
        stdin: str = "",
        timeout: float = 60,
    ) -> subprocess.CompletedProcess[str]: ...


class MakeLibrary(Protocol):
    """Writes `{file name: text}` as the step library `name`, below the test's `tmp_path`.

    Texts are dedented, so that they can be written as indented blocks. A name without suffix is a
    node: `"a"` becomes `step_node_a.py`.
    """

    def __call__(self, files: Mapping[str, str], name: str = "example") -> Path: ...
