"""What `doctor` finds out about a directory, about who is at work there, and about its state."""

from __future__ import annotations

import errno
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import octo_directory_trials
import octo_doctor
import octo_instance_dir
from octo_directory_trials import FileSystem, Finding, file_system_of, guarantees_of
from octo_doctor import Report, examine, report_lines
from octo_errors import InstanceError, LockFileError
from octo_instance_dir import InstanceDir
from octo_instance_setup import create_instance
from octo_lock import FileLock
from octo_step_engine import StepEngine
from tests.modules.engine_support import node_text
from tests.support import PROJECT, Command, MakeLibrary

PARAMETER_FILE = ".octo_step_engine_parameters.json"
PARAMETER_LOCK = ".octo_step_engine_parameters.lock"
RUN_LOCK = ".octo_step_engine_run.lock"
EVENT_FILE = ".octo_step_engine_events.jsonl"
EXT4 = FileSystem("ext4", "/", "rw", read_only=False)


@pytest.fixture
def instance(make_library: MakeLibrary, tmp_path: Path) -> Path:
    """An instance whose run has ended."""
    made = create_instance(tmp_path / "instance", make_library({"a": node_text("a")}))[0]
    assert StepEngine(made).run().engine_state == "COMPLETE_SUCCESS"
    return made.path


def content(directory: Path) -> dict[str, bytes]:
    files = (path for path in directory.rglob("*") if path.is_file())
    return {str(path): path.read_bytes() for path in files}


def found(report: Report, subject: str) -> Finding:
    [finding] = [
        each for each in (*report.trials, *report.locks, *report.state) if each.subject == subject
    ]
    return finding


def not_held(report: Report) -> list[str]:
    return [guarantee.name for guarantee in report.guarantees if not guarantee.holds]


# --- what the directory can do --------------------------------------------------------------------


def test_a_sound_instance_is_called_sound_and_left_as_it_is(instance: Path) -> None:
    before = content(instance.parent)
    report = examine(instance)
    assert report.wrong == []
    assert content(instance.parent) == before
    assert set(not_held(report)) <= {"D1 power"}  # the tests may run in memory
    assert [each.subject for each in report.trials] == [
        "file system",
        "writing",
        "space",
        "locking",
        "rename",
        "exchange",
        "fsync",
        "append",
    ]
    assert [each.subject for each in report.locks] == ["run lock", "parameter lock"]
    assert [each.subject for each in report.state] == [
        "parameter file",
        "safety copy",
        "library",
        "event log",
    ]
    assert "\n".join(report_lines(report)).startswith(f"{instance}: sound\n")


def test_any_directory_can_be_examined(tmp_path: Path) -> None:
    report = examine(tmp_path)
    assert report.wrong == []
    assert found(report, "instance").text == "none here"
    assert list(tmp_path.iterdir()) == []


def test_a_directory_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(InstanceError, match="no such directory"):
        examine(tmp_path / "missing")


def test_where_nothing_can_be_written_nothing_that_is_kept_holds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(**_: object) -> str:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(tempfile, "mkdtemp", refuse)
    report = examine(tmp_path)
    assert "Read-only" in found(report, "writing").text
    assert not_held(report) == ["D1 process", "D1 power", "D2", "D3", "D4", "D5"]


class NoLock:
    """A lock of a file system that locks nothing."""

    def __init__(self, path: Path, timeout: float = 0) -> None:
        self.path = f"{path}.nobody"

    def __enter__(self) -> NoLock:
        return self

    def __exit__(self, *_: object) -> None:
        pass


def test_locks_that_keep_nobody_out_are_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(octo_directory_trials, "FileLock", NoLock)
    report = examine(tmp_path)
    assert "a second process is not kept out" in found(report, "locking").text
    assert not_held(report)[:1] == ["D1 process"]
    assert {"D3", "D4", "D5"} <= set(not_held(report))
    assert "D2" not in not_held(report)


@pytest.mark.parametrize(
    ("answers", "text"),
    [
        ("print('taken', flush=True); sys.stdin.read()", "not kept out"),
        ("print('refused', flush=True)", "can't be taken"),
        ("sys.exit('broken')", "not kept out"),
    ],
)
def test_the_answer_of_the_second_process_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answers: str, text: str
) -> None:
    monkeypatch.setattr(octo_directory_trials, "_TAKE_LOCK", f"import sys; {answers}")
    assert text in found(examine(tmp_path), "locking").text


@pytest.mark.parametrize(
    ("name", "subject", "lost"),
    [
        ("fsync", "fsync", {"D1 power"}),
        ("replace", "rename", {"D1 process", "D1 power", "D2", "D3", "D4"}),
    ],
)
def test_what_fails_is_named_with_its_cause(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, subject: str, lost: set[str]
) -> None:
    def fail(*_: object) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, name, fail)
    report = examine(tmp_path)
    assert found(report, subject).verdict == "wrong"
    assert os.strerror(errno.EIO) in found(report, subject).text
    assert lost <= set(not_held(report))
    assert list(tmp_path.iterdir()) == []


