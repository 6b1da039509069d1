"""The locked file: transactions, bad files, safety copy, errors, many writers, and kill -9."""

from __future__ import annotations

import errno
import json
import os
import stat
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import octo_atomic_file
import octo_json_groups
from octo_errors import (
    LockFileError,
    LockTimeoutError,
    ParameterFileError,
    ParameterValueError,
    WaitTimeoutError,
)
from octo_json_strict import dump_groups, parse_groups
from octo_lock_json import LockedJsonFile, speed_up
from octo_spare_file import ALONE, WORTHWHILE
from tests.modules.parameter_support import Python, needs_posix
from tests.modules.test_octo_json_strict import BAD_TEXTS

COUNTER = ("main", "revision")

OPEN = """
    import os, resource, threading, octo_lock_json
    octo_lock_json.speed_up()
    file = octo_lock_json.LockedJsonFile(
        "state.json", "state.lock", counter=("main", "revision"), timeout=60
    )
"""


@pytest.fixture(params=["fast", "light"], autouse=True)
def speed(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """With what `speed_up` loads and without: there must be no difference."""
    name: str = request.param
    monkeypatch.setattr(octo_atomic_file, "_exchange", None)
    monkeypatch.setattr(octo_json_groups, "_loads", parse_groups)
    monkeypatch.setattr(octo_json_groups, "_dumps", dump_groups)
    if name == "fast":
        speed_up()
    return name


only_fast = pytest.mark.parametrize("speed", ["fast"], indirect=True)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def locked_file(directory: Path, **options: Any) -> LockedJsonFile:
    options = {"counter": COUNTER, "timeout": 60.0, **options}
    return LockedJsonFile(directory / "state.json", directory / "state.lock", **options)


@pytest.fixture
def file(here: Path) -> LockedJsonFile:
    """A file with one group `a`, at revision 1."""
    made = locked_file(here)
    with made.transaction() as groups:
        groups["a"] = {"n": 0}
    return made


def content(directory: Path) -> Any:
    return json.loads((directory / "state.json").read_bytes())


def names(directory: Path) -> set[str]:
    return {each.name for each in directory.iterdir()}


# --- reading and creating ---


def test_a_read_creates_the_file_with_the_defaults_and_nothing_else(here: Path) -> None:
    file = locked_file(here, defaults={"a": {"b": [1], "c": "x"}})
    groups = file.read()
    assert groups == content(here) == {"a": {"b": [1], "c": "x"}, "main": {"revision": 1}}
    if hasattr(os, "O_TMPFILE"):
        assert names(here) == {"state.json"}
    groups["a"]["b"].append(2)
    assert file.read()["a"]["b"] == [1]


def test_a_transaction_creates_the_file_too(here: Path) -> None:
    with locked_file(here, defaults={"a": {"b": 1}}).transaction() as groups:
        assert dict(groups) == {"a": {"b": 1}}
    assert content(here) == {"a": {"b": 1}, "main": {"revision": 1}}


@pytest.mark.parametrize("durability", ["process", "power"])
def test_where_a_read_cannot_create_without_a_lock_it_takes_one(
    durability: str, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("octo_lock_json.create_file", lambda path, data: False)
    file = locked_file(here, defaults={"a": {"b": 1}}, durability=durability)
    assert file.read() == content(here) == {"a": {"b": 1}, "main": {"revision": 1}}


def test_a_read_fills_in_defaults_and_leaves_the_file_alone(
    file: LockedJsonFile, here: Path
) -> None:
    before = (here / "state.json").read_bytes()
    groups = file.read({"a": {"n": 5, "m": 6}, "b": {"x": []}})
    assert groups == {"a": {"n": 0, "m": 6}, "main": {"revision": 1}, "b": {"x": []}}
    assert (here / "state.json").read_bytes() == before


def test_a_read_waits_for_nobody(file: LockedJsonFile) -> None:
    with file.transaction() as groups:
        groups["a"]["n"] = 1
        seen: list[Any] = []
        thread = threading.Thread(target=lambda: seen.append(file.read()["a"]["n"]))
        thread.start()
        thread.join()
    assert seen == [0]
    assert file.read()["a"]["n"] == 1


def test_a_missing_directory_is_an_error_and_is_not_made(here: Path) -> None:
    file = locked_file(here / "nowhere")
    with pytest.raises(ParameterFileError, match="no such directory"):
        file.read()
    with pytest.raises(LockFileError, match="No such file or directory"), file.transaction():
        pass
    assert not (here / "nowhere").exists()


# --- transactions ---


def test_a_transaction_writes_what_the_block_changed_and_counts(
    file: LockedJsonFile, here: Path
) -> None:
    transaction = file.transaction()
    with transaction as groups:
        groups["a"]["n"] = 1
        groups.setdefault("b", {})["new"] = "é"
    expected = {"a": {"n": 1}, "main": {"revision": 2}, "b": {"new": "é"}}
    assert content(here) == transaction.result() == file.read() == expected
    assert (here / "state.json").read_text(encoding="utf-8") == (
        '{\n  "a": {\n    "n": 1\n  },\n  "main": {\n    "revision": 2\n  },\n'
        '  "b": {\n    "new": "é"\n  }\n}\n'
    )


def test_a_transaction_that_changes_nothing_writes_nothing(
    file: LockedJsonFile, here: Path
) -> None:
    before = (here / "state.json").stat()
    transaction = file.transaction()
    with transaction as groups:
        assert groups["a"]["n"] == 0
        groups["a"]["n"] = 1
        groups["a"]["n"] = 0
    after = (here / "state.json").stat()
    assert (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns)
    assert transaction.result() == {"a": {"n": 0}, "main": {"revision": 1}}


def test_a_block_that_raises_leaves_file_and_memory_as_they_were(
    file: LockedJsonFile, here: Path
) -> None:
    before = (here / "state.json").read_bytes()
    with pytest.raises(ZeroDivisionError), file.transaction() as groups:
        groups["a"]["n"] = 1 / 0 if groups["a"].setdefault("half", True) else 1
    assert (here / "state.json").read_bytes() == before
    with file.transaction() as groups:
        assert dict(groups) == {"a": {"n": 0}, "main": {"revision": 1}}


@pytest.mark.parametrize(
    ("value", "place"),
    [
        (float("nan"), "group 'a', key 'n'"),
        ([{"x": {1}}], "group 'a', key 'n', at [0]['x']"),
        (10**30, "group 'a', key 'n'"),
    ],
)
def test_a_value_that_json_cannot_hold_is_named_and_nothing_is_written(
    value: Any, place: str, file: LockedJsonFile, here: Path
) -> None:
    before = (here / "state.json").read_bytes()
    with pytest.raises(ParameterValueError) as caught, file.transaction() as groups:
        groups["a"]["m"] = "fine"
        groups["a"]["n"] = value
    assert place in str(caught.value)
    assert str(here / "state.json") in str(caught.value)
    assert (here / "state.json").read_bytes() == before
    assert caught.value.__suppress_context__, "a traceback would tell the encoder's frames first"
    with pytest.raises(ParameterValueError, match="group must be a dict"):
        file.read({"x": 1})  # type: ignore[dict-item]


def test_the_count_of_the_writes_is_the_stores_own(file: LockedJsonFile, here: Path) -> None:
    for wrong in (0, 7, "1", None, "x"):
        error = pytest.raises(ParameterValueError, match="counts the writes")
        with error, file.transaction() as groups:
            groups["main"]["revision"] = wrong
    with file.transaction() as groups:
        groups.clear()
    assert content(here) == {"main": {"revision": 2}}
    (here / "state.json").write_text('{"main": {"revision": "two"}}')
    error = pytest.raises(ParameterValueError, match="make it an integer")
    with error, file.transaction() as groups:
        groups["a"] = {}


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda group: group.update(n=1.0), '{"revision": 2, "n": 1.0, "list": [[]]}'),
        (lambda group: group["list"][0].append(1), '{"revision": 2, "n": 1, "list": [[1]]}'),
        (lambda group: group.update(n=group.pop("n")), '{"revision": 2, "list": [[]], "n": 1}'),
        (lambda group: group.pop("n"), '{"revision": 2, "list": [[]]}'),
    ],
)
def test_whatever_changes_in_the_group_that_has_the_count_is_written(
    change: Callable[[dict[str, Any]], Any], expected: str, file: LockedJsonFile, here: Path
) -> None:
    (here / "state.json").write_text('{"main": {"revision": 1, "n": 1, "list": [[]]}, "a": {}}')
    with file.transaction() as groups:
        change(groups["main"])
    assert json.dumps(content(here)["main"]) == expected


