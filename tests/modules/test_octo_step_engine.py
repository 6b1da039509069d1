"""The engine, in this process: order, state in the file, failures, parallel runs, resting."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from octo_errors import EngineBusyError, InstanceError, LibraryError, UsageError
from octo_instance_dir import InstanceDir
from octo_instance_setup import create_instance
from octo_library_pin import PIN_FILE_NAME
from octo_step_engine import StepEngine
from tests.modules.engine_support import events, node_text, stored, trace, traced, wait_for
from tests.support import MakeLibrary

HOOKS = ("step_entry", "step_execute", "step_exit")
ALL = "".join(trace(hook) for hook in HOOKS)
LOOP = "return 'COMPLETE' if self.n == {turns} else 'step_arrow_graph_list_key_' + self.name"
MakeInstance = Callable[..., InstanceDir]


@pytest.fixture
def make_instance(make_library: MakeLibrary, tmp_path: Path) -> MakeInstance:
    """An instance of a library that is written for the test: short name of a node -> its text."""

    def make(first: str | None = None, /, **nodes: str) -> InstanceDir:
        chosen = None if first is None else f"step_node_{first}"
        return create_instance(tmp_path / "instance", make_library(nodes), first=chosen)[0]

    return make


def ends(instance: InstanceDir, **options: Any) -> str:
    return StepEngine(instance, **options).run().engine_state


# --- order and state ------------------------------------------------------------------------------


def test_each_hook_runs_with_its_state_in_the_file(make_instance: MakeInstance) -> None:
    choose = trace("step_advance", "return 'go'")
    instance = make_instance(a=node_text("a", ALL + choose, to={"go": "b"}), b=node_text("b", ALL))
    assert ends(instance) == "COMPLETE_SUCCESS"
    assert traced(instance.path) == [
        "a step_entry ENTER",
        "a step_execute EXECUTE",
        "a step_advance ADVANCE",
        "a step_exit EXIT",
        "b step_entry ENTER",
        "b step_execute EXECUTE",
        "b step_exit EXIT",
    ]


def test_the_log_tells_every_state_of_every_node(make_instance: MakeInstance) -> None:
    instance = make_instance(a=node_text("a", to={"go": "b"}), b=node_text("b"))
    ends(instance)
    told = [(e["node"][-1], e["state"]) for e in events(instance.path, "state")]
    states = ["ENTER", "EXECUTE", "ADVANCE", "EXIT", "JUMP"]
    assert told == [(node, state) for node in "ab" for state in states]
    assert [e["event"] for e in events(instance.path)][::11] == ["run_start", "run_end"]


def test_the_file_tells_where_a_run_has_ended(make_instance: MakeInstance) -> None:
    instance = make_instance(a=node_text("a", to={"go": "b"}), b=node_text("b"))
    ends(instance)
    shared = stored(instance.path)["global_parameters"]
    assert shared["step_engine_state"] == "COMPLETE_SUCCESS"
    assert shared["current_step_node"] == "step_node_b"
    assert shared["current_step_state"] == "INACTIVE"
    assert shared["engine_step_count"] == 2
    assert stored(instance.path)["step_node_b"]["step_results_key_last_status"] == "SUCCESS"


def test_a_node_that_writes_the_state_itself_disturbs_nothing(make_instance: MakeInstance) -> None:
    lie = "self.set('global_parameters', 'current_step_state', 'ENTER'); return 0"
    hooks = "".join(trace(hook, lie) for hook in HOOKS)
    instance = make_instance(a=node_text("a", hooks, to={"go": "b"}), b=node_text("b", ALL))
    assert ends(instance) == "COMPLETE_SUCCESS"
    assert len(traced(instance.path)) == 6


@pytest.mark.parametrize("executor", ["serial", "threads", "processes"])
@pytest.mark.parametrize("instead", [None, '{"mine": {"a": 1}}'])
def test_a_parameter_file_that_is_gone_in_the_middle_of_a_run_ends_it_with_an_error(
    make_instance: MakeInstance, executor: str, instead: str | None
) -> None:
    file = "Path('.octo_step_engine_parameters.json')"
    change = f"{file}.unlink()" if instead is None else f"{file}.write_text({instead!r})"
    instance = make_instance(a=node_text("a", trace("step_execute", change)))
    with pytest.raises(InstanceError, match="was removed or replaced") as raised:
        ends(instance, executor=executor)
    assert "--repair" in raised.value.hint
    left = instance.path / ".octo_step_engine_parameters.json"
    assert (left.read_text() if left.exists() else None) == instead


def test_a_finished_run_is_not_run_again(make_instance: MakeInstance) -> None:
    instance = make_instance(a=node_text("a", trace("step_execute")))
    assert ends(instance) == ends(instance) == "COMPLETE_SUCCESS"
    assert len(traced(instance.path)) == 1


def test_a_fresh_run_puts_the_old_one_into_the_archive(make_instance: MakeInstance) -> None:
    instance = make_instance(a=node_text("a", trace("step_execute", "print('x'); return 0")))
    ends(instance)
    instance.parameters.read()
    first_id = stored(instance.path)["global_parameters"]["run_id"]
    assert StepEngine(instance).run(fresh=True).engine_state == "COMPLETE_SUCCESS"
    (archive,) = (instance.path / "archive").iterdir()
    assert stored(archive)["global_parameters"]["run_id"] == first_id
    assert events(archive)[-1]["event"] == "run_end" and (archive / "logs").is_dir()
    assert (archive / PIN_FILE_NAME).exists()
    assert stored(instance.path)["global_parameters"]["run_id"] != first_id
    assert len(traced(instance.path)) == 2


def test_hooks_find_the_instance_as_working_directory(make_instance: MakeInstance) -> None:
    away = "    def step_execute(self):\n        os.chdir('/')\n        return 0\n"
    here = "    def step_execute(self):\n        Path('here').touch()\n        return 0\n"
    instance = make_instance(a=node_text("a", away, to={"go": "b"}), b=node_text("b", here))
    before = Path.cwd()
    assert ends(instance) == "COMPLETE_SUCCESS"
    assert (instance.path / "here").exists() and Path.cwd() == before


# --- failures -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "error"),
    [
        ("return 7", "returned 7"),
        ("return 'no'", "returned 'no'"),
        ("return False", "returned False"),
        ("raise ValueError('bad')", "ValueError: bad"),
        ("sys.exit(0)", "exit"),
        ("raise KeyError", "KeyError"),
    ],
)
@pytest.mark.parametrize("executor", ["serial", "threads", "processes"])
def test_whatever_a_hook_does_the_run_ends_with_an_error_that_is_kept(
    make_instance: MakeInstance, line: str, error: str, executor: str
) -> None:
    instance = make_instance(a=node_text("a", f"    def step_execute(self):\n        {line}\n"))
    outcome = StepEngine(instance, executor=executor).run()
    assert (outcome.engine_state, outcome.exit_code) == ("COMPLETE_ERROR", 1)
    assert error in outcome.reason
    group = stored(instance.path)["step_node_a"]
    assert group["step_results_key_last_status"] == "ERROR" and error in group["last_error"]
    assert error in events(instance.path, "step_error")[0]["error"]


def test_a_node_that_cant_be_made_fails_its_first_hook(make_instance: MakeInstance) -> None:
    body = "    def __init__(self, name, verbose_flag=False):\n        raise OSError('no port')\n"
    instance = make_instance(a=node_text("a", body + trace("step_execute")))
    outcome = StepEngine(instance).run()
    assert outcome.exit_code == 1 and "no port" in outcome.reason


def test_retries_are_counted_and_then_succeed(make_instance: MakeInstance) -> None:
    body = "    def step_execute(self):\n        return int(self.increment(self.name, 'n') < 3)\n"
    instance = make_instance(a=node_text("a", body, max_retries=3, retry_delay_seconds=0.01))
    assert ends(instance) == "COMPLETE_SUCCESS"
    assert [e["attempt"] for e in events(instance.path, "retry")] == [2, 3]
    group = stored(instance.path)["step_node_a"]
    assert group["step_results_key_last_status"] == "SUCCESS" and group["last_error"] == ""


def test_after_the_last_retry_the_error_arrow_is_followed(make_instance: MakeInstance) -> None:
    fails = trace("step_execute", "return 1") + trace("step_exit")
    options: dict[str, Any] = {"max_retries": 1, "error_arrow_key": "bad"}
    a = node_text("a", fails, to={"ok": "b", "bad": "c"}, **options)
    instance = make_instance(a=a, b=node_text("b", ALL), c=node_text("c", ALL))
    assert ends(instance) == "COMPLETE_SUCCESS"
    told = [line.rpartition(" ")[0] for line in traced(instance.path)]
    assert told[:3] == ["a step_execute", "a step_execute", "a step_exit"]
    assert "c step_execute" in told and "b step_execute" not in told


def test_a_wrong_arrow_key_is_an_error_that_names_the_arrows(make_instance: MakeInstance) -> None:
    choose = "    def step_advance(self):\n        return 'got'\n"
    instance = make_instance(a=node_text("a", choose, to={"go": "b"}), b=node_text("b"))
    outcome = StepEngine(instance).run()
    assert outcome.exit_code == 1
    assert "'got'" in outcome.reason and "did you mean 'go'" in outcome.reason


def test_a_step_that_takes_too_long_is_killed_with_its_children(
    make_instance: MakeInstance,
) -> None:
    body = """
    def step_execute(self):
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
        Path("child").write_text(str(child.pid))
        time.sleep(600)
