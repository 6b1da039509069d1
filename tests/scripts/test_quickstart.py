"""The quick start, in a copy of the project whose path has spaces; `.venv` apart, see beside."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import PROJECT, Command


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    copy = tmp_path_factory.mktemp("a fresh clone")
    for folder in ("modules", "scripts", "step_library"):
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(PROJECT / folder, copy / folder, ignore=ignored)
    return copy


def quickstart(project: Path) -> subprocess.CompletedProcess[str]:
    """Start it as a user does, but with the Python of the tests in place of `.venv`'s."""
    code = (
        "import pathlib, sys; sys.path.insert(0, 'scripts'); import project_environment as it\n"
        "it.prepare = lambda extras: pathlib.Path(sys.executable)\n"
        "import quickstart; sys.exit(quickstart.main())"
    )
    command = [sys.executable, "-c", code]
    return subprocess.run(command, cwd=project, capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_it_runs_bringup_to_success_once_and_again_and_what_it_suggests_works(
    project: Path, command: Command
) -> None:
    instance = project / "step_instances" / "bringup"
    for _ in range(2):
        done = quickstart(project)
        assert done.returncode == 0, done.stdout + done.stderr
        state = json.loads((instance / ".octo_step_engine_parameters.json").read_text())
        assert state["global_parameters"]["step_engine_state"] == "COMPLETE_SUCCESS"
        assert (instance / "bringup.svg").read_text(encoding="utf-8").rstrip().endswith("</svg>")
    for name in re.findall(r"^ +(step_\S+|\.octo\S+|logs/|bringup\.svg) ", done.stdout, re.M):
        assert (project / name).exists() or (instance / name).exists(), name
    for name in re.findall(r"^(docs/\S+)", done.stdout, re.M):
        assert (PROJECT / name).exists(), name
    cd, *suggested = re.findall(r"^  (cd .+|(?:\./|python )octo.+)$", done.stdout, re.M)
    assert shlex.split(cd) == ["cd", str(instance)] and len(suggested) >= 5
    for line in suggested:
        script, *arguments = shlex.split(line.removeprefix("python "), comments=True)
        tried = command(instance / script, *arguments, cwd=instance)
        expected = 3 if "--max-steps" in arguments else 0
        assert tried.returncode == expected, line + "\n" + tried.stdout + tried.stderr


@pytest.mark.slow
def test_an_instance_that_was_made_before_the_project_was_moved_is_put_aside(
    project: Path, tmp_path: Path
) -> None:
    assert quickstart(project).returncode == 0
    moved = tmp_path / "moved"
    shutil.copytree(project, moved, symlinks=True)
    before = (moved / "step_instances" / "bringup" / "report.json").read_text(encoding="utf-8")
    done = quickstart(moved)
    assert done.returncode == 0, done.stdout + done.stderr
    instances = moved / "step_instances"
    state = json.loads((instances / "bringup" / ".octo_step_engine_parameters.json").read_text())
    library = state["global_parameters"]["step_engine_library_path"]
    assert library == str(moved / "step_library" / "bringup")
    [aside] = instances.glob("bringup.*")
    assert aside.name in done.stdout
    assert (aside / "report.json").read_text(encoding="utf-8") == before


@pytest.mark.slow
def test_it_ends_with_the_exit_code_of_what_did_not_succeed(project: Path) -> None:
    broken = project / "step_library" / "bringup"
    broken.rename(broken.with_name("gone"))
    shutil.rmtree(project / "step_instances", ignore_errors=True)
    done = quickstart(project)
    broken.with_name("gone").rename(broken)
    assert done.returncode == 2 and "exit code 2" in done.stderr