@pytest.mark.parametrize("group", [7, None, "text"])
def test_the_group_that_has_the_count_must_be_a_dict(group: Any, file: LockedJsonFile) -> None:
    error = pytest.raises(ParameterValueError, match="group 'main': a group must be a dict")
    with error, file.transaction() as groups:
        groups["a"]["n"] = 1
        groups["main"] = group
    assert file.read() == {"a": {"n": 0}, "main": {"revision": 1}}


def test_what_others_put_into_the_file_stays_there_in_its_order(
    file: LockedJsonFile, here: Path
) -> None:
    (here / "state.json").write_text('{"z": {"k": [1, {"y": null}]}, "main": {"revision": 9}}')
    with file.transaction() as groups:
        groups["a"] = {"n": 1}
    assert list(content(here).items()) == [
        ("z", {"k": [1, {"y": None}]}),
        ("main", {"revision": 10}),
        ("a", {"n": 1}),
    ]


@pytest.mark.parametrize("writes", [1, WORTHWHILE + ALONE + 9])
def test_a_change_by_another_is_seen_though_nothing_but_the_bytes_tells(
    writes: int, file: LockedJsonFile, here: Path
) -> None:
    """In place, of the same length, with the times put back: inode, size and time are the same."""
    path = here / "state.json"
    for number in range(writes):
        with file.transaction() as groups:
            groups["a"]["n"] = 1 + number % 2
    with file.transaction() as groups:
        groups["a"]["n"] = 1
    status = path.stat()
    with path.open("r+b") as other:
        text = other.read().replace(b'"n": 1', b'"n": 7')
        other.seek(0)
        other.write(text)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    with file.transaction() as groups:
        assert groups["a"]["n"] == 7
    assert file.read()["a"]["n"] == 7


