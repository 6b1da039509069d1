"""Whole files, old or new: replaced with mode kept, nothing planted followed, nothing left over."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import octo_atomic_file
from octo_atomic_file import (
    TEMPORARY_SUFFIX,
    create_file,
    prepare_exchange,
    read_file,
    replace_file,
    write_whole,
)
from tests.modules.parameter_support import Python, needs_posix


@pytest.fixture(params=["rename", "exchange"])
def path(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Where a file is to be, for both ways to put it there."""
    monkeypatch.setattr(octo_atomic_file, "_exchange", None)
    if request.param == "exchange":
        prepare_exchange()
        if octo_atomic_file._exchange is None:
            pytest.skip("Linux only")
    return tmp_path / "state.json"


def put(path: Path, text: str, *, sync: bool = False) -> None:
    """Replace as the store does: like the file that is there."""
    like = read_file(str(path))[1] if path.exists() else None
    replace_file(str(path), text.encode(), like, sync=sync)


def temporary(path: Path) -> Path:
    return path.with_name(path.name + TEMPORARY_SUFFIX)


def files(path: Path) -> list[str]:
    return sorted(each.name for each in path.parent.iterdir())


@pytest.mark.parametrize("sync", [False, True])
def test_the_new_content_takes_the_place_of_the_old(path: Path, sync: bool) -> None:
    for text in ("first", "second, longer", "third", "x" * 3_000_000):
        put(path, text, sync=sync)
        assert path.read_text() == text
        assert files(path) == ["state.json"]


def test_whoever_has_the_old_file_open_reads_it_whole(path: Path) -> None:
    put(path, "old" * 1000)
    with path.open() as reader:
        start = reader.read(1)
        for _ in range(5):
            put(path, "new" * 1000)
        assert start + reader.read() == "old" * 1000


@needs_posix
def test_the_mode_is_kept_and_a_new_file_follows_the_umask(path: Path) -> None:
    before = os.umask(0o027)
    try:
        put(path, "new")
        assert stat.S_IMODE(path.stat().st_mode) == 0o640
        for mode in (0o600, 0o666, 0o444, 0o755):
            path.chmod(mode)
            put(path, "changed")
            assert stat.S_IMODE(path.stat().st_mode) == mode
    finally:
        os.umask(before)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="needs root")
def test_the_owner_is_kept(path: Path) -> None:
    put(path, "root's")
    os.chown(path, 12345, 54321)
    path.chmod(0o2664)
    put(path, "changed by root")
    status = path.stat()
    assert (status.st_uid, status.st_gid, stat.S_IMODE(status.st_mode)) == (12345, 54321, 0o2664)


def test_what_a_killed_writer_left_is_replaced(path: Path) -> None:
    temporary(path).write_text("half of the ol")
    put(path, "new")
    assert path.read_bytes() == b"new"
    assert files(path) == ["state.json"]


