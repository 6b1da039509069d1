from __future__ import annotations

import importlib.metadata
import json
import textwrap
from pathlib import Path
from typing import Any

import pytest

from scriptlets import registry as registry_module
from scriptlets.listing import as_text, described, known_scriptlets
from scriptlets.registry import ScriptletRegistry
from tests.support import Command

SCRIPTLETS = '''
    from __future__ import annotations
    from orchestrator.context import Context
    from scriptlets.framework import BaseScriptlet, Parameter, register_scriptlet

    class Load(BaseScriptlet):
        """Loads rows."""
        category = "data"
        parameters = {
            "source": str,
            "limit": Parameter(int | None, default=None, description="how many"),
            "mode": Parameter(str, default="a", choices=("a", "b")),
            "any": object,
        }
        def run(self, context, params): ...

    class Plot(BaseScriptlet):
        def __init__(self, width: int = 80): ...
        def run(self, title: str, ctx, c: Context, *, style="line", **more): ...

    @register_scriptlet(category="text", version="2")
    def upper(text: str, times: int = 1, context=None): ...
'''
LISTED = """\
data
  Load 1.0: Loads rows.
      source: str
      limit: int | None = None  how many
      mode: str = 'a', one of 'a', 'b'
      any
      in FOLDER/a.py:6
general
  Plot 1.0
      width: int = 80
      title: str
      style = 'line'
      in FOLDER/a.py:17
text
  upper 2
      text: str
      times: int = 1
      in FOLDER/a.py:21
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "a.py").write_text(textwrap.dedent(SCRIPTLETS))
    return tmp_path


def test_scriptlets_are_listed_by_category_with_their_parameters(folder: Path) -> None:
    mine = ScriptletRegistry()
    assert known_scriptlets(folder, mine) == []
    assert as_text(mine.list()) == LISTED.replace("FOLDER", str(folder))
    assert as_text([]) == ""


def test_programs_get_them_as_json_holds_them(folder: Path) -> None:
    mine = ScriptletRegistry()
    known_scriptlets(folder, mine)
    entry: dict[str, Any] = json.loads(json.dumps(described(mine.get("Load"))))
    assert entry["place"] == f"{folder}/a.py:6"
    assert entry["parameters"][2] == {
        "name": "mode",
        "type": "str",
        "required": False,
        "default": "'a'",
        "choices": ["'a'", "'b'"],
        "description": None,
    }
    assert [each["required"] for each in entry["parameters"]] == [True, False, False, True]


def test_problems_of_packages_and_of_the_folder_are_told_together(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    point = importlib.metadata.EntryPoint("gone", "not_there_at_all:x", "any")
    monkeypatch.setattr(registry_module, "entry_points", lambda group: [point])
    (folder / "b.py").write_text("1 / 0\n")
    problems = known_scriptlets(folder, mine := ScriptletRegistry())
    assert [each.partition(":")[0] for each in problems] == [
        "entry point gone",
        f"{folder}/b.py",
    ]
    assert mine.list() == []
    missing = known_scriptlets(folder / "x", ScriptletRegistry())
    assert missing[1:] == [f"{folder}/x: no such directory"]


def test_an_installed_package_is_looked_into(tmp_path: Path, command: Command) -> None:
    (tmp_path / "their_tasks.py").write_text("def polish(what: str): return what\n")
    about = tmp_path / "their_tasks-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: their-tasks\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text(
        "[octo_step_engine.scriptlets]\nshine = their_tasks:polish\n"
    )
    parser = "orchestrator/enhanced_recipe_parser.py"
    done = command(parser, "scriptlets", env={"PYTHONPATH": str(tmp_path)})
    assert done.stdout == (
        f"general\n  shine 1.0\n      what: str\n      in {tmp_path}/their_tasks.py:1\n"
    ), done.stderr


def test_the_command_line_lists_them(folder: Path, command: Command) -> None:
    parser = "orchestrator/enhanced_recipe_parser.py"
    done = command(parser, "scriptlets", folder)
    assert (done.returncode, done.stdout) == (0, LISTED.replace("FOLDER", str(folder))), done.stderr
    done = command(parser, "scriptlets", folder, "--category", "text", "--json")
    assert [each["name"] for each in json.loads(done.stdout)["scriptlets"]] == ["upper"]
    (folder / "b.py").write_text("1 / 0\n")
    done = command(parser, "scriptlets", folder)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"{folder}/b.py:1: ZeroDivisionError: division by zero\n"
