"""What a benchmark is, how it is measured, and how a figure is compared with its target.

A benchmark measures one subject of ours and its peers. Each round runs them one after the other
(A B C, A B C, ...), each in a process and a directory of its own, so that none warms up or litters
for another, and what else loads the machine falls on all of them. Ratios are taken within a round;
what is reported is their median. A subject raises WorkNotDone when the work that it measured has
left other results than it should have.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

PROJECT = Path(__file__).resolve().parents[2]
SUBJECT_TIMEOUT_S = 900
TELEMETRY_OFF = {
    "DO_NOT_TRACK": "1",
    "HAMILTON_TELEMETRY_ENABLED": "false",
    "LANGSMITH_TRACING": "false",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
}


class WorkNotDone(Exception):
    """A subject did not do the work that it was measured for."""


@dataclass(frozen=True, slots=True)
class Subject:
    """Something that is measured.

    Attributes:
        name: What a reader calls it.
        function: `module:name` in this package; called as `function(directory, size)`, it does the
            work and returns the seconds (or bytes) of it.
        size: How many operations it does; its figure is that of one.
        needs: Modules and programs without which it is skipped.
    """

    name: str
    function: str
    size: int
    needs: tuple[str, ...] = ()

    def missing(self) -> list[str]:
        """What it needs and this machine doesn't have."""
        beside = str(Path(sys.executable).parent)  # the environment need not be active
        places = os.pathsep.join([beside, os.environ.get("PATH", os.defpath)])
        return [
            name
            for name in self.needs
            if importlib.util.find_spec(name) is None and shutil.which(name, path=places) is None
        ]


@dataclass(frozen=True, slots=True)
class Peer:
    """What our subject is compared with: its figure may be at most `at_most` times the peer's."""

    subject: Subject
    at_most: float | None = None
    at_most_tmpfs: float | None = None  # where a sync costs nothing; None: as anywhere else

    def target(self, file_system: str) -> float | None:
        """What holds on this type of file system; None: shown for comparison only."""
        if file_system == "tmpfs" and self.at_most_tmpfs is not None:
            return self.at_most_tmpfs
        return self.at_most


@dataclass(frozen=True, slots=True)
class Benchmark:
    """One kind of work, done by our subject and by its peers.

    Attributes:
        name: Short, for `--only`.
        ours: Our subject.
        peers: What it is compared with.
        at_most: A limit to our own figure, where the target is an absolute one.
        unit: `s` or `bytes`, of one operation.
        most_rounds: For what takes too long to repeat it as often as asked for.
    """

    name: str
    ours: Subject
    peers: tuple[Peer, ...] = ()
    at_most: float | None = None
    unit: str = "s"
    most_rounds: int = 1000


@dataclass(slots=True)
class Series:
    """The figures of one subject: for one operation, round by round; or why there are none."""

    subject: Subject
    figures: list[float] = field(default_factory=list)
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the results: our subject against one peer, or against a limit of its own.

    Attributes:
        ratio: Median of ours divided by the peer's, of the same round; None without figures.
        target: What `ratio` (or `ours`, if there is no peer) may be at most; None: no target.
    """

    benchmark: str
    file_system: str
    unit: str
    subject: str
    peer: str
    ours: float | None
    theirs: float | None
    ratio: float | None
    target: float | None
    rounds: int
    problem: str = ""

    @property
    def reached(self) -> bool | None:
        """Whether the target is met; None where there is none, or nothing to judge."""
        value = self.ratio if self.peer else self.ours
        return None if self.target is None or value is None else value <= self.target


def measure(benchmark: Benchmark, directory: Path, rounds: int) -> Iterator[Series]:
    """Our subject's figures, then those of each peer, measured in turns."""
    subjects = [benchmark.ours, *(peer.subject for peer in benchmark.peers)]
    series = [Series(subject) for subject in subjects]
    for one in series:
        if missing := one.subject.missing():
            one.problem = f"skipped: {', '.join(missing)} not installed"
    for _ in range(min(rounds, benchmark.most_rounds)):
        for one in series:
            if not one.problem:
                try:
                    one.figures.append(run_once(one.subject, directory) / one.subject.size)
                except WorkNotDone as error:
                    one.problem = f"failed: {error}"
    return iter(series)


def run_once(subject: Subject, directory: Path) -> float:
    """The figure of one round, taken in a new process and a new directory.

    Raises:
        WorkNotDone: It failed, or took longer than SUBJECT_TIMEOUT_S; the last line it wrote.
    """
    place = Path(tempfile.mkdtemp(prefix="octo_bench_", dir=directory))
    command = [sys.executable, str(Path(__file__).parent), "--measure", subject.function]
    environment = {**os.environ, **TELEMETRY_OFF}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)  # which no user has, and slows each start
    try:
        done = subprocess.run(
            [*command, str(place), str(subject.size)],
            capture_output=True,
            text=True,
            timeout=SUBJECT_TIMEOUT_S,
            cwd=place,
            env=environment,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise WorkNotDone(f"not done after {SUBJECT_TIMEOUT_S} s") from error
    finally:
        shutil.rmtree(place, ignore_errors=True)
    if done.returncode:
        raise WorkNotDone((done.stderr.strip().splitlines() or ["no message"])[-1])
    return float(json.loads(done.stdout.splitlines()[-1])["figure"])


def perform(function: str, directory: Path, size: int) -> float:
    """Call a subject's function in this process: what a subject's own process does."""
    module, name = function.split(":")
    return float(getattr(importlib.import_module(f"bench.{module}"), name)(directory, size))


def compare(benchmark: Benchmark, series: list[Series], file_system: str) -> list[Row]:
    """One row for each peer, and one for the limit to our own figure if it has one."""
    ours, *others = series

    def row(peer: Series | None, target: float | None) -> Row:
        ratios: list[float] = []
        if peer is not None:
            pairs = zip(ours.figures, peer.figures, strict=False)  # a failed one has fewer
            ratios = [own / other for own, other in pairs]
        return Row(
            benchmark=benchmark.name,
            file_system=file_system,
            unit=benchmark.unit,
            subject=ours.subject.name,
            peer="" if peer is None else peer.subject.name,
            ours=median(ours.figures) if ours.figures else None,
            theirs=median(peer.figures) if peer is not None and peer.figures else None,
            ratio=median(ratios) if ratios else None,
            target=target,
            rounds=len(ours.figures if peer is None else ratios),
            problem=ours.problem or (peer.problem if peer is not None else ""),
        )

    rows = [
        row(other, peer.target(file_system))
        for peer, other in zip(benchmark.peers, others, strict=True)
    ]
    if benchmark.at_most is not None or not rows:
        rows.append(row(None, benchmark.at_most))
    return rows