@needs_posix
def test_what_was_planted_at_the_temporary_name_is_not_followed(path: Path, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    for plant in (
        lambda name: name.symlink_to(victim),
        lambda name: name.symlink_to(tmp_path / "nowhere"),
        lambda name: name.hardlink_to(victim),
        os.mkfifo,
    ):
        plant(temporary(path))
        put(path, "new")
        assert victim.read_text() == "precious"
        assert not path.is_symlink()
        assert files(path) == ["state.json", "victim"]


def test_a_directory_at_the_temporary_name_is_an_error_that_names_it(path: Path) -> None:
    put(path, "old")
    temporary(path).mkdir()
    with pytest.raises(OSError) as caught:
        put(path, "new")
    assert caught.value.filename == str(temporary(path))
    assert path.read_bytes() == b"old"


@needs_posix
@pytest.mark.parametrize(
    ("plant", "kind"),
    [
        (lambda path: os.mkfifo(path), "FIFO"),
        (lambda path: path.mkdir(), "directory"),
        (lambda path: path.symlink_to("/etc/passwd"), "symbolic link"),
    ],
)
def test_what_is_no_regular_file_is_not_read(
    plant: Callable[[Path], None], kind: str, tmp_path: Path
) -> None:
    path = tmp_path / "state.json"
    plant(path)
    with pytest.raises(OSError, match=kind) as caught:
        read_file(str(path))
    assert caught.value.filename == str(path)


@pytest.mark.parametrize("failing", ["write", "fsync", "replace"])
def test_an_error_keeps_the_old_file_and_leaves_no_other(
    failing: str, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(path, "old")

    def fail(*_: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patched:
        patched.setattr(os, failing, fail)
        with pytest.raises(OSError, match="No space left"):
            put(path, "new", sync=True)
    assert path.read_bytes() == b"old"
    assert files(path) == ["state.json"]


def test_short_writes_are_completed(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write = os.write
    with monkeypatch.context() as patched:
        patched.setattr(os, "write", lambda descriptor, data: write(descriptor, data[:7]))
        put(path, "a text longer than seven bytes")
    assert path.read_bytes() == b"a text longer than seven bytes"


def test_with_sync_the_file_is_on_disk_before_its_name_and_its_name_before_the_end(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []
    fsync, replace = os.fsync, os.replace

    def synced(descriptor: int) -> None:
        is_directory = stat.S_ISDIR(os.fstat(descriptor).st_mode)
        done.append("directory" if is_directory else "file")
        fsync(descriptor)

    def replaced(source: str, target: str) -> None:
        done.append("rename")
        replace(source, target)

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", synced)
        patched.setattr(os, "replace", replaced)
        put(path, "new", sync=True)
    assert done == ["file", "rename", "directory"]


def test_where_names_cannot_be_exchanged_the_file_is_renamed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(octo_atomic_file, "_exchange", lambda one, other: False)
    path = tmp_path / "state.json"
    put(path, "old")
    put(path, "new")
    assert path.read_bytes() == b"new"
    assert files(path) == ["state.json"]


@pytest.mark.skipif(not hasattr(os, "O_TMPFILE"), reason="Linux only")
def test_a_file_is_created_whole_or_another_stays(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    assert create_file(str(path), b"first")
    assert create_file(str(path), b"second")
    assert path.read_bytes() == b"first"
    assert files(path) == ["state.json"]
    assert not create_file(str(tmp_path / "nowhere" / "state.json"), b"")


@needs_posix
def test_killed_while_it_replaces_it_leaves_one_whole_version(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    writer = """
        import octo_atomic_file
        octo_atomic_file.prepare_exchange()
        like, number = None, 0
        while True:
            number += 1
            octo_atomic_file.replace_file(sys.argv[1], b"%d\\n" % number * 2000, like, sync=False)
            like = octo_atomic_file.read_file(sys.argv[1])[1]
    """
    for goal in range(1, 30, 3):
        with Python(writer, path) as other:
            while not path.exists() or int(path.read_bytes().split()[0]) < goal:
                assert other.process.poll() is None
        lines = path.read_bytes().split()
        assert len(lines) == 2000
        assert len(set(lines)) == 1


# --- files of the user's --------------------------------------------------------------------------


def test_a_file_of_the_users_is_written_whole_with_its_mode_and_through_links(
    tmp_path: Path,
) -> None:
    file = tmp_path / "picture.svg"
    write_whole(str(file), b"first")
    file.chmod(0o600)
    link = tmp_path / "link.svg"
    link.symlink_to(file)
    with file.open("rb") as reader:
        write_whole(str(link), b"second")
        assert reader.read() == b"first"
    assert link.is_symlink()
    assert (file.read_bytes(), stat.S_IMODE(file.stat().st_mode)) == (b"second", 0o600)
    assert files(file) == ["link.svg", "picture.svg"]


@needs_posix
def test_what_is_no_regular_file_is_written_in_place(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    write_whole(str(pipe), b"through the pipe")
    assert os.read(reader, 100) == b"through the pipe"
    os.close(reader)
    assert stat.S_ISFIFO(pipe.stat().st_mode)


def test_an_error_leaves_the_users_file_and_names_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "picture.svg"
    file.write_bytes(b"old")

    def refused(*_: Any) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO), "temporary")

    monkeypatch.setattr(os, "replace", refused)
    with pytest.raises(OSError) as caught:
        write_whole(str(file), b"new")
    assert caught.value.filename == str(file)
    assert file.read_bytes() == b"old"
    assert files(file) == ["picture.svg"]
