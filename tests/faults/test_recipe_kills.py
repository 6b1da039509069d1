"""A run of a recipe is killed at every moment, and gone on with (D1, D4, D5 of guarantees.md).

A step that is done is not done again, none is left out, and one that was interrupted is told once.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import pytest

from octo_parameter_schema import PARAMETER_FILE_NAME
from tests.faults.bench import Bench
from tests.faults.laboratory import Laboratory, Outcome
from tests.faults.runs import events, ledger
from tests.faults.scenarios import EXECUTOR, INSTANCE, RECIPE
from tests.modules.engine_support import stored

TASKS = """
import os

def note(ledger, word):
    file = os.open(ledger, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(file, f"{word}\\n".encode())
    os.close(file)
"""
NOTE = 'module: tasks, function: note, args: ["{{ inputs.ledger }}", '
TEXT = f"""
inputs: {{ledger: ""}}
steps:
  - {{name: first, {NOTE} first]}}
  - {{name: left, depends_on: [first], {NOTE} left]}}
  - {{name: each, depends_on: [first], foreach: [0, 1], {NOTE} "each[{{{{ item }}}}]"]}}
  - {{name: last, depends_on: [left, each], {NOTE} last]}}
  - {{name: tidy, finally: true, {NOTE} tidy]}}
"""
ALL = Counter(["first", "left", "each[0]", "each[1]", "last", "tidy"])


@pytest.fixture
def place(work: Path) -> Path:
    """The directory to work in, with a recipe beside it."""
    (work.parent / RECIPE).write_text(TEXT)
    (work.parent / "tasks.py").write_text(TASKS)
    return work


@pytest.mark.slow
@pytest.mark.parametrize(
    "executor", ["threads", pytest.param("serial", marks=pytest.mark.exhaustive)]
)
def test_a_kill_between_two_acts_repeats_what_was_interrupted_and_nothing_else(
    laboratory: Laboratory, place: Path, executor: str
) -> None:
    bench = Bench(laboratory, place, "nothing", {EXECUTOR: executor})
    assert check_all(bench, bench.crashes("recipe")) == {False, True}


@pytest.mark.exhaustive
@pytest.mark.timeout(1200)
def test_a_kill_before_a_system_call_repeats_what_was_interrupted_and_nothing_else(
    tracer: Laboratory, place: Path
) -> None:
    bench = Bench(tracer, place, "nothing")
    assert check_all(bench, bench.kills("recipe")) == {False, True}


def check_all(bench: Bench, outcomes: Iterable[Outcome]) -> set[bool]:
    """After each kill: go on, and see that all is done; whether a run had begun each time."""
    begun = set()
    for outcome in outcomes:
        has_begun = (bench.work / INSTANCE / PARAMETER_FILE_NAME).exists()
        begun.add(has_begun)
        before = Counter(ledger(bench.work))
        assert before <= ALL, outcome
        has_ended = has_begun and state_of(bench.work) == "COMPLETE_SUCCESS"
        bench.must("recipe")
        interrupted = Counter(node for node, _ in events(bench.work, "interrupted"))
        assert all(count == 1 for count in interrupted.values()), outcome
        assert Counter(ledger(bench.work)) == ALL - before + (before & interrupted), outcome
        assert state_of(bench.work) == "COMPLETE_SUCCESS"
        left = [file.name for file in (bench.work / INSTANCE).glob(".*.tmp")]
        assert not left or has_ended, (left, outcome)  # where nothing is left to do, they stay
    return begun


def state_of(work: Path) -> str:
    return str(stored(work / INSTANCE)["global_parameters"]["step_engine_state"])