"""
    instance = make_instance(a=node_text("a", body, timeout_seconds=1.5))
    outcome = StepEngine(instance).run()
    assert outcome.exit_code == 1 and "1.5 s" in outcome.reason
    assert events(instance.path, "step_error")[0]["timed_out"] is True
    child = int((instance.path / "child").read_text())
    wait_for(lambda: not psutil.pid_exists(child), f"the end of the grandchild {child}")


def test_complete_error_ends_the_run_without_success(make_instance: MakeInstance) -> None:
    choose = "    def step_advance(self):\n        return 'COMPLETE_ERROR'\n"
    instance = make_instance(a=node_text("a", choose + trace("step_exit")))
    assert ends(instance) == "COMPLETE_ERROR"
    assert traced(instance.path) == ["a step_exit EXIT"]


def test_an_observer_that_fails_stops_nothing(
    make_instance: MakeInstance, caplog: pytest.LogCaptureFixture
) -> None:
    def observer(event: dict[str, Any]) -> None:
        raise RuntimeError("observer")

    assert ends(make_instance(a=node_text("a")), observer=observer) == "COMPLETE_SUCCESS"
    assert "an observer failed" in caplog.text


# --- parallel -------------------------------------------------------------------------------------

FORK = {"l": "left", "r": "right"}
FORKS = "    def step_advance(self):\n        return ['l', 'r']\n"


@pytest.mark.parametrize("executor", ["serial", "threads", "processes"])
def test_a_fork_runs_both_branches_and_a_join_waits_for_both(
    make_instance: MakeInstance, executor: str
) -> None:
    mark = trace("step_execute")
    instance = make_instance(
        start=node_text("start", mark + FORKS, to=FORK),
        left=node_text("left", mark, to={"j": "join"}),
        right=node_text("right", mark, to={"j": "join"}),
        join=node_text("join", mark, join_all_bool=1),
    )
    assert ends(instance, executor=executor, workers=2) == "COMPLETE_SUCCESS"
    told = [line.split()[0] for line in traced(instance.path)]
    assert told[0] == "start" and sorted(told[1:3]) == ["left", "right"] and told[3:] == ["join"]


@pytest.mark.parametrize("executor", ["threads", "processes"])
def test_branches_run_at_the_same_time(make_instance: MakeInstance, executor: str) -> None:
    meet = """
    def step_execute(self):
        Path(self.name).touch()
        end = time.monotonic() + 60
        while not all(Path(n).exists() for n in ("step_node_left", "step_node_right")):
            if time.monotonic() > end:
                return 1
            time.sleep(0.01)
        return 0
