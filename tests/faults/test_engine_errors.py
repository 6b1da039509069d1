"""Each system call of a run in turn fails, once or for good (D6, D4 of docs/guarantees.md).

The command ends well in spite of that, or with an error that names path and cause. When things work
again, the next run goes on from what is in the file, and leaves no temporary file.
"""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from tests.faults.bench import Bench
from tests.faults.laboratory import REFUSED, Laboratory
from tests.faults.runs import RUNS, Stand, by_node, events, ledger, write_library
from tests.faults.system_calls import FOR_GOOD
from tests.faults.test_errors import ERRORS, ONCE, SOME, told

pytestmark = [pytest.mark.exhaustive, pytest.mark.timeout(1200)]


@pytest.mark.parametrize("error", ERRORS, ids=errno.errorcode.get)
@pytest.mark.parametrize("lasting", [False, True], ids=["once", "on"])
def test_a_run_that_meets_an_error_says_so_and_can_be_taken_up_again(
    tracer: Laboratory, work: Path, error: int, lasting: bool
) -> None:
    write_library(work, RUNS["quiet"].library)
    bench = Bench(tracer, work, "instance")
    bench.begin()
    bench.must("command_run")
    clean = ledger(work)
    times = ONCE if not lasting else SOME if error == errno.EINTR else FOR_GOOD
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
