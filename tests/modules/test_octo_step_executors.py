"""Executors: the one contract of serial, threads and processes; interrupts; and left-overs."""

from __future__ import annotations

import gc
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from octo_errors import UsageError
from octo_step_executors import make_executor
from octo_step_hooks import LibrarySource
from octo_step_output import StepOutput
from tests.modules.executor_bench import (
    DEADLINE_S,
    INIT,
    Bench,
    MakeBench,
    doing,
    needs_groups,
    returning,
    until,
)


class TestContract:
    """What holds for every kind of executor."""

    def test_a_result_says_what_came_of_the_hook(self, bench_of: MakeBench) -> None:
        bench = bench_of(
            a=returning("0"),
            b=returning("False"),
            c=doing("raise BaseException('all')"),
            d=doing("sys.exit('bye')"),
            e=returning("object()"),
            f=doing("raise KeyboardInterrupt"),
        )
        success, false, raised, exited, odd, interrupt = (
            bench.call(node, "step_execute") for node in "abcdef"
        )
        assert (success.node, success.hook, success.error) == ("step_node_a", "step_execute", None)
        assert success.duration_s > 0
        assert false.error == "returned False: a hook returns 0 or None for success"
        assert raised.error == "BaseException: all"
        assert "step_node_c.py" in raised.traceback
        assert str(exited.error).startswith("called sys.exit('bye')")
        assert str(odd.error).startswith("returned <object object at")
        assert (interrupt.error, interrupt.interrupted) == ("interrupted", True)

    def test_advance_gives_arrows_and_probe_an_answer(self, bench_of: MakeBench) -> None:
        bench = bench_of(
            a=returning("['x', 'y']", "step_advance"),
            b=returning("'done'", "step_probe"),
            c=returning("None", "step_advance"),
            d=INIT,
        )
        assert bench.call("a", "step_advance").arrows == ["x", "y"]
        assert bench.call("b", "step_probe").answer == "done"
        assert "step_advance returns an arrow key" in str(bench.call("c", "step_advance").error)
        missing = bench.call("d", "step_advance")
        assert (missing.error, missing.arrows) == (None, None)

    def test_a_node_that_cannot_be_made_is_an_error_and_is_tried_again(
        self, bench_of: MakeBench
    ) -> None:
        bench = bench_of(
            a="""
def __init__(self, name, verbose_flag=False):
    if not Path("ready").exists():
        raise RuntimeError("no licence")
"""
        )
        result = bench.call("a", "step_execute")
        assert result.error is not None
        assert "no licence" in result.error
        (bench.directory / "ready").touch()
        assert bench.call("a", "step_execute").error is None

    def test_a_node_keeps_its_object_over_hooks_and_visits(self, bench_of: MakeBench) -> None:
        body = """
def __init__(self, name, verbose_flag=False):
    self.count = 0
def step_entry(self):
    self.count += 1
def step_execute(self):
    print(self.count)
"""
        bench = bench_of(a=body, b=body)
        for _ in range(3):
            for hook in ("step_entry", "step_execute"):
                bench.submit("a", hook)
                bench.submit("b", hook)
                assert [result.error for result in bench.wait(2)] == [None, None]
        assert bench.log("step_node_a") == bench.log("step_node_b") == b"1\n2\n3\n"

    def test_all_that_a_hook_prints_is_shown_and_kept_before_its_result(
        self, bench_of: MakeBench
    ) -> None:
        bench = bench_of(a=doing("print('x' * 3_000_000)", "sys.stderr.write('end')"))
        assert bench.call("a", "step_execute").error is None
        assert bench.printed("step_node_a") == b"x" * 3_000_000 + b"\nend"
        assert bench.log("step_node_a") == bench.printed("step_node_a")

    def test_raw_bytes_and_output_of_children_are_shown_and_kept(self, bench_of: MakeBench) -> None:
        bench = bench_of(
            a=doing(
                "os.write(1, b'\\xff\\xfe raw ')",
                "subprocess.run([sys.executable, '-c', 'print(\"child\")'], check=True)",
            )
        )
        assert bench.call("a", "step_execute").error is None
        assert bench.printed() == b"\xff\xfe raw child\n"

    def test_hooks_that_print_nothing_leave_no_file(self, bench_of: MakeBench) -> None:
        bench = bench_of(a=returning("0"))
        bench.call("a", "step_execute")
        bench.close()
        assert list((bench.directory / "logs").iterdir()) == []

    @needs_groups
    def test_a_process_that_a_hook_forked_does_not_go_on_as_a_second_engine(
        self, bench_of: MakeBench
    ) -> None:
        wait = "print('child', os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))"
        bench = bench_of(
            a=doing("pid = os.fork()", "if pid: " + wait),
            b=doing("pid = os.fork()", "if pid: " + wait, "else: sys.exit(7)"),
            c=doing("pid = os.fork()", "if pid: " + wait, "else: 1 / 0"),
        )
        for node, code in (("a", 0), ("b", 7), ("c", 1)):
            assert bench.call(node, "step_execute").error is None
            assert f"child {code}\n" in bench.printed().decode()
        assert "ZeroDivisionError" in bench.printed().decode()

    @pytest.mark.parametrize(
        "harm",
        [
            "os.chdir('/')",
            "os.close(1)",
            "sys.stdout = io.StringIO()",
            "sys.stdout.close()",
            "sys.stdout = sys.stderr = None",
            "threading.Thread(target=time.sleep, args=(3600,), daemon=True).start()",
            "print('no newline', end='')",
        ],
    )
    def test_what_a_hook_does_to_its_process_does_not_reach_the_next_hook(
        self, bench_of: MakeBench, harm: str
    ) -> None:
        bench = bench_of(a=doing(harm), b=doing("print('here:', os.getcwd())"))
        assert bench.call("a", "step_execute").error is None
        assert bench.call("b", "step_execute").error is None
        assert bench.log("step_node_b").decode() == f"here: {os.path.realpath(bench.directory)}\n"

    def test_wait_returns_nothing_at_its_time_out_or_with_nothing_to_wait_for(
        self, bench_of: MakeBench
    ) -> None:
        bench = bench_of(a=returning("0"))
        assert bench.executor.wait() == []
        assert bench.executor.wait(0.01) == []
        assert bench.executor.wait(0) == []

    def test_wake_ends_a_wait_and_is_not_lost_between_two(self, bench_of: MakeBench) -> None:
        bench = bench_of(a=returning("0"))
        bench.executor.wake()
        assert bench.executor.wait(DEADLINE_S) == []
        timer = threading.Timer(0.05, bench.executor.wake)
        timer.start()
        assert bench.executor.wait(DEADLINE_S) == []
        timer.join()
        bench.executor.wake()
        bench.submit("a", "step_execute")
        assert [result.error for result in bench.wait()] == [None]

    @needs_groups
    def test_wake_works_from_a_signal_handler(self, bench_of: MakeBench) -> None:
        bench = bench_of(a=returning("0"))
        before = signal.signal(signal.SIGALRM, lambda *_: bench.executor.wake())
        try:
            signal.setitimer(signal.ITIMER_REAL, 0.05)
            assert bench.executor.wait(DEADLINE_S) == []
        finally:
            signal.signal(signal.SIGALRM, before)

    def test_the_working_directory_is_put_back_by_close(self, bench_of: MakeBench) -> None:
        before = Path.cwd()
        bench = bench_of(a=doing("os.chdir('/')"))
        bench.call("a", "step_execute")
        assert Path.cwd() == bench.directory
        bench.close()
        assert Path.cwd() == before
        assert bench.executor.close() == []

    def test_where_output_cannot_be_kept_a_hook_is_not_called(self, bench_of: MakeBench) -> None:
        bench = bench_of(a=doing("open('called', 'w')"))
        (bench.directory / "logs").write_text("in the way")
        result = bench.call("a", "step_execute")
        assert result.refused
        assert not (bench.directory / "called").exists()
        assert result.error is not None
        assert result.error.startswith("its output can't be kept: ")
        assert "logs" in result.error


