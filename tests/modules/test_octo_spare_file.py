"""Spares: written again while nobody can see it, never followed elsewhere, gone in the end."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

import octo_atomic_file
import octo_spare_file
from octo_atomic_file import prepare_exchange, read_file, replace_file
from octo_spare_file import SPARE_SUFFIX, WORTHWHILE, Spare
from tests.modules.parameter_support import Python

pytestmark = pytest.mark.skipif(
    not octo_spare_file._HAS_LEASES, reason="needs leases, as Linux has"
)

WRITER = f"""
import os
from octo_atomic_file import prepare_exchange, read_file, replace_file
from octo_spare_file import Spare
prepare_exchange()
kept = Spare(os.path.abspath("state.json"))
for number in range({WORTHWHILE + 3}):
    replace_file(kept.path, b"new", read_file(kept.path)[1], sync=False, spare=kept)
"""


spares: dict[Path, Spare] = {}


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A file that this process has replaced often enough to keep a spare, and it open."""
    monkeypatch.setattr(octo_spare_file, "ALONE", 0)
    prepare_exchange()
    path = tmp_path / "state.json"
    path.write_text("made by hand")
    for number in range(WORTHWHILE + 1):
        assert not spare(path).exists()
        put(path, f"version {number}")
    yield path
    spares.clear()


def put(path: Path, text: str, *, sync: bool = False) -> None:
    """Replace as the store does."""
    kept = spares.setdefault(path, Spare(str(path)))
    status = (kept.read_file() or read_file(str(path)))[1]
    replace_file(str(path), text.encode(), status, sync=sync, spare=kept)


def spare(path: Path) -> Path:
    return path.with_name(path.name + SPARE_SUFFIX)


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def names(path: Path) -> set[str]:
    return {each.name for each in path.parent.iterdir()}


@pytest.mark.parametrize("sync", [False, True])
def test_two_files_take_turns(path: Path, sync: bool) -> None:
    files = {path.stat().st_ino, spare(path).stat().st_ino}
    for text in ("short", "longer than before", "s", "x" * 1_000_000, "short again"):
        put(path, text, sync=sync)
        assert path.read_text() == text
        assert {path.stat().st_ino, spare(path).stat().st_ino} == files


