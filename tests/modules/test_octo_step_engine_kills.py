"""The engine as a process that is killed with -9, stopped by signals, and steered from outside."""

from __future__ import annotations

import signal
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pytest

from octo_instance_setup import create_instance
from octo_step_engine import StepEngine
from tests.modules.engine_support import (
    DEADLINE_S,
    INSTANCE,
    events,
    killed_at,
    node_text,
    running,
    stored,
    trace,
    traced,
    wait_for,
)
from tests.support import MakeLibrary

HANG = "Path('reached').touch(); time.sleep(600); return 0"
HANG_ONCE = "return hang_once(0)"
ONCE = """
def hang_once(value):
    if Path("hung").exists():
        return value
    Path("hung").touch()
    Path("reached").touch()
    time.sleep(600)

"""
HOOK_OF = {
    "ENTER": "step_entry",
    "EXECUTE": "step_execute",
    "ADVANCE": "step_advance",
    "EXIT": "step_exit",
}


@pytest.fixture
def instance(tmp_path: Path) -> Path:
    return tmp_path / "instance"


def run(instance: Path, *options: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(INSTANCE), "run", str(instance), *map(str, options)],
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
    )


def hanging_node(at: str, **options: Any) -> str:
    """A node whose hook of the state `at` hangs the first time; every hook leaves a trace."""
    body = ""
    for state, hook in HOOK_OF.items():
        value = "'go'" if state == "ADVANCE" else "0"
        body += trace(hook, f"return hang_once({value})" if state == at else f"return {value}")
    return ONCE + node_text("a", body, to={"go": "b"}, **options)


@pytest.mark.parametrize("executor", ["serial", "threads", "processes"])
@pytest.mark.parametrize("state", HOOK_OF)
def test_a_kill_in_a_hook_repeats_that_hook_and_no_other(
    make_library: MakeLibrary, instance: Path, state: str, executor: str
) -> None:
    b = node_text("b", trace("step_execute"))
    create_instance(instance, make_library({"a": hanging_node(state), "b": b}))
    killed_at(instance, "reached", "--executor", executor)
    assert stored(instance)["global_parameters"]["current_step_state"] == state
    assert stored(instance)["global_parameters"]["step_engine_state"] == "RUNNING"
    done = run(instance, "--executor", executor)
    assert done.returncode == 0, done.stdout + done.stderr
    hooks = [line.split()[1] for line in traced(instance)]
    expected = [*HOOK_OF.values(), "step_execute"]
    at = expected.index(HOOK_OF[state])
    assert hooks == [*expected[: at + 1], *expected[at:]]
    (interrupted,) = events(instance, "interrupted")
    assert (interrupted["node"], interrupted["state"]) == ("step_node_a", state)


@pytest.mark.parametrize(
    ("policy", "probe", "answers", "code", "times"),
    [
        ("rerun", "", [], 0, 2),
        ("skip", "", [], 0, 1),
        ("ask", "", [], 3, 1),
        ("probe", "return 'done'", ["done"], 0, 1),
        ("probe", "return 'rerun'", ["rerun"], 0, 2),
        ("probe", "raise OSError('no answer')", ["OSError: no answer"], 3, 1),
    ],
)
def test_the_node_says_what_becomes_of_an_interrupted_step(
    make_library: MakeLibrary,
    instance: Path,
    policy: str,
    probe: str,
    answers: list[str],
    code: int,
    times: int,
) -> None:
    body = trace("step_execute", HANG_ONCE) + (trace("step_probe", probe) if probe else "")
    create_instance(instance, make_library({"a": ONCE + node_text("a", body, on_interrupt=policy)}))
    killed_at(instance, "reached")
    done = run(instance)
    assert done.returncode == code, done.stdout + done.stderr
    assert sum("step_execute" in line for line in traced(instance)) == times
    assert len(events(instance, "interrupted")) == 1
    told = [each.get("error", each.get("return_value")) for each in events(instance, "probe")]
    assert told == answers
    if code == 3:
        assert "interrupted" in stored(instance)["global_parameters"]["pause_reason"]
        assert run(instance).returncode == 0  # the answer: go on
        assert len(events(instance, "interrupted")) == 1


@pytest.mark.parametrize("state", ["ENTER", "EXECUTE"])
def test_a_step_that_is_to_be_skipped_goes_on_to_advance(
    make_library: MakeLibrary, instance: Path, state: str
) -> None:
    b = node_text("b", trace("step_execute"))
    create_instance(instance, make_library({"a": hanging_node(state, on_interrupt="skip"), "b": b}))
    killed_at(instance, "reached")
    before = traced(instance)
    done = run(instance)
    assert done.returncode == 0, done.stdout + done.stderr
    hooks = [line.split()[1] for line in traced(instance)[len(before) :]]
    assert hooks == ["step_advance", "step_exit", "step_execute"]  # the last one is of b
    assert stored(instance)["step_node_a"]["step_results_key_last_status"] == "SKIPPED"


