from __future__ import annotations

import io
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from octo_step_output import StepOutput, ThreadRedirection
from orchestrator.recipe_output import MaskedText, masked_output
from orchestrator.recipe_secrets import Masker
from tests.modules.parameter_support import Python
from tests.support import PROJECT

SECRET = 'p"ä/ss+\\w rd=%1'


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
from orchestrator.recipe_output import masked_output
from orchestrator.recipe_secrets import Masker
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
from orchestrator import recipe_output
recipe_output._LAST_OUTPUT_S = 60
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