def test_who_is_alone_with_a_file_opens_neither_again(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> int:
        raise OSError

    put(path, "one")
    put(path, "the other")
    with monkeypatch.context() as patched:
        patched.setattr(os, "open", fail)
        for text in ("new", "", "longer"):
            put(path, text)
            assert spares[path].read_file() == (text.encode(), path.stat())
    assert path.read_text() == "longer"


def test_when_another_replaces_the_file_it_is_seen_and_nothing_is_left_open(path: Path) -> None:
    put(path, "one")
    put(path, "the other")
    own, other = spares[path], Spare(str(path))
    for number in range(WORTHWHILE + 2):
        text = f"another {number}"  # as long as the own one
        replace_file(str(path), text.encode(), path.stat(), sync=False, spare=other)
        assert path.read_text() == text
    before = open_files()
    assert own.read_file() is None
    assert open_files() == before - 2
    files = {path.stat().st_ino, spare(path).stat().st_ino}
    for number in range(3):
        put(path, f"own {number}")
        text = f"by another {number}"
        replace_file(str(path), text.encode(), path.stat(), sync=False, spare=other)
        assert own.read_file() is None
        assert path.read_text() == text
    assert files == {path.stat().st_ino, spare(path).stat().st_ino}  # both get leases


def test_those_who_replace_it_by_turns_leave_nothing_open_and_get_all_leases(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(octo_spare_file, "ALONE", 5)
    both = [Spare(str(path)) for _ in range(2)]
    for each in both * (WORTHWHILE + 1):
        replace_file(str(path), b"first", path.stat(), sync=False, spare=each)
    before = open_files()
    files = {path.stat().st_ino, spare(path).stat().st_ino}
    for each in both * 5:
        for number in range(5):
            text = f"{number}"
            replace_file(str(path), text.encode(), path.stat(), sync=False, spare=each)
            assert path.read_text() == text
            assert open_files() == before
    assert files == {path.stat().st_ino, spare(path).stat().st_ino}


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
def test_a_forked_child_has_neither_open_and_removes_nothing(path: Path) -> None:
    put(path, "one")
    put(path, "the other")
    ends = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(ends[1])
        os.read(ends[0], 1)
        octo_spare_file.remove_all()
        os._exit(0)
    os.close(ends[0])
    files = {path.stat().st_ino, spare(path).stat().st_ino}
    for text in ("while", "it", "lives"):
        put(path, text)
    os.close(ends[1])
    assert os.waitpid(child, 0)[1] == 0
    assert files == {path.stat().st_ino, spare(path).stat().st_ino}


def test_a_spare_that_is_forgotten_is_removed_and_closed(path: Path) -> None:
    gc.collect()  # what earlier tests left open
    before = open_files()
    put(path, "one")
    put(path, "the other")
    assert open_files() == before + 2
    spares.clear()
    gc.collect()
    assert open_files() == before
    assert names(path) == {path.name}


def test_with_sync_the_spare_is_on_disk_before_it_gets_the_name_and_the_name_before_the_end(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []
    exchange = octo_atomic_file._exchange
    assert exchange is not None

    def exchanged(one: str, other: str) -> bool:
        done.append("exchange")
        return exchange(one, other)

    monkeypatch.setattr(os, "fdatasync", lambda _: done.append("file"))
    monkeypatch.setattr(os, "fsync", lambda _: done.append("directory"))
    monkeypatch.setattr(octo_atomic_file, "_exchange", exchanged)
    put(path, "the first that is kept as a spare", sync=True)
    done.clear()
    put(path, "new", sync=True)
    assert path.read_text() == "new"
    assert done == ["file", "exchange", "directory"]


def test_who_has_an_old_version_open_reads_it_whole(path: Path) -> None:
    with path.open() as reader:
        whole = path.read_text()
        for number in range(5):
            put(path, f"newer {number}")
        assert reader.read() == whole
    assert path.read_text() == "newer 4"


def test_the_spare_is_not_written_while_anybody_has_it_open(path: Path) -> None:
    old = spare(path).read_text()
    with spare(path).open() as reader:
        put(path, "new")
        assert reader.read() == old


def test_who_opens_the_file_when_it_becomes_the_spare_waits_until_it_is_written(
    tmp_path: Path,
) -> None:
    code = """
    import fcntl, os, signal
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGIO])
    file = os.open("file", os.O_RDWR)
    fcntl.fcntl(file, fcntl.F_SETLEASE, fcntl.F_WRLCK)
    print("ready", flush=True)
    signal.sigwait([signal.SIGIO])
    os.pwrite(file, b"whole", 0)
    fcntl.fcntl(file, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    """
    (tmp_path / "file").write_text("torn")
    with Python(code, cwd=tmp_path) as writer:
        assert writer.line() == "ready"
        assert read_file(str(tmp_path / "file"))[0] == b"whole"
        writer.output()


def test_readers_by_either_name_see_whole_versions(path: Path) -> None:
    code = f"""
    print("ready", flush=True)
    seen = 0
    while True:
        for name in ({str(path)!r}, {str(spare(path))!r}):
            try:
                with open(name) as file:
                    text = file.read()
            except FileNotFoundError:
                continue
            assert text == text[0] * len(text), (len(text), set(text))
            if text[0] == "z":
                raise SystemExit
    """
    put(path, "a" * 300_000)
    put(path, "a" * 300_000)
    with Python(code, cwd=path.parent) as reader:
        assert reader.line() == "ready"
        for number in range(1500):
            put(path, "abcdef"[number % 6] * (300_000 - number % 7 * 40_000))
        put(path, "z" * 300_000)
        assert reader.output() == ""
    assert names(path) == {path.name, spare(path).name}


def test_what_was_planted_as_a_spare_is_not_written_to(path: Path, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    for plant in (
        lambda name: name.symlink_to(victim),
        lambda name: name.hardlink_to(victim),
        os.mkfifo,
        os.mkdir,
    ):
        spare(path).unlink()
        plant(spare(path))
        for number in range(3):
            put(path, f"new {number}")
            assert victim.read_text() == "precious"
            assert path.read_text() == f"new {number}"
        if spare(path).is_dir():
            spare(path).rmdir()
            put(path, "makes a spare again")


def test_a_spare_with_another_mode_will_not_do(path: Path) -> None:
    path.chmod(0o600)
    for number in range(4):
        put(path, f"private {number}")
        assert path.stat().st_mode & 0o777 == 0o600


def test_without_leases_files_are_made_anew(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(octo_spare_file, "_HAS_LEASES", False)
    for number in range(3):
        put(path, f"new {number}")
        assert path.read_text() == f"new {number}"


def test_where_names_cannot_be_exchanged_the_file_is_renamed(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(octo_atomic_file, "_exchange", lambda one, other: False)
    for number in range(3):
        put(path, f"new {number}")
        assert path.read_text() == f"new {number}"


def test_a_spare_goes_with_the_process_that_kept_it(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    path.write_text("made by hand")
    with Python(f"{WRITER}\nprint('done', flush=True)\ninput()", cwd=tmp_path) as other:
        assert other.line() == "done"
        assert names(path) == {path.name, spare(path).name}
        other.go_on()
        other.output()
    assert names(path) == {path.name}


def test_what_a_killed_process_left_goes_with_the_next_replacement(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    path.write_text("made by hand")
    with Python(f"{WRITER}\nprint('done', flush=True)\ninput()", cwd=tmp_path) as other:
        assert other.line() == "done"
        other.killed()
    assert names(path) == {path.name, spare(path).name}
    put(path, "new")
    assert names(path) == {path.name}
