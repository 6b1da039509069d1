"""Each system call in turn fails, once or for good (D6 of docs/guarantees.md).

Whatever fails: it ends well in spite of that, or in an error that names path and cause; in the
latter case the old state is there. No temporary file is left after the next write.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from itertools import product
from pathlib import Path

import pytest

from tests.faults.bench import Bench
from tests.faults.laboratory import REFUSED, Laboratory, Outcome
from tests.faults.scenarios import observe
from tests.faults.system_calls import FOR_GOOD
from tests.faults.test_kills import CASES, Case, possible

ONCE = 1
SOME = 3  # a call that is interrupted is made again, so it can't be for good
ERRORS = (errno.EIO, errno.ENOSPC, errno.EACCES, errno.EINTR)
LATE = {"fsync", "rename", "unlink"}
"""When one of these fails, and all after it, it may be the sync of the directory that is told."""
QUICK = {("process", errno.ENOSPC, FOR_GOOD), ("power", errno.EIO, ONCE)}


def failures() -> Iterator[object]:
    """Durability, error, and how often it comes; all but two take minutes with all cases."""
    for durability, error in product(("process", "power"), ERRORS):
        for times in (ONCE, SOME if error == errno.EINTR else FOR_GOOD):
            failure = (durability, error, times)
            name = f"{durability} {errno.errorcode[error]} {'once' if times == ONCE else 'on'}"
            marks = () if failure in QUICK else pytest.mark.exhaustive
            yield pytest.param(*failure, id=name, marks=marks)


@pytest.mark.parametrize(("durability", "error", "times"), list(failures()))
@pytest.mark.parametrize("case", CASES, ids=str)
def test_an_error_is_told_with_path_and_cause_and_leaves_the_old_state(
    tracer: Laboratory, work: Path, case: Case, durability: str, error: int, times: int
) -> None:
    bench = Bench(tracer, work, case.before, {"OCTO_DURABILITY": durability})
    versions = bench.versions(case.scenario)
    refused = 0
    for point, outcome in bench.errors(case.scenario, error, times):
        done = len(outcome.acknowledged)
        now = observe(work)
        if outcome.code == REFUSED:
            refused += 1
            assert told(outcome, work, error), outcome
            assert "Traceback" not in outcome.output, outcome
            old, new, trimmed = possible(versions[done : done + 2])
            in_place = case.scenario == "create" or (durability == "power" and point in LATE)
            assert now in (old, trimmed) or (in_place and now == new), (point, outcome)
        else:
            assert (outcome.code, now) == (0, versions[-1]), outcome
        if times == ONCE and point != "unlink":
            assert not bench.strays(), outcome
        bench.use(case.after)
        assert not bench.strays(), outcome
    assert refused or error == errno.EINTR


def told(outcome: Outcome, work: Path, error: int) -> bool:
    """Whether path and cause are named, and it is not told as a mistake of the project's own."""
    said = outcome.error + outcome.output
    return str(work) in said and os.strerror(error) in said and "this is a bug" not in said
