"""The engine is killed at every moment of a run, and started again (D1, D4, D5 of guarantees.md).

Moments are the system calls on the instance, and the named crash points around what the engine does
(`crash_points`). After each kill the next run must do exactly what is owed by what is in the file.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import psutil
import pytest

from octo_parameter_schema import PARAMETER_FILE_NAME
from octo_step_processes import MARK, RUN_MARK
from tests.faults.bench import KILLED, Bench
from tests.faults.laboratory import Laboratory
from tests.faults.runs import HOOK_OF, RUNS, Stand, by_node, events, ledger, write_library
from tests.faults.scenarios import EXECUTOR, INSTANCE, observe
from tests.modules.engine_support import wait_for

AROUND = ("append", "commit", "submit", "wait")
IN_WORKERS = ("forked in processes", "timed out")  # which take their time to start
IN_ENGINE = [name for name in RUNS if name not in IN_WORKERS]


def runs(names: Iterable[str], *quick: str) -> pytest.MarkDecorator:
    """Parametrizes a test with runs; those that are not named as quick take minutes."""
    long = [pytest.mark.exhaustive, pytest.mark.timeout(1200)]
    return pytest.mark.parametrize(
        "name", [pytest.param(name, marks=() if name in quick else long) for name in names]
    )


@runs(RUNS, "forked", "retried", "failed and made safe")
def test_a_kill_between_two_acts_of_the_engine_repeats_one_hook_at_most(
    laboratory: Laboratory, work: Path, name: str
) -> None:
    bench, clean = prepared(laboratory, work, name)
    seen, states = set(), set()
    for outcome in bench.crashes("run"):
        seen.add(outcome.points[-1])
        states |= check(bench, clean, name).states()
    assert seen >= {f"{when} {act}" for when in ("before", "after") for act in AROUND}
    assert states >= {state for state, hook in HOOK_OF.items() if f" {hook} " in "\n".join(clean)}


@runs(IN_ENGINE)
def test_a_kill_before_a_system_call_repeats_one_hook_at_most(
    tracer: Laboratory, work: Path, name: str
) -> None:
    bench, clean = prepared(tracer, work, name)
    for _ in bench.kills("run"):
        check(bench, clean, name)


def test_a_kill_before_a_change_of_the_files_of_a_step_repeats_one_hook_at_most(
    tracer: Laboratory, work: Path
) -> None:
    bench, clean = prepared(tracer, work, "single")
    for _ in bench.kills("run", changes_only=True):
        check(bench, clean, "single")


@pytest.mark.parametrize("before", ["nothing", "empty"])
def test_a_kill_while_an_instance_is_made_leaves_none_or_a_whole_one(
    tracer: Laboratory, work: Path, before: str
) -> None:
    write_library(work, RUNS["quiet"].library)
    bench = Bench(tracer, work, before)
    seen = set()
    for outcome in bench.kills("created", changes_only=True):
        made = (work / INSTANCE / PARAMETER_FILE_NAME).exists()
        seen.add(made)
        if not made:
            bench.must("created")
        assert bench.must("run").acknowledged == ["COMPLETE_SUCCESS"], outcome
        assert not bench.strays(), outcome
    assert seen == {False, True}


def test_a_kill_while_an_instance_is_reset_deletes_nothing_and_leaves_the_old_state_or_the_new(
    tracer: Laboratory, work: Path
) -> None:
    write_library(work, RUNS["quiet"].library)
    bench = Bench(tracer, work, "ended_instance")
    old, new = bench.versions("reset")
    seen = []
    for outcome in bench.kills("reset", changes_only=True):
        now = observe(work)
        seen.append(now["parameters"])
        assert now["parameters"] in (old["parameters"], new["parameters"]), outcome
        lines = sum(file.read_text().count("\n") for file in work.rglob("*events*.jsonl"))
        assert lines == len(old["events"]), outcome
        bench.must("run_fresh")
        assert not bench.strays(), outcome
    assert old["parameters"] in seen and new["parameters"] in seen


def test_after_a_kill_much_state_and_a_long_history_take_less_than_a_second(
    laboratory: Laboratory, work: Path
) -> None:
    write_library(work, RUNS["quiet"].library)
    bench = Bench(laboratory, work, "laden_instance")
    bench.begin()
    assert bench.run("run", crash_point=20).code == KILLED
    (seconds,) = bench.must("timed_run").acknowledged
    assert len(events(work, "interrupted")) == 1
    assert seconds < 1


def prepared(laboratory: Laboratory, work: Path, name: str) -> tuple[Bench, list[str]]:
    """An instance, and what the hooks of a clean run of it write down."""
    write_library(work, RUNS[name].library)
    bench = Bench(laboratory, work, "instance", {EXECUTOR: RUNS[name].executor})
    bench.begin()
    assert bench.must("run").acknowledged == [RUNS[name].end]
    return bench, ledger(work)


def check(bench: Bench, clean: list[str], name: str) -> Stand:
    """After a kill: go on, and see that what is owed was done, once, and nothing else.

    Returns:
        How the run stood after the kill.
    """
    work = bench.work
    if name in IN_WORKERS:
        wait_for(lambda: not workers(work), "the end of the killed engine's workers")
    stand = Stand.of(work)
    owed = stand.owed(clean)
    again = bench.must("run")
    done = ledger(work)
    assert again.acknowledged == [RUNS[name].end], again
    assert by_node(done) == owed, (stand, done)
    assert events(work, "interrupted") == stand.interrupted(), stand
    if stand.armed():
        assert "step_make_safe" in done[0], (stand, done)
    if RUNS[name].end == "COMPLETE_ERROR":
        assert "step_make_safe" in [*stand.done, *done][-1], (stand, done)
    if stand.ended():
        bench.run("run_fresh")  # the run before had nothing to do, so it has not cleaned up
        ledger(work)
    assert not bench.strays(), stand
    return stand


def workers(work: Path) -> list[int]:
    """The worker processes of the engines that ran here."""
    found = []
    for process in psutil.process_iter(["environ"]):
        environment = process.info["environ"] or {}
        if MARK in environment and environment.get(RUN_MARK) == str(work / INSTANCE):
            found.append(process.pid)
    return found