def test_two_objects_for_one_file_see_each_others_changes(file: LockedJsonFile, here: Path) -> None:
    other = locked_file(here)
    for number in range(1, 6):
        for each in (file, other):
            with each.transaction() as groups:
                groups["a"]["n"] += 1
        assert file.read()["a"]["n"] == other.read()["a"]["n"] == 2 * number


def test_a_transaction_inside_a_transaction_is_an_error_at_once(file: LockedJsonFile) -> None:
    with file.transaction() as groups:
        groups["a"]["n"] = 1
        with pytest.raises(LockTimeoutError, match="this thread"), file.transaction():
            pass
    assert file.read()["a"]["n"] == 1


@needs_posix
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
def test_a_child_forked_inside_a_transaction_cannot_end_it(
    file: LockedJsonFile, here: Path
) -> None:
    child = -1
    try:
        with file.transaction() as groups:
            groups["a"]["n"] = 1
            child = os.fork()
            if child == 0:
                groups["a"]["n"] = 2
    except LockFileError:
        os._exit(7 if child == 0 else 1)
    if child == 0:
        os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
    assert content(here) == {"a": {"n": 1}, "main": {"revision": 2}}


# --- waiting ---


def test_waiting_ends_when_the_condition_holds(file: LockedJsonFile) -> None:
    def change() -> None:
        for number in range(1, 4):
            with file.transaction() as groups:
                groups["a"]["n"] = number

    changer = threading.Timer(0.05, change)
    changer.start()
    assert file.wait_until(lambda groups: groups["a"]["n"] == 3, timeout=60)["a"] == {"n": 3}
    changer.join()