def test_a_kill_during_a_back_off_resumes_the_wait_and_the_count(
    make_library: MakeLibrary, instance: Path
) -> None:
    body = trace("step_execute", "return int(not Path('mended').exists())")
    text = node_text("a", body, max_retries=4, retry_delay_seconds=0.4, retry_backoff_factor=3)
    create_instance(instance, make_library({"a": text}))
    with running(instance) as engine:
        wait_for(lambda: len(traced(instance)) == 3, "three attempts")
        wait_for(lambda: _waits(instance), "the third back-off")
        engine.kill()
        engine.wait(DEADLINE_S)
    due = _waits(instance)
    (instance / "mended").touch()
    done = run(instance)
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(traced(instance)) == 4 and not events(instance, "interrupted")
    (executed,) = [e for e in events(instance, "state") if e["state"] == "EXECUTE"]
    assert executed["attempt"] == 4
    assert executed["ts"].removesuffix("Z") >= due.removesuffix("+00:00")


def _waits(instance: Path) -> str:
    """When the fourth attempt is due, once the file says so."""
    record = stored(instance).get("active_steps", {}).get("step_node_a", {})
    return str(record.get("retry_due", "")) if record.get("attempt") == 4 else ""


def test_a_killed_engine_takes_its_workers_along(make_library: MakeLibrary, instance: Path) -> None:
    body = (
        "    def step_execute(self):\n"
        "        child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
        "        Path('pids').write_text(f'{os.getpid()} {child.pid}')\n"
        "        Path('reached').touch()\n"
        "        time.sleep(600)\n"
    )
    create_instance(instance, make_library({"a": node_text("a", body)}))
    killed_at(instance, "reached", "--executor", "processes")
    for pid in map(int, (instance / "pids").read_text().split()):
        wait_for(partial(_is_gone, pid), f"the end of {pid}")


def _is_gone(pid: int) -> bool:
    return not psutil.pid_exists(pid)


@pytest.mark.parametrize("executor", ["threads", "processes"])
def test_a_killed_fork_goes_on_and_repeats_no_finished_branch(
    make_library: MakeLibrary, instance: Path, executor: str
) -> None:
    forks = "    def step_advance(self):\n        return ['l', 'r']\n"
    library = make_library(
        {
            "start": node_text("start", forks, to={"l": "left", "r": "right"}),
            "left": node_text("left", trace("step_execute"), to={"j": "join"}),
            "right": ONCE + node_text("right", trace("step_execute", HANG_ONCE), to={"j": "join"}),
            "join": node_text("join", trace("step_execute"), join_all_bool=1),
        }
    )
    create_instance(instance, library)
    with running(instance, "--executor", executor) as engine:
        wait_for((instance / "reached").exists, "the right branch")
        wait_for(lambda: events(instance, "join_wait"), "the left branch at the join")
        wait_for(lambda: stored(instance)["join_arrivals"], "the arrival in the file")
        engine.kill()
        engine.wait(DEADLINE_S)
    done = run(instance, "--executor", executor)
    assert done.returncode == 0, done.stdout + done.stderr
    told = [line.split()[0] for line in traced(instance)]
    assert sorted(told[:2]) == ["left", "right"] and told[2:] == ["right", "join"]


def test_after_a_kill_armed_nodes_are_made_safe_first(
    make_library: MakeLibrary, instance: Path
) -> None:
    body = trace("step_execute", HANG_ONCE) + trace("step_make_safe")
    create_instance(instance, make_library({"a": ONCE + node_text("a", body)}))
    killed_at(instance, "reached")
    assert stored(instance)["global_parameters"]["make_safe"] == ["step_node_a"]
    assert run(instance).returncode == 0
    told = [line.split()[1] for line in traced(instance)]
    assert told == ["step_execute", "step_make_safe", "step_execute"]


@pytest.mark.parametrize("executor", ["serial", "threads", "processes"])
def test_what_a_killed_engine_has_left_running_is_told_by_the_next_one(
    make_library: MakeLibrary, instance: Path, executor: str
) -> None:
    start = "subprocess.Popen(['sleep', '3600'], start_new_session=True)"
    body = trace(
        "step_execute",
        f"if not Path('hung').exists(): Path('pid').write_text(str({start}.pid))\n"
        f"        {HANG_ONCE}",
    )
    create_instance(instance, make_library({"a": ONCE + node_text("a", body)}))
    with running(instance, "--executor", executor) as engine:
        wait_for((instance / "reached").exists, "the hook")
        engine.kill()
    left = psutil.Process(int((instance / "pid").read_text()))
    if executor == "processes":  # it goes with its worker, which notices that the engine is gone
        wait_for(lambda: not left.is_running(), "its end")
    assert run(instance).returncode == 0
    told = [event["what"] for event in events(instance, "left_running")]
    if executor != "processes":
        assert told == [[f"{left.pid} sleep 3600: still runs"]]
        left.kill()
    else:
        assert not told


