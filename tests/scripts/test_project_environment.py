"""Setting up `.venv`, tried with real environments of a small project that needs no network."""

from __future__ import annotations

import ast
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import PROJECT

SCRIPTS = ("quickstart.py", "run_tests.py", "check.py", "project_environment.py")

BACKEND = """
import zipfile

FILES = {
    "METADATA": "Metadata-Version: 2.1\\nName: small\\nVersion: 1\\n"
    "Provides-Extra: all\\nProvides-Extra: dev\\n",
    "WHEEL": "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n",
    "RECORD": "",
}

def build_editable(directory, settings=None, metadata=None):
    with zipfile.ZipFile(f"{directory}/small-1-py3-none-any.whl", "w") as wheel:
        for name, text in FILES.items():
            wheel.writestr(f"small-1.dist-info/{name}", text)
    return "small-1-py3-none-any.whl"
"""

PYPROJECT = """
[build-system]
requires = []
build-backend = "backend"
backend-path = ["."]

[project]
name = "small"
version = "1"
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with spaces in its path, for which `prepare("all")` made an environment."""
    project = tmp_path_factory.mktemp("a small project")
    (project / "scripts").mkdir()
    shutil.copy(PROJECT / "scripts" / "project_environment.py", project / "scripts")
    (project / "backend.py").write_text(BACKEND)
    (project / "pyproject.toml").write_text(PYPROJECT)
    assert "Making the environment" in prepare(project)
    return project


def call(project: Path, extras: str = "all") -> subprocess.CompletedProcess[str]:
    code = f"import project_environment as e; print(e.prepare({extras!r}))"
    return subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": str(project / "scripts"), "PIP_NO_INDEX": "1"},
        capture_output=True,
        text=True,
        check=False,
    )


def prepare(project: Path, extras: str = "all") -> str:
    done = call(project, extras)
    assert done.returncode == 0, done.stderr
    python = Path(done.stdout.splitlines()[-1])
    assert python.is_relative_to(project / ".venv")
    code = "import importlib.metadata as metadata; metadata.distribution('small')"
    subprocess.run([python, "-c", code], check=True)
    return done.stdout


@pytest.mark.slow
def test_a_second_time_nothing_is_done_and_nothing_is_said(made: Path) -> None:
    assert len(prepare(made).splitlines()) == 1


@pytest.mark.slow
def test_more_extras_or_a_changed_pyproject_are_installed_without_making_it_anew(
    made: Path,
) -> None:
    output = prepare(made, "dev")
    assert "Installing" in output and "Making" not in output
    assert len(prepare(made, "all,dev").splitlines()) == 1
    (made / "pyproject.toml").write_text(PYPROJECT + "# changed\n")
    assert "Installing" in prepare(made)


@pytest.mark.slow
@pytest.mark.parametrize("damage", ["interrupted", "without pip"])
def test_what_is_unfinished_or_damaged_is_made_anew(made: Path, damage: str) -> None:
    if damage == "interrupted":
        (made / ".venv" / "octo_step_engine.json").write_text(json.dumps({"extras": []}))
    else:
        shutil.rmtree(next(made.glob(".venv/**/site-packages/pip")))
    assert "Making the environment" in prepare(made)


def test_an_environment_that_someone_else_made_is_never_deleted(tmp_path: Path) -> None:
    (tmp_path / "scripts").mkdir()
    shutil.copy(PROJECT / "scripts" / "project_environment.py", tmp_path / "scripts")
    (tmp_path / "pyproject.toml").touch()
    (tmp_path / ".venv").mkdir()
    mine = tmp_path / ".venv" / "mine.txt"
    mine.touch()
    done = call(tmp_path)
    assert done.returncode == 1 and "delete it, then start again" in done.stderr
    assert mine.exists() and "Traceback" not in done.stderr


@pytest.mark.slow
def test_without_a_package_index_it_says_so_and_goes_on_next_time(made: Path) -> None:
    pyproject = made / "pyproject.toml"
    pyproject.write_text(PYPROJECT.replace("requires = []", 'requires = ["no-such-backend"]'))
    done = call(made, "dev")
    assert done.returncode == 1 and "Connect to the network" in done.stderr
    assert "Traceback" not in done.stderr
    pyproject.write_text(PYPROJECT)
    prepare(made, "dev")


def test_an_old_python_gets_a_sentence() -> None:
    for script in SCRIPTS:
        source = (PROJECT / "scripts" / script).read_text(encoding="utf-8")
        assert "from __future__" not in source, "Python 3.6 stops at it"
        ast.parse(source, script, feature_version=(3, 6))
        code = f"import sys, runpy; sys.version_info = (3, 6, 15); runpy.run_path({script!r})"
        scripts = PROJECT / "scripts"
        command = [sys.executable, "-c", f"import sys; sys.path.insert(0, '.'); {code}"]
        done = subprocess.run(command, cwd=scripts, capture_output=True, text=True, check=False)
        assert done.returncode == 1
        assert done.stderr.startswith("The Octo Step Engine needs Python 3.11 or newer")