def test_waiting_ends_when_the_time_is_over(file: LockedJsonFile) -> None:
    assert file.wait_until(lambda groups: True, timeout=0)
    with pytest.raises(WaitTimeoutError, match=r"0\.05 s"):
        file.wait_until(lambda groups: False, timeout=0.05)


# --- bad files ---


@pytest.mark.parametrize(("data", "line", "column", "reason"), BAD_TEXTS)
def test_a_bad_file_is_reported_with_its_place_and_kept(
    data: bytes, line: int, column: int, reason: str, here: Path
) -> None:
    path = here / "state.json"
    path.write_bytes(data)
    file = locked_file(here, defaults={"a": {"b": 1}})
    for use in (file.read, lambda: file.transaction().__enter__()):
        with pytest.raises(ParameterFileError, match=reason) as caught:
            use()
        assert f"{path}:{line}:{column}: " in str(caught.value)
        assert "--repair" in str(caught.value)
    assert path.read_bytes() == data
    assert names(here) == {"state.json", "state.lock"}


@needs_posix
@pytest.mark.parametrize(
    ("plant", "kind"),
    [
        (lambda path: os.mkfifo(path), "FIFO"),
        (lambda path: path.mkdir(), "directory"),
        (lambda path: path.symlink_to("/etc/hostname"), "symbolic link"),
    ],
)
def test_what_is_no_file_is_reported_and_kept(
    plant: Callable[[Path], None], kind: str, here: Path
) -> None:
    plant(here / "state.json")
    file = locked_file(here)
    for use in (file.read, lambda: file.transaction().__enter__(), file.repair):
        with pytest.raises(ParameterFileError, match=kind) as caught:
            use()
        assert str(here / "state.json") in str(caught.value)
    assert names(here) == {"state.json", "state.lock"}


@needs_posix
@pytest.mark.parametrize("suffix", [".tmp", ".backup.tmp", ".backup"])
@pytest.mark.parametrize("kind", ["file", "FIFO", "dangling link", "link", "directory"])
def test_what_was_planted_beside_the_file_does_no_harm(
    suffix: str, kind: str, file: LockedJsonFile, here: Path
) -> None:
    victim = here / "victim"
    victim.write_text("precious")
    (here / "state.json.backup").unlink()
    plant = here / ("state.json" + suffix)
    make: dict[str, Callable[[], Any]] = {
        "file": lambda: plant.write_text("half"),
        "FIFO": lambda: os.mkfifo(plant),
        "dangling link": lambda: plant.symlink_to(here / "nowhere"),
        "link": lambda: plant.symlink_to(victim),
        "directory": plant.mkdir,
    }
    make[kind]()
    os.utime(plant, (1, 1), follow_symlinks=False)
    fresh = locked_file(here)
    if kind == "directory":
        with pytest.raises(ParameterFileError) as caught, fresh.transaction() as groups:
            groups["a"]["n"] = 1
        assert str(plant) in str(caught.value)
        assert content(here)["a"]["n"] == 0
    else:
        with fresh.transaction() as groups:
            groups["a"]["n"] = 1
        assert content(here)["a"]["n"] == 1
        assert content(here) == json.loads((here / "state.json.backup").read_bytes())
    assert victim.read_text() == "precious"
    assert not (here / "nowhere").exists()


# --- repair ---


@pytest.mark.parametrize("begins", ["read", "transaction"])
def test_what_is_left_of_a_file_that_was_removed_is_kept_when_a_new_one_is_made(
    file: LockedJsonFile, here: Path, begins: str
) -> None:
    with file.transaction() as groups:
        groups["mine"] = {"key": 1}
    file.sync()
    Path(file.path).unlink()
    if begins == "read":
        assert "mine" not in file.read()
    with file.transaction() as groups:
        groups.setdefault("other", {})["key"] = 2
    (kept,) = here.glob("*.bad-*.backup")
    assert json.loads(kept.read_text())["mine"] == {"key": 1}
    assert "mine" not in json.loads(Path(file.safety_copy).read_text())