@pytest.mark.slow
def test_a_worker_that_has_not_ended_with_its_engine_is_waited_for_and_told_of(
    make_library: MakeLibrary, instance: Path
) -> None:
    body = trace("step_execute", f"Path('pid').write_text(str(os.getpid()))\n        {HANG_ONCE}")
    create_instance(instance, make_library({"a": ONCE + node_text("a", body)}))
    with running(instance, "--executor", "processes") as engine:
        wait_for((instance / "reached").exists, "the hook")
        worker = psutil.Process(int((instance / "pid").read_text()))
        worker.suspend()  # so that it doesn't notice
        engine.kill()
    try:
        assert run(instance, "--executor", "processes").returncode == 0
        (told,) = events(instance, "left_running")
        assert [line.split()[0] for line in told["what"]] == [str(worker.pid)]
        assert told["what"][0].endswith(": still runs")
    finally:
        worker.kill()


@pytest.mark.parametrize(
    "end", ["os._exit(0)", "os.abort()", "os.kill(os.getpid(), signal.SIGSEGV)"]
)
def test_a_hook_that_ends_the_engine_is_told_as_interrupted_by_the_next_one(
    make_library: MakeLibrary, instance: Path, end: str
) -> None:
    body = trace(
        "step_execute", f"return 0 if Path('hung').exists() else Path('hung').touch() or {end}"
    )
    create_instance(instance, make_library({"a": "import signal\n" + node_text("a", body)}))
    run(instance)
    again = run(instance)
    assert again.returncode == 0
    assert "interrupted" in again.stdout + again.stderr
    (told,) = events(instance, "interrupted")
    assert (told["node"], told["state"]) == ("step_node_a", "EXECUTE")
    assert [line.split()[1] for line in traced(instance)] == ["step_execute", "step_execute"]


@pytest.mark.parametrize("executor", ["serial", "threads", "processes"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_lets_the_hook_finish_and_rests(
    make_library: MakeLibrary, instance: Path, number: signal.Signals, executor: str
) -> None:
    body = trace(
        "step_execute",
        "Path('reached').touch()\n"
        "        while not Path('go').exists(): time.sleep(0.01)\n"
        "        return 0",
    )
    text = node_text("a", body + trace("step_exit"))
    create_instance(instance, make_library({"a": text}))
    with running(instance, "--executor", executor) as engine:
        wait_for((instance / "reached").exists, "the hook")
        engine.send_signal(number)
        (instance / "go").touch()
        assert engine.wait(DEADLINE_S) == 3
    assert [line.split()[1] for line in traced(instance)] == ["step_execute"]
    assert stored(instance)["global_parameters"]["pause_reason"]
    assert run(instance).returncode == 0
    assert [line.split()[1] for line in traced(instance)] == ["step_execute", "step_exit"]
    assert not events(instance, "interrupted")


@pytest.mark.parametrize("executor", ["serial", "threads", "processes"])
def test_a_second_ctrl_c_interrupts_the_hook_itself(
    make_library: MakeLibrary, instance: Path, executor: str
) -> None:
    text = ONCE + node_text("a", trace("step_execute", HANG_ONCE))
    create_instance(instance, make_library({"a": text}))
    with running(instance, "--executor", executor) as engine:
        wait_for((instance / "reached").exists, "the hook")
        engine.send_signal(signal.SIGINT)
        assert engine.stdout is not None
        while "again" not in engine.stdout.readline():
            pass
        engine.send_signal(signal.SIGINT)
        assert engine.wait(DEADLINE_S) == 130
    assert stored(instance)["global_parameters"]["current_step_state"] == "EXECUTE"
    assert run(instance).returncode == 0
    assert len(traced(instance)) == 2 and len(events(instance, "interrupted")) == 1


def test_the_engine_lets_go_of_everything_when_the_file_goes_bad(
    make_library: MakeLibrary, instance: Path
) -> None:
    body = (
        "    def step_execute(self):\n"
        "        Path('.octo_step_engine_parameters.json').write_text('{')\n"
        "        return 0\n"
    )
    create_instance(instance, make_library({"a": node_text("a", body)}))
    done = run(instance)
    assert done.returncode == 1 and ".octo_step_engine_parameters.json" in done.stderr
    assert "Traceback" not in done.stderr
    assert (instance / ".octo_step_engine_parameters.json").read_text() == "{"


@pytest.mark.exhaustive
@pytest.mark.timeout(900)
def test_memory_stays_flat_over_a_hundred_thousand_turns(
    make_library: MakeLibrary, instance: Path
) -> None:
    body = (
        "    n = 0\n"
        "    def step_execute(self):\n"
        "        import resource\n"
        "        self.n += 1\n"
        "        if self.n in (1_000, 100_000):\n"
        "            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "            self.set(self.name, f'at_{self.n}', peak)\n"
        "        return 0\n"
        "    def step_advance(self):\n"
        "        stay = 'step_arrow_graph_list_key_' + self.name\n"
        "        return stay if self.n < 100_000 else 'COMPLETE'\n"
    )
    made, _ = create_instance(instance, make_library({"a": node_text("a", body)}))
    assert StepEngine(made).run().engine_state == "COMPLETE_SUCCESS"
    peaks = stored(instance)["step_node_a"]
    assert peaks["at_100000"] <= peaks["at_1000"] * 1.05
