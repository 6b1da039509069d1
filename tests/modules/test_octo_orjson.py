"""Loading orjson: an interrupt in the middle of it is an interrupt, not a crash."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import PROJECT

IMPORTED_BY_ORJSON = ("dataclasses", "datetime", "enum", "json", "uuid")
LOADS = {
    "octo_json_groups": "octo_json_groups.use_orjson()",
    "octo_step_events": "",
}


def python(code: str, *path: Path) -> subprocess.CompletedProcess[str]:
    searched = os.pathsep.join(map(str, (*path, PROJECT / "modules")))
    return subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": searched},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("module", LOADS)
@pytest.mark.parametrize("interrupted", IMPORTED_BY_ORJSON)
def test_an_interrupt_while_orjson_is_loaded_is_raised(
    tmp_path: Path, interrupted: str, module: str
) -> None:
    """In the place of a module that orjson imports there is one that is interrupted."""
    (tmp_path / f"{interrupted}.py").write_text("raise KeyboardInterrupt('while loading')")
    ended = python(f"import {module}\n{LOADS[module]}", tmp_path)
    assert "KeyboardInterrupt: while loading" in ended.stderr


def test_orjson_imports_nothing_that_is_not_loaded_before() -> None:
    code = """if True:
        import sys
        loaded = []
        class Watch:
            def find_spec(self, name, path=None, target=None):
                if name == "orjson":
                    loaded.clear()
                loaded.append(name)
        sys.meta_path.insert(0, Watch())
        import octo_orjson
        print(*loaded)
    """
    assert python(code).stdout.split() == ["orjson", "orjson.orjson"]
