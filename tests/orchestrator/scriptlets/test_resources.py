from __future__ import annotations

import subprocess
import sys
import time

import pytest

from scriptlets import resources
from scriptlets.resources import Usage
from tests.modules.parameter_support import needs_posix

BURN = "import time\nend = time.process_time() + 0.2\nwhile time.process_time() < end: pass"


def test_it_counts_time_processor_time_and_memory() -> None:
    usage = Usage()
    while time.thread_time() - usage._cpu < 0.05:
        pass
    facts = usage.facts()
    assert 0.05 <= facts["cpu_s"] <= facts["wall_s"] + 0.01
    assert 1_000_000 < facts["peak_memory_bytes"] < 2**40


def test_waiting_costs_no_processor_time() -> None:
    usage = Usage()
    time.sleep(0.1)
    assert usage.facts()["cpu_s"] < 0.05 < usage.facts()["wall_s"]


@needs_posix
def test_child_processes_count_where_the_step_has_a_process_of_its_own() -> None:
    shared, own = Usage(), Usage(own_process=True)
    subprocess.run([sys.executable, "-c", BURN], check=True)
    assert shared.facts()["cpu_s"] < 0.15 < own.facts()["cpu_s"]


def test_psutil_serves_where_there_is_no_getrusage(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resources, "resource", None)
    for own in (True, False):
        assert Usage(own).facts()["peak_memory_bytes"] > 1_000_000
