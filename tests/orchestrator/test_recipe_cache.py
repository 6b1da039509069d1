"""The cache of recipe files: whatever happens to it, what is read is what the file says."""

from __future__ import annotations

import os
import socket
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pytest

from octo_errors import RecipeError
from orchestrator import recipe_cache, recipe_yaml
from orchestrator.recipe_cache import Source, cache_directory, read_source

TEXT = "a: [1, x]\nb:\n  c: 1.10\n"
VALUE = {"a": [1, "x"], "b": {"c": 1.1}}


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return cache_directory()


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    file = tmp_path / "r.yaml"
    file.write_text(TEXT)
    return file


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The files that were read as YAML, and not from the cache."""
    found: list[str] = []
    load = recipe_yaml.load_yaml

    def noted(text: bytes, file: str) -> Any:
        found.append(file)
        return load(text, file)

    monkeypatch.setattr(recipe_yaml, "load_yaml", noted)
    return found


def entry(cache: Path) -> Path:
    (found,) = cache.iterdir()
    return found


def assert_same(first: Source, second: Source) -> None:
    assert first.document.value == second.document.value == VALUE
    for path in ((), ("a", 1), ("b", "c"), ("b", "nothing")):
        assert first.document.place(path) == second.document.place(path)
    assert first.document.written(("b", "c")) == second.document.written(("b", "c")) == "1.10"


def test_the_same_bytes_are_read_once_and_their_places_are_kept(
    recipe: Path, reads: list[str]
) -> None:
    first = read_source(recipe)
    copy = recipe.with_name("copy.yaml")
    copy.write_text(TEXT)
    second = read_source(copy)
    assert reads == [str(recipe)]
    assert_same(first, second)
    assert second.document.file == str(copy)
    assert second.path == copy


def test_a_changed_file_is_read_anew(recipe: Path, reads: list[str]) -> None:
    before = read_source(recipe).sha256
    recipe.write_text("a: 2")
    after = read_source(recipe)
    assert after.document.value == {"a": 2}
    assert after.sha256 != before
    assert len(reads) == 2


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(path.read_bytes()[:-3]),
        lambda path: path.write_bytes(path.read_bytes().replace(b'"x"', b'"y"')),
        lambda path: path.write_bytes(b"\xff" * 100),
        lambda path: path.write_bytes(b"[" * 100_000),
        lambda path: (path.unlink(), path.mkdir()),
        lambda path: (path.unlink(), path.symlink_to(path)),
        lambda path: path.chmod(0),
    ],
)
def test_a_damaged_entry_is_as_good_as_none(
    recipe: Path, cache: Path, reads: list[str], damage: Any
) -> None:
    first = read_source(recipe)
    damage(entry(cache))
    assert_same(first, read_source(recipe))


def test_a_damaged_entry_is_mended(recipe: Path, cache: Path, reads: list[str]) -> None:
    read_source(recipe)
    entry(cache).write_bytes(b"{}")
    read_source(recipe)
    read_source(recipe)
    assert len(reads) == 2


def test_nothing_is_taken_from_another_user(
    recipe: Path, reads: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    read_source(recipe)
    monkeypatch.setattr(os, "getuid", lambda: os.geteuid() + 1)
    read_source(recipe)
    assert len(reads) == 2


def test_entries_are_for_their_owner_alone(recipe: Path, cache: Path) -> None:
    read_source(recipe)
    assert cache.stat().st_mode & 0o077 == 0
    assert entry(cache).stat().st_mode & 0o077 == 0


def test_a_cache_that_cant_be_written_is_done_without(
    recipe: Path, cache: Path, reads: list[str]
) -> None:
    cache.parent.mkdir(parents=True)
    cache.write_text("a file is in the way")
    for _ in range(2):
        assert read_source(recipe).document.value == VALUE
    assert len(reads) == 2


def test_a_file_with_problems_is_not_kept(recipe: Path, cache: Path) -> None:
    recipe.write_text("a: 1\na: 2")
    for _ in range(2):
        assert len(read_source(recipe).document.problems) == 1
    assert not cache.exists()


def test_the_entries_that_were_not_used_for_longest_go(
    recipe: Path, cache: Path, monkeypatch: pytest.MonkeyPatch, reads: list[str]
) -> None:
    monkeypatch.setattr(recipe_cache, "MOST_ENTRIES", 3)
    for number in range(3):
        recipe.write_text(f"a: {number}")
        read_source(recipe)
    for age, path in enumerate(sorted(cache.iterdir(), key=lambda each: each.stat().st_mtime_ns)):
        os.utime(path, (age, age))
    recipe.write_text("a: 0")
    read_source(recipe)  # used: now it is the newest
    recipe.write_text("a: 3")
    read_source(recipe)
    del reads[:]
    for number, was_kept in ((0, True), (2, True), (3, True), (1, False)):
        recipe.write_text(f"a: {number}")
        read_source(recipe)
        assert (reads == []) is was_kept, number
    assert len(list(cache.iterdir())) == 3


def _read_often(file: str) -> bool:
    return all(read_source(file).document.value == VALUE for _ in range(30))


def test_processes_that_write_at_once_leave_one_whole_entry(recipe: Path, cache: Path) -> None:
    with ProcessPoolExecutor(4, mp_context=get_context("fork")) as pool:
        assert all(pool.map(_read_often, [str(recipe)] * 8))
    assert entry(cache).suffix == ".json"


# --- files that are none --------------------------------------------------------------------------


def test_what_cant_be_read_is_told(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to("loop")
    os.mkfifo(tmp_path / "fifo")
    listener = socket.socket(socket.AF_UNIX)
    with listener:
        listener.bind(os.path.relpath(tmp_path / "socket"))
    big = tmp_path / "big"
    with big.open("wb") as file:
        file.truncate(recipe_cache.MAX_BYTES + 1)
    for name, why in {
        "nothing": "there is no such file",
        "nothing/more": "there is no such file",
        "": "is a directory; a recipe is a YAML file",
        "loop": "its symbolic links go round in a circle",
        "fifo": "is no regular file",
        "socket": "is no regular file",
        "big": "has more than 16 MiB",
        "x" * 5000: "its name is too long",
        "nul\0": "null",
    }.items():
        with pytest.raises(RecipeError, match=why) as error:
            read_source(f"{tmp_path}/{name}", "shown.yaml")
        assert error.value.message.startswith("shown.yaml: ")