"""
    instance = make_instance(
        start=node_text("start", FORKS, to=FORK),
        left=node_text("left", meet),
        right=node_text("right", meet),
    )
    assert ends(instance, executor=executor, workers=2) == "COMPLETE_SUCCESS"


def test_a_join_that_can_never_be_reached_by_all_is_an_error(make_instance: MakeInstance) -> None:
    stops = "    def step_advance(self):\n        return 'COMPLETE'\n"
    instance = make_instance(
        start=node_text("start", FORKS, to=FORK),
        left=node_text("left", to={"j": "join"}),
        right=node_text("right", stops, to={"j": "join"}),
        join=node_text("join", join_all_bool=1),
    )
    outcome = StepEngine(instance).run()
    assert outcome.exit_code == 1 and "step_node_right" in outcome.reason


# --- resting and going on -------------------------------------------------------------------------


def test_breakpoints_rest_once_and_the_next_run_goes_on(make_instance: MakeInstance) -> None:
    a = node_text("a", ALL, to={"go": "b"}, node_exit_breakpoint=1)
    b = node_text("b", ALL, node_entry_breakpoint=1)
    instance = make_instance(a=a, b=b)
    first = StepEngine(instance).run()
    assert (first.exit_code, len(traced(instance.path))) == (3, 3)
    assert "exit" in stored(instance.path)["global_parameters"]["pause_reason"]
    second = StepEngine(instance).run()
    assert (second.exit_code, len(traced(instance.path))) == (3, 3)
    assert "entry" in stored(instance.path)["global_parameters"]["pause_reason"]
    assert ends(instance) == "COMPLETE_SUCCESS" and len(traced(instance.path)) == 6
    assert stored(instance.path)["global_parameters"]["pause_reason"] == ""


def test_until_and_max_steps_rest_before_the_next_node(make_instance: MakeInstance) -> None:
    nodes = {name: node_text(name, ALL, to={"go": to}) for name, to in ("ab", "bc")}
    instance = make_instance(**nodes, c=node_text("c", ALL))
    assert StepEngine(instance).run(max_steps=1).exit_code == 3
    assert stored(instance.path)["global_parameters"]["current_step_node"] == "step_node_b"
    assert StepEngine(instance).run(until="step_node_c").exit_code == 3
    assert stored(instance.path)["global_parameters"]["current_step_node"] == "step_node_c"
    assert len(traced(instance.path)) == 6
    with pytest.raises(UsageError, match="did you mean 'step_node_c'"):
        StepEngine(instance).run(until="step_node_cc")
    assert ends(instance) == "COMPLETE_SUCCESS"


def test_single_steps_walk_through_a_run(make_instance: MakeInstance) -> None:
    instance = make_instance(a=node_text("a", ALL, to={"go": "b"}), b=node_text("b", ALL))
    with pytest.raises(UsageError, match="step"):
        StepEngine(instance).advance()
    StepEngine(instance).step()
    assert [line.split()[1] for line in traced(instance.path)] == ["step_entry", "step_execute"]
    with pytest.raises(UsageError, match="ADVANCE"):
        StepEngine(instance).step()
    StepEngine(instance).advance()
    shared = stored(instance.path)["global_parameters"]
    assert (shared["current_step_node"], shared["current_step_state"]) == ("step_node_b", "ENTER")
    StepEngine(instance).step()
    assert StepEngine(instance).advance().engine_state == "COMPLETE_SUCCESS"
    assert len(traced(instance.path)) == 6


@pytest.mark.parametrize(
    ("key", "value", "state", "last"),
    [
        ("pause_request_bool", "True", "INACTIVE", "a step_execute"),
        ("stop_request_bool", "True", "COMPLETE_ERROR", "a step_execute"),
        ("jump_request_node", "'step_node_c'", "COMPLETE_SUCCESS", "c step_execute"),
    ],
)
def test_requests_in_the_file_are_heeded_between_two_hooks(
    make_instance: MakeInstance, key: str, value: str, state: str, last: str
) -> None:
    asks = trace("step_execute", f"self.set('global_parameters', '{key}', {value}); return 0")
    mark = trace("step_execute")
    instance = make_instance(
        a=node_text("a", asks + trace("step_exit"), to={"go": "b"}),
        b=node_text("b", mark, to={"go": "c"}),
        c=node_text("c", mark),
    )
    assert ends(instance) == state
    assert traced(instance.path)[-1].startswith(last)
    assert not any(line.startswith("b ") for line in traced(instance.path))
    assert key not in stored(instance.path)["global_parameters"]


def test_a_jump_to_a_node_that_is_not_there_rests_and_says_so(make_instance: MakeInstance) -> None:
    body = (
        "    def step_execute(self):\n"
        "        self.set('global_parameters', 'jump_request_node', 'step_node_x')\n"
        "        return 0\n"
    )
    instance = make_instance(a=node_text("a", body))
    outcome = StepEngine(instance).run()
    assert outcome.exit_code == 3 and "'step_node_x'" in outcome.reason


def test_a_run_goes_on_where_the_user_said_while_it_rested(make_instance: MakeInstance) -> None:
    nodes = {name: node_text(name, ALL, to={"go": to}) for name, to in ("ab", "bc")}
    instance = make_instance(**nodes, c=node_text("c", ALL))
    StepEngine(instance).run(max_steps=1)
    with instance.parameters.transaction() as data:
        data["global_parameters"]["current_step_node"] = "step_node_c"
    assert ends(instance) == "COMPLETE_SUCCESS"
    assert [line[0] for line in traced(instance.path)] == list("aaaccc")


def test_a_run_that_ended_with_an_error_goes_on_after_a_jump(make_instance: MakeInstance) -> None:
    body = trace("step_execute", "return int(not Path('mended').exists())")
    instance = make_instance(a=node_text("a", body, to={"go": "b"}), b=node_text("b", ALL))
    assert ends(instance) == ends(instance) == "COMPLETE_ERROR"
    (instance.path / "mended").touch()
    with pytest.raises(UsageError, match="did you mean 'step_node_a'"):
        StepEngine(instance).jump("step_node_aa")
    StepEngine(instance).jump("step_node_a")
    assert ends(instance) == "COMPLETE_SUCCESS"
    assert [line[0] for line in traced(instance.path)] == list("aabbb")


def test_resumed_bool_is_true_only_while_a_run_picks_up_its_thread(
    make_instance: MakeInstance,
) -> None:
    body = (
        "    def step_execute(self):\n"
        "        self.set(self.name, 'resumed', self.get('global_parameters', 'resumed_bool'))\n"
        "        return 0\n"
    )
    nodes = {name: node_text(name, body, to={"go": to}) for name, to in ("ab", "bc")}
    instance = make_instance(**nodes, c=node_text("c", body))
    StepEngine(instance).run(max_steps=1)
    ends(instance)
    resumed = [stored(instance.path)[f"step_node_{name}"]["resumed"] for name in "abc"]
    assert resumed == [False, True, False]


# --- the rest of the contract ---------------------------------------------------------------------


def test_make_safe_hooks_run_newest_first_and_a_failing_one_stays_owed(
    make_instance: MakeInstance,
) -> None:
    safe = trace("step_execute") + trace("step_make_safe")
    broken = trace("step_execute") + trace("step_make_safe", "raise OSError('stuck')")
    instance = make_instance(
        a=node_text("a", safe, to={"go": "b"}),
        b=node_text("b", broken, to={"go": "c"}),
        c=node_text("c", safe, to={"go": "d"}),
        d=node_text("d", trace("step_execute", "return 1")),
    )
    outcome = StepEngine(instance).run()
    assert outcome.armed == ("step_node_b",)
    made = [line.split()[0] for line in traced(instance.path) if "make_safe" in line]
    assert made == ["c", "b", "a"]
    told = {e["node"]: e.get("error") for e in events(instance.path, "make_safe")}
    assert "stuck" in str(told.pop("step_node_b")) and set(told.values()) == {None}
    assert stored(instance.path)["global_parameters"]["make_safe"] == ["step_node_b"]


def test_every_event_belongs_to_a_run_also_what_is_done_by_hand_after_it(
    make_instance: MakeInstance,
) -> None:
    body = trace("step_execute") + trace("step_make_safe")
    instance = make_instance(a=node_text("a", body, to={"go": "b"}), b=node_text("b"))
    StepEngine(instance).run(max_steps=1)
    StepEngine(instance).make_safe()
    StepEngine(instance).jump("step_node_b")
    run_id = stored(instance.path)["global_parameters"]["run_id"]
    assert {"make_safe", "jump"} <= {event["event"] for event in events(instance.path)}
    assert {event["run_id"] for event in events(instance.path)} == {run_id}


def test_what_is_still_armed_is_not_put_away(make_instance: MakeInstance) -> None:
    body = trace("step_execute", "return 1") + trace("step_make_safe", "raise OSError('stuck')")
    instance = make_instance(a=node_text("a", body))
    assert StepEngine(instance).run().armed == ("step_node_a",)
    with pytest.raises(InstanceError, match="still armed: step_node_a"):
        StepEngine(instance).run(fresh=True)
    assert not (instance.path / "archive").exists()


def test_after_success_nothing_is_made_safe(make_instance: MakeInstance) -> None:
    instance = make_instance(a=node_text("a", trace("step_execute") + trace("step_make_safe")))
    assert ends(instance) == "COMPLETE_SUCCESS"
    assert len(traced(instance.path)) == 1
    assert stored(instance.path)["global_parameters"]["make_safe"] == []


def test_a_pause_leaves_nodes_armed_and_a_stop_makes_them_safe(make_instance: MakeInstance) -> None:
    body = trace("step_execute") + trace("step_make_safe")
    instance = make_instance(a=node_text("a", body, to={"go": "b"}), b=node_text("b"))
    assert StepEngine(instance).run(max_steps=1).armed == ("step_node_a",)
    assert len(traced(instance.path)) == 1
    outcome = StepEngine(instance).stop()
    assert (outcome.engine_state, outcome.armed) == ("COMPLETE_ERROR", ())
    assert traced(instance.path)[-1].startswith("a step_make_safe")


def test_inactive_nodes_and_arrows_are_not_followed(make_instance: MakeInstance) -> None:
    instance = make_instance(
        a=node_text("a", ALL, to={"parked": "b", "go": "c"}),
        b=node_text("b", ALL, active_node_step_bool=0),
        c=node_text("c", ALL, skip_step_node_execute_bool=1),
    )
    assert ends(instance) == "COMPLETE_SUCCESS"
    told = [line.rpartition(" ")[0] for line in traced(instance.path)]
    assert told[3:] == ["c step_entry", "c step_exit"]


def test_code_that_changed_in_the_middle_of_a_run_is_told_and_refused_when_strict(
    make_instance: MakeInstance,
) -> None:
    instance = make_instance(a=node_text("a", to={"go": "b"}), b=node_text("b"))
    StepEngine(instance).run(max_steps=1)
    changed = instance.library_path() / "step_node_b.py"
    changed.write_text(node_text("b", ALL))
    with pytest.raises(LibraryError, match=r"step_node_b\.py"):
        StepEngine(instance, strict=True).run()
    assert ends(instance) == "COMPLETE_SUCCESS"
    assert events(instance.path, "library_changed")[0]["files"] == ["step_node_b.py"]


def test_a_second_engine_is_refused_and_told_who_runs_it(make_instance: MakeInstance) -> None:
    instance = make_instance(a=node_text("a"))
    with instance.run_lock(), pytest.raises(EngineBusyError, match=f"pid {os.getpid()}"):
        StepEngine(InstanceDir(instance.path)).run()
    assert instance.runner() is None
    assert ends(instance) == "COMPLETE_SUCCESS"


def test_output_of_hooks_is_kept_and_shown(make_instance: MakeInstance) -> None:
    body = (
        "    def step_execute(self):\n"
        "        print('printed')\n"
        "        os.write(1, b'\\xff\\xfe raw\\n')\n"
        "        subprocess.run([sys.executable, '-c', 'print(\"child\")'], check=True)\n"
        "        return 0\n"
    )
    instance = make_instance(a=node_text("a", body))
    shown: list[bytes] = []
    assert ends(instance, sink=lambda node, data: shown.append(data)) == "COMPLETE_SUCCESS"
    assert b"".join(shown) == b"printed\n\xff\xfe raw\nchild\n"
    assert (instance.path / "logs" / "step_node_a.log").read_bytes() == b"".join(shown)


@pytest.mark.parametrize("executor", ["serial", "threads", "processes"])
def test_where_output_cannot_be_kept_the_run_rests_and_says_why(
    make_instance: MakeInstance, executor: str
) -> None:
    body = (
        "    def step_entry(self):\n        print('printed')\n        return 0\n"
        "    def step_execute(self):\n        print('printed')\n        return 0\n"
    )
    instance = make_instance(a=node_text("a", body, on_interrupt="ask"))
    (instance.path / "logs").write_text("in the way")
    outcome = StepEngine(instance, executor=executor).run()
    assert outcome.engine_state == "INACTIVE"
    assert outcome.reason.startswith("step_node_a: its output can't be kept: ")
    assert str(instance.path / "logs") in outcome.reason
    (instance.path / "logs").unlink()
    assert ends(instance, executor=executor) == "COMPLETE_SUCCESS"
    assert not {"step_error", "interrupted"} & {event["event"] for event in events(instance.path)}


def test_attributes_of_a_node_last_through_its_turns(make_instance: MakeInstance) -> None:
    body = (
        "    n = 0\n"
        "    def step_execute(self):\n        self.n += 1\n        return 0\n"
        f"    def step_advance(self):\n        {LOOP.format(turns=5)}\n"
    )
    instance = make_instance(a=node_text("a", body))
    for executor in ("serial", "threads", "processes"):
        outcome = StepEngine(instance, executor=executor).run(fresh=True)
        assert outcome.engine_state == "COMPLETE_SUCCESS"
        assert stored(instance.path)["global_parameters"]["engine_step_count"] == 5


def test_a_start_that_was_prepared_by_hand_is_no_crash(make_instance: MakeInstance) -> None:
    instance = make_instance(a=node_text("a", ALL, to={"go": "b"}), b=node_text("b", ALL))
    prepared = {
        "step_engine_state": "STARTUP",
        "current_step_module": "step_node_b",
        "current_step_node": "step_node_b",
        "current_step_state": "ENTER",
    }
    with instance.parameters.transaction() as data:
        data["global_parameters"].update(prepared)
    assert ends(instance) == "COMPLETE_SUCCESS"
    assert [line[0] for line in traced(instance.path)] == list("bbb")
    assert not events(instance.path, "interrupted")
