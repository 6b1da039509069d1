"""The event log: appended with no gap, mended when torn, never silently wrong."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import octo_step_events
from octo_errors import EventLogError
from octo_step_events import EVENT_FILE_NAME, EventLog, read_events
from tests.support import PROJECT

needs_posix = pytest.mark.skipif(os.name != "posix", reason="needs POSIX signals and limits")


def log_of(directory: Path, count: int) -> Path:
    """A log of `count` events; its current file."""
    log = EventLog(directory, run_id="r1")
    for number in range(1, count + 1):
        log.append({"event": "jump", "node": f"n{number}"})
    log.close()
    return directory / EVENT_FILE_NAME


def numbers(directory: Path) -> list[int]:
    return [event["seq"] for event in read_events(directory)]


@pytest.fixture
def small_files(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(octo_step_events, "ROTATE_AT", 400)


class TestAppend:
    def test_an_event_is_one_line_with_time_run_and_number_in_front(self, tmp_path: Path) -> None:
        log = EventLog(tmp_path, run_id="r1")
        returned = log.append({"event": "jump", "node": "a"})
        log.close()
        line = (tmp_path / EVENT_FILE_NAME).read_text()
        assert line.endswith("\n")
        assert json.loads(line) == returned[0]
        assert list(returned[0]) == ["ts", "run_id", "seq", "event", "node"]
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", returned[0]["ts"])

    def test_all_events_of_a_call_are_written_with_one_system_call(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        log = EventLog(tmp_path)
        writes: list[bytes] = []
        write = os.write

        def counted(fd: int, data: bytes) -> int:
            writes.append(data)
            return write(fd, data)

        monkeypatch.setattr(os, "write", counted)
        log.append({"event": "jump"}, {"event": "resume"}, {"event": "pause"})
        log.close()
        assert len(writes) == 1
        assert numbers(tmp_path) == [1, 2, 3]

    def test_numbers_go_on_after_a_restart(self, tmp_path: Path) -> None:
        log_of(tmp_path, 3)
        log_of(tmp_path, 2)
        assert numbers(tmp_path) == [1, 2, 3, 4, 5]

    def test_text_that_utf8_cannot_hold_is_written_escaped(self, tmp_path: Path) -> None:
        log = EventLog(tmp_path)
        log.append(
            {"event": "make_safe", "error": "\ud800", "value": 2**70, "what": object, "k": {1: ()}}
        )
        log.close()
        (event,) = read_events(tmp_path)
        assert event["error"] == "\\ud800"
        assert event["value"] == str(2**70)

    def test_power_durability_syncs_before_it_returns(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        log = EventLog(tmp_path, durability="power")
        synced: list[int] = []
        monkeypatch.setattr(os, "fsync", synced.append)
        log.append({"event": "jump"})
        log.close()
        assert len(synced) == 1


@pytest.mark.usefixtures("small_files")
class TestRotation:
    def test_the_log_is_bounded_and_keeps_the_newest_without_a_gap(self, tmp_path: Path) -> None:
        log_of(tmp_path, 100)
        files = sorted(tmp_path.iterdir())
        assert len(files) == 1 + octo_step_events.ROTATED_FILES
        assert all(file.stat().st_size <= 400 for file in files)
        kept = numbers(tmp_path)
        assert kept == list(range(kept[0], 101))
        assert kept[0] > 1

    def test_numbers_go_on_when_the_current_file_is_missing(self, tmp_path: Path) -> None:
        log_of(tmp_path, 20).unlink()
        before = numbers(tmp_path)
        log_of(tmp_path, 1)
        assert numbers(tmp_path) == [*before, before[-1] + 1]

    def test_the_last_events_may_span_files(self, tmp_path: Path) -> None:
        log_of(tmp_path, 20)
        for last in (0, 1, 7, 12, 1000):
            wanted = numbers(tmp_path)[-last:] if last else []
            assert [event["seq"] for event in read_events(tmp_path, last=last)] == wanted

    @pytest.mark.parametrize("killed_at", range(octo_step_events.ROTATED_FILES))
    def test_a_kill_between_two_renames_loses_nothing(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, killed_at: int
    ) -> None:
        log_of(tmp_path, 30)
        newest = numbers(tmp_path)[-1]
        replace, left = Path.replace, killed_at

        def killed(path: Path, target: Path) -> Path:
            nonlocal left
            if left == 0:
                raise KeyboardInterrupt
            left -= 1
            return replace(path, target)

        log = EventLog(tmp_path)
        with monkeypatch.context() as patched:
            patched.setattr(Path, "replace", killed)
            with pytest.raises(KeyboardInterrupt):
                log.append({"event": "jump", "text": "x" * 300})
        log.close()
        log_of(tmp_path, 5)
        after = numbers(tmp_path)
        assert after == list(range(after[0], newest + 6))

    def test_a_reader_sees_no_gap_while_the_log_rotates(self, tmp_path: Path) -> None:
        log = EventLog(tmp_path)
        log.append(*({"event": "jump"} for _ in range(20)))
        events = read_events(tmp_path)
        seen = [next(events)["seq"]]
        for _ in range(10):
            log.append({"event": "jump", "text": "x" * 300})
        seen += [event["seq"] for event in events]
        log.close()
        assert seen[:20] == list(range(1, 21))


class TestMending:
    @pytest.mark.parametrize(
        "torn", [b'{"ts":"2026', b"\0\0\0\0", b"half a line\n", b"\n", b"\xff"]
    )
    def test_a_torn_last_line_is_cut_off_and_reported(self, tmp_path: Path, torn: bytes) -> None:
        file = log_of(tmp_path, 3)
        with file.open("ab") as f:
            f.write(torn)
        assert numbers(tmp_path) == [1, 2, 3]
        log = EventLog(tmp_path, run_id="r2")
        log.append({"event": "resume"})
        log.close()
        events = list(read_events(tmp_path))
        assert [event["seq"] for event in events] == [1, 2, 3, 4, 5]
        assert events[3]["event"] == "log_mended"
        assert events[3]["cut_bytes"] == len(torn)
        assert events[3] == log.mended

    def test_a_sound_log_is_not_mended(self, tmp_path: Path) -> None:
        log_of(tmp_path, 3)
        log = EventLog(tmp_path)
        log.close()
        assert log.mended is None
        assert numbers(tmp_path) == [1, 2, 3]

    def test_a_torn_first_line_leaves_an_empty_log(self, tmp_path: Path) -> None:
        (tmp_path / EVENT_FILE_NAME).write_bytes(b'{"ts":')
        EventLog(tmp_path).close()
        assert numbers(tmp_path) == [1]

    def test_a_line_longer_than_the_tail_that_is_looked_at_is_found(self, tmp_path: Path) -> None:
        log_of(tmp_path, 2)
        log = EventLog(tmp_path)
        log.append({"event": "make_safe", "traceback": "x" * 200_000})
        log.close()
        log_of(tmp_path, 1)
        assert numbers(tmp_path) == [1, 2, 3, 4]

    def test_a_log_that_does_not_end_in_events_is_left_as_it_is(self, tmp_path: Path) -> None:
        file = log_of(tmp_path, 2)
        with file.open("ab") as f:
            f.write(b"one\ntwo\n")
        content = file.read_bytes()
        with pytest.raises(EventLogError, match=r"jsonl:3: .* is no event"):
            EventLog(tmp_path)
        assert file.read_bytes() == content


class TestReading:
    def test_no_log_is_no_event(self, tmp_path: Path) -> None:
        assert numbers(tmp_path) == []
        assert list(read_events(tmp_path / "missing", last=5)) == []

    @pytest.mark.parametrize(
        "bad", [b"not json", b"[1]", b'{"seq": "3"}', b'{"event": "jump"}', b""]
    )
    def test_a_bad_line_in_the_middle_is_named(self, tmp_path: Path, bad: bytes) -> None:
        file = log_of(tmp_path, 3)
        lines = file.read_bytes().splitlines()
        file.write_bytes(b"\n".join([lines[0], bad, lines[2], b""]))
        with pytest.raises(EventLogError, match=r"jsonl:2: .*is no event") as error:
            numbers(tmp_path)
        assert error.value.hint

    @pytest.mark.parametrize(
        "wrong",
        [
            {"event": ["state"]},
            {"event": None},
            {"ts": 5},
            {"run_id": {}},
            {"seq": True},
            {"seq": 2.0},
            {"node": ["n2"]},
            {"state": {}},
            {"attempt": "2"},
            {"duration_s": "long"},
            {"event": "retry", "delay_s": None},
            {"event": "join_wait", "missing": "n1"},
            {"event": "jump", "left": [1]},
            {"event": "library_changed", "files": None},
            {"event": "left_running", "what": [["a"]]},
            {"ts": "yesterday"},
            {"ts": "2026-03-01T09:30:12"},
            {"event": "state", "state": "ENTER"},
            {"event": "state", "attempt": 1},
            {"event": "interrupted", "state": "ENTER"},
            {"event": "retry", "state": "ENTER", "attempt": 2},
            {"event": "items", "state": "EXECUTE", "attempt": 1},
            {"peak_memory_bytes": "much"},
        ],
    )
    def test_an_event_that_lacks_a_field_or_has_one_of_a_wrong_type_is_none(
        self, tmp_path: Path, wrong: dict[str, object]
    ) -> None:
        file = log_of(tmp_path, 3)
        lines = file.read_text().splitlines()
        lines[1] = json.dumps(json.loads(lines[1]) | wrong)
        file.write_text("".join(f"{line}\n" for line in lines))
        with pytest.raises(EventLogError, match=r"jsonl:2: .*is no event"):
            numbers(tmp_path)

    def test_an_unknown_kind_of_event_may_have_any_further_fields(self, tmp_path: Path) -> None:
        log = EventLog(tmp_path)
        log.append({"event": "of_later", "missing": 5, "left": None, "how": {}, "files": [1]})
        log.close()
        assert numbers(tmp_path) == [1]

    def test_a_missing_line_is_named(self, tmp_path: Path) -> None:
        file = log_of(tmp_path, 3)
        lines = file.read_bytes().splitlines(keepends=True)
        file.write_bytes(lines[0] + lines[2])
        with pytest.raises(EventLogError, match=r"jsonl:2: .*is event 3, and follows event 1"):
            numbers(tmp_path)

    def test_truncation_anywhere_leaves_a_log_that_reads_and_goes_on(self, tmp_path: Path) -> None:
        file = log_of(tmp_path, 4)
        content = file.read_bytes()
        for length in range(len(content) + 1):
            file.write_bytes(content[:length])
            whole = content.count(b"\n", 0, length)
            assert numbers(tmp_path) == list(range(1, whole + 1))
            mended = 0 if length == content.rfind(b"\n", 0, length) + 1 else 1
            log_of(tmp_path, 2)
            assert numbers(tmp_path) == list(range(1, whole + mended + 3))

    @given(data=st.data())
    def test_flipped_bits_are_an_error_or_an_order_that_is_right(
        self, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
    ) -> None:
        directory = tmp_path_factory.mktemp("log")
        file = log_of(directory, 4)
        content = bytearray(file.read_bytes())
        for _ in range(data.draw(st.integers(1, 3))):
            position = data.draw(st.integers(0, len(content) - 1))
            content[position] ^= 1 << data.draw(st.integers(0, 7))
        file.write_bytes(content)
        for use in (numbers, lambda d: log_of(d, 2), numbers):
            try:
                seen = use(directory)
            except EventLogError as error:
                assert EVENT_FILE_NAME in str(error)
            else:
                if isinstance(seen, list):
                    assert seen == list(range(seen[0], seen[0] + len(seen))) if seen else True


class TestTrouble:
    @needs_posix
    @pytest.mark.parametrize("make", [Path.mkdir, lambda path: os.mkfifo(path)])
    def test_what_is_no_file_is_an_error_and_not_a_wait(self, tmp_path: Path, make: object) -> None:
        make(tmp_path / EVENT_FILE_NAME)  # type: ignore[operator]
        for use in (EventLog, lambda directory: list(read_events(directory))):
            with pytest.raises(EventLogError, match=re.escape(EVENT_FILE_NAME)):
                use(tmp_path)

    def test_a_directory_that_is_gone_is_an_error(self, tmp_path: Path) -> None:
        with pytest.raises(EventLogError, match="can't be opened: No such file"):
            EventLog(tmp_path / "gone")

    def test_a_failed_append_is_taken_back_and_the_next_one_fits(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        log = EventLog(tmp_path)
        log.append({"event": "jump"})
        write = os.write

        def full(fd: int, data: bytes) -> int:
            if len(data) < 20:
                raise OSError(28, "No space left on device")
            return write(fd, data[: len(data) // 2])

        with monkeypatch.context() as patched:
            patched.setattr(os, "write", full)
            with pytest.raises(EventLogError, match="No space left") as error:
                log.append({"event": "lost"}, {"event": "lost"})
        assert error.value.details["errno"] == 28
        assert error.value.hint
        log.append({"event": "jump"})
        log.close()
        assert [(e["seq"], e["event"]) for e in read_events(tmp_path)] == [
            (1, "jump"),
            (2, "jump"),
        ]

    def test_what_could_not_be_taken_back_is_cut_before_the_next_append(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        log = EventLog(tmp_path)
        log.append({"event": "jump"})
        write = os.write

        def broken(*_: object) -> None:
            raise OSError(5, "Input/output error")

        with monkeypatch.context() as patched:
            patched.setattr(os, "fsync", broken)
            patched.setattr(os, "ftruncate", broken)
            patched.setattr(
                os, "write", lambda fd, data: broken() if len(data) < 30 else write(fd, data[:30])
            )
            with pytest.raises(EventLogError, match="Input/output error"):
                log.append({"event": "lost"})
        log.append({"event": "jump"})
        log.close()
        assert numbers(tmp_path) == [1, 2]

    @needs_posix
    def test_a_file_size_limit_leaves_the_log_well_formed(self, tmp_path: Path) -> None:
        done = python(
            """
            import resource
            resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
            log = EventLog(Path(sys.argv[1]))
            try:
                while True:
                    log.append({"event": "jump", "node": "n"})
            except EventLogError as error:
                print(error)
            """,
            tmp_path,
        )
        said, _ = done.communicate(timeout=60)
        assert (
            f"{tmp_path / EVENT_FILE_NAME}: the event log can't be written: File too large" in said
        )
        content = (tmp_path / EVENT_FILE_NAME).read_bytes()
        assert content.endswith(b"\n")
        assert len(content) > 800
        assert numbers(tmp_path) == list(range(1, content.count(b"\n") + 1))

    @needs_posix
    def test_a_killed_writer_leaves_every_event_that_it_acknowledged(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(octo_step_events, "ROTATED_FILES", 1_000)
        acknowledged = 0
        for _ in range(5):
            writer = python(
                """
                import octo_step_events
                octo_step_events.ROTATE_AT = 20_000
                octo_step_events.ROTATED_FILES = 1_000
                log = EventLog(Path(sys.argv[1]))
                while True:
                    print(log.append({"event": "jump", "text": "x" * 100})[-1]["seq"], flush=True)
                """,
                tmp_path,
            )
            assert writer.stdout is not None
            for _ in range(200):
                acknowledged = int(writer.stdout.readline())
            writer.kill()
            with (
                writer.stdout as rest
            ):  # communicate() would pass over what readline() has read ahead
                acknowledged = max([acknowledged, *map(int, rest.read().split("\n")[:-1])])
            assert writer.wait(60) == -signal.SIGKILL
            seen = numbers(tmp_path)
            assert seen == list(range(1, seen[-1] + 1))
            assert seen[-1] >= acknowledged > 0


def python(code: str, directory: Path) -> subprocess.Popen[str]:
    """A process that runs the code with the log's names imported, on `directory`."""
    head = """
    import sys
    from pathlib import Path
    from octo_errors import EventLogError
    from octo_step_events import EventLog
    """
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(head) + textwrap.dedent(code), str(directory)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(PROJECT / "modules")},
    )
