from __future__ import annotations

import json
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from step_library.bringup.simulator import (
    ERROR_QUEUE_LENGTH,
    IDENTITY,
    MAX_VOLTS,
    PowerSupply,
    Server,
)
from tests.support import PROJECT

SIMULATOR = PROJECT / "step_library" / "bringup" / "simulator.py"
NO_ERROR = '0,"No error"'


# --- the instrument -------------------------------------------------------------------------------


@pytest.mark.parametrize("question", ["*IDN?", "*idn?", "  *IDN?\r\n"])
def test_a_question_is_answered_in_any_case_and_with_any_line_end(question: str) -> None:
    assert PowerSupply().handle(question) == IDENTITY


@pytest.mark.parametrize("header", ["SYST:ERR?", "SYSTEM:ERROR?", "syst:error?", "System:Err?"])
def test_words_may_be_short_or_long(header: str) -> None:
    assert PowerSupply().handle(header) == NO_ERROR


@pytest.mark.parametrize(
    "command, error",
    [
        ("NONSENSE", "-113"),
        ("*IDN", "-113"),
        ("VOLT", "-109"),
        ("VOLT:PROT ", "-109"),
        ("VOLT abc", "-104"),
        ("VOLT 3 4", "-104"),
        ("VOLT -0.1", "-222"),
        ("VOLT 30.1", "-222"),
        ("VOLT nan", "-222"),
        ("VOLT 1e999", "-222"),
        ("OUTP MAYBE", "-104"),
        ("MEAS:VOLT? 5", "-108"),
        ("*RST now", "-108"),
    ],
)
def test_a_bad_command_is_not_answered_but_queues_one_error(command: str, error: str) -> None:
    instrument = PowerSupply()
    assert instrument.handle(command) is None
    assert (instrument.handle("SYST:ERR?") or "").startswith(error + ",")
    assert instrument.handle("SYST:ERR?") == NO_ERROR


def test_errors_come_out_in_the_order_they_went_in_and_cls_forgets_them() -> None:
    instrument = PowerSupply()
    for command in ("NONSENSE", "VOLT"):
        instrument.handle(command)
    assert (instrument.handle("SYST:ERR?") or "").startswith("-113")
    instrument.handle("*CLS")
    assert instrument.handle("SYST:ERR?") == NO_ERROR


def test_a_full_error_queue_says_so_in_its_last_place() -> None:
    instrument = PowerSupply()
    for _ in range(ERROR_QUEUE_LENGTH + 5):
        instrument.handle("NONSENSE")
    errors = [instrument.handle("SYST:ERR?") or "" for _ in range(ERROR_QUEUE_LENGTH + 1)]
    assert errors[-2].startswith("-350")
    assert errors[-1] == NO_ERROR


def test_the_output_shows_what_was_set_only_while_it_is_on() -> None:
    instrument = PowerSupply()
    instrument.handle("VOLT 5")
    assert abs(float(instrument.handle("MEAS:VOLT?") or "")) < 0.01
    instrument.handle("OUTP ON")
    assert abs(float(instrument.handle("MEAS:VOLT?") or "") - 5) < 0.02
    instrument.handle("OUTP 0")
    assert (instrument.handle("OUTP?"), instrument.handle("VOLT?")) == ("0", "5.0000")


def test_the_noise_is_the_same_for_the_same_seed_and_no_two_readings_are_alike() -> None:
    def readings(seed: int) -> list[str | None]:
        instrument = PowerSupply(seed=seed)
        instrument.handle("VOLT 5")
        instrument.handle("OUTP ON")
        return [instrument.handle("MEAS:VOLT?") for _ in range(20)]

    assert readings(1) == readings(1) != readings(2)
    assert len(set(readings(1))) > 10


def test_protection_lowers_the_voltage_and_refuses_more_until_reset() -> None:
    instrument = PowerSupply()
    for command in ("VOLT 20", "VOLT:PROT 12", "VOLT 12.5"):
        instrument.handle(command)
    assert instrument.handle("VOLT?") == "12.0000"
    assert (instrument.handle("SYST:ERR?") or "").startswith("-222")
    instrument.handle("*RST")
    assert instrument.handle("VOLT:PROT?") == f"{MAX_VOLTS:.4f}"


def test_a_cold_instrument_fails_its_self_test_as_often_as_told_even_after_a_reset() -> None:
    instrument = PowerSupply(cold_self_tests=2)
    answers = [instrument.handle("*TST?"), instrument.handle("*RST"), instrument.handle("*TST?")]
    assert answers == ["1", None, "1"]
    assert "not warm" in (instrument.handle("SYST:ERR?") or "")
    assert [instrument.handle("*TST?"), instrument.handle("*TST?")] == ["0", "0"]


def test_help_lists_commands_that_are_known() -> None:
    instrument = PowerSupply()
    headers = (instrument.handle("SYST:HELP?") or "").split(", ")
    assert {"*IDN?", "MEAS:VOLT?", "SYST:SHUT"} <= set(headers)
    for header in headers:
        instrument.handle("*CLS")
        instrument.handle(header)
        assert "Undefined" not in (instrument.handle("SYST:ERR?") or "")


WORDS = st.sampled_from(
    ["*IDN?", "*RST", "*CLS", "*TST?", "VOLT", "VOLT:PROT", "OUTP", "MEAS:VOLT?", "SYST:ERR?", "?"]
)
VALUES = st.one_of(st.text(), st.floats().map(str), st.sampled_from(["ON", "off", "1", ""]))


