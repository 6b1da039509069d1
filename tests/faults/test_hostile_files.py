"""Files that are torn, hostile, or no files: a round trip or a clear error (D7, D6, D2).

Never a traceback, never a wait for ever, and what can't be understood is never overwritten.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import octo_parameters_cli
import octo_step_instance
from octo_errors import EventLogError, ParameterFileError, ParameterValueError
from octo_instance_dir import RUN_LOCK_FILE_NAME, RUNNER_FILE_NAME
from octo_library_pin import PIN_FILE_NAME
from octo_parameter_schema import LOCK_FILE_NAME, PARAMETER_FILE_NAME
from octo_step_engine_parameters import octo_step_engine_parameters, open_parameters
from octo_step_events import EVENT_FILE_NAME, EventLog, read_events
from tests.faults.bench import Bench
from tests.faults.laboratory import REFUSED, Laboratory
from tests.faults.runs import RUNS, write_library
from tests.faults.scenarios import COMMAND, INSTANCE, SCENARIOS
from tests.modules.parameter_support import needs_posix

READS = (["GLOBAL"], ["status"], ["history"], ["doctor"])
WRITES = (
    ["VALUE"],
    ["INCREMENT"],
    ["run"],
    ["step"],
    ["jump"],
    ["pause"],
    ["reset"],
    ["make-safe"],
)
WORDS = {
    "GLOBAL": ["global_parameters"],
    "VALUE": ["new group", "key", "value", "--timeout", "0.2"],
    "INCREMENT": ["new group", "n", "-i", "--timeout", "0.2"],
    "jump": ["step_node_a"],
}


def words_of(command: str, instance: Path) -> list[str]:
    """The whole command line."""
    name = [command] if command.islower() else []
    return [*name, str(instance), *WORDS.get(command, [])]


@pytest.fixture
def instance(work: Path) -> Path:
    """An instance that has run, of one node."""
    write_library(work, RUNS["quiet"].library)
    for name in ("instance", "run"):
        for _ in SCENARIOS[name](work):
            pass
    return work / INSTANCE


class Said:
    """Performs a command in this process; how it ended, and what it said."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys

    def __call__(self, command: str, instance: Path) -> tuple[int, str]:
        main = octo_step_instance.main if command.islower() else octo_parameters_cli.main
        code = main(words_of(command, instance))
        said = self._capsys.readouterr()
        assert "Traceback" not in said.err + said.out, (command, said)
        assert "this is a bug" not in said.err, (command, said)
        return code, said.err + said.out


@pytest.fixture
def perform(capsys: pytest.CaptureFixture[str]) -> Said:
    return Said(capsys)


# --- the parameter file ---------------------------------------------------------------------------


def nested(depth: int) -> bytes:
    """Groups, with so many brackets open at once."""
    return b'{"a": {"b": ' + b"[" * (depth - 2) + b"]" * (depth - 2) + b"}}"


BAD = {
    "nothing": b"",
    "NULs": bytes(4096),
    "NULs at the end": b'{"a": {"b": 1}}' + bytes(20),
    "a NUL inside": b'{"a": {"b": "\0"}}',
    "a byte order mark": b'\xef\xbb\xbf{"a": {"b": 1}}',
    "UTF-16": '{"a": {"b": 1}}'.encode("utf-16"),
    "UTF-16 without a mark": '{"a": {"b": 1}}'.encode("utf-16-le"),
    "UTF-32": '{"a": {"b": 1}}'.encode("utf-32"),
    "Latin 1": '{"a": {"b": "é"}}'.encode("latin-1"),
    "an overlong form": b'{"a": {"b": "\xc0\xaf"}}',
    "a surrogate in UTF-8": b'{"a": {"b": "\xed\xa0\x80"}}',
    "a lone surrogate": b'{"a": {"b": "\\ud800"}}',
    "surrogates in the wrong order": b'{"a": {"b": "\\udc00\\ud800"}}',
    "a group twice": b'{"a": {"b": 1}, "a": {"c": 1}}',
    "a key twice": b'{"a": {"b": 1, "b": 1}}',
    "a key twice, deeper": b'{"a": {"b": [{"c": 1, "c": 2}]}}',
    "depth 255": nested(255),
    "depth 1024": nested(1024),
    "depth 1025": nested(1025),
    "depth 100,000": nested(100_000),
    "brackets that stay open": b"[" * 1_000_000,
    "an integer of 65 bits": b'{"a": {"b": 18446744073709551616}}',
    "a negative integer of 65 bits": b'{"a": {"b": -9223372036854775809}}',
    "an integer of 100,000 digits": b'{"a": {"b": ' + b"9" * 100_000 + b"}}",
    "a float beyond bounds": b'{"a": {"b": 1e400}}',
    "not a number": b'{"a": {"b": NaN}}',
    "a list": b"[]",
    "a number": b"7",
    "a group that is none": b'{"a": 7}',
    "two texts": b'{"a": {}}{"a": {}}',
    "binary": bytes(range(256)) * 10,
    "YAML": b"a:\n  b: 1\n",
}


