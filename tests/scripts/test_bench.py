"""The benchmark: its arithmetic, its table of subjects, and one real measurement of small size."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

from bench.benchmarks import BENCHMARKS
from bench.harness import Benchmark, Peer, Series, Subject, WorkNotDone, compare, run_once
from bench.report import amount, lines
from bench.task_graphs import (
    WORKFLOW_S,
    WORKFLOW_VARIABLE,
    generated_workflow,
    list_schedule,
    work_of_workflow,
)
from tests.support import PROJECT

OURS = Subject("ours", "stores:increment_ours", 3)
THEIRS = Subject("theirs", "stores:increment_spec", 3)


def test_the_ratio_is_the_median_of_the_ratios_of_each_round() -> None:
    benchmark = Benchmark("work", OURS, (Peer(THEIRS, at_most=0.5),))
    series = [Series(OURS, [1.0, 2.0, 9.0]), Series(THEIRS, [2.0, 20.0, 10.0])]
    (row,) = compare(benchmark, series, "ext4")
    assert (row.ours, row.theirs, row.ratio) == (2.0, 10.0, 0.5)
    assert row.reached is True


def test_a_target_may_be_another_on_tmpfs() -> None:
    peer = Peer(THEIRS, at_most=0.2, at_most_tmpfs=1.0)
    series = [Series(OURS, [1.0]), Series(THEIRS, [2.0])]
    reached = {
        kind: compare(Benchmark("work", OURS, (peer,)), series, kind)[0].reached
        for kind in ("ext4", "tmpfs")
    }
    assert reached == {"ext4": False, "tmpfs": True}


def test_a_limit_of_our_own_has_a_row_of_its_own() -> None:
    benchmark = Benchmark("work", OURS, (Peer(THEIRS),), at_most=0.1)
    series = [Series(OURS, [0.2]), Series(THEIRS, [4.0])]
    compared, limited = compare(benchmark, series, "ext4")
    assert (compared.reached, limited.reached) == (None, False)
    assert "MISSED" in "\n".join(lines([limited]))


def test_a_peer_that_failed_is_said_to_have_failed() -> None:
    benchmark = Benchmark("work", OURS, (Peer(THEIRS, at_most=1.0),))
    series = [Series(OURS, [0.2]), Series(THEIRS, [], "skipped: it is not installed")]
    (row,) = compare(benchmark, series, "ext4")
    assert (row.ratio, row.reached) == (None, None)
    assert "not installed" in "\n".join(lines([row]))


def test_what_a_subject_needs_is_looked_for_among_modules_and_programs() -> None:
    subject = Subject("x", "stores:x", 1, ("json", Path(sys.executable).name, "no_such_peer"))
    assert subject.missing() == ["no_such_peer"]


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (2.5, "s", "2.5 s"),
        (0.0123, "s", "12.3 ms"),
        (4.2e-5, "s", "42 us"),
        (3 * 2**20, "bytes", "3 MiB"),
    ],
)
def test_amounts_have_three_digits_and_a_unit(value: float, unit: str, text: str) -> None:
    assert amount(value, unit) == text


@pytest.mark.parametrize("benchmark", BENCHMARKS, ids=lambda one: one.name)
def test_each_benchmark_names_functions_that_exist(benchmark: Benchmark) -> None:
    for subject in (benchmark.ours, *(peer.subject for peer in benchmark.peers)):
        module, name = subject.function.split(":")
        assert callable(getattr(importlib.import_module(f"bench.{module}"), name))


def test_a_round_runs_in_a_directory_of_its_own_and_leaves_nothing(tmp_path: Path) -> None:
    assert run_once(OURS, tmp_path) > 0
    assert list(tmp_path.iterdir()) == []


def test_a_subject_that_fails_is_no_figure(tmp_path: Path) -> None:
    with pytest.raises(WorkNotDone, match="no_such_function"):
        run_once(Subject("x", "stores:no_such_function", 1), tmp_path)


def test_the_command_writes_a_table_and_json_lines(tmp_path: Path) -> None:
    command = [sys.executable, str(PROJECT / "scripts" / "bench"), "--only", "command-help"]
    options = ["--rounds", "1", "--directory", str(tmp_path), "--json", str(tmp_path / "out.jsonl")]
    done = subprocess.run([*command, *options], capture_output=True, text=True, check=False)
    assert done.returncode in (0, 1), done.stderr  # whether the target is met is not tested here
    facts, row = map(json.loads, (tmp_path / "out.jsonl").read_text().splitlines())
    assert facts["command"].startswith("python ")
    assert row["benchmark"] == "command-help"
    assert row["ratio"] > 0
    assert "command-help" in done.stdout


# --- recipes --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("workers", "seconds"),
    [
        (1, 10.0),
        (2, 7.0),  # a and b; c from 2 to 5; then d
        (3, 5.0),
    ],
)
def test_list_scheduling_takes_the_first_that_is_ready(workers: int, seconds: float) -> None:
    tasks = {"a": (3.0, ()), "b": (2.0, ()), "c": (3.0, ()), "d": (2.0, ("a", "c"))}
    assert list_schedule(tasks, workers) == seconds


def test_a_generated_workflow_is_the_same_each_time_and_no_chain() -> None:
    tasks = generated_workflow(1)
    assert tasks == generated_workflow(1) != generated_workflow(2)
    assert all(parent in tasks for _, parents in tasks.values() for parent in parents)
    alone, ideal = list_schedule(tasks, 1), list_schedule(tasks, 8)
    assert alone == pytest.approx(sum(seconds for seconds, _ in tasks.values()))
    assert alone / 8 <= ideal < alone / 4


def test_a_workflow_may_come_from_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    specified = [{"id": "a", "parents": []}, {"id": "b [1]", "parents": ["a"]}]
    executed = [{"id": "a", "runtimeInSeconds": 1}, {"id": "b [1]", "runtimeInSeconds": 3}]
    workflow = {"specification": {"tasks": specified}, "execution": {"tasks": executed}}
    (tmp_path / "workflow.json").write_text(json.dumps({"workflow": workflow}))
    monkeypatch.setenv(WORKFLOW_VARIABLE, str(tmp_path / "workflow.json"))
    assert work_of_workflow() == {
        "a": (WORKFLOW_S / 4, ()),
        "b__1_": (WORKFLOW_S * 3 / 4, ("a",)),
    }


@pytest.mark.parametrize(
    "function", ["recipes:nothings", "recipes:naps", "task_graphs:nothings_by_hand"]
)
def test_small_recipes_are_performed(tmp_path: Path, function: str) -> None:
    assert run_once(Subject("x", function, 3), tmp_path) > 0
