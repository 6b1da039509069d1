from __future__ import annotations

import base64
import io
import json
import re
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from octo_step_output import StepOutput, ThreadRedirection
from orchestrator.recipe_secrets import MASK, MaskedText, Masker, MaskingStream, masked_output
from tests.modules.parameter_support import Python
from tests.support import PROJECT

SECRET = 'p"ä/ss+\\w rd=%1'


def shown(secret: Any, text: str) -> str:
    return Masker([secret]).mask_text(text)


# --- what is found ---


@pytest.mark.parametrize(
    "written",
    [
        SECRET,
        json.dumps(SECRET),
        json.dumps(SECRET, ensure_ascii=False),
        repr([SECRET]),
        repr(SECRET.encode()),
        quote(SECRET, safe=""),
        quote(SECRET),
        quote_plus(SECRET),
        re.sub("%..", lambda found: found[0].lower(), quote(SECRET, safe="")),
        base64.b64encode(SECRET.encode()).decode(),
        base64.urlsafe_b64encode(SECRET.encode()).decode(),
        *(base64.b64encode(b"user:"[:n] + SECRET.encode() + b"!").decode() for n in range(5)),
    ],
)
def test_a_secret_is_found_as_others_write_it(written: str) -> None:
    masked = shown(SECRET, f"before {written} after")
    assert masked.startswith("before ") and masked.endswith(" after")
    assert MASK in masked
    assert len(masked) <= len("before  after") + len(MASK) + 8


def test_each_long_line_of_a_secret_is_a_secret() -> None:
    secret = "-----BEGIN-----\nMIIEvQIBADANBg\nshort\n"
    assert shown(secret, "x MIIEvQIBADANBg y") == "x *** y"
    assert shown(secret, "short") == "short"
    assert shown(secret, f"[{secret}]") == "[***]"


def test_a_secret_is_found_without_the_blanks_around_it() -> None:
    assert shown("  token42\n", "a token42 b") == "a *** b"


@pytest.mark.parametrize(
    ("text", "expected"),
    [("ab", "***"), ("cab", "cab"), ("abc", "abc"), ("x=ab;", "x=***;"), ("ab_ ab", "ab_ ***")],
)
def test_a_short_secret_is_masked_as_a_whole_word(text: str, expected: str) -> None:
    assert shown("ab", text) == expected


def test_secrets_that_overlap_are_masked_together() -> None:
    assert Masker(["abcd", "cdefg"]).mask_text("xabcdefgx") == "x***x"
    assert shown("aaaa", "aaaaaa") == "***"


def test_numbers_and_what_is_in_lists_and_dicts_are_secrets_keys_and_flags_are_not() -> None:
    masker = Masker([{"password": ["hunter22", 123456], "on": True, "none": None}])
    value = {"password": "x hunter22", "n": [123456, 7, True, None, 1.5], "hunter22": ()}
    assert masker.mask_value(value) == {
        "password": "x ***",
        "n": [MASK, 7, True, None, 1.5],
        MASK: [],
    }


def test_nothing_is_masked_without_secrets() -> None:
    nothing: list[list[Any]] = [[], [""], [None, True], [{}]]
    assert not any(Masker(each) for each in nothing)
    assert Masker([]).mask_value({"a": ["b"]}) == {"a": ["b"]}


# --- in pieces ---

alphabet = st.text(alphabet="ab ", min_size=1, max_size=8)


@given(
    secrets=st.lists(alphabet, min_size=1, max_size=3),
    pieces=st.lists(st.text(alphabet="ab c", max_size=12), max_size=8),
)
def test_wherever_it_is_cut_the_same_is_shown(secrets: list[str], pieces: list[str]) -> None:
    masker = Masker(secrets)
    stream = MaskingStream(masker)
    out = "".join([*(stream.feed(piece) for piece in pieces), stream.rest()])
    assert out == masker.mask_text("".join(pieces))


