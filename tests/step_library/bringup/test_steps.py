from __future__ import annotations

import contextlib
import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from step_library.bringup.instrument import Instrument, InstrumentGoneError
from tests.step_library.conftest import Bench


@pytest.fixture
def bench(make_bench: Callable[[str], Bench]) -> Bench:
    bench = make_bench("bringup")
    bench.set("step_node_measure", settle_seconds=0)
    return bench


@pytest.fixture
def powered(bench: Bench) -> Bench:
    """A bench whose instrument is on."""
    bench.hook("power_on")
    return bench


def end_simulator(bench: Bench) -> None:
    os.kill(bench.group("instrument")["pid"], signal.SIGTERM)
    wait_until_gone(bench.group("instrument"))


def wait_until_gone(address: dict[str, Any]) -> None:
    with contextlib.suppress(InstrumentGoneError):
        while True:
            Instrument(address["host"], address["port"]).close()


def test_power_on_starts_an_instrument_and_keeps_its_address(bench: Bench) -> None:
    assert bench.hook("power_on") == 0
    with bench.instrument() as instrument:
        assert instrument.ask("*IDN?").startswith("OCTO")
    assert "*IDN?" in Path("instrument.log").read_text()


def test_power_on_again_uses_the_instrument_that_is_on(powered: Bench) -> None:
    before = powered.group("instrument")
    powered.hook("power_on")
    assert powered.group("instrument") == before


def test_power_on_starts_another_where_none_answers_any_more(powered: Bench) -> None:
    before = powered.group("instrument")
    end_simulator(powered)
    powered.hook("power_on")
    after = powered.group("instrument")
    assert (after["port"], after["pid"]) != (before["port"], before["pid"])
    powered.instrument().close()


def test_power_on_says_why_the_simulator_did_not_start(bench: Bench) -> None:
    bench.set("step_node_power_on", seed="no number")
    with pytest.raises(Exception, match="invalid int value"):
        bench.hook("power_on")


def test_identify_keeps_the_identity_and_refuses_another_model(powered: Bench) -> None:
    powered.hook("identify")
    assert "PS-3005" in powered.group("step_node_identify")["identity"]
    powered.set("step_node_identify", expected_model="PS-9999")
    with pytest.raises(Exception, match=r"PS-9999.*PS-3005"):
        powered.hook("identify")


def test_configure_sets_the_protection_and_forgets_old_errors(powered: Bench) -> None:
    with powered.instrument() as instrument:
        instrument.send("NONSENSE")
    powered.set("step_node_configure", protection_volts=9.5)
    powered.hook("configure")
    with powered.instrument() as instrument:
        assert instrument.ask("VOLT:PROT?") == "9.5000"
        assert instrument.errors() == []


def test_configure_refuses_what_the_instrument_refuses(powered: Bench) -> None:
    powered.set("step_node_configure", protection_volts=1000)
    with pytest.raises(Exception, match="'VOLT:PROT 1000' was refused: -222"):
        powered.hook("configure")


def test_self_test_fails_until_the_instrument_is_warm_and_says_what_it_says(
    powered: Bench,
) -> None:
    for _ in range(2):
        with pytest.raises(Exception, match="reference is not warm yet"):
            powered.hook("self_test")
    assert powered.hook("self_test") == 0


def test_measure_takes_one_point_a_turn_until_all_are_measured(powered: Bench) -> None:
    powered.set("step_node_measure", points=3, first_volts=1, last_volts=5)
    ways = []
    for _ in range(3):
        powered.hook("measure")
        ways.append(powered.hook("measure", "step_advance"))
    readings = powered.group("step_node_measure")["readings"]
    assert ways == ["next_point", "next_point", "all_measured"]
    assert [reading["set_volts"] for reading in readings] == [1, 3, 5]
    assert all(abs(r["measured_volts"] - r["set_volts"]) < 0.02 for r in readings)


def test_a_single_point_is_measured_at_the_first_voltage(powered: Bench) -> None:
    powered.set("step_node_measure", points=1)
    powered.hook("measure")
    assert powered.group("step_node_measure")["readings"][0]["set_volts"] == 1.0
    assert powered.hook("measure", "step_advance") == "all_measured"


def test_measure_repeated_after_its_last_point_adds_nothing(powered: Bench) -> None:
    powered.set("step_node_measure", points=1)
    for _ in range(2):
        powered.hook("measure")
    assert len(powered.group("step_node_measure")["readings"]) == 1


def test_measure_goes_back_to_power_on_when_the_instrument_is_lost_and_keeps_its_readings(
    powered: Bench,
) -> None:
    powered.hook("measure")
    end_simulator(powered)
    powered.hook("measure")
    assert powered.hook("measure", "step_advance") == "instrument_lost"
    powered.hook("power_on")
    powered.hook("measure")
    assert powered.hook("measure", "step_advance") == "next_point"
    assert len(powered.group("step_node_measure")["readings"]) == 2