class TestAtTheSameTime:
    """Hooks of several nodes."""

    MEET = doing(
        "Path(type(self).__name__).touch()",
        "until = time.monotonic() + 20",
        "while not (Path('step_node_a').exists() and Path('step_node_b').exists()):",
        "    assert time.monotonic() < until",
        "    time.sleep(0.01)",
    )
    TAKE_TURNS = doing("Path('busy').mkdir()", "time.sleep(0.05)", "Path('busy').rmdir()")

    @pytest.mark.parametrize("kind", ["threads", "processes"])
    def test_two_nodes_run_together(self, make_bench: MakeBench, kind: str) -> None:
        bench = make_bench(kind, workers=2, a=self.MEET, b=self.MEET)
        for node in "ab":
            bench.submit(node, "step_execute")
        assert [result.error for result in bench.wait(2)] == [None, None]

    @pytest.mark.parametrize(
        ("kind", "workers", "timeout_s"),
        [
            ("serial", None, None),
            ("serial", None, 60),
            ("threads", 1, None),
            ("processes", 1, None),
        ],
    )
    def test_no_more_hooks_run_together_than_there_are_workers(
        self, make_bench: MakeBench, kind: str, workers: int | None, timeout_s: float | None
    ) -> None:
        bench = make_bench(kind, workers, a=self.TAKE_TURNS, b=self.TAKE_TURNS, c=self.TAKE_TURNS)
        for node in "abc":
            bench.submit(node, "step_execute", timeout_s)
        assert [result.error for result in bench.wait(3)] == [None, None, None]

    def test_a_node_stays_in_one_process(self, make_bench: MakeBench) -> None:
        body = doing("print(os.getpid())")
        bench = make_bench("processes", workers=2, a=body, b=body)
        for _ in range(3):
            for node in "ab":
                bench.submit(node, "step_execute")
            bench.wait(2)
        pids = [bench.log(f"step_node_{node}").split() for node in "ab"]
        assert [len(set(of_node)) for of_node in pids] == [1, 1]
        assert pids[0] != pids[1]
        assert os.getpid() not in map(int, pids[0] + pids[1])

    @pytest.mark.parametrize("kind", ["serial", "threads"])
    def test_a_node_with_a_time_limit_has_all_its_hooks_in_one_worker(
        self, make_bench: MakeBench, kind: str
    ) -> None:
        bench = make_bench(kind, a=doing("print(os.getpid())"), b=doing("print(os.getpid())"))
        for timeout_s in (60, None, 60):
            assert bench.call("a", "step_execute", timeout_s).error is None
        bench.call("b", "step_execute")
        assert len(set(bench.log("step_node_a").split())) == 1
        assert bench.log("step_node_b").split() == [b"%d" % os.getpid()]


