"""Worker processes: how they start, die, are ended at a time limit, and end with their engine."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import psutil
import pytest

import octo_step_worker_pool
from octo_step_executors import HookResult
from octo_step_processes import GRACE_S
from tests.modules.executor_bench import (
    DEADLINE_S,
    Bench,
    MakeBench,
    doing,
    needs_groups,
    node_module,
    returning,
    runs,
    until,
)
from tests.support import PROJECT, MakeLibrary

pytestmark = needs_groups


class TestWorkerProcess:
    """What can happen to a worker process, and that the next call works again."""

    @pytest.mark.parametrize(
        ("statement", "error"),
        [
            ("os._exit(7)", "ended with exit code 7"),
            ("os.kill(os.getpid(), signal.SIGKILL)", "was ended by SIGKILL"),
            ("os.abort()", "was ended by SIGABRT"),
            ("os.fork() or time.sleep(3600); os._exit(7)", "ended with exit code 7"),
            ("os.closerange(3, 256)", "ended with exit code 1"),
        ],
    )
    def test_a_worker_that_dies_is_an_error(
        self, make_bench: MakeBench, statement: str, error: str
    ) -> None:
        body = doing("print('last words', flush=True)", statement) + "\ndef step_exit(self): pass"
        bench = make_bench("processes", a=body)
        result = bench.call("a", "step_execute")
        assert result.error == f"the worker process {error} while step_execute ran"
        assert not result.timed_out
        assert bench.log("step_node_a").startswith(b"last words\n")
        assert bench.call("a", "step_exit").error is None

    @pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="needs /proc")
    def test_workers_that_died_leave_no_thread_and_no_open_file(
        self, make_bench: MakeBench
    ) -> None:
        # Threads of earlier tests may be there still, and end meanwhile: they are not counted.
        gc.collect()
        others = set(threading.enumerate())

        def threads() -> int:
            return len(set(threading.enumerate()) - others)

        def held() -> tuple[int, int]:
            return threads(), len(list(Path("/proc/self/fd").iterdir()))

        bench = make_bench("processes", a=doing("os._exit(7)"))
        bench.call("a", "step_execute")
        until(lambda: threads() <= 1)  # the one that follows output
        before = held()
        for _ in range(3):
            bench.call("a", "step_execute")
        until(lambda: held() == before)

    def test_a_hook_that_writes_into_the_replies_is_an_error(self, make_bench: MakeBench) -> None:
        bench = make_bench(
            "processes",
            a=doing(
                "for fd in range(3, 20):",
                "    try: os.write(fd, b'rubbish\\n')",
                "    except OSError: pass",
                "time.sleep(3600)",
            ),
        )
        result = bench.call("a", "step_execute")
        assert result.error is not None
        assert "something else wrote to its replies" in result.error

    def test_an_interpreter_that_is_not_there_is_an_error(
        self, make_bench: MakeBench, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(sys, "executable", "/missing/python")
        result = make_bench("processes", a=returning("0")).call("a", "step_execute")
        assert result.refused
        assert result.error is not None
        assert result.error.startswith("a worker process can't start: ")
        assert "/missing/python" in result.error

    def test_a_worker_that_cannot_start_is_an_error_in_its_own_words(
        self, make_bench: MakeBench, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        python = tmp_path / "python"
        python.write_text("#!/bin/sh\necho one >&2\necho 'no such library: libx' >&2\nexit 127\n")
        python.chmod(0o755)
        monkeypatch.setattr(sys, "executable", str(python))
        result = make_bench("processes", a=returning("0")).call("a", "step_execute")
        assert result.error == "a worker process can't start: no such library: libx"
        assert result.traceback == "one\nno such library: libx\n"

    def test_a_library_that_is_gone_is_an_error(
        self, make_bench: MakeBench, tmp_path: Path
    ) -> None:
        bench = make_bench("processes", a=returning("0"))
        (tmp_path / "step_library").rename(tmp_path / "elsewhere")
        result = bench.call("a", "step_execute")
        assert result.error is not None
        assert result.error.startswith("the node can't be made: ")
        assert "example" in result.error

    def test_standard_input_of_a_hook_is_empty(self, make_bench: MakeBench) -> None:
        bench = make_bench("processes", a=doing("print(repr(sys.stdin.read()))"))
        assert bench.call("a", "step_execute").error is None
        assert bench.log("step_node_a") == b"''\n"


class TestTimeout:
    """Calls with a time limit, whatever the kind: they run in a worker process, which is ended."""

    LIMIT = 0.3

    def timed_out(self, bench: Bench) -> HookResult:
        result = bench.call("a", "step_execute", self.LIMIT)
        assert result.error == "timed out after 0.3 s"
        assert result.timed_out
        assert not result.interrupted
        assert result.duration_s >= self.LIMIT
        return result

    def pids(self, bench: Bench) -> list[int]:
        return [int(word) for word in bench.log("step_node_a").split()]

    def test_a_hook_is_ended_at_its_limit_and_the_next_one_works(self, bench_of: MakeBench) -> None:
        bench = bench_of(a=doing("time.sleep(3600)") + "\ndef step_exit(self): pass")
        assert self.timed_out(bench).survivors == []
        assert bench.call("a", "step_exit", self.LIMIT).error is None

    def test_a_hook_may_tidy_up_before_it_is_ended(self, make_bench: MakeBench) -> None:
        bench = make_bench(
            "serial",
            a=doing("try: time.sleep(3600)", "finally: print('heater off')"),
        )
        self.timed_out(bench)
        assert bench.log("step_node_a") == b"heater off\n"

    def test_a_hook_that_ignores_sigterm_is_killed(self, make_bench: MakeBench) -> None:
        bench = make_bench(
            "serial",
            a=doing("signal.signal(signal.SIGTERM, signal.SIG_IGN)", "time.sleep(3600)"),
        )
        result = self.timed_out(bench)
        assert result.duration_s >= self.LIMIT + GRACE_S

    def test_processes_that_a_hook_started_end_with_it(self, make_bench: MakeBench) -> None:
        bench = make_bench(
            "serial",
            a=doing(
                "print(os.getpid(), subprocess.Popen(['sleep', '3600']).pid, flush=True)",
                "if os.fork() == 0:",
                "    signal.signal(signal.SIGTERM, signal.SIG_IGN)",
                "    print(os.getpid(), flush=True)",
                "time.sleep(3600)",
            ),
        )
        assert self.timed_out(bench).survivors == []
        pids = self.pids(bench)
        assert len(pids) == 3
        assert not any(map(runs, pids))

    @pytest.mark.parametrize(
        "escape",
        [
            "subprocess.Popen(['sleep', '3600'], start_new_session=True)",
            "subprocess.run(['sh', '-c', 'setsid sleep 3600 &'])",
        ],
        ids=["child", "daemon"],
    )
    def test_a_process_that_left_the_group_is_killed_and_told_of(
        self, make_bench: MakeBench, escape: str
    ) -> None:
        bench = make_bench("serial", a=doing(escape, "time.sleep(3600)"))
        result = bench.call("a", "step_execute", 1)
        assert result.timed_out
        (survivor,) = result.survivors
        pid, told = survivor.split(" ", 1)
        assert told == "sleep 3600: killed"
        assert not runs(int(pid))

    def test_where_processes_cannot_be_listed_the_group_is_ended_and_that_is_told(
        self, make_bench: MakeBench, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def refused() -> None:
            raise PermissionError("/proc")

        bench = make_bench(
            "serial",
            a=doing("print(subprocess.Popen(['sleep', '3600']).pid, flush=True)", "time.sleep(60)"),
        )
        with monkeypatch.context() as patched:
            patched.setattr(psutil, "process_iter", refused)
            (told,) = self.timed_out(bench).survivors
        assert told.endswith(": the processes that it started could not be looked for: /proc")
        until(lambda: not any(map(runs, self.pids(bench))))

    def test_the_time_to_import_the_module_does_not_count(self, make_bench: MakeBench) -> None:
        slow = f"time.sleep({self.LIMIT * 3})\n{doing('pass')}"
        bench = make_bench("serial", a=slow)
        assert bench.call("a", "step_execute", self.LIMIT).error is None

    def test_a_module_that_never_ends_its_import_is_ended_too(
        self, make_bench: MakeBench, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(octo_step_worker_pool, "STARTING_S", 0.5)
        bench = make_bench("serial", a=f"time.sleep(3600)\n{doing('pass')}")
        result = bench.call("a", "step_execute", self.LIMIT)
        assert result.error == "timed out: step_execute could not be started within 0.5 s"
        assert result.timed_out


class TestEndOfTheEngine:
    """Worker processes do not outlive their engine."""

    ENGINE = """
        import sys, time
        from pathlib import Path
        from octo_step_executors import HookCall, make_executor
        from octo_step_hooks import LibrarySource
        from octo_step_output import StepOutput

        library, directory = map(Path, sys.argv[1:])
        source = LibrarySource(library, {"step_node_a": "step_node_a"})
        output = StepOutput(directory)
        executor = make_executor("processes", source, directory, 1, output)
        executor.submit(HookCall("step_node_a", "step_execute"))
        """

    @pytest.mark.parametrize(
        "last", ["executor.wait()", "if os.fork(): executor.wait()\ntime.sleep(3600)"]
    )
    def test_workers_and_what_they_started_end_when_the_engine_is_killed(
        self, make_library: MakeLibrary, tmp_path: Path, last: str
    ) -> None:
        body = doing(
            "child = subprocess.Popen(['sleep', '3600'])",
            "stray = subprocess.Popen(['sleep', '3600'], start_new_session=True)",
            "Path('pids').write_text(f'{os.getpid()} {child.pid} {stray.pid} end')",
            "time.sleep(3600)",
        )
        library = make_library({"a": node_module("a", body)})
        code = textwrap.dedent(self.ENGINE) + "import os\n" + last
        engine = subprocess.Popen(
            [sys.executable, "-c", code, library, tmp_path],
            env={**os.environ, "PYTHONPATH": str(PROJECT / "modules")},
            start_new_session=True,
        )
        try:
            file = tmp_path / "pids"
            until(lambda: file.exists() and file.read_text().endswith("end"))
            pids = [int(word) for word in file.read_text().split()[:-1]]
            assert all(map(runs, pids))
            engine.kill()
            until(lambda: not any(map(runs, pids)))
        finally:
            os.killpg(engine.pid, signal.SIGKILL)
            engine.wait(DEADLINE_S)


class TestLeftBehind:
    """What hooks that have ended left running in a worker."""

    def test_a_process_of_a_worker_is_told_of_and_killed(self, make_bench: MakeBench) -> None:
        bench = make_bench(
            "processes",
            a=doing(
                "for session in (False, True):",
                "    p = subprocess.Popen(['sleep', '3600'], start_new_session=session)",
                "    p.returncode = 0",
                "    print(p.pid)",
            ),
        )
        bench.call("a", "step_execute")
        pids = [int(word) for word in bench.log("step_node_a").split()]
        left_behind = bench.close()
        assert not any(map(runs, pids))
        assert sorted(left_behind) == sorted(f"{pid} sleep 3600: killed" for pid in pids)
