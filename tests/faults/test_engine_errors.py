"""Each system call of an engine in turn fails, once or for good (D6, D4 of docs/guarantees.md).

The command ends well in spite of that, or with an error that names path and cause. When things work
again, the next run goes on from what is in the file, and leaves no temporary file.
"""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from octo_parameter_schema import PARAMETER_FILE_NAME
from tests.faults.bench import Bench
from tests.faults.laboratory import REFUSED, Laboratory
from tests.faults.runs import RUNS, Stand, by_node, events, ledger, write_library
from tests.faults.scenarios import INSTANCE, observe
from tests.faults.system_calls import FOR_GOOD
from tests.faults.test_errors import ERRORS, ONCE, SOME, told

LONG = [pytest.mark.exhaustive, pytest.mark.timeout(1200)]


def failures(*quick: tuple[int, int]) -> pytest.MarkDecorator:
    """Parametrizes a test with errors, and how often they come; all but the quick ones are long."""
    found = []
    for error in ERRORS:
        for times in (ONCE, SOME if error == errno.EINTR else FOR_GOOD):
            name = f"{errno.errorcode[error]} {'once' if times == ONCE else 'on'}"
            marks = () if (error, times) in quick else LONG
            found.append(pytest.param(error, times, id=name, marks=marks))
    return pytest.mark.parametrize(("error", "times"), found)


@failures()
def test_a_run_that_meets_an_error_says_so_and_can_be_taken_up_again(
    tracer: Laboratory, work: Path, error: int, times: int
) -> None:
    write_library(work, RUNS["quiet"].library)
    bench = Bench(tracer, work, "instance")
    bench.begin()
    bench.must("command_run")
    clean = ledger(work)
    refused = 0
    for _, outcome in bench.errors("command_run", error, times):
        stand = Stand.of(work)
        if outcome.code == REFUSED:
            refused += 1
            assert told(outcome, work, error), outcome
        else:
            assert outcome.code == 0 and stand.ended(), outcome
        check_next_run(bench, stand, clean)
        assert not bench.strays(), outcome
    assert refused or error == errno.EINTR


def check_next_run(bench: Bench, stand: Stand, clean: list[str]) -> None:
    """After an error: what is owed is done; a run that has ended with it begins anew."""
    if stand.ended():
        assert bench.must("run_fresh").acknowledged == ["COMPLETE_SUCCESS"]
        assert ledger(bench.work) == clean
        return
    owed = stand.owed(clean)
    assert bench.must("run").acknowledged == ["COMPLETE_SUCCESS"]
    assert by_node(ledger(bench.work)) == owed, stand
    assert events(bench.work, "interrupted") == stand.interrupted(), stand


@failures((errno.ENOSPC, FOR_GOOD))
@pytest.mark.parametrize("before", ["nothing", "empty"])
def test_an_error_while_an_instance_is_made_leaves_none_or_a_whole_one(
    tracer: Laboratory, work: Path, before: str, error: int, times: int
) -> None:
    write_library(work, RUNS["quiet"].library)
    bench = Bench(tracer, work, before)
    refused = 0
    for _, outcome in bench.errors("created", error, times):
        if outcome.code == REFUSED:
            refused += 1
            assert told(outcome, work, error), outcome
        if not (work / INSTANCE / PARAMETER_FILE_NAME).exists():
            assert outcome.code == REFUSED, outcome
            bench.must("created")
        assert bench.must("run").acknowledged == ["COMPLETE_SUCCESS"], outcome
        assert not bench.strays(), outcome
    assert refused or error == errno.EINTR


@failures((errno.ENOSPC, FOR_GOOD))
def test_an_error_while_an_instance_is_reset_leaves_the_old_state_or_the_new(
    tracer: Laboratory, work: Path, error: int, times: int
) -> None:
    write_library(work, RUNS["quiet"].library)
    bench = Bench(tracer, work, "ended_instance")
    old, new = bench.versions("reset")
    refused = 0
    for _, outcome in bench.errors("reset", error, times):
        refused += outcome.code == REFUSED
        assert outcome.code == 0 or told(outcome, work, error), outcome
        states = (new,) if outcome.code == 0 else (old, new)
        assert observe(work)["parameters"] in [each["parameters"] for each in states], outcome
        lines = sum(file.read_text().count("\n") for file in work.rglob("*events*.jsonl"))
        assert lines == len(old["events"]), outcome
        bench.must("run_fresh")
        assert not bench.strays(), outcome
    assert refused or error == errno.EINTR