@pytest.mark.parametrize("content", BAD.values(), ids=list(BAD))
def test_a_bad_parameter_file_is_named_with_its_place_by_every_command_and_kept(
    instance: Path, perform: Said, content: bytes
) -> None:
    file = instance / PARAMETER_FILE_NAME
    file.write_bytes(content)
    for (command,) in (*READS, *WRITES):
        code, said = perform(command, instance)
        assert code == 1 and f"{file}:" in said, (command, code, said)
        assert len(said) < 5000
        assert file.read_bytes() == content, command


def test_a_parameter_file_that_is_cut_off_anywhere_is_refused_and_kept(
    instance: Path, perform: Said
) -> None:
    file = instance / PARAMETER_FILE_NAME
    whole = file.read_bytes()
    for length in range(len(whole.rstrip())):
        file.write_bytes(whole[:length])
        for command in ("GLOBAL", "VALUE", "status", "run"):
            code, said = perform(command, instance)
            assert code == 1 and f"{file}:" in said, (length, command, said)
        assert file.read_bytes() == whole[:length]


def test_a_flipped_bit_of_a_parameter_file_is_refused_and_kept_or_is_another_value(
    instance: Path,
) -> None:
    file = instance / PARAMETER_FILE_NAME
    whole = file.read_bytes()
    for place in range(len(whole)):
        bad = bytearray(whole)
        bad[place] ^= 1 << place % 8
        file.write_bytes(bad)
        try:
            read = open_parameters(instance).read()
        except ParameterFileError as error:
            assert f"{file}:" in str(error)
        else:
            for name, group in json.loads(bad).items():  # defaults fill in what is renamed
                assert {**read[name], **group} == read[name]
        assert file.read_bytes() == bad


# --- values ---------------------------------------------------------------------------------------


def deep(depth: int) -> Any:
    value: Any = 0
    for _ in range(depth):
        value = [value]
    return value


VALUES = {
    "depth 252": (deep(252), True),
    "depth 253": (deep(253), False),
    "depth 254": (deep(254), False),
    "depth 1024": (deep(900), False),
    "64 bits": (2**64 - 1, True),
    "65 bits": (2**64, False),
    "negative 64 bits": (-(2**63), True),
    "negative 65 bits": (-(2**63) - 1, False),
    "a lone surrogate": ("\ud800", False),
    "a lone surrogate as a key": ({"\udfff": 1}, False),
    "all of Unicode": ("".join(map(chr, [*range(0xD800), *range(0xE000, 0x110000)])), True),
    "NULs": ("\0" * 1000, True),
    "a byte order mark": ("\ufeff", True),
}


@pytest.mark.parametrize(("value", "good"), VALUES.values(), ids=list(VALUES))
def test_a_value_makes_a_round_trip_or_is_refused_and_nothing_is_written(
    tmp_path: Path, value: Any, good: bool
) -> None:
    store = octo_step_engine_parameters()
    names = (str(tmp_path / PARAMETER_FILE_NAME), str(tmp_path / LOCK_FILE_NAME))
    call = (store.get_default_param_dict(), *names, "group", "key")
    store.update_json_dict(*call, "before")
    before = (tmp_path / PARAMETER_FILE_NAME).read_bytes()
    if good:
        assert store.update_json_dict(*call, value)["group"]["key"] == value
        assert json.loads((tmp_path / PARAMETER_FILE_NAME).read_bytes())["group"]["key"] == value
        assert open_parameters(tmp_path).read()["group"]["key"] == value
    else:
        with pytest.raises(ParameterValueError, match="group"):
            store.update_json_dict(*call, value)
        assert (tmp_path / PARAMETER_FILE_NAME).read_bytes() == before


GOOD = {
    "depth 253": nested(253),
    "depth 254": nested(254),
    "the largest integer": b'{"a": {"b": 18446744073709551615}}',
    "the smallest integer": b'{"a": {"b": -9223372036854775808}}',
    "escapes": b'{"a": {"b": "\\u0000\\ufeff\\ud83d\\ude00\\/"}}',
    "no line end": b'{"a":{"b":""}}',
    "other line ends": b'{"a":\r\n{"b":\r1}}\r\n',
}


