"""Output of hooks: kept byte for byte per node, shown before a hook's result, no empty files."""

# what hooks print is the subject

from __future__ import annotations

import io
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

import octo_step_output
from octo_step_output import Redirection, StepOutput, ThreadRedirection, log_file_name

DEADLINE_S = 20


class Shown:
    """A sink that remembers, and lets a test wait for what it expects."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, bytes]] = []
        self._changed = threading.Condition()

    def __call__(self, node: str, data: bytes) -> None:
        with self._changed:
            self.calls.append((node, data))
            self._changed.notify_all()

    def of(self, node: str) -> bytes:
        return b"".join(data for name, data in self.calls if name == node)

    def wait_for(self, node: str, data: bytes) -> bool:
        with self._changed:
            return self._changed.wait_for(lambda: data in self.of(node), DEADLINE_S)


@pytest.fixture
def shown() -> Shown:
    return Shown()


@pytest.fixture
def output(tmp_path: Path, shown: Shown) -> Iterator[StepOutput]:
    output = StepOutput(tmp_path, shown)
    yield output
    output.close()


@pytest.fixture
def redirection() -> Iterator[Redirection]:
    redirection = Redirection()
    yield redirection
    redirection.close()


def logs(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (directory / "logs").glob("*")}


def write(output: StepOutput, node: str, data: bytes) -> None:
    log = output.start(node)
    os.write(log.fd, data)
    output.finish(log)


class TestLogs:
    def test_all_bytes_are_kept_and_shown_when_the_hook_has_finished(
        self, tmp_path: Path, output: StepOutput, shown: Shown
    ) -> None:
        for data in (b"one\n", b"\xff\xfe no newline", b"\0" * 300_000):
            write(output, "a", data)
            assert shown.of("a").endswith(data)
        assert logs(tmp_path) == {"a.log": b"one\n\xff\xfe no newline" + b"\0" * 300_000}

    def test_a_hook_is_followed_while_it_runs(self, output: StepOutput, shown: Shown) -> None:
        for part in (b"first", b"second"):
            log = output.start("a")
            os.write(log.fd, part)
            assert shown.wait_for("a", part)
            output.finish(log)

    def test_a_log_can_be_read_under_its_name_while_the_hook_runs(
        self, tmp_path: Path, output: StepOutput, shown: Shown
    ) -> None:
        log = output.start("a")
        os.write(log.fd, b"early")
        assert shown.wait_for("a", b"early")
        assert logs(tmp_path) == {"a.log": b"early"}
        assert output.paths(log) == [str(tmp_path / "logs" / "a.log")]
        output.finish(log)

    def test_nodes_that_write_nothing_leave_no_file(
        self, tmp_path: Path, output: StepOutput
    ) -> None:
        for node in ("a", "b", "a"):
            write(output, node, b"")
        output.close()
        assert logs(tmp_path) == {}

    def test_a_second_run_appends(self, tmp_path: Path, shown: Shown) -> None:
        for data in (b"one ", b"two"):
            output = StepOutput(tmp_path, shown)
            write(output, "a", data)
            output.close()
        assert logs(tmp_path) == {"a.log": b"one two"}
        assert shown.of("a") == b"one two"

    def test_many_nodes_keep_few_files_open(self, tmp_path: Path, output: StepOutput) -> None:
        for turn in range(2):
            for number in range(50):
                write(output, f"n{number}", b"%d" % turn)
        assert logs(tmp_path) == {f"n{number}.log": b"01" for number in range(50)}
        assert len(output._idle) <= 8

    def test_nodes_that_run_at_the_same_time_do_not_mix(
        self, tmp_path: Path, output: StepOutput, shown: Shown
    ) -> None:
        started = {node: output.start(node) for node in "abc"}
        for _ in range(10):
            for node, log in started.items():
                os.write(log.fd, node.encode())
        for log in started.values():
            output.finish(log)
        assert logs(tmp_path) == {f"{node}.log": node.encode() * 10 for node in "abc"}
        assert shown.of("b") == b"b" * 10

    def test_a_long_log_is_rotated_when_the_next_hook_starts(
        self, tmp_path: Path, output: StepOutput, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(octo_step_output, "LOG_LIMIT", 10)
        for data in (b"x" * 11, b"y" * 11, b"z"):
            write(output, "a", data)
        assert logs(tmp_path) == {"a.1.log": b"y" * 11, "a.log": b"z"}

    def test_a_long_log_of_an_earlier_run_is_rotated(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(octo_step_output, "LOG_LIMIT", 10)
        for data in (b"x" * 11, b"y"):
            output = StepOutput(tmp_path)
            write(output, "a", data)
            output.close()
        assert logs(tmp_path) == {"a.1.log": b"x" * 11, "a.log": b"y"}

    def test_a_log_that_was_deleted_is_made_anew(self, tmp_path: Path, output: StepOutput) -> None:
        write(output, "a", b"one")
        (tmp_path / "logs" / "a.log").unlink()
        write(output, "a", b"lost")
        write(output, "a", b"two")
        assert logs(tmp_path)["a.log"] == b"two"

    def test_logs_that_were_deleted_while_a_hook_ran_stop_nothing(
        self, tmp_path: Path, output: StepOutput, caplog: pytest.LogCaptureFixture, shown: Shown
    ) -> None:
        log = output.start("a")
        shutil.rmtree(tmp_path / "logs")
        os.write(log.fd, b"text")
        output.finish(log)
        assert shown.of("a") == b"text"
        assert "the output of a has no file any more" in caplog.text
        write(output, "a", b"again")
        assert logs(tmp_path) == {"a.log": b"again"}

    def test_two_hooks_of_one_node_share_its_log(
        self, tmp_path: Path, output: StepOutput, shown: Shown
    ) -> None:
        left_to_itself, other = output.start("a"), output.start("a")
        os.write(left_to_itself.fd, b"one ")
        os.write(other.fd, b"two ")
        output.finish(other)
        os.write(left_to_itself.fd, b"three")
        output.finish(left_to_itself)
        assert logs(tmp_path) == {"a.log": b"one two three"}
        assert shown.of("a") == b"one two three"

    def test_a_log_that_a_hook_cut_is_followed_further(
        self, output: StepOutput, shown: Shown
    ) -> None:
        write(output, "a", b"long text")
        log = output.start("a")
        os.ftruncate(log.fd, 0)
        output.finish(log)
        write(output, "a", b"new")
        assert shown.of("a") == b"long textnew"

    def test_last_words_of_a_killed_process_are_kept_and_empty_files_removed(
        self, tmp_path: Path
    ) -> None:
        directory = tmp_path / "logs"
        directory.mkdir()
        words = directory / f"unfinished-{os.getpid()}-1.log"
        words.write_bytes(b"last words")
        (directory / "unfinished-1-1.log").write_bytes(b"")
        output = StepOutput(tmp_path)
        write(output, "a", b"text")
        output.close()
        assert logs(tmp_path) == {words.name: b"last words", "a.log": b"text"}

    def test_a_sink_that_raises_is_logged_once_and_stops_nothing(
        self, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        def broken(node: str, data: bytes) -> None:
            raise BrokenPipeError("no one reads")

        output = StepOutput(tmp_path, broken)
        write(output, "a", b"one")
        write(output, "a", b"two")
        output.close()
        assert logs(tmp_path) == {"a.log": b"onetwo"}
        assert [record.getMessage() for record in caplog.records] == [
            "output is kept but no longer shown: no one reads"
        ]

    def test_a_file_in_the_way_is_an_error_that_names_it(self, tmp_path: Path) -> None:
        (tmp_path / "logs").write_text("in the way")
        output = StepOutput(tmp_path)
        with pytest.raises(OSError, match="logs"):
            output.start("a")
        output.close()

    def test_closing_twice_is_the_same_as_once(self, output: StepOutput) -> None:
        write(output, "a", b"x")
        output.close()
        output.close()

    def test_no_file_stays_open_after_close(self, tmp_path: Path) -> None:
        def open_files() -> int:
            return len(list(Path("/proc/self/fd").iterdir()))

        if not Path("/proc/self/fd").exists():
            pytest.skip("needs /proc")
        before = open_files()
        output = StepOutput(tmp_path)
        for node in ("a", "b", "c"):
            write(output, node, b"x" if node == "a" else b"")
        output.close()
        assert open_files() == before


class TestLogFileName:
    def test_plain_names_are_kept_and_others_stay_apart(self) -> None:
        assert log_file_name("step_node_a") == "step_node_a.log"
        odd = ["a/b", "a\\b", "../a", "a b", "ä", "a.1", "\ud800", "x" * 300, "x" * 301, ".", "a:b"]
        names = [log_file_name(node) for node in odd]
        assert len(set(names)) == len(names)
        for name in names:
            assert Path(name).name == name
            assert len(name) < 130
            assert not name.startswith(".")


class TestRedirection:
    def captured(self, tmp_path: Path, redirection: Redirection, action: object) -> bytes:
        """What was written to the redirected descriptors during two hooks."""
        file = tmp_path / "captured"
        fd = os.open(file, os.O_RDWR | os.O_APPEND | os.O_CREAT)
        outer = sys.stdout, sys.stderr
        for step in (action, lambda: print("after")):
            redirection.begin(fd)
            try:
                step()  # type: ignore[operator]
            finally:
                redirection.end()
            assert (sys.stdout, sys.stderr) == outer
        os.close(fd)
        return file.read_bytes()

    def test_prints_children_and_raw_writes_are_caught_in_order(
        self, tmp_path: Path, redirection: Redirection
    ) -> None:
        def hook() -> None:
            print("one")
            subprocess.run([sys.executable, "-c", "print('two')"], check=True)
            os.write(2, b"three\n")
            sys.stderr.write("four ")

        assert self.captured(tmp_path, redirection, hook) == b"one\ntwo\nthree\nfour after\n"

    def test_text_that_the_locale_cannot_encode_is_written(
        self, tmp_path: Path, redirection: Redirection
    ) -> None:
        seen = self.captured(tmp_path, redirection, lambda: print("\u00e4 \ud800"))
        assert seen == "\u00e4 \\ud800\nafter\n".encode()

    @pytest.mark.parametrize(
        "harm",
        [
            lambda: os.close(1),
            lambda: sys.stdout.close(),
            lambda: sys.stdout.detach(),  # type: ignore[union-attr]
            lambda: setattr(sys, "stdout", io.StringIO()),
            lambda: setattr(sys, "stdout", None),
            lambda: os.dup2(os.open(os.devnull, os.O_WRONLY), 1),
        ],
        ids=["fd closed", "closed", "detached", "replaced", "removed", "fd replaced"],
    )
    def test_what_a_hook_does_to_its_output_ends_with_the_hook(
        self, tmp_path: Path, redirection: Redirection, harm: object
    ) -> None:
        before = os.fstat(1).st_ino
        assert self.captured(tmp_path, redirection, harm) == b"after\n"
        assert os.fstat(1).st_ino == before


class TestThreadRedirection:
    def test_threads_write_to_their_own_logs_and_children_to_none(
        self, tmp_path: Path, output: StepOutput
    ) -> None:
        redirection = ThreadRedirection(output)
        outer = sys.stdout
        together = threading.Barrier(2, timeout=DEADLINE_S)

        def hook(node: str) -> None:
            redirection.begin(node)
            together.wait()
            for _ in range(100):
                print(node)
            sys.stderr.write("end")
            os.write(1, b"raw")
            together.wait()
            redirection.end()

        threads = [threading.Thread(target=hook, args=(node,)) for node in "ab"]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        redirection.close()
        assert sys.stdout is outer
        assert logs(tmp_path) == {
            "a.log": b"a\n" * 100 + b"end",
            "b.log": b"b\n" * 100 + b"end",
            "unattributed.log": b"rawraw",
        }