def test_a_file_that_was_removed_is_repaired_with_its_content_and_mode(
    file: LockedJsonFile, here: Path
) -> None:
    with file.transaction() as groups:
        groups["mine"] = {"key": 1}
    Path(file.path).chmod(0o600)
    file.sync()
    Path(file.path).unlink()
    done = file.repair()
    assert done is not None
    assert (done.moved_to, done.restored_from) == (None, file.safety_copy)
    assert file.read()["mine"] == {"key": 1}
    assert stat.S_IMODE(Path(file.path).stat().st_mode) == 0o600
    assert not list(here.glob("*.bad-*"))


def test_repair_moves_the_bad_file_aside_and_puts_the_safety_copy_back(
    file: LockedJsonFile, here: Path
) -> None:
    path = here / "state.json"
    path.write_bytes(b'{"a": {"n": ')
    with pytest.raises(ParameterFileError, match="safety copy of"):
        file.read()
    done = file.repair()
    assert done is not None
    assert done.moved_to is not None
    assert Path(done.moved_to).parent == here
    assert Path(done.moved_to).read_bytes() == b'{"a": {"n": '
    assert done.restored_from == str(path) + ".backup"
    assert done.saved_at == pytest.approx(time.time(), abs=60)
    assert content(here) == {"a": {"n": 0}, "main": {"revision": 2}}
    assert file.repair() is None


def test_repair_begins_anew_where_no_good_copy_is(file: LockedJsonFile, here: Path) -> None:
    for copy in (b"{", None):
        (here / "state.json").write_bytes(b"\0\0\0")
        (here / "state.json.backup").unlink()
        if copy is not None:
            (here / "state.json.backup").write_bytes(copy)
        done = file.repair({"b": {"x": 1}})
        assert done is not None
        assert done.restored_from is None
        assert content(here) == {"b": {"x": 1}, "main": {"revision": 1}}
    assert sum(".bad-" in name for name in names(here)) == 3  # with the copy that was none


def test_repair_from_the_defaults_keeps_the_copy_beside_the_bad_file(
    file: LockedJsonFile, here: Path
) -> None:
    copy = (here / "state.json.backup").read_bytes()
    (here / "state.json").write_bytes(b"")
    done = file.repair({"b": {"x": 1}}, from_copy=False)
    assert done is not None
    assert done.moved_to is not None
    assert Path(done.moved_to + ".backup").read_bytes() == copy
    assert content(here) == {"b": {"x": 1}, "main": {"revision": 1}}


def test_repair_puts_the_copy_back_where_the_file_is_gone(file: LockedJsonFile, here: Path) -> None:
    (here / "state.json").unlink()
    done = file.repair()
    assert done is not None
    assert done.moved_to is None
    assert done.restored_from is not None
    assert content(here)["a"] == {"n": 0}


