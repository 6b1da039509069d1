"""The commands that messages propose: they work when they are pasted."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from octo_instance_dir import InstanceDir
from octo_instance_setup import create_instance
from octo_typed_commands import (
    instance_command,
    launcher_command,
    parameters_command,
    program_command,
    recipe_command,
    resume_command,
    started_command,
)
from tests.modules.parameter_support import needs_posix
from tests.support import PROJECT


@pytest.fixture(params=["a b", "."])
def instance(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> InstanceDir:
    """An instance in the working directory, or that directory itself."""
    path = tmp_path / request.param
    made, _ = create_instance(path, PROJECT / "step_library" / "hello")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", os.defpath)
    return made


def pasted(command: str) -> str:
    """What the command prints, as a shell calls it in the working directory."""
    done = subprocess.run(command, shell=True, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_launcher_is_told_as_seen_from_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("os.name", "posix")
    here = Path.cwd()
    assert launcher_command(here) == "./octo_step_instance.py"
    assert launcher_command(here / "a b") == "'a b/octo_step_instance.py'"
    assert launcher_command(Path("/else/where")) == "/else/where/octo_step_instance.py"


def test_on_windows_words_are_quoted_as_its_shells_read_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("os.name", "nt")
    assert launcher_command("a b") == f'python "a b{os.sep}octo_step_instance.py"'


@needs_posix
@pytest.mark.parametrize("launcher", [True, False])
def test_a_command_works_with_a_launcher_and_without(instance: InstanceDir, launcher: bool) -> None:
    if not launcher:
        for file in instance.path.glob("*.py"):
            file.unlink()
    assert "not started" in pasted(instance_command(instance.path, "status"))
    key = ("global_parameters", "step_engine_state")
    assert pasted(parameters_command(instance.path, *key)) == "INACTIVE\n"


@needs_posix
def test_a_program_that_a_shell_finds_is_called_by_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", os.defpath)
    script = PROJECT / "modules" / "octo_step_instance.py"
    command = program_command("octo_step_instance.py", "list")
    assert [Path(word).resolve() for word in shlex.split(command)[:2]] == [
        Path(sys.executable).resolve(),
        script,
    ]
    installed = tmp_path / "octo-step-instance"
    installed.write_text("#!/bin/sh\n")
    installed.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert program_command("octo_step_instance.py", "list") == command  # it is another Python's
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    assert program_command("octo_step_instance.py", "list") == "octo-step-instance list"


@needs_posix
def test_a_program_is_called_as_it_was_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["else/where/octo_step_instance.py", "run"])
    for command in (
        program_command("octo_step_instance.py", "create", "a b"),
        started_command("create", "a b"),
    ):
        assert shlex.split(command)[1:] == ["else/where/octo_step_instance.py", "create", "a b"]
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    assert started_command("list") == "./python else/where/octo_step_instance.py list"
    monkeypatch.setattr(sys, "argv", ["/usr/bin/octo-step-instance", "run"])
    assert started_command("create") == "octo-step-instance create"


@needs_posix
def test_the_run_of_a_recipe_is_gone_on_with_where_nothing_is_installed(
    instance: InstanceDir,
) -> None:
    command = resume_command(instance.path)
    program, script, *words = shlex.split(command)
    assert os.access(program, os.X_OK) and Path(script).name == "runner.py"
    assert Path(script).exists()
    assert words == ["--resume", "--instance", os.path.relpath(instance.path)]
    assert "--resume" in pasted(f"{shlex.join([program, script])} --help")
    assert "validate" in pasted(recipe_command("--help"))


def test_a_command_can_be_told_where_the_working_directory_is_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    if os.name == "posix":
        (tmp_path / "gone").rmdir()
    monkeypatch.setattr(sys, "argv", ["started.py"])
    told = parameters_command("x", "--repair")
    assert re.search(r"octo.step.engine.parameters(\.py)? x --repair$", told)
