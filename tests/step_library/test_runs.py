"""The shipped libraries from the command line, as a user runs them."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from step_library.bringup.instrument import Instrument, InstrumentGoneError
from tests.support import PROJECT, Command

EXECUTORS = ["serial", "threads", "processes"]
PATIENCE_SECONDS = 30


class Instance:
    """An instance of a shipped library, steered by its command lines."""

    def __init__(self, directory: Path, library: str, command: Command) -> None:
        self.directory = directory
        self._command = command
        assert self("create", directory, "--library", library).returncode == 0

    def __call__(self, *arguments: object) -> subprocess.CompletedProcess[str]:
        """Run a command of `octo_step_instance.py` in the directory."""
        cwd = self.directory if self.directory.exists() else None
        return self._command("modules/octo_step_instance.py", *arguments, cwd=cwd)

    def set(self, group: str, key: str, value: object) -> None:
        """Change a parameter as the READMEs tell."""
        script = "modules/octo_step_engine_parameters.py"
        done = self._command(script, self.directory, group, key, value)
        assert done.returncode == 0, done.stderr

    def group(self, name: str) -> dict[str, Any]:
        """A group of the parameter file as it is now."""
        text = (self.directory / ".octo_step_engine_parameters.json").read_text()
        group: dict[str, Any] = json.loads(text)[name]
        return group

    def report(self) -> dict[str, Any]:
        """What the bring-up reported."""
        report: dict[str, Any] = json.loads((self.directory / "report.json").read_text())
        return report

    def heard(self) -> list[str]:
        """The commands that the instrument heard, oldest first."""
        lines = (self.directory / "instrument.log").read_text().splitlines()
        return [line.split("'")[1] for line in lines if " < " in line]

    def instrument(self) -> Instrument:
        """A connection of the test's own."""
        address = self.group("instrument")
        return Instrument(address["host"], address["port"])

    @contextlib.contextmanager
    def running(self, executor: str) -> Iterator[subprocess.Popen[bytes]]:
        """The engine in a process that the test may kill."""
        script = str(PROJECT / "modules" / "octo_step_instance.py")
        engine = subprocess.Popen(
            [sys.executable, script, "run", "--executor", executor],
            cwd=self.directory,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            yield engine
        finally:
            engine.kill()
            engine.wait()

    def wait_for_readings(self, number: int) -> None:
        """Wait until so many points are measured."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while len(self.group("step_node_measure")["readings"]) < number:
            assert time.monotonic() < deadline, "nothing is measured"
            time.sleep(0.01)


@pytest.fixture
def make_instance(tmp_path: Path, command: Command) -> Iterator[Callable[[str], Instance]]:
    instances = []

    def make(library: str) -> Instance:
        instances.append(Instance(tmp_path / "instance", library, command))
        return instances[-1]

    yield make
    for instance in instances:
        with contextlib.suppress(InstrumentGoneError, KeyError), instance.instrument() as left_on:
            left_on.send("SYST:SHUT")


@pytest.fixture
def bringup(make_instance: Callable[[str], Instance]) -> Instance:
    instance = make_instance("bringup")
    instance.set("step_node_measure", "settle_seconds", 0)
    return instance


@pytest.fixture
def dataprocess(make_instance: Callable[[str], Instance]) -> Instance:
    return make_instance("dataprocess")


@pytest.mark.parametrize("executor", EXECUTORS)
def test_hello_greets_whom_the_parameter_file_names(
    make_instance: Callable[[str], Instance], executor: str
) -> None:
    instance = make_instance("hello")
    instance.set("step_node_hello", "who", "Ada")
    done = instance("run", "--executor", executor)
    assert done.returncode == 0, done.stderr
    assert "I said 'Hello, Ada!'. Goodbye!" in done.stdout


@pytest.mark.parametrize("executor", EXECUTORS)
def test_bringup_measures_every_point_passes_and_leaves_no_instrument_on(
    bringup: Instance, executor: str
) -> None:
    done = bringup("run", "--executor", executor)
    assert done.returncode == 0, done.stdout + done.stderr
    assert bringup.group("global_parameters")["step_engine_state"] == "COMPLETE_SUCCESS"
    report = bringup.report()
    assert (report["verdict"], len(report["readings"])) == ("PASS", 12)
    assert bringup.heard().count("*TST?") == 3
    assert bringup.heard()[-1] == "SYST:SHUT"


def test_readings_out_of_limits_lead_over_the_diagnosis_to_an_error(bringup: Instance) -> None:
    bringup.set("step_node_judge", "tolerance_volts", 0.005)
    assert bringup("run").returncode == 1
    assert bringup.group("global_parameters")["step_engine_state"] == "COMPLETE_ERROR"
    assert bringup.report()["verdict"] == "FAIL"
    assert bringup.heard()[-3:] == ["OUTP OFF", "SYST:ERR?", "SYST:SHUT"]


def test_an_instrument_that_stays_cold_ends_on_the_error_path(bringup: Instance) -> None:
    bringup.set("step_node_power_on", "cold_self_tests", 9)
    assert bringup("run").returncode == 1
    assert bringup.heard().count("*TST?") == 4
    assert bringup.heard()[-1] == "SYST:SHUT"
    (finding,) = bringup.report()["findings"]
    assert "step_node_self_test" in finding
    assert "not warm" in finding


@pytest.mark.parametrize("executor", EXECUTORS)
def test_a_failure_with_the_output_on_switches_it_off(bringup: Instance, executor: str) -> None:
    bringup.set("step_node_measure", "last_volts", 20)
    assert bringup("run", "--executor", executor).returncode == 1
    assert "was refused" in bringup.group("step_node_measure")["last_error"]
    assert "OUTP ON" in bringup.heard()
    assert bringup.heard()[-2:] == ["OUTP OFF", "OUTP?"]
    with bringup.instrument() as instrument:
        assert instrument.ask("OUTP?") == "0"


@pytest.mark.slow
@pytest.mark.parametrize("executor", EXECUTORS)
def test_a_killed_run_is_made_safe_and_goes_on_at_the_point_it_had_reached(
    bringup: Instance, executor: str
) -> None:
    bringup.set("step_node_measure", "points", 100)
    bringup.set("step_node_measure", "settle_seconds", 0.05)
    with bringup.running(executor) as engine:
        bringup.wait_for_readings(3)
        engine.kill()
        engine.wait()
    before = bringup.group("step_node_measure")["readings"]
    assert 3 <= len(before) < 100
    with bringup.instrument() as instrument:
        assert instrument.ask("OUTP?") == "1"
    bringup.set("step_node_measure", "settle_seconds", 0)
    done = bringup("run", "--executor", executor)
    assert done.returncode == 0, done.stdout + done.stderr
    after = bringup.group("step_node_measure")["readings"]
    assert after[: len(before)] == before
    assert len(after) == len({reading["set_volts"] for reading in after}) == 100
    heard = bringup.heard()
    assert "OUTP ON" in heard[heard.index("OUTP OFF") :]
    assert heard.count("*IDN?") == 1  # it went on with the same instrument, where it was


@pytest.mark.slow
def test_an_instrument_that_is_lost_is_switched_on_again_and_no_reading_is_lost(
    bringup: Instance,
) -> None:
    bringup.set("step_node_measure", "points", 100)
    bringup.set("step_node_measure", "settle_seconds", 0.05)
    with bringup.running("serial") as engine:
        bringup.wait_for_readings(3)
        os.kill(bringup.group("instrument")["pid"], signal.SIGTERM)
        bringup.set("step_node_measure", "settle_seconds", 0)
        assert engine.wait(timeout=PATIENCE_SECONDS) == 0
    assert len(bringup.report()["readings"]) == 100
    assert bringup.heard().count("*IDN?") == 2


def test_a_stopped_run_is_made_safe(bringup: Instance) -> None:
    bringup.set("step_node_measure", "points", 200)
    bringup.set("step_node_measure", "settle_seconds", 0.05)
    with bringup.running("serial") as engine:
        bringup.wait_for_readings(1)
        assert bringup("stop").returncode == 0
        assert engine.wait(timeout=PATIENCE_SECONDS) == 1
    with bringup.instrument() as instrument:
        assert instrument.ask("OUTP?") == "0"


def test_a_run_uses_an_instrument_that_was_switched_on_by_hand_and_leaves_it_on(
    bringup: Instance,
) -> None:
    simulator = PROJECT / "step_library" / "bringup" / "simulator.py"
    arguments = ["--background", "--log", str(bringup.directory / "instrument.log")]
    started = subprocess.run(
        [sys.executable, str(simulator), *arguments], capture_output=True, text=True, check=True
    )
    bringup.set("instrument", "port", json.loads(started.stdout)["port"])
    assert bringup("run").returncode == 0
    with bringup.instrument() as instrument:
        assert instrument.ask("OUTP?") == "0"


@pytest.mark.parametrize("executor", EXECUTORS)
def test_dataprocess_runs_its_branches_and_joins_them_in_a_report(
    dataprocess: Instance, executor: str
) -> None:
    done = dataprocess("run", "--executor", executor)
    assert done.returncode == 0, done.stdout + done.stderr
    report = (dataprocess.directory / "report.md").read_text()
    assert "232 rows accepted, 8 rejected" in report
    assert "| 2025-03-03T21:00:00 | office | 9.7 |" in report


def test_dataprocess_goes_on_after_a_pause_in_the_middle_of_its_branches(
    dataprocess: Instance,
) -> None:
    assert dataprocess("run", "--max-steps", 2).returncode == 3
    assert not (dataprocess.directory / "report.md").exists()
    assert dataprocess("run").returncode == 0
    assert (dataprocess.directory / "report.md").exists()


def test_a_missing_input_file_fails_the_run_and_says_how_to_choose_another(
    dataprocess: Instance,
) -> None:
    dataprocess.set("step_node_validate", "input_file", "nowhere.csv")
    done = dataprocess("run")
    assert done.returncode == 1
    assert "no input file nowhere.csv" in dataprocess.group("step_node_validate")["last_error"]
    assert "input_file FILE" in done.stdout + done.stderr