def test_repair_never_leaves_the_place_empty(
    file: LockedJsonFile, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (here / "state.json").write_bytes(b"bad")

    def fail(*_: Any, **__: Any) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with monkeypatch.context() as patched:
        patched.setattr("octo_lock_json.replace_file", fail)
        with pytest.raises(ParameterFileError, match="can't be written"):
            file.repair()
    assert (here / "state.json").read_bytes() == b"bad"


# --- durability ---


def set_age(path: Path, seconds: float) -> None:
    os.utime(path, (time.time() - seconds, time.time() - seconds))


def test_the_safety_copy_is_renewed_when_it_is_a_second_old(
    file: LockedJsonFile, here: Path
) -> None:
    copy = here / "state.json.backup"

    def change(number: int) -> Any:
        with locked_file(here).transaction() as groups:  # knows nothing of the copy
            groups["a"]["n"] = number
        return json.loads(copy.read_bytes())["a"]["n"]

    assert json.loads(copy.read_bytes()) == content(here)
    set_age(copy, 0.5)
    assert change(1) == 0
    set_age(copy, 1.0)
    assert change(2) == 2
    set_age(copy, -3600)  # the clock was set back
    assert change(3) == 3
    copy.unlink()
    assert change(4) == 4


def test_one_object_renews_the_safety_copy_while_it_writes(
    file: LockedJsonFile, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now)
    behind = []
    for number in range(1, 13):
        now += 0.3
        with file.transaction() as groups:
            groups["a"]["n"] = number
        saved = json.loads((here / "state.json.backup").read_bytes())["a"]["n"]
        if saved == number:
            os.utime(here / "state.json.backup", (now, now))
        behind.append(number - saved)
    assert behind == [1, 2, 3, 0] * 3


def test_sync_makes_the_safety_copy_equal_to_the_file(file: LockedJsonFile, here: Path) -> None:
    with file.transaction() as groups:
        groups["a"]["n"] = 1
    file.sync()
    assert (here / "state.json.backup").read_bytes() == (here / "state.json").read_bytes()
    (here / "state.json").write_bytes(b"bad")
    with pytest.raises(ParameterFileError):
        file.sync()
    assert json.loads((here / "state.json.backup").read_bytes())["a"]["n"] == 1


@pytest.fixture
def synced(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """What is synced: `file`, `directory`."""
    done: list[str] = []

    def note(descriptor: int) -> None:
        is_directory = stat.S_ISDIR(os.fstat(descriptor).st_mode)
        done.append("directory" if is_directory else "file")

    monkeypatch.setattr(os, "fsync", note)
    monkeypatch.setattr(os, "fdatasync", note)
    yield done


def test_power_syncs_file_and_directory_in_each_write_and_needs_no_copy(
    here: Path, synced: list[str]
) -> None:
    file = locked_file(here, durability="power")
    for number in range(3):
        with file.transaction() as groups:
            groups["a"] = {"n": number}
    file.sync()
    assert synced == ["file", "directory"] * 3
    assert names(here) == {"state.json", "state.lock"}


def test_process_syncs_the_safety_copy_alone(file: LockedJsonFile, synced: list[str]) -> None:
    for number in range(1, 4):
        with file.transaction() as groups:
            groups["a"]["n"] = number
    assert synced == []
    set_age(Path(file.safety_copy), 5)
    file._copy._made_at = 0.0
    with file.transaction() as groups:
        groups["a"]["n"] = 4
    assert synced == ["file", "directory"]


# --- what the system refuses ---


@pytest.mark.parametrize("failing", ["write", "open", "rename"])
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO, errno.EACCES, errno.EROFS])
def test_an_error_of_the_system_names_path_and_cause_and_keeps_the_old_state(
    failing: str, code: int, file: LockedJsonFile, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = (here / "state.json").read_bytes()
    real_open = os.open

    def fail(*_: Any) -> None:
        raise OSError(code, os.strerror(code))

    def fail_to_create(path: Any, flags: int, *mode: Any) -> int:
        if flags & os.O_CREAT:
            raise OSError(code, os.strerror(code), path)
        return real_open(path, flags, *mode)

    with monkeypatch.context() as patched:
        if failing == "open":
            patched.setattr(os, "open", fail_to_create)
        elif failing == "write":
            patched.setattr(os, "write", fail)
        else:
            patched.setattr(octo_atomic_file, "_exchange", None)
            patched.setattr(os, "replace", fail)
        with pytest.raises(ParameterFileError) as caught, file.transaction() as groups:
            groups["a"]["n"] = 1
    assert str(here / "state.json") in str(caught.value)
    assert os.strerror(code) in str(caught.value)
    assert (here / "state.json").read_bytes() == before
    with file.transaction() as groups:
        groups["a"]["n"] += 1
    assert content(here)["a"]["n"] == 1
    assert names(here) == {"state.json", "state.lock", "state.json.backup"}


@needs_posix
@only_fast
@pytest.mark.parametrize(
    ("limit", "cause"),
    [
        ("resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))", "File too large"),
        ("resource.setrlimit(resource.RLIMIT_NOFILE, (4, 4))", "Too many open files"),
    ],
)
def test_a_real_limit_of_the_system_names_path_and_cause(
    limit: str, cause: str, file: LockedJsonFile, here: Path
) -> None:
    code = f"""{OPEN}
    with file.transaction() as groups: pass
    {limit}
    try:
        with file.transaction() as groups: groups["a"]["n"] = "x" * 1000
    except octo_lock_json.ParameterFileError as error: print(error)
    """
    with Python(code, cwd=here) as other:
        said = other.output()
    assert cause in said
    assert str(here / "state.json") in said
    assert content(here)["a"] == {"n": 0}
    assert names(here) == {"state.json", "state.lock", "state.json.backup"}


@needs_posix
@only_fast
def test_a_directory_that_may_not_be_written_is_an_error(file: LockedJsonFile, here: Path) -> None:
    """As nobody where the tests run as root, for whom no directory is closed."""
    code = f"""{OPEN}
    file.read()
    if os.geteuid() == 0:
        os.setgroups([]); os.setgid(65534); os.setuid(65534)
    try:
        with file.transaction() as groups: groups["a"]["n"] = 1
    except octo_lock_json.LockFileError as error: print(error)
    """
    before = here.stat().st_mode
    here.chmod(0o555)
    (here / "state.lock").chmod(0o444)
    try:
        with Python(code, cwd=here) as other:
            said = other.output()
    finally:
        here.chmod(before)
    assert "Permission denied" in said
    assert str(here / "state.lock") in said
    assert content(here)["a"] == {"n": 0}


# --- many writers, and kill -9 ---


@only_fast
def test_processes_and_threads_lose_no_increment(file: LockedJsonFile, here: Path) -> None:
    code = f"""{OPEN}
    def work(own):
        for _ in range(25):
            with (file if own else octo_lock_json.LockedJsonFile(
                "state.json", "state.lock", counter=("main", "revision"), timeout=60
            )).transaction() as groups:
                groups["a"]["n"] += 1
    threads = [threading.Thread(target=work, args=(number % 2,)) for number in range(4)]
    for thread in threads: thread.start()
    for thread in threads: thread.join()
    """
    others = [Python(code, cwd=here) for _ in range(4)]
    revisions = []
    while any(other.process.poll() is None for other in others):
        state = file.read()
        assert state["a"]["n"] == state["main"]["revision"] - 1
        revisions.append(state["main"]["revision"])
    for other in others:
        other.output()
    assert content(here) == {"a": {"n": 400}, "main": {"revision": 401}}
    assert revisions == sorted(revisions)


@needs_posix
@pytest.mark.parametrize("durability", ["process", "power"])
def test_kill_9_at_any_instant_loses_nothing_that_was_acknowledged(
    durability: str, speed: str, file: LockedJsonFile, here: Path
) -> None:
    code = f"""{OPEN.replace("octo_lock_json.speed_up()", "") if speed == "light" else OPEN}
    file.durability = {durability!r}
    print("ready", flush=True)
    while True:
        with file.transaction() as groups:
            groups["a"]["n"] += 1
            groups["a"]["text"] = "x" * (groups["a"]["n"] % 7 * 1000)
        os.write(1, b"%d\\n" % groups["a"]["n"])
    """
    acknowledged = 0
    for round_number in range(12):
        with Python(code, cwd=here) as other:
            assert other.line() == "ready"
            for _ in range(round_number):
                acknowledged = int(other.line())
            acknowledged = max([acknowledged, *map(int, other.killed())])
        state = parse_groups((here / "state.json").read_bytes())
        assert state["a"]["n"] in (acknowledged, acknowledged + 1)
        assert state["main"]["revision"] == state["a"]["n"] + 1
    with file.transaction() as groups:
        groups["a"]["n"] = 0
    assert names(here) <= {"state.json", "state.lock", "state.json.backup"}


@needs_posix
@only_fast
def test_a_kill_in_the_middle_of_a_transaction_leaves_the_old_state_and_no_lock(
    file: LockedJsonFile, here: Path
) -> None:
    code = f"""{OPEN}
    with file.transaction() as groups:
        groups["a"]["n"] = 99
        print("inside", flush=True)
        input()
    """
    with Python(code, cwd=here) as other:
        assert other.line() == "inside"
        error = pytest.raises(LockTimeoutError, match=f"pid {other.pid}")
        with error, locked_file(here, timeout=0.0).transaction():
            pass
    with file.transaction() as groups:
        assert groups["a"]["n"] == 0
