from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from octo_errors import ParameterFileError
from octo_step_engine_parameters import open_parameters
from orchestrator import context_history
from orchestrator.context import COUNT_KEY, Context
from orchestrator.context_history import HISTORY_FILE_NAME, OLDER_FILE_NAME


@pytest.fixture
def instance(tmp_path: Path) -> Path:
    open_parameters(tmp_path).read()
    return tmp_path


def keys_of(instance: Path) -> list[str]:
    return [change["key"] for change in Context(instance).history()]


def line(seq: int, key: str, ts: str = "now") -> str:
    change = {"ts": ts, "seq": seq, "key": key, "who": "", "before": None, "after": 1}
    return json.dumps(change) + "\n"


def test_a_line_whose_change_never_came_to_be_is_left_out_and_cut_off(instance: Path) -> None:
    Context(instance).set("a", 1)
    with (instance / HISTORY_FILE_NAME).open("a") as file:
        file.write(line(2, "ghost") + line(3, "ghost"))
    assert keys_of(instance) == ["a"]
    Context(instance).set("b", 1)
    assert keys_of(instance) == ["a", "b"]
    assert "ghost" not in (instance / HISTORY_FILE_NAME).read_text()


@pytest.mark.parametrize("torn", ['{"ts":', line(2, "x")[:-1], "\0\0\0", "\n", line(2, "x") + "{"])
def test_a_torn_last_line_is_left_out_and_cut_off(instance: Path, torn: str) -> None:
    Context(instance).set("a", 1)
    with (instance / HISTORY_FILE_NAME).open("a") as file:
        file.write(torn)
    if not torn.endswith("\n"):
        assert keys_of(instance) == ["a"]
    Context(instance).set("b", 1)
    assert keys_of(instance) == ["a", "b"]


def test_a_long_ghost_is_cut_off_whole(instance: Path) -> None:
    Context(instance).from_dict({f"k{n}": n for n in range(5)})
    with (instance / HISTORY_FILE_NAME).open("a") as file:
        for seq in range(6, 2000):
            file.write(line(seq, "ghost" * 10))
    Context(instance).set("b", 1)
    assert keys_of(instance) == [f"k{n}" for n in range(5)] + ["b"]


def test_the_history_of_an_instance_that_began_anew_is_kept_aside(instance: Path) -> None:
    context = Context(instance)
    for number in range(5):
        context.set("a", number)
    with open_parameters(instance).transaction() as groups:
        del groups["global_parameters"][COUNT_KEY]
    Context(instance).set("b", 1)
    assert keys_of(instance) == ["b"]
    assert (instance / OLDER_FILE_NAME).read_text().count("\n") == 5


def test_it_is_bounded(instance: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(context_history, "ROTATE_AT", 2000)
    context = Context(instance)
    for number in range(100):
        context.set("a", number)
    for name in (HISTORY_FILE_NAME, OLDER_FILE_NAME):
        assert (instance / name).stat().st_size <= 2000
    kept = [change["after"] for change in context.history()]
    assert kept == list(range(100 - len(kept), 100))
    assert len(kept) > 10


def test_a_line_that_is_no_change_is_reported_with_its_place(instance: Path) -> None:
    (instance / HISTORY_FILE_NAME).write_text("nonsense\n" + line(1, "a"))
    with open_parameters(instance).transaction() as groups:
        groups["global_parameters"][COUNT_KEY] = 1
    with pytest.raises(ParameterFileError, match=r"context.jsonl:1: this line is no change"):
        Context(instance).history()


def test_where_the_history_cannot_be_written_nothing_is_changed(instance: Path) -> None:
    (instance / HISTORY_FILE_NAME).mkdir()
    with pytest.raises(ParameterFileError, match="history of the context can't be written"):
        Context(instance).set("a", 1)
    assert Context(instance).to_dict() == {}


def test_a_disk_that_gets_full_leaves_no_part_of_a_line(
    instance: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = Context(instance)
    context.set("a", 1)
    before = (instance / HISTORY_FILE_NAME).read_bytes()
    real = os.write

    def half(descriptor: int, data: bytes) -> int:
        if len(data) < 30:
            raise OSError(28, "No space left on device")
        return real(descriptor, data[:-20])

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", half)
        with pytest.raises(ParameterFileError, match="No space left"):
            context.set("a", 2)
    assert (instance / HISTORY_FILE_NAME).read_bytes() == before
    assert context.get("a") == 1
    context.set("a", 3)
    assert [change["after"] for change in context.history()] == [1, 3]
