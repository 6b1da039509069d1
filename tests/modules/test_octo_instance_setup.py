"""Making an instance while others make it too; what a reset keeps while others go on writing."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

import octo_instance_setup
from octo_errors import InstanceError, ParameterFileError
from octo_instance_setup import create_instance, make_instance, reset_instance
from octo_parameter_schema import LOCK_FILE_NAME, PARAMETER_FILE_NAME
from octo_step_engine_parameters import octo_step_engine_parameters, open_parameters
from octo_step_program import LibraryProgram
from octo_typed_commands import INSTANCE_PROGRAM
from tests.modules.engine_support import node_text, stored
from tests.support import PROJECT, MakeLibrary

RESETS = 40


class MadeMeanwhile(LibraryProgram):
    """While it is pinned, another process makes the same instance of the same library."""

    def pin(self, instance: Path) -> None:
        script = PROJECT / "modules" / "octo_step_instance.py"
        words = ("create", self.directory, "--library", self._library.path)
        subprocess.run([sys.executable, script, *words], check=True, stdout=subprocess.DEVNULL)
        super().pin(instance)


@pytest.mark.parametrize("exists", [False, True])
def test_who_comes_second_is_told_that_there_is_an_instance_already(
    make_library: MakeLibrary, tmp_path: Path, exists: bool
) -> None:
    place = tmp_path / "i"
    if exists:
        place.mkdir()
    program = MadeMeanwhile(make_library({"a": node_text("a")}), None, place)
    with pytest.raises(InstanceError, match="is an instance already"):
        make_instance(place, program)
    assert stored(place)["global_parameters"]["step_engine_state"] == "INACTIVE"
    assert not list(tmp_path.glob(".i.*"))


def test_of_several_that_move_into_one_directory_the_first_wins(
    make_library: MakeLibrary, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place, library = tmp_path / "i", make_library({"a": node_text("a")})
    place.mkdir()
    is_in_the_way = octo_instance_setup._is_in_the_way
    others: list[subprocess.Popen[str]] = []

    def create(**variables: str) -> subprocess.Popen[str]:
        script = PROJECT / "modules" / "octo_step_instance.py"
        return subprocess.Popen(
            [sys.executable, script, "create", place, "--library", library],
            env={**os.environ, **variables},
            stderr=subprocess.PIPE,
            text=True,
        )

    def others_come(there: Path, ours: Path) -> bool:
        if not others:
            others.extend([create(OCTO_LOCK_TIMEOUT="0"), create()])
            assert "still locked by" in others[0].communicate()[1]
        return is_in_the_way(there, ours)

    monkeypatch.setattr(octo_instance_setup, "_is_in_the_way", others_come)
    create_instance(place, library)
    assert "is an instance already" in others[1].communicate()[1]
    assert [each.returncode for each in others] == [1, 2]
    assert not list(tmp_path.glob(".i.*"))


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="needs /proc")
@pytest.mark.parametrize("exists", [False, True])
def test_what_is_moved_to_its_place_is_open_nowhere(
    make_library: MakeLibrary, tmp_path: Path, exists: bool
) -> None:
    place = tmp_path / "i"
    if exists:
        place.mkdir()
    create_instance(place, make_library({"a": node_text("a")}))
    opened = [str(each.readlink()) for each in Path("/proc/self/fd").iterdir() if each.is_symlink()]
    assert [file for file in opened if file.startswith(str(tmp_path))] == []


def test_a_file_in_the_way_is_named_and_nothing_else_is_there_after_it(
    make_library: MakeLibrary, tmp_path: Path
) -> None:
    in_the_way = tmp_path / INSTANCE_PROGRAM
    in_the_way.write_text("mine")
    with pytest.raises(InstanceError, match=f"has a file {INSTANCE_PROGRAM} already"):
        create_instance(tmp_path, make_library({"a": node_text("a")}))
    assert in_the_way.read_text() == "mine"
    assert not list(tmp_path.glob(".*"))


def test_a_parameter_file_that_is_there_gets_what_it_lacks_and_keeps_all_else(
    make_library: MakeLibrary, tmp_path: Path
) -> None:
    file = tmp_path / PARAMETER_FILE_NAME
    store = open_parameters(tmp_path)
    with store.transaction() as data:
        data["a"] = {"mine": 1}
        data["global_parameters"]["run_step_count"] = 7
    file.chmod(0o640)
    revision = stored(tmp_path)["global_parameters"]["parameter_revision"]
    inits = '    step_node_params_dict_init = {"a": {"mine": 0, "more": 2}}\n'
    library = make_library({"a": node_text("a", inits)})
    create_instance(tmp_path, library)
    assert stored(tmp_path)["a"] == {"mine": 1, "more": 2}
    shared = stored(tmp_path)["global_parameters"]
    assert (shared["run_step_count"], shared["first_step_node"]) == (7, "step_node_a")
    assert shared["parameter_revision"] == revision + 1
    assert stat.S_IMODE(file.stat().st_mode) == 0o640
    with store.transaction() as data:
        data["a"]["later"] = 3
    assert stored(tmp_path)["a"] == {"mine": 1, "more": 2, "later": 3}
    with pytest.raises(InstanceError, match="is an instance already"):
        create_instance(tmp_path, library)


def test_a_parameter_file_that_cant_be_understood_is_kept_and_no_instance_is_made(
    make_library: MakeLibrary, tmp_path: Path
) -> None:
    (tmp_path / PARAMETER_FILE_NAME).write_text("{")
    library = make_library({"a": node_text("a")})
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(ParameterFileError, match=f"{PARAMETER_FILE_NAME}:1:2"):
        create_instance(tmp_path, library)
    assert (tmp_path / PARAMETER_FILE_NAME).read_text() == "{"
    assert sorted(tmp_path.rglob("*")) == before


def test_what_a_killed_process_has_left_is_removed(
    make_library: MakeLibrary, tmp_path: Path
) -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as ended:
        pass
    left = [tmp_path / f".i.{number}.new" for number in (ended.pid, os.getpid(), "x", 2**70)]
    for directory in left:
        directory.mkdir()
    create_instance(tmp_path / "i", make_library({"a": node_text("a")}))
    assert not list(tmp_path.glob(".i.*"))


def test_what_is_written_during_a_reset_is_in_the_archive_or_in_the_file(
    make_library: MakeLibrary, tmp_path: Path
) -> None:
    instance = tmp_path / "i"
    made, _ = create_instance(instance, make_library({"a": node_text("a")}))
    store = octo_step_engine_parameters()
    file, lock = str(instance / PARAMETER_FILE_NAME), str(instance / LOCK_FILE_NAME)
    over = threading.Event()
    counted = 0

    def count() -> None:
        nonlocal counted
        while not over.is_set():
            store.increment_json_dict({}, file, lock, "mine", "count", True)
            counted += 1

    counter = threading.Thread(target=count)
    counter.start()
    try:
        archives = [reset_instance(made) for _ in range(RESETS)]
    finally:
        over.set()
        counter.join()
    kept = [stored(place).get("mine", {}).get("count", 0) for place in [instance, *archives]]
    assert sum(kept) == counted
    assert sum(map(bool, kept)) > 1, "nothing was written between two resets"
