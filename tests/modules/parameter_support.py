"""What the tests of the parameter store share: values to store, and other processes."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest
from hypothesis import strategies as st

from tests.support import PROJECT

needs_posix = pytest.mark.skipif(os.name != "posix", reason="needs POSIX signals, limits or fork")

AS_NOBODY = "if os.geteuid() == 0: os.setgroups([]); os.setgid(65534); os.setuid(65534)"
"""Code after which a process may no longer write what others may only read."""

texts = st.text(max_size=8)
scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | texts
)
values: st.SearchStrategy[Any] = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)
groups = st.dictionaries(texts, st.dictionaries(texts, values, max_size=4), max_size=4)


class Python:
    """Another Python process with the project's modules; `lines` of its output come as it runs."""

    def __init__(self, code: str, *arguments: object, cwd: Path | None = None) -> None:
        start = f"import sys; sys.path.insert(0, {str(PROJECT / 'modules')!r})\n"
        self.process = subprocess.Popen(
            [sys.executable, "-c", start + textwrap.dedent(code), *map(str, arguments)],
            cwd=cwd,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            encoding="utf-8",
        )

    def __enter__(self) -> Python:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.communicate()

    @property
    def pid(self) -> int:
        return self.process.pid

    def line(self) -> str:
        """The next line it prints; empty when it has ended."""
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def killed(self) -> list[str]:
        """Kill it at once; the lines that it had printed, and the last one if it was whole."""
        self.process.kill()
        assert self.process.stdout is not None
        return self.process.stdout.read().split("\n")[:-1]

    def go_on(self) -> None:
        """End its `input()`."""
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()

    def output(self) -> str:
        """All that it prints until its end, which must be a good one."""
        output, _ = self.process.communicate(timeout=100)
        assert self.process.returncode == 0, output
        return output.strip()