@given(st.lists(st.one_of(st.text(), st.tuples(WORDS, VALUES).map(" ".join))))
def test_whatever_it_hears_the_instrument_stays_within_its_limits(commands: list[str]) -> None:
    instrument = PowerSupply()
    for command in commands:
        instrument.handle(command)
    assert instrument.handle("*IDN?") == IDENTITY
    volts, limit = (float(instrument.handle(ask) or "") for ask in ("VOLT?", "VOLT:PROT?"))
    assert 0 <= volts <= limit <= MAX_VOLTS
    for _ in range(ERROR_QUEUE_LENGTH):
        instrument.handle("SYST:ERR?")
    assert instrument.handle("SYST:ERR?") == NO_ERROR


# --- the server -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The port of a server that runs in a thread for all tests here."""
    with (tmp_path_factory.mktemp("server") / "log").open("w") as log:
        server = Server(0, PowerSupply(), idle_seconds=600, log=log)
        thread = threading.Thread(target=server.serve)
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.answer("SYST:SHUT")
            thread.join(timeout=10)
            server.server_close()


def dialogue(port: int, sent: bytes) -> list[str]:
    """What the server says to these bytes until it, or this client, has no more to say."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as client:
        try:
            client.sendall(sent)
            client.shutdown(socket.SHUT_WR)
        except ConnectionError:
            return []
        with client.makefile("r", encoding="ascii") as answers:
            try:
                return [line.rstrip("\n") for line in answers]
            except ConnectionError:
                return []


def test_a_client_gets_an_answer_line_for_each_question(port: int) -> None:
    assert dialogue(port, b"*CLS\n*IDN?\n\nVOLT 2\nVOLT?\n") == [IDENTITY, "2.0000"]


def test_a_command_that_was_cut_off_is_not_carried_out(port: int) -> None:
    dialogue(port, b"VOLT 1\nVOLT 2")
    assert dialogue(port, b"VOLT?\n") == ["1.0000"]


def test_the_tail_of_an_endless_line_is_not_taken_for_a_command(port: int) -> None:
    dialogue(port, b"VOLT 1\n" + b"x" * 255 + b"\nVOLT 3\n")
    dialogue(port, b"VOLT 1\n" + b"x" * 256 + b"VOLT 2\n")
    assert dialogue(port, b"VOLT?\n") == ["1.0000"]


def test_a_silent_client_does_not_keep_others_waiting(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=10):
        assert dialogue(port, b"*IDN?\n") == [IDENTITY]


@given(st.binary(max_size=600))
def test_the_server_survives_any_bytes(port: int, garbage: bytes) -> None:
    dialogue(port, garbage)
    assert dialogue(port, b"*IDN?\n") == [IDENTITY]


# --- the program ----------------------------------------------------------------------------------

Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts the simulator in the foreground; it is ended with the test."""
    started: list[subprocess.Popen[str]] = []

    def run(*arguments: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, str(SIMULATOR), *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield run
    for process in started:
        process.kill()
        process.communicate()


def announced(process: subprocess.Popen[str]) -> int:
    assert process.stdout is not None
    announcement = json.loads(process.stdout.readline())
    assert announcement["pid"] == process.pid
    port: int = announcement["port"]
    return port


def test_it_announces_its_port_shows_the_conversation_and_ends_when_told(start: Start) -> None:
    process = start()
    assert dialogue(announced(process), b"*IDN?\nSYST:SHUT\n") == [IDENTITY]
    _, shown = process.communicate(timeout=10)
    assert process.returncode == 0
    assert [line.split(" ", 1)[1] for line in shown.splitlines()] == [
        "< '*IDN?'",
        f"> {IDENTITY}",
        "< 'SYST:SHUT'",
    ]


def test_it_ends_by_itself_when_nobody_wants_anything_of_it(start: Start) -> None:
    process = start("--idle-seconds", "1")
    with socket.create_connection(("127.0.0.1", announced(process)), timeout=10) as client:
        assert process.wait(timeout=10) == 0
        assert client.recv(1) == b""


def test_a_port_that_is_taken_is_a_clear_error(start: Start) -> None:
    port = announced(start())
    for arguments in ([], ["--background"]):
        second = start("--port", str(port), *arguments)
        _, message = second.communicate(timeout=30)
        assert second.returncode == 1
        assert "in use" in message
        assert "Traceback" not in message


def test_a_port_that_does_not_exist_is_a_clear_error(start: Start) -> None:
    process = start("--port", "70000")
    _, message = process.communicate(timeout=10)
    assert (process.returncode, "Traceback" in message) == (1, False)
    assert "port" in message


def test_help_tells_how_to_talk_to_it(start: Start) -> None:
    text, _ = start("--help").communicate(timeout=10)
    assert "nc 127.0.0.1 5025" in text


def test_in_the_background_it_outlives_its_starter_and_logs_to_a_file(tmp_path: Path) -> None:
    log = tmp_path / "instrument.log"
    started = subprocess.run(
        [sys.executable, str(SIMULATOR), "--background", "--log", str(log)],
        capture_output=True,  # waits for the end of both streams: nobody else may hold them
        text=True,
        timeout=30,
        check=True,
    )
    assert dialogue(json.loads(started.stdout)["port"], b"*IDN?\nSYST:SHUT\n") == [IDENTITY]
    assert "SYST:SHUT" in log.read_text()