def test_without_an_exchange_of_names_all_is_sound_and_slower(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(octo_directory_trials, "exchange_files", lambda *_: False)
    report = examine(tmp_path)
    assert found(report, "exchange").verdict == "note"
    assert report.wrong == []


def test_little_space_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Usage:
        free = 1000

    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage)
    report = examine(tmp_path)
    assert found(report, "space").verdict == "wrong"
    assert "D1 process" not in not_held(report)


ALL_FINE = [Finding(name, "ok", "") for name in ("writing", "locking", "rename", "fsync", "append")]


@pytest.mark.parametrize(
    ("kind", "options", "lost"),
    [
        ("ext4", "rw", set[str]()),
        ("nfs4", "rw", set[str]()),
        ("tmpfs", "rw", {"D1 power"}),
        ("nfs", "rw,nolock", {"D1 process", "D1 power", "D3", "D4", "D5"}),
        ("cifs", "rw,nobrl", {"D1 process", "D1 power", "D3", "D4", "D5"}),
    ],
)
def test_the_file_system_decides_what_holds(kind: str, options: str, lost: set[str]) -> None:
    file_system = FileSystem(kind, "/mnt", options, read_only=False)
    guarantees = guarantees_of(file_system, ALL_FINE)
    assert {guarantee.name for guarantee in guarantees if not guarantee.holds} == lost
    shared = [each for each in guarantees if "several machines" in each.text]
    assert bool(shared) == (kind == "nfs4")


@pytest.mark.parametrize("kind", ["nfs", "nfs4", "cifs", "smb3", "9p", "fuse.sshfs", "ceph"])
def test_network_file_systems_are_known(kind: str) -> None:
    assert FileSystem(kind, "/mnt", "rw", read_only=False).is_network
    assert not EXT4.is_network


@pytest.mark.skipif(not Path("/proc/self/mountinfo").exists(), reason="needs Linux")
def test_the_file_system_is_that_of_the_innermost_mount() -> None:
    assert file_system_of(Path("/proc/self")).type == "proc"
    assert file_system_of(Path("/")).mount == "/"


# --- who is at work -------------------------------------------------------------------------------


def test_the_engine_that_runs_an_instance_is_named(instance: Path) -> None:
    with InstanceDir(instance).run_lock():
        report = examine(instance)
    assert report.run_lock is not None
    assert report.run_lock.pid == os.getpid()
    assert report.run_lock.host == socket.gethostname()
    assert report.run_lock.since
    assert report.wrong == []


