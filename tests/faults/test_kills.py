"""A process is killed before each of its system calls in turn (D1, D2, D5 of docs/guarantees.md).

After each kill, what was acknowledged is there; what is there is one committed version, whole; and
the next process goes on from it and leaves no temporary file.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.faults.bench import Bench
from tests.faults.laboratory import Laboratory
from tests.faults.scenarios import BAD_TEXT, INSTANCE, observe


@dataclass(frozen=True)
class Case:
    """A scenario, what is there before, and what comes next."""

    scenario: str
    before: str
    after: str

    def __str__(self) -> str:
        return f"{self.scenario} of {self.before}"


CASES = [
    Case("create", "empty", "use_parameters"),
    Case("create_by_update", "empty", "use_parameters"),
    Case("update", "parameters", "use_parameters"),
    Case("increment", "parameters", "use_parameters"),
    Case("transactions", "parameters", "use_parameters"),
    Case("often", "parameters", "use_parameters"),
    Case("synced", "parameters", "use_parameters"),
    Case("command_update", "parameters", "use_parameters"),
    Case("repair", "bad_parameters", "repair_and_use"),
    Case("repair", "bad_parameters_alone", "repair_and_use"),
    Case("repair_from_defaults", "bad_parameters", "repair_and_use"),
    Case("command_repair", "bad_parameters", "repair_and_use"),
    Case("append", "empty", "use_events"),
    Case("append", "events", "use_events"),
    Case("rotate", "full_events", "use_events"),
    Case("mend", "torn_events", "use_events"),
]
EVENTS_BEFORE = {"events": 5, "full_events": 5, "torn_events": 5}
"""How many events there are before, and are kept however often the log is rotated."""


@pytest.mark.parametrize("durability", ["process", "power"])
@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_kill_loses_nothing_that_was_acknowledged_and_tears_nothing(
    tracer: Laboratory, work: Path, case: Case, durability: str
) -> None:
    bench = Bench(tracer, work, case.before, {"OCTO_DURABILITY": durability})
    versions = bench.versions(case.scenario)
    assert all(len(each["events"]) >= EVENTS_BEFORE.get(case.before, 0) for each in versions)
    seen = []
    for outcome in bench.kills(case.scenario):
        done = len(outcome.acknowledged)
        now = observe(work)
        assert now in possible(versions[done : done + 2]), outcome
        seen.append(now)
        if case.before.startswith("bad"):
            assert any(BAD_TEXT in text for text in texts(work)), outcome
        bench.use(case.after)
        assert went_on(now, observe(work)), outcome
        assert not bench.strays(), outcome
    assert all(version in seen for version in versions)


def possible(versions: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What may be seen while one of two versions becomes the other.

    A log that is full loses its oldest events before it gets a new one.
    """
    old, new = versions[0], versions[-1]
    kept = [event for event in old["events"] if event in new["events"]]
    return [old, new, {**old, "events": kept}]


def went_on(before: dict[str, Any], after: dict[str, Any]) -> bool:
    """Whether a use has added what it adds, and changed nothing else."""
    old, new = before["parameters"], after["parameters"]
    if isinstance(old, dict) and old != new:
        revision = old["global_parameters"]["parameter_revision"] + 1
        shared = {**old["global_parameters"], "parameter_revision": revision}
        if new != {**old, "global_parameters": shared, "used": {"again": True}}:
            return False
    count = len(before["events"])
    added = [name for _, name in after["events"][count:]]
    return after["events"][:count] == before["events"] and added in (
        [],
        ["used"],
        ["log_mended", "used"],
    )


def texts(work: Path) -> list[str]:
    return [path.read_text() for path in (work / INSTANCE).iterdir() if path.is_file()]
