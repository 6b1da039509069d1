"""A place to repeat experiments at: each begins with the same files, however the last one ended."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import octo_spare_file
from tests.faults import scenarios
from tests.faults.laboratory import Experiment, Laboratory, Outcome
from tests.faults.system_calls import Fault

KILLED = -9
NEVER = 10**9  # the number of a point that nothing reaches
KEPT = (
    ".octo_step_engine_parameters.json",
    ".octo_step_engine_parameters.json.backup",
    ".octo_step_engine_parameters.json.bad-*Z",
    ".octo_step_engine_parameters.json.bad-*Z-[0-9]",
    ".octo_step_engine_parameters.json.bad-*Z.backup",
    ".octo_step_engine_parameters.lock",
    ".octo_step_engine_events.jsonl",
    ".octo_step_engine_events.[1-4].jsonl",
    ".octo_step_engine_library.json",
    ".octo_step_engine_run.lock",
    "octo_step_engine_parameters.py",
    "octo_step_instance.py",
    "logs/step_node_*.log",
    "archive/*Z/*",
)
LAST_WORDS = "logs/unfinished-*.log"  # what a hook printed that had never printed before
CHANGES = {
    *("openat", "write", "fsync", "ftruncate", "mkdir", "rename", "renameat2", "link", "linkat"),
    *("unlink", "unlinkat", "rmdir", "fchmod", "chmod", "fchown"),
}
"""The system calls that may change a file or the names in a directory."""

LEAST_HITS = 0.9
"""The part of the points at which a kill must land. Threads don't always come by in one order."""


@dataclass
class Bench:
    """Runs a scenario again and again in `work`, from the files that `prepared` makes there."""

    laboratory: Laboratory
    work: Path
    prepared: str
    environment: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._template = self.work.with_name("template")
        self.laboratory.run(Experiment(self.prepared, self.work))
        shutil.move(self.work, self._template)

    def begin(self) -> None:
        """Put the files back as they were."""
        shutil.rmtree(self.work, ignore_errors=True)
        self.work.with_name(scenarios.LEDGER).unlink(missing_ok=True)
        shutil.copytree(self._template, self.work, symlinks=True)

    def run(self, scenario: str, **how: Any) -> Outcome:
        """Run a scenario on the files as they are now; `how` as in `Experiment`."""
        return self.laboratory.run(
            Experiment(scenario, self.work, environment=self.environment, **how)
        )

    def must(self, scenario: str, **how: Any) -> Outcome:
        """Run a scenario that must succeed."""
        outcome = self.run(scenario, **how)
        assert outcome.code == 0, (scenario, outcome)
        return outcome

    def use(self, scenario: str) -> None:
        """Do in this process, as if it were the next one, what must succeed."""
        for _ in scenarios.SCENARIOS[scenario](self.work):
            pass
        octo_spare_file.remove_all()

    def versions(self, scenario: str) -> list[dict[str, Any]]:
        """What is seen before the scenario, and after each thing that it acknowledged."""
        self.begin()
        before = scenarios.observe(self.work)
        return [before, *self.must(scenario, observe=True).acknowledged]

    def points(self, scenario: str) -> list[str]:
        """The system calls of a scenario that nothing disturbs."""
        self.begin()
        return self.must(scenario, traced=True).points

    def kills(self, scenario: str, *, changes_only: bool = False) -> Iterator[Outcome]:
        """Kill the scenario before each of its system calls in turn, from the same files.

        Args:
            scenario: Its name.
            changes_only: Pass over the calls that leave all files as they are.
        """
        kept = CHANGES if changes_only else None
        return self._killed(scenario, lambda n: {"traced": True, "fault": Fault(n)}, kept)

    def crashes(self, scenario: str) -> Iterator[Outcome]:
        """Kill the scenario at each of its crash points in turn, from the same files."""
        return self._killed(scenario, lambda number: {"crash_point": number})

    def _killed(
        self,
        scenario: str,
        at: Callable[[int], dict[str, object]],
        names: set[str] | None = None,
    ) -> Iterator[Outcome]:
        self.begin()
        points = self.must(scenario, **at(NEVER)).points
        number = hits = misses = 0
        while misses == 0 or number < len(points):
            number += 1
            if names is not None and number <= len(points) and points[number - 1] not in names:
                continue
            self.begin()
            outcome = self.run(scenario, **at(number))
            if outcome.code == KILLED:
                assert len(outcome.points) >= number
                hits += 1
                yield outcome
            else:  # it had fewer points this time
                assert outcome.code == 0 and len(outcome.points) < number, outcome
                misses += 1
        assert hits >= LEAST_HITS * (hits + misses - 1) > 0

    def errors(self, scenario: str, error: int, times: int) -> Iterator[tuple[str, Outcome]]:
        """Let each of the scenario's system calls in turn fail; with the name of the call."""
        points = self.points(scenario)
        hits = 0
        for number in range(1, len(points) + 1):
            self.begin()
            outcome = self.run(scenario, traced=True, fault=Fault(number, error, times))
            hits += len(outcome.points) >= number
            yield points[number - 1], outcome
        assert hits >= LEAST_HITS * len(points) > 0

    def strays(self) -> list[str]:
        """The files that have no business in an instance that nobody works in."""
        return strays(self.work)


def strays(work: Path) -> list[str]:
    """The files in `work` that have no business in an instance that nobody works in."""
    prefix = f"{scenarios.INSTANCE}/"
    files = [path for path in work.rglob("*") if not path.is_dir()]
    names = [str(path.relative_to(work)).removeprefix(prefix) for path in files]
    return [
        name
        for path, name in zip(files, names, strict=True)
        if not any(fnmatch(name, kept) for kept in KEPT)
        and not (fnmatch(name, LAST_WORDS) and path.stat().st_size)
    ]