@contextmanager
def holder_of(lock: Path) -> Iterator[int]:
    """A process that holds a lock and doesn't let go."""
    program = (
        "import sys; from octo_lock import FileLock; lock = FileLock(sys.argv[1]);"
        " lock.acquire(); print(flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, str(lock)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(PROJECT / "modules")},
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        try:
            yield process.pid
        finally:
            process.kill()


def test_who_does_not_let_go_of_the_parameter_lock_is_named(
    instance: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(octo_doctor, "HELD_TOO_LONG_S", 0.05)
    with holder_of(instance / PARAMETER_LOCK) as pid:
        report = examine(instance)
    assert report.parameter_lock is not None
    assert report.parameter_lock.pid == pid
    assert "octo_lock" in report.parameter_lock.command
    assert report.parameter_lock.since.startswith("20")
    assert found(report, "parameter lock").verdict == "wrong"
    assert examine(instance).wrong == []


def test_who_may_only_read_is_told_as_much_as_a_look_at_the_parameter_lock_tells(
    instance: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forbid(lock: FileLock, timeout: float | None = None) -> None:
        raise LockFileError("no", path=lock.path, errno=errno.EACCES)

    monkeypatch.setattr(FileLock, "acquire", forbid)
    with holder_of(instance / PARAMETER_LOCK):
        finding = found(examine(instance), "parameter lock")
    assert (finding.verdict, finding.text) == ("note", "held at this moment")
    assert found(examine(instance), "parameter lock") == Finding("parameter lock", "ok", "free")


def test_a_lock_file_that_may_not_even_be_looked_at_is_no_fault(
    instance: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forbid(path: Path) -> bool:
        raise LockFileError(f"{path}: no", hint="get the right", path=path, errno=errno.EACCES)

    monkeypatch.setattr(octo_instance_dir, "is_locked", forbid)
    assert found(examine(instance), "locks").verdict == "note"


@pytest.mark.parametrize(("host", "verdict"), [("", "note"), ("elsewhere", "wrong")])
def test_an_engine_that_did_not_end_by_itself_is_named(
    instance: Path, host: str, verdict: str
) -> None:
    last = {"pid": 1, "host": host or socket.gethostname(), "command": "run", "since": "then"}
    (instance / ".octo_step_engine_run.json").write_text(json.dumps(last))
    finding = found(examine(instance), "run lock")
    assert finding.verdict == verdict
    assert "pid 1" in finding.text


@pytest.mark.parametrize("name", [PARAMETER_LOCK, RUN_LOCK])
@pytest.mark.parametrize("plant", [os.mkfifo, Path.mkdir], ids=["FIFO", "directory"])
def test_what_is_no_lock_file_is_named(
    instance: Path, name: str, plant: Callable[[Path], None]
) -> None:
    (instance / name).unlink()
    plant(instance / name)
    assert name in found(examine(instance), "locks").text


# --- state ----------------------------------------------------------------------------------------


def spoil(name: str, text: str) -> Callable[[Path], object]:
    return lambda instance: (instance / name).write_text(text)


def put(instance: Path, group: str, **values: object) -> None:
    with InstanceDir(instance).parameters.transaction() as data:
        data.setdefault(group, {}).update(values)


def say(**values: object) -> Callable[[Path], object]:
    return lambda instance: put(instance, "global_parameters", **values)


def lose_library(instance: Path) -> None:
    InstanceDir(instance).library_path().rename(instance.parent / "moved")


NEWER = '{"global_parameters": {"instance_format": 99}}'
GAP = "".join(
    f'{{"ts":"2026-03-01T09:30:12Z","run_id":"","seq":{seq},"event":"a"}}\n' for seq in (1, 3)
)
PIN = ".octo_step_engine_library.json"


@pytest.mark.parametrize(
    ("damage", "subject", "text"),
    [
        (spoil(PARAMETER_FILE, "{"), "parameter file", ":1:"),
        (spoil(PARAMETER_FILE, NEWER), "parameter file", "newer version"),
        (lambda instance: (instance / PARAMETER_FILE).unlink(), "parameter file", "gone"),
        (say(step_engine_state="FOO"), "parameter file", "step_engine_state: unknown 'FOO'"),
        (
            say(
                step_engine_state="INACTIVE",
                current_step_node="step_node_hello",
                current_step_state="FOO",
            ),
            "parameter file",
            "current_step_state: unknown state 'FOO'",
        ),
        (say(make_safe=[5]), "parameter file", "make_safe: [5] is not what"),
        (say(first_step_node=5), "parameter file", "first_step_node: 5 is no text"),
        (
            lambda instance: put(instance, "active_steps", step_node_hello={"state": "FOO"}),
            "parameter file",
            "active_steps.step_node_hello.state: unknown state 'FOO'",
        ),
        (spoil(EVENT_FILE, GAP), "event log", "is event 3, and follows event 1"),
        (spoil(EVENT_FILE, "x\n" + GAP), "event log", ":1: this line is no event"),
        (spoil(PIN, "{"), "library", "can't be read"),
        (lose_library, "library", "is not there"),
    ],
)
def test_damaged_state_is_wrong_and_left_as_it_is(
    instance: Path, damage: Callable[[Path], Any], subject: str, text: str
) -> None:
    damage(instance)
    before = content(instance)
    report = examine(instance)
    assert [finding.subject for finding in report.wrong] == [subject]
    assert text in found(report, subject).text
    assert found(report, subject).hint
    assert content(instance) == before


def tear_log(instance: Path) -> None:
    with (instance / EVENT_FILE).open("a") as file:
        file.write('{"ts":"2026')


def change_library(instance: Path) -> None:
    (InstanceDir(instance).library_path() / "helper.py").write_text("")


@pytest.mark.parametrize(
    ("change", "subject", "text"),
    [
        (tear_log, "event log", "torn last line"),
        (change_library, "library", "helper.py"),
        (lambda instance: (instance / PIN).unlink(), "library", "pin is gone"),
        (spoil(f"{PARAMETER_FILE}.tmp", "{"), "leftovers", f"{PARAMETER_FILE}.tmp"),
        (spoil(f"{PARAMETER_FILE}.spare", "{"), "leftovers", f"{PARAMETER_FILE}.spare"),
        (spoil(f"{PARAMETER_FILE}.backup", "{"), "safety copy", "no good one"),
    ],
)
def test_what_mends_itself_is_told_and_is_not_wrong(
    instance: Path, change: Callable[[Path], Any], subject: str, text: str
) -> None:
    change(instance)
    before = content(instance)
    report = examine(instance)
    assert report.wrong == []
    assert found(report, subject).verdict == "note"
    assert text in found(report, subject).text
    assert content(instance) == before


# --- the command ----------------------------------------------------------------------------------


def test_the_command_tells_people_and_programs(command: Command, instance: Path) -> None:
    told = command("modules/octo_step_instance.py", "doctor", cwd=instance)
    assert told.returncode == 0, told.stderr
    assert "D9" in told.stdout
    (instance / PARAMETER_FILE).write_text("{")
    told = command("modules/octo_step_instance.py", "doctor", instance, "--json")
    assert told.returncode == 1
    report = json.loads(told.stdout)
    assert report["sound"] is False
    assert report["state"][0]["subject"] == "parameter file"
    assert report["run_lock"] is None
    assert len(report["guarantees"]) == 10


def test_the_command_names_a_directory_that_is_not_there(command: Command, tmp_path: Path) -> None:
    told = command("modules/octo_step_instance.py", "doctor", tmp_path / "missing")
    assert told.returncode == 2
    assert "no such directory" in told.stderr
