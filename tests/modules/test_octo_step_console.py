"""What is shown of a run: lines in a pipe, a display on a terminal, JSON lines."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from octo_instance_setup import create_instance
from octo_step_console import Area, JsonView, LiveView, PlainView, QuietView, Stream
from octo_step_status import ActiveNode
from tests.support import PROJECT, MakeLibrary
from tests.terminals import on_a_terminal, screen

Capture = pytest.CaptureFixture[str]


def state(node: str, state: str, **facts: object) -> dict[str, Any]:
    return {"event": "state", "node": node, "state": state, "attempt": 1, **facts}


def failure(node: str, error: str, **facts: object) -> dict[str, Any]:
    return {"event": "step_error", "node": node, "state": "EXECUTE", "error": error, **facts}


# --- plain lines ----------------------------------------------------------------------------------


def test_a_node_is_one_line_with_the_time_that_its_hooks_took(capfd: Capture) -> None:
    with PlainView() as view:
        view.event(state("a", "ENTER", duration_s=1.0))
        view.event(state("a", "EXECUTE", duration_s=2.25))
        view.event(state("a", "JUMP", arrow=["x", "y"]))
    assert capfd.readouterr().out == "==> a: done, 3.2 s -> x + y\n"


def test_the_time_of_items_is_that_from_the_making_of_their_list_to_the_end_of_the_last(
    capfd: Capture,
) -> None:
    def at(second: float) -> str:
        return f"2026-01-01T00:00:{second:09.6f}Z"

    made = {"event": "items", "node": "a", "state": "EXECUTE", "count": 2, "duration_s": 0.5}
    with PlainView() as view:
        view.event({"event": "resume", "ts": at(1)})
        view.event(state("a", "ENTER", ts=at(1)))
        view.event({**made, "ts": at(2)})
        view.event(state("a[0]", "EXECUTE", duration_s=3.0, ts=at(5)))
        view.event(state("a", "EXECUTE", items=2, ts=at(6)))
        view.event(state("a", "JUMP", ts=at(6)))
        view.event(failure("b", "1 of 2 items failed", items=2, ts=at(9)))  # begun before
        view.event(state("b", "JUMP", arrow="on_error", to="c", ts=at(9)))
    out = capfd.readouterr().out
    assert "==> a: done, 4.5 s\n" in out
    assert out.endswith("==> b: failed, 8.0 s -> c\n")


def test_what_hooks_print_is_passed_on_byte_by_byte(capfdbinary: Any) -> None:
    with PlainView() as view:
        view.output("a", b"caf\xe9 \xff\x00")
        view.output("a", b"\r50%\r")
        assert capfdbinary.readouterr().out == b"caf\xe9 \xff\x00\r50%\r"


def test_a_line_of_the_engine_begins_a_new_line(capfd: Capture) -> None:
    with PlainView() as view:
        view.output("a", b"unfinished")
        view.event(state("a", "JUMP", arrow="x"))
        view.output("b", b"finished\n")
        view.event(state("b", "JUMP", arrow="x"))
    assert re.sub(r", [\d.]+ ms", "", capfd.readouterr().out) == (
        "unfinished\n==> a: done -> x\nfinished\n==> b: done -> x\n"
    )


def test_what_an_error_says_below_its_first_line_is_shown_where_there_is_no_traceback(
    capfd: Capture,
) -> None:
    with PlainView() as view:
        view.event(failure("a", "no 'split'\n  there are: stdout"))
        view.event(failure("b", "no\n  more", traceback="Traceback\n"))
    shown = capfd.readouterr().out
    assert "a EXECUTE: FAILED: no 'split' ...\n      there are: stdout\n" in shown
    assert "more\n" not in shown


def test_a_failure_shows_its_traceback_once_however_often_it_is_tried(capfd: Capture) -> None:
    event = failure("a", "ValueError: no", traceback="Traceback\n  File x\nValueError: no\n")
    with PlainView() as view:
        view.event(event)
        view.event({"event": "retry", "node": "a", "state": "EXECUTE", "attempt": 2, "delay_s": 3})
        view.event({**event, "attempt": 2})
        assert list(view.failed) == ["a"]
        view.event(state("a", "EXECUTE"))
        assert not view.failed
    assert capfd.readouterr().out == (
        "==> a EXECUTE: FAILED: ValueError: no\n"
        "    Traceback\n      File x\n    ValueError: no\n"
        "==> a EXECUTE: attempt 2 in 3.0 s\n"
        "==> a EXECUTE: FAILED: ValueError: no, attempt 2\n"
    )


def test_processes_that_outlived_a_time_out_are_named(capfd: Capture) -> None:
    with PlainView() as view:
        view.event(failure("a", "timed out after 3 s", survivors=["pid 7 (sleep): killed"]))
    assert "\n    pid 7 (sleep): killed\n" in capfd.readouterr().out


def test_a_node_that_leads_nowhere_or_was_skipped(capfd: Capture) -> None:
    with PlainView() as view:
        view.event(state("a", "EXECUTE", skipped=True))
        view.event(state("a", "JUMP"))
        view.event(state("a", "ENTER"))
        view.event(state("a", "JUMP"))
    out = re.sub(r", [\d.]+ ms", "", capfd.readouterr().out)
    assert out == "==> a: skipped\n==> a: done\n"


def test_a_view_may_leave_stdout_to_others(capfd: Capture) -> None:
    with PlainView(descriptor=2) as view:
        view.output("a", b"printed\n")
        view.say("seen")
    assert tuple(capfd.readouterr()) == ("", "printed\n==> seen\n")


def test_an_error_text_cant_play_with_the_terminal(capfd: Capture) -> None:
    with PlainView() as view:
        view.event(failure("a", "\x1b[2Jgone\x07", traceback="T\n  \x1b]0;title\x07"))
    out = capfd.readouterr().out
    assert "\x1b" not in out and "\x07" not in out and r"\x1b[2Jgone" in out


def test_an_event_of_a_newer_engine_is_shown_as_it_is(capfd: Capture) -> None:
    with PlainView(verbose=True) as view:
        view.event({"event": "teleport", "node": "a", "where": "there"})
    assert capfd.readouterr().out == "==> a: teleport where=there\n"


def test_quiet_shows_what_goes_wrong_on_stderr(capfd: Capture) -> None:
    with QuietView() as view:
        view.event(state("a", "JUMP", arrow="x"))
        view.event(failure("a", "no"))
        view.event({"event": "make_safe", "node": "b", "error": "stuck"})
        view.ending("COMPLETE_SUCCESS", bad=False)
    assert tuple(capfd.readouterr()) == (
        "",
        "==> a EXECUTE: FAILED: no\n==> b: MAKE-SAFE FAILED: stuck\n",
    )


def test_json_is_one_event_a_line_and_nothing_else(capfd: Capture) -> None:
    with JsonView() as view:
        view.event({"event": "state", "node": "Öfen"})
        view.output("a", b"printed")
        view.ending("the end", bad=True)
    assert tuple(capfd.readouterr()) == ('{"event":"state","node":"Öfen"}\n', "printed")


# --- streams --------------------------------------------------------------------------------------


def test_a_view_is_not_redirected_with_the_standard_streams(capfd: Capture, tmp_path: Path) -> None:
    kept = os.dup(1)
    with PlainView() as view, (tmp_path / "log").open("wb") as log:
        os.dup2(log.fileno(), 1)
        view.say("seen")
        os.dup2(kept, 1)
    os.close(kept)
    assert capfd.readouterr().out == "==> seen\n"
    assert (tmp_path / "log").read_bytes() == b""


@contextlib.contextmanager
def stdout_is_a_pipe() -> Iterator[int]:
    """Yields the reading end."""
    kept = os.dup(1)
    reader, writer = os.pipe()
    os.dup2(writer, 1)
    os.close(writer)
    try:
        yield reader
    finally:
        os.dup2(kept, 1)
        os.close(kept)


def test_a_reader_that_has_gone_silences_a_view() -> None:
    with stdout_is_a_pipe() as reader, PlainView() as view:
        os.close(reader)
        view.say("to nobody")
        view.output("a", b"to nobody")
        assert view.out.error is None


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_silences_a_view_and_is_known() -> None:
    with Path("/dev/full").open("wb") as full, stdout_is_a_pipe():
        os.dup2(full.fileno(), 1)
        stream = Stream(1)
    stream.write(b"lost")
    stream.write(b"lost too")
    assert stream.error is not None and stream.error.errno == errno.ENOSPC


def test_a_full_pipe_that_must_not_block_is_waited_for() -> None:
    with stdout_is_a_pipe() as reader:
        os.set_blocking(1, False)
        stream = Stream(1)
    received = bytearray()

    def read() -> None:
        while data := os.read(reader, 65536):
            received.extend(data)

    thread = threading.Thread(target=read)
    thread.start()
    stream.write(b"x" * 1_000_000)
    stream.close()
    thread.join(60)
    os.close(reader)
    assert len(received) == 1_000_000


def test_a_notice_waits_for_no_lock(capfd: Capture) -> None:
    with PlainView() as view, view._lock:
        thread = threading.Thread(target=view.notice, args=["pausing"])
        thread.start()
        thread.join(60)
        assert not thread.is_alive()
    assert capfd.readouterr().err == "\n==> pausing\n"


# --- the live display -----------------------------------------------------------------------------


def test_the_area_stays_below_what_is_written(capfd: Capture) -> None:
    area = Area(Stream(1))
    area.draw("first\nsecond")
    area.write_above(b"one\ntwo\n")
    area.draw("third")
    out = capfd.readouterr().out
    assert screen(out) == ["one", "two", "third", ""]
    area.clear()
    assert screen(out + capfd.readouterr().out) == ["one", "two", ""]


def test_the_area_is_away_while_a_line_is_unfinished(capfd: Capture) -> None:
    area = Area(Stream(1))
    area.draw("area")
    area.write_above(b"your name? ")
    area.draw("newer area")
    out = capfd.readouterr().out
    assert screen(out) == ["your name?"] and not area.is_shown
    area.write_above(b"\rdone\n")
    assert screen(out + capfd.readouterr().out) == ["done name?", "newer area", ""]


def test_the_display_shows_what_is_active_and_how_much_is_done(capfd: Capture) -> None:
    active = [ActiveNode("measure", "EXECUTE", attempt=2)]
    out = ""
    with LiveView(lambda: active) as view:
        view.event(state("before", "JUMP", arrow="on"))
        view.event(failure("measure", "no"))
        deadline = time.monotonic() + 60
        while "attempt 2" not in (out := out + capfd.readouterr().out):
            assert time.monotonic() < deadline
            time.sleep(0.01)
        shown = screen(out)
        assert re.match(r"[|/\\-]  measure  EXECUTE  attempt 2  \d\.\d s", shown[-3])
        assert re.match(r"1 step done, \d\.\d s, 1 failing", shown[-2])
        view.ending("paused", bad=False)
    shown = screen(out + capfd.readouterr().out)
    assert shown[-2:] == ["==> paused", ""] and not any("attempt" in line for line in shown)


def test_a_bar_shows_the_progress_where_it_can_be_told(capfd: Capture) -> None:
    out = ""
    with LiveView(list, progress=lambda: (3, 4)):
        deadline = time.monotonic() + 60
        while "done" not in (out := out + capfd.readouterr().out):
            assert time.monotonic() < deadline
            time.sleep(0.01)
    assert re.search(r"━{17}.*3 of 4 steps done, \d\.\d s", out)


def test_a_node_that_follows_itself_is_timed_anew(
    capfd: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: clock)
    deadline = time.perf_counter() + 60

    def wait_for(text: str) -> None:
        out = ""
        while text not in (out := out + capfd.readouterr().out):
            assert time.perf_counter() < deadline, out
            time.sleep(0.01)

    with LiveView(lambda: [ActiveNode("again", "EXECUTE")]) as view:
        wait_for("0.0 s")
        clock = 105.0
        wait_for("EXECUTE    5.0 s")
        view.event(state("again", "JUMP", arrow="again"))
        wait_for("EXECUTE    0.0 s")
        clock = 107.0
        wait_for("EXECUTE    2.0 s")
        view.event(state("again", "ADVANCE", arrow="again"))
        wait_for("EXECUTE    0.0 s")


def test_the_display_of_a_wide_fork_is_not_higher_than_a_terminal(capfd: Capture) -> None:
    active = [ActiveNode(f"branch_{number}", "EXECUTE") for number in range(100)]
    out = ""
    with LiveView(lambda: active):
        deadline = time.monotonic() + 60
        while "more active" not in (out := out + capfd.readouterr().out):
            assert time.monotonic() < deadline
            time.sleep(0.01)
    assert "... and 88 more active" in out and out.count("branch_") % 12 == 0


@pytest.mark.skipif(sys.platform == "win32", reason="pseudo-terminals")
def test_a_hook_may_ask_the_user_on_the_terminal(make_library: MakeLibrary, tmp_path: Path) -> None:
    library = make_library(
        {
            "ask": """
                class step_node_ask:
                    def step_execute(self):
                        print("working")
                        print("hello,", input("your name? "))
            """
        }
    )
    instance, _ = create_instance(tmp_path / "x", library)
    command = [sys.executable, str(PROJECT / "modules/octo_step_instance.py"), "run"]
    with on_a_terminal(command, instance.path) as terminal:
        out = terminal.read_until("your name? ")
        terminal.type("Octo\n")
        out += terminal.read_until(None)
        assert terminal.exit_code() == 0, out
    shown = screen(out)
    assert shown[:3] == ["working", "your name? Octo", "hello, Octo"]
    assert shown[3].startswith("==> step_node_ask: done, ")
    assert shown[4].startswith("==> COMPLETE_SUCCESS (1 step, ") and shown[5:] == [""]