@pytest.mark.parametrize("content", GOOD.values(), ids=list(GOOD))
def test_what_is_at_the_edge_is_kept_by_a_write_to_another_group(
    tmp_path: Path, perform: Said, content: bytes
) -> None:
    file = tmp_path / PARAMETER_FILE_NAME
    file.write_bytes(content)
    assert perform("INCREMENT", tmp_path) == (0, "1\n")
    assert json.loads(file.read_bytes())["a"] == json.loads(content)["a"]
    assert open_parameters(tmp_path).read()["a"] == json.loads(content)["a"]


def test_a_safety_copy_that_is_cut_off_anywhere_is_never_put_back_and_is_kept(
    tmp_path: Path,
) -> None:
    file, copy = tmp_path / PARAMETER_FILE_NAME, tmp_path / f"{PARAMETER_FILE_NAME}.backup"
    with open_parameters(tmp_path).transaction() as groups:
        groups["a"] = {"b": "x"}
    whole = copy.read_bytes()
    for length in range(len(whole.rstrip())):
        file.write_bytes(b"{")
        copy.write_bytes(whole[:length])
        open_parameters(tmp_path).repair()
        assert "a" not in open_parameters(tmp_path).read()
        aside = [path.read_bytes() for path in tmp_path.glob("*.bad-*")]
        assert b"{" in aside and whole[:length] in aside
        for path in tmp_path.glob(f"{PARAMETER_FILE_NAME}.*"):
            path.unlink()


@pytest.mark.slow
def test_a_text_of_100_mb_makes_a_round_trip(tmp_path: Path, perform: Said) -> None:
    text = "ü" * 50_000_000
    with open_parameters(tmp_path).transaction() as groups:
        groups["new group"] = {"text": text}
    assert perform("INCREMENT", tmp_path) == (0, "1\n")
    read = open_parameters(tmp_path).read()["new group"]
    assert read["n"] == 1
    assert read["text"] == text


@pytest.mark.slow
def test_100_mb_that_are_cut_off_are_refused_and_kept(tmp_path: Path, perform: Said) -> None:
    file = tmp_path / PARAMETER_FILE_NAME
    file.write_bytes(b'{"a": {"b": "' + b"x" * 100_000_000)
    for command in ("GLOBAL", "VALUE", "status"):
        code, said = perform(command, tmp_path)
        assert code == 1 and f"{file}:1:" in said
        assert len(said) < 1000
    assert file.stat().st_size == 100_000_013


# --- the event log --------------------------------------------------------------------------------


def log_of(directory: Path, count: int) -> Path:
    log = EventLog(directory, run_id="r")
    for _ in range(count):
        log.append({"event": "pause"})
    log.close()
    return directory / EVENT_FILE_NAME


