"""An instance's directory, for those who may change it and for those who may only look."""

from __future__ import annotations

import os
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from octo_errors import InstanceError
from octo_instance_dir import InstanceDir
from octo_instance_setup import create_instance
from octo_parameter_schema import PARAMETER_FILE_NAME
from octo_step_engine_parameters import open_parameters
from tests.modules.engine_support import node_text
from tests.modules.parameter_support import AS_NOBODY, Python, needs_posix
from tests.support import MakeLibrary

LOOKS = f"""
    import os, octo_step_instance
    instance = sys.argv[1]
    def look():
        status = octo_step_instance.main(["status", instance])
        graph = octo_step_instance.main(["graph", instance, "-o", "-", "--format", "dot"])
        print("ended with", status, graph, flush=True)
    look()  # loads what it takes
    {AS_NOBODY}
    assert not os.access(instance, os.W_OK)
    look()
"""


@pytest.fixture
def instance(open_place: Path) -> Iterator[InstanceDir]:
    library = open_place / "step_library"
    library.mkdir()
    (library / "step_node_a.py").write_text("class step_node_a: ...")
    yield create_instance(open_place / "x", library)[0]
    for path in (open_place / "x", *(open_place / "x").iterdir()):
        path.chmod(0o755)  # so that it can be removed


@needs_posix
def test_who_may_only_read_an_instance_sees_its_status_and_its_graph(instance: InstanceDir) -> None:
    with instance.run_lock():
        for path in (*instance.path.iterdir(), instance.path):
            path.chmod(path.stat().st_mode & ~0o222)
        with Python(LOOKS, instance.path) as other:
            said = other.output()
        instance.path.chmod(0o755)
    assert said.count(f"run by pid {os.getpid()} ") == 2
    assert said.count("ended with 0 0") == 2


# --- where there is none --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("named", "hint"),
    [
        (".", "there are: mine, yours\n"),
        ("mien", "did you mean 'mine'?\n"),
        ("empty", "there are: mine, yours\n"),
        ("other/y", "there are: other/x\n"),
        ("other", "there are: other/x\n"),
        ("..", "there are: .\n"),
        ("../hero", "did you mean '.'?\n"),
        ("nowhere/at/all", "make one: "),
    ],
)
def test_instances_that_may_be_meant_are_named_as_they_can_be_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, named: str, hint: str
) -> None:
    for name in ("mine", "yours", "other/x"):
        (tmp_path / "here" / name).mkdir(parents=True)
        (tmp_path / "here" / name / PARAMETER_FILE_NAME).write_text("{}")
    (tmp_path / "here" / "empty").mkdir()
    if named.startswith(".."):
        (tmp_path / "here" / PARAMETER_FILE_NAME).write_text("{}")
    monkeypatch.chdir(tmp_path / "here")
    with pytest.raises(InstanceError) as caught:
        InstanceDir(named)
    assert caught.value.hint.startswith(hint)
    assert "make one: " in caught.value.hint


def test_where_there_is_only_a_parameter_file_the_hint_makes_it_an_instance(
    tmp_path: Path, make_library: MakeLibrary
) -> None:
    open_parameters(tmp_path).read()  # makes it
    with pytest.raises(InstanceError, match="an instance of no step library") as caught:
        InstanceDir(tmp_path).library_path()
    library = make_library({"a": node_text("a")})
    command = caught.value.hint.removeprefix("make it one: ").replace("LIBRARY", str(library))
    subprocess.run(shlex.split(command), check=True)
    assert InstanceDir(tmp_path).library_path() == library