def test_a_voltage_beyond_the_protection_fails_and_make_safe_switches_off(powered: Bench) -> None:
    powered.set("step_node_measure", first_volts=10, last_volts=20, points=2)
    powered.hook("configure")
    powered.hook("measure")
    with pytest.raises(Exception, match=r"'VOLT 20.0' was refused: -222"):
        powered.hook("measure")
    assert len(powered.group("step_node_measure")["readings"]) == 1
    with powered.instrument() as instrument:
        assert instrument.ask("OUTP?") == "1"
    assert powered.hook("measure", "step_make_safe") == 0
    with powered.instrument() as instrument:
        assert instrument.ask("OUTP?") == "0"


def test_make_safe_is_content_with_an_instrument_that_was_switched_off(powered: Bench) -> None:
    powered.hook("power_off")
    assert powered.hook("measure", "step_make_safe") == 0


def test_make_safe_fails_when_it_can_not_reach_an_instrument_that_should_be_on(
    powered: Bench,
) -> None:
    end_simulator(powered)
    with pytest.raises(Exception, match="no instrument answers at 127"):
        powered.hook("measure", "step_make_safe")


@pytest.mark.parametrize(
    "tolerance, verdict, way", [(0.05, "PASS", "within_limits"), (0.04, "FAIL", "out_of_limits")]
)
def test_judge_goes_by_the_worst_reading(
    bench: Bench, tolerance: float, verdict: str, way: str
) -> None:
    readings = [
        {"set_volts": 1.0, "measured_volts": 1.01},
        {"set_volts": 2.0, "measured_volts": 1.955},
    ]
    bench.set("step_node_measure", readings=readings)
    bench.set("step_node_judge", tolerance_volts=tolerance)
    bench.hook("judge")
    assert bench.group("bringup")["verdict"] == verdict
    assert bench.group("step_node_judge")["worst_error_volts"] == 0.045
    assert bench.hook("judge", "step_advance") == way


def test_judge_has_no_verdict_without_readings(bench: Bench) -> None:
    with pytest.raises(ValueError, match="points must be 1 or more"):
        bench.hook("judge")


def test_diagnose_switches_off_and_collects_the_errors_of_steps_and_instrument(
    powered: Bench,
) -> None:
    with powered.instrument() as instrument:
        instrument.send("OUTP ON")
        instrument.send("NONSENSE")
    powered.set("step_node_self_test", step_results_key_last_status="ERROR", last_error="too cold")
    powered.set("step_node_identify", step_results_key_last_status="SUCCESS", last_error="old")
    powered.hook("diagnose")
    assert powered.group("step_node_diagnose")["findings"] == [
        "step_node_self_test: too cold",
        'instrument: -113,"Undefined header"',
    ]
    assert powered.group("bringup")["verdict"] == "FAIL"
    with powered.instrument() as instrument:
        assert instrument.ask("OUTP?") == "0"


def test_diagnose_finds_that_the_instrument_has_gone(powered: Bench) -> None:
    end_simulator(powered)
    powered.hook("diagnose")
    assert "no instrument answers" in powered.group("step_node_diagnose")["findings"][0]


def fill_in_results(bench: Bench, verdict: str) -> None:
    bench.set("bringup", verdict=verdict)
    bench.set("step_node_diagnose", findings=["something old"])
    bench.set("step_node_measure", readings=[{"set_volts": 1.0, "measured_volts": 1.01}])


@pytest.mark.parametrize("verdict, findings", [("PASS", []), ("FAIL", ["something old"])])
def test_report_writes_readings_and_verdict_for_people_and_programs(
    bench: Bench, verdict: str, findings: list[str]
) -> None:
    fill_in_results(bench, verdict)
    for _ in range(2):  # a second time after a crash
        bench.hook("report")
    report: dict[str, Any] = json.loads(Path("report.json").read_text())
    assert (report["verdict"], report["findings"]) == (verdict, findings)
    assert Path("readings.csv").read_text() == "set_volts,measured_volts\n1.0,1.01\n"
    assert not list(Path().glob(".*.tmp"))


def test_report_into_a_directory_that_does_not_exist_names_it(bench: Bench) -> None:
    fill_in_results(bench, "PASS")
    bench.set("step_node_report", directory="no/such/place")
    with pytest.raises(FileNotFoundError, match="no/such/place"):
        bench.hook("report")


def test_power_off_ends_the_simulator_and_may_be_repeated(powered: Bench) -> None:
    address = powered.group("instrument")
    for _ in range(2):
        assert powered.hook("power_off") == 0
    assert (powered.group("instrument")["port"], powered.group("instrument")["pid"]) == (0, 0)
    wait_until_gone(address)


def test_power_off_after_a_crash_between_switching_off_and_noting_it(powered: Bench) -> None:
    end_simulator(powered)
    assert powered.hook("power_off") == 0
    assert powered.group("instrument")["port"] == 0


def test_power_off_leaves_an_instrument_on_that_it_did_not_switch_on(powered: Bench) -> None:
    powered.set("instrument", pid=0)
    with powered.instrument() as instrument:
        instrument.send("OUTP ON")
    powered.hook("power_off")
    with powered.instrument() as instrument:
        assert instrument.ask("OUTP?") == "0"


@pytest.mark.parametrize("verdict, end", [("PASS", "COMPLETE"), ("FAIL", "COMPLETE_ERROR")])
def test_the_run_ends_as_the_bring_up_ended(bench: Bench, verdict: str, end: str) -> None:
    bench.set("bringup", verdict=verdict)
    assert bench.hook("power_off", "step_advance") == end