ENDLESS = doing("print('begun', flush=True)", "while True: time.sleep(0.01)")


@needs_groups
class TestInterrupt:
    """The second Ctrl-C: `interrupt` called in a signal handler."""

    @pytest.fixture
    def interrupted(self) -> Iterator[Callable[[Bench], None]]:
        """Calls `interrupt` in a signal handler, as soon as the bench has shown "begun"."""
        threads = []
        before = signal.getsignal(signal.SIGUSR1)

        def when_begun(bench: Bench) -> None:
            signal.signal(signal.SIGUSR1, lambda *_: bench.executor.interrupt())

            def wait_and_signal() -> None:
                deadline = time.monotonic() + DEADLINE_S
                while b"begun" not in bench.printed() and time.monotonic() < deadline:
                    time.sleep(0.01)
                os.kill(os.getpid(), signal.SIGUSR1)

            threads.append(threading.Thread(target=wait_and_signal))
            threads[-1].start()

        yield when_begun
        for thread in threads:
            thread.join()
        signal.signal(signal.SIGUSR1, before)

    def test_everything_submitted_comes_back_and_make_safe_can_be_called(
        self, bench_of: MakeBench, interrupted: Callable[[Bench], None]
    ) -> None:
        bench = bench_of(a=ENDLESS + "\ndef step_make_safe(self): print('safe')", b=ENDLESS)
        bench.submit("a", "step_execute")
        bench.submit("b", "step_execute")
        interrupted(bench)
        results = bench.wait(2)
        assert [result.interrupted for result in results] == [True, True]
        assert [result.error for result in results] == ["interrupted", "interrupted"]
        safe = bench.call("a", "step_make_safe")
        assert (safe.error, safe.interrupted) == (None, False)
        assert bench.printed("step_node_a").endswith(b"safe\n")
        begun = time.monotonic()
        bench.close()
        assert time.monotonic() - begun < DEADLINE_S

    def test_an_interrupt_with_nothing_submitted_changes_nothing(self, bench_of: MakeBench) -> None:
        bench = bench_of(a=returning("0"))
        bench.executor.interrupt()
        assert bench.executor.wait(DEADLINE_S) == []
        assert bench.call("a", "step_execute").error is None

    def test_a_hook_with_a_time_limit_is_ended(
        self, make_bench: MakeBench, interrupted: Callable[[Bench], None]
    ) -> None:
        bench = make_bench("serial", a=ENDLESS, b=ENDLESS)
        bench.submit("a", "step_execute", 3600)
        bench.submit("b", "step_execute")
        interrupted(bench)
        assert [result.interrupted for result in bench.wait(2)] == [True, True]
        assert bench.executor.close() == []

    def test_what_an_abandoned_thread_returns_later_is_dropped(
        self, make_bench: MakeBench, interrupted: Callable[[Bench], None]
    ) -> None:
        late = doing(
            "print('begun', flush=True)",
            "while not Path('go').exists(): time.sleep(0.01)",
            "print('late', flush=True)",
            "Path('gone').touch()",
        )
        bench = make_bench("threads", a=late)
        bench.submit("a", "step_execute")
        interrupted(bench)
        assert bench.wait()[0].interrupted
        (bench.directory / "go").touch()
        until((bench.directory / "gone").exists)
        assert bench.executor.wait(0.1) == []

    def test_a_thread_that_can_not_be_ended_is_told_of(
        self, make_bench: MakeBench, interrupted: Callable[[Bench], None]
    ) -> None:
        bench = make_bench("threads", a=doing("print('begun', flush=True)", "time.sleep(3600)"))
        bench.submit("a", "step_execute")
        interrupted(bench)
        bench.wait()
        assert bench.close() == ["step_execute of step_node_a: still runs, in a thread"]