@given(st.text(min_size=4, max_size=20), st.text(), st.text(), st.data())
def test_no_cut_lets_a_secret_through(secret: str, left: str, right: str, data: Any) -> None:
    text = left + secret + right
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=5)))
    stream = MaskingStream(Masker([secret]))
    pieces = [text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    out = "".join([*(stream.feed(piece) for piece in pieces), stream.rest()])
    assert secret not in out.replace(MASK, "") or set(secret) <= {"*"}


def test_what_can_be_no_secret_is_shown_at_once() -> None:
    stream = MaskingStream(Masker(["hunter22"]))
    assert stream.feed("hello hunt") == "hello "
    assert stream.feed("ing\n") == "hunting\n"
    assert stream.feed("hunter2") == ""
    assert stream.feed("2\n") == "***\n"
    assert stream.feed("h") == ""
    assert stream.rest() == "h"


def test_what_is_held_back_is_bounded() -> None:
    stream = MaskingStream(Masker(["a" * 100]))
    assert sum(len(stream.feed("a" * 20_000)) for _ in range(10)) > 0
    assert len(stream._held) <= 64 * 1024


def test_bytes_and_text_of_a_stream_are_masked() -> None:
    inner = io.StringIO()
    stream = MaskedText(inner, Masker(["hünter22"]))
    data = "a hünter22 b\n".encode()
    for at in range(len(data)):
        stream.buffer.write(data[at : at + 1])
    print("hün", end="", file=stream)
    print("ter22 \ufffd", file=stream)
    stream.flush()
    stream.finish()
    assert inner.getvalue() == "a *** b\n*** \ufffd\n"
    with pytest.raises(io.UnsupportedOperation):
        stream.fileno()


# --- the output of a step ---


def test_both_streams_are_masked_while_the_block_runs(capsys: pytest.CaptureFixture[str]) -> None:
    with masked_output(Masker(["hunter22"]), own_process=False):
        print("hunter", end="")
        print("22")
        print("hunter22", file=sys.stderr)
        print("hunt", end="")
    print("hunter22")
    assert capsys.readouterr() == ("***\nhunthunter22\n", "***\n")


def test_without_secrets_nothing_is_touched() -> None:
    for own_process in (True, False):
        before = sys.stdout
        with masked_output(Masker([]), own_process=own_process):
            assert sys.stdout is before


def test_threads_with_logs_of_their_own_are_masked_each_for_itself(tmp_path: Path) -> None:
    output = StepOutput(tmp_path)
    redirection = ThreadRedirection(output)
    both = threading.Barrier(2)

    def hook(name: str, secret: str) -> None:
        redirection.begin(name)
        with masked_output(Masker([secret]), own_process=False):
            both.wait()
            print("alpha7 beta77")
            print("alpha7", file=sys.stderr)
            both.wait()
        print("end alpha7")
        redirection.end()

    threads = [
        threading.Thread(target=hook, args=each) for each in (("a", "alpha7"), ("b", "beta77"))
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    redirection.close()
    output.close()
    assert (tmp_path / "logs" / "a.log").read_text() == "*** beta77\n***\nend alpha7\n"
    assert (tmp_path / "logs" / "b.log").read_text() == "alpha7 ***\nalpha7\nend alpha7\n"


OWN = f"""
import os, subprocess, sys
sys.path.insert(0, {str(PROJECT)!r})
from orchestrator.recipe_secrets import Masker, masked_output
print("hunter22 before", flush=True)
with masked_output(Masker(["hunter22"]), own_process=True):
    print("hunter22 printed")
    os.write(1, b"hun"); os.write(1, b"ter22 written \\xff\\n")
    subprocess.run("echo hunter22 of a child; echo hunter22 >&2", shell=True)
    print("x" * 200_000 + "hunter22")
    print("hunt", end="")
print("hunter22 after")
"""


def test_descriptors_are_masked_in_a_process_of_its_own(tmp_path: Path) -> None:
    made = subprocess.run(
        [
            sys.executable,
            "-c",
            f"import sys; sys.path.insert(0, {str(PROJECT / 'modules')!r})" + OWN,
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=True,
        timeout=60,
    )
    lines = made.stdout.split(b"\n")
    assert lines[0] == b"hunter22 before"
    assert lines[-2] == b"hunthunter22 after"
    assert b"*** printed" in lines and b"*** written \xff" in lines
    assert b"*** of a child" in lines and b"***" in lines
    assert b"x" * 200_000 + b"***" in lines
    assert made.stdout.count(b"hunter22") == 2


OUTLIVED = """
with masked_output(Masker(["hunter22"]), own_process=True):
    subprocess.Popen([sys.executable, "-c", "input(); print('hunter22 late', flush=True)"])
print("step done", flush=True)
sys.stdout.close()
import threading
threading.Event().wait()
"""


def test_a_child_that_outlives_the_step_is_masked_and_not_waited_for() -> None:
    with Python(OWN.split("with masked")[0] + OUTLIVED) as python:
        assert python.line() == "hunter22 before"
        assert python.line() == "step done"
        python.go_on()
        assert python.line() == "*** late"


THREADED = """
import stat, threading
from orchestrator import recipe_secrets
recipe_secrets._LAST_OUTPUT_S = 60
def work():
    while stat.S_ISFIFO(os.fstat(1).st_mode):
        pass
    os.write(1, b"hunter22 late\\n")
    print("hunter22 late, too", flush=True)
    holding.communicate()
reading = "import sys; sys.stdin.read()"
with masked_output(Masker(["hunter22"]), own_process=True):
    holding = subprocess.Popen([sys.executable, "-c", reading], stdin=subprocess.PIPE)
    thread = threading.Thread(target=work)
    thread.start()
thread.join()
print("after")
"""


def test_what_a_thread_that_outlives_the_step_writes_is_not_shown(tmp_path: Path) -> None:
    program = f"import sys; sys.path.insert(0, {str(PROJECT / 'modules')!r})"
    program += OWN.split("with masked")[0] + THREADED
    with (tmp_path / "log").open("wb") as log:
        subprocess.run([sys.executable, "-c", program], stdout=log, check=True, timeout=60)
    assert (tmp_path / "log").read_bytes() == b"hunter22 before\nafter\n"