def test_every_flipped_bit_of_an_event_log_is_told_or_leaves_an_order_without_a_gap(
    tmp_path: Path,
) -> None:
    file = log_of(tmp_path, 3)
    whole = file.read_bytes()
    told = 0
    for place in range(len(whole) * 8):
        bad = bytearray(whole)
        bad[place // 8] ^= 1 << place % 8
        file.write_bytes(bad)
        try:
            numbers = [event["seq"] for event in read_events(tmp_path)]
            log_of(tmp_path, 1)
            numbers = [event["seq"] for event in read_events(tmp_path)]
        except EventLogError as error:
            told += 1
            assert EVENT_FILE_NAME in str(error)
            assert file.read_bytes() == bad
        else:
            assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
            kept = bad.rfind(b"\n", 0, len(bad) - 1) + 1
            assert file.read_bytes()[:kept] == bad[:kept]
    assert told


BAD_LINES = {
    **{name: BAD[name] for name in ("NULs", "a byte order mark", "UTF-16", "UTF-32", "binary")},
    "nothing": b"",
    "a number twice": b'{"ts":"2026-03-01T09:30:12Z","run_id":"","seq":1,"event":"a"}\n' * 2,
    "a key twice": b'{"ts":"2026-03-01T09:30:12Z","run_id":"","seq":1,"seq":2,"event":"a"}\n' * 2,
    "a deep one": b'{"ts":"2026-03-01T09:30:12Z","run_id":"","seq":1,"event":'
    + b"[" * 1025
    + b"]" * 1025
    + b"}\n",
    "open brackets": b"[" * 1_000_000 + b"\n",
    "a large number": b'{"ts":"2026-03-01T09:30:12Z","run_id":"","seq":'
    + b"9" * 5000
    + b',"event":"a"}\n',
    "a wrong kind": b'{"ts":1,"run_id":2,"seq":3.5,"event":[]}\n',
    "other kinds": b'{"ts":1,"run_id":[],"seq":1,"event":{},"node":3,"state":[],"error":7}\n',
    "a lone surrogate": b'{"ts":"2026-03-01T09:30:12Z","run_id":"","seq":1,"event":"\\ud800"}\n',
}


@pytest.mark.parametrize("content", BAD_LINES.values(), ids=list(BAD_LINES))
def test_a_bad_event_log_is_told_by_every_command_and_kept(
    instance: Path, perform: Said, content: bytes
) -> None:
    file = instance / EVENT_FILE_NAME
    for bad in (content, content + file.read_bytes(), file.read_bytes() + content + content):
        file.write_bytes(bad)
        for command in ("status", "history", "doctor", "jump"):
            code, said = perform(command, instance)
            assert code in (0, 1, 2), (command, said)
            assert code == 0 or EVENT_FILE_NAME in said, (command, said)
            if command == "jump":
                continue
            assert file.read_bytes() == bad, command


OTHER_FILES = (RUNNER_FILE_NAME, PIN_FILE_NAME, PARAMETER_FILE_NAME + ".backup")


@pytest.mark.parametrize("name", OTHER_FILES)
def test_what_other_files_hold_ends_no_command_in_a_traceback(
    instance: Path, perform: Said, name: str
) -> None:
    for content in (*BAD.values(), *BAD_LINES.values()):
        (instance / name).write_bytes(content)
        for command in ("status", "doctor", "VALUE", "make-safe"):
            code, said = perform(command, instance)
            assert code in (0, 1, 2), (command, said)


# --- no files at all ------------------------------------------------------------------------------

PRECIOUS = "precious"
PLACES = (
    PARAMETER_FILE_NAME,
    LOCK_FILE_NAME,
    PARAMETER_FILE_NAME + ".tmp",
    PARAMETER_FILE_NAME + ".backup",
    PARAMETER_FILE_NAME + ".backup.tmp",
    EVENT_FILE_NAME,
    EVENT_FILE_NAME.replace(".jsonl", ".1.jsonl"),
    RUN_LOCK_FILE_NAME,
    RUNNER_FILE_NAME,
    RUNNER_FILE_NAME + ".tmp",
    PIN_FILE_NAME,
    PIN_FILE_NAME + ".tmp",
    "logs",
    "archive",
)
KEPT_AS_THEY_ARE = {PARAMETER_FILE_NAME, LOCK_FILE_NAME, EVENT_FILE_NAME, RUN_LOCK_FILE_NAME}
KINDS: dict[str, Callable[[Path], Any]] = {
    "FIFO": lambda place: os.mkfifo(place),
    "directory": lambda place: (place / "inside").mkdir(parents=True),
    "link": lambda place: place.symlink_to(place.parent.parent / PRECIOUS),
    "dangling link": lambda place: place.symlink_to(place.parent.parent / "nowhere"),
    "link to itself": lambda place: place.symlink_to(place),
    "link to a device": lambda place: place.symlink_to("/dev/full"),
}


def commands() -> Iterator[str]:
    yield from ("VALUE", "GLOBAL", "status", "run", "history", "doctor", "reset", "jump")


@needs_posix
@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("place", PLACES)
def test_what_is_no_file_is_told_or_does_no_harm(
    laboratory: Laboratory, work: Path, place: str, kind: str
) -> None:
    write_library(work, RUNS["quiet"].library)
    bench = Bench(laboratory, work, "ended_instance")
    for command in commands():
        bench.begin()
        plant(work / INSTANCE / place, kind)
        before = os.lstat(work / INSTANCE / place)
        bench.environment = {COMMAND: json.dumps(words_of(command, work / INSTANCE))}
        outcome = bench.run("command")
        assert outcome.code in (0, REFUSED), (command, outcome)
        assert outcome.error in ("", "exit code 1", "exit code 2"), (command, outcome)
        assert "Traceback" not in outcome.output and "this is a bug" not in outcome.output, outcome
        assert (work / PRECIOUS).read_text() == PRECIOUS
        assert not (work / "nowhere").exists()
        if place in KEPT_AS_THEY_ARE and command != "reset":
            assert os.lstat(work / INSTANCE / place).st_ino == before.st_ino, command


def plant(place: Path, kind: str) -> None:
    """Put what is no file in the place of what is there."""
    (place.parent.parent / PRECIOUS).write_text(PRECIOUS)
    if place.is_dir():
        place.rename(place.parent.parent / "was there")
    else:
        place.unlink(missing_ok=True)
    KINDS[kind](place)