class TestLeftBehind:
    """What hooks started and did not end."""

    def test_a_process_is_told_of_by_the_calling_process_and_left_running(
        self, make_bench: MakeBench
    ) -> None:
        bench = make_bench(
            "serial",
            a=doing("p = subprocess.Popen(['sleep', '3600'])", "print(p.pid)", "p.returncode = 0"),
        )
        bench.call("a", "step_execute")
        process = psutil.Process(int(bench.log("step_node_a")))
        try:
            assert bench.close() == [f"{process.pid} sleep 3600: still runs"]
        finally:
            process.kill()
            process.wait(DEADLINE_S)

    def test_a_thread_that_keeps_the_interpreter_from_exiting_is_told_of(
        self, make_bench: MakeBench
    ) -> None:
        bench = make_bench(
            "serial",
            a=doing("self.go = threading.Event()", "threading.Thread(target=self.go.wait).start()")
            + "\ndef step_exit(self): self.go.set()",
        )
        bench.call("a", "step_execute")
        thread = threading.enumerate()[-1]
        assert bench.executor._bystanders.left_behind() == [f"thread {thread.name}: still runs"]
        bench.call("a", "step_exit")

    def test_memory_stays_flat_over_many_hooks(self, make_bench: MakeBench) -> None:
        bench = make_bench("serial", a=returning("0") + "\ndef step_entry(self): print('x')")

        def blocks_after(hooks: int) -> int:
            for _ in range(hooks):
                bench.call("a", "step_execute")
                bench.call("a", "step_entry")
            bench.shown.clear()
            gc.collect()
            return sys.getallocatedblocks()

        before = blocks_after(500)
        assert blocks_after(5_000) - before < 100


def test_an_unknown_kind_is_an_error_with_the_nearest_name(tmp_path: Path) -> None:
    source, output = LibrarySource(tmp_path, {}), StepOutput(tmp_path)
    with pytest.raises(UsageError, match="did you mean 'threads'"):
        make_executor("thread", source, tmp_path, None, output)
    with pytest.raises(UsageError, match="workers is 0"):
        make_executor("threads", source, tmp_path, 0, output)
