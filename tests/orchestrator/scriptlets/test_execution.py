"""Scriptlets and functions as steps of a Python program."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import threading
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from octo_errors import EngineBusyError, InstanceError, ScriptletError, UsageError
from octo_instance_dir import InstanceDir
from octo_step_declaration import STEP_NAMES
from octo_step_events import read_events
from orchestrator.context import Context
from scriptlets.framework import BaseScriptlet, ExecutionContext, Parameter, ScriptletRegistry
from scriptlets.registry import registry
from tests.modules.parameter_support import needs_posix
from tests.support import PROJECT, Command

EXECUTORS = ["serial", "threads", "processes"]

TARGETS = """
    import os, time
    from pathlib import Path
    from scriptlets.framework import BaseScriptlet, register_scriptlet

    class Load(BaseScriptlet):
        parameters = {"source": str}

        def run(self, context, params):
            context.set("source", params["source"])
            return [1, 2, 3]

    def total(rows, context):
        context.increment("calls")
        return {"sum": sum(rows)}

    def count(context): return context.increment("n")
    def fail(text="no good"): raise ValueError(text)
    def sleep(): time.sleep(100)
    def tell(): print("told")
    def where(): return str(Path.cwd()), os.getpid()
    def give_object(): return {1, 2}
    def take(value): return len(value)
    def flaky(context):
        if context.increment("tries") < 3: raise OSError("not yet")
        return "at last"
"""


@pytest.fixture(scope="module")
def targets(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A module that worker processes can import, too."""
    folder = tmp_path_factory.mktemp("targets")
    (folder / "targets_of_tests.py").write_text(textwrap.dedent(TARGETS))
    sys.path.append(str(folder))
    import targets_of_tests  # type: ignore[import-not-found]

    yield targets_of_tests
    sys.path.remove(str(folder))
    del sys.modules["targets_of_tests"]


def finished_hooks(instance: Path) -> list[str]:
    events = read_events(instance)
    return [e["node"] for e in events if e["event"] == "state" and e["state"] == "EXECUTE"]


@pytest.mark.parametrize("executor", EXECUTORS)
def test_steps_share_a_context_and_get_the_results_of_others(targets: Any, executor: str) -> None:
    with ExecutionContext(executor=executor, workers=2) as run:
        run.context.set("calls", 1)
        rows = run.add("load", targets.Load, {"source": "a.csv"})
        run.add("total", targets.total, {"rows": rows})
        run.add("where", targets.where, depends_on=[rows, "total"])
        results = run.execute()
        assert run.context.to_dict() == {"calls": 2, "source": "a.csv"}
        assert [each["who"] for each in run.context.history()] == ["", "load", "total"]
    assert list(results) == ["load", "total", "where"]
    assert (results["load"], results["total"]) == ([1, 2, 3], {"sum": 6})
    directory, process = results["where"]
    assert directory == str(Path.cwd())
    assert (process == os.getpid()) is (executor != "processes")
    assert results.errors == {}
    assert {"wall_s", "cpu_s", "peak_memory_bytes"} == results.usage["load"].keys()


def test_a_temporary_instance_is_removed(targets: Any) -> None:
    run = ExecutionContext()
    run.add("count", targets.count)
    place = run._instance.path
    assert run.execute()["count"] == 1
    assert place.is_dir()
    run.close()
    assert not place.exists()
    with pytest.raises(ScriptletError, match="closed"):
        run.execute()


def test_a_temporary_instance_is_removed_when_nobody_uses_it_any_more() -> None:
    run = ExecutionContext()
    place = run._instance.path
    del run
    assert not place.exists()


def test_what_is_no_json_comes_back_as_it_is_from_this_process(targets: Any) -> None:
    with ExecutionContext() as run:
        made = run.add("make", targets.give_object)
        run.add("take", targets.take, {"value": made})
        run.add("local", lambda each: each, {"each": threading.Lock})
        results = run.execute()
        assert run.execute()["make"] is results["make"]  # done, so not made anew
    assert (results["make"], results["take"]) == ({1, 2}, 2)
    assert results["local"] is threading.Lock


def test_what_another_process_could_not_keep_is_told_where_it_is_asked_for(targets: Any) -> None:
    with ExecutionContext(executor="processes", workers=1) as run:
        run.add("make", targets.give_object)
        results = run.execute()
        with pytest.raises(ScriptletError, match=r"'make' was not kept \(set\)"):
            results["make"]
        run = ExecutionContext(executor="processes", workers=1)
        run.add("take", targets.take, {"value": run.add("make", targets.give_object)})
        with pytest.raises(ScriptletError, match="step 'take' failed: the result of step 'make'"):
            run.execute()


@pytest.mark.parametrize(("executor", "steps"), [("threads", 50), ("processes", 50)])
def test_fifty_parallel_steps_count_fifty(targets: Any, executor: str, steps: int) -> None:
    with ExecutionContext(executor=executor, workers=4) as run:
        for number in range(steps):
            run.add(f"count{number}", targets.count)
        results = run.execute()
        assert run.context.get("n") == steps
    assert sorted(results.values()) == list(range(1, steps + 1))


def test_steps_run_at_the_same_time() -> None:
    both = threading.Barrier(2, timeout=30)
    with ExecutionContext(executor="threads", workers=2) as run:
        run.add("one", both.wait)
        run.add("other", both.wait)
        assert sorted(run.execute().values()) == [0, 1]


def test_a_scriptlet_may_be_named(monkeypatch: pytest.MonkeyPatch) -> None:
    mine = ScriptletRegistry()
    mine.register(BarePrint, name="bare")
    monkeypatch.setattr(registry, "_entries", mine._entries)
    with ExecutionContext() as run:
        run.add("step", "bare", {"text": "x"})
        assert run.execute()["step"] == "x"
        with pytest.raises(ScriptletError, match="did you mean 'bare'"):
            run.add("other", "bar")


def test_what_was_found_in_a_folder_runs_in_processes_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "path", sys.path.copy())
    (tmp_path / "_shared_parts.py").write_text("part = 'wheel'\n")
    (tmp_path / "found.py").write_text(
        "from scriptlets.framework import register_scriptlet\nfrom _shared_parts import part\n"
        "@register_scriptlet\ndef make(): return part\n"
    )
    mine = ScriptletRegistry()
    mine.discover_folder(tmp_path)
    with ExecutionContext(executor="processes", workers=1) as run:
        run.add("make", mine.get("make").target)
        assert run.execute()["make"] == "wheel"
    del sys.modules["_shared_parts"]


class BarePrint(BaseScriptlet):
    parameters = {"text": Parameter(str)}  # noqa: RUF012

    def run(self, params: dict[str, Any]) -> Any:
        print(params["text"])
        return params["text"]


@pytest.mark.parametrize("executor", EXECUTORS)
def test_what_steps_print_is_shown(
    targets: Any, executor: str, capfd: pytest.CaptureFixture[str]
) -> None:
    with ExecutionContext(executor=executor) as run:
        run.add("tell", targets.tell)
        run.execute()
    assert capfd.readouterr().out == "told\n"


def test_what_steps_print_is_shown_where_stdout_is_no_file(
    targets: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    with ExecutionContext(executor="threads") as run:
        run.add("tell", targets.tell)
        run.execute()
    assert capsys.readouterr().out == "told\n"


# --- failures -------------------------------------------------------------------------------------


def test_a_failure_raises_with_its_cause_and_the_results_there_are(targets: Any) -> None:
    with ExecutionContext(executor="serial") as run:
        run.add("count", targets.count)
        run.add("fail", targets.fail, depends_on=["count"])
        run.add("never", targets.count, depends_on=["fail"])
        with pytest.raises(ScriptletError) as failure:
            run.execute()
    error = failure.value
    assert str(error) == "step 'fail' failed: ValueError: no good"
    assert error.details["failures"] == {"fail": "ValueError: no good"}
    assert dict(error.details["results"]) == {"count": 1}
    assert isinstance(error.__cause__, ValueError)
    assert traceback.extract_tb(error.__cause__.__traceback__)[-1].name == "fail"


def test_all_failures_are_told() -> None:
    both = threading.Barrier(2, timeout=30)

    def fail(error: Exception) -> None:
        both.wait()
        raise error

    with ExecutionContext(workers=2) as run:
        run.add("one", fail, {"error": ValueError("1")})
        run.add("two", fail, {"error": KeyError("2")})
        with pytest.raises(ScriptletError) as failure:
            run.execute()
    assert failure.value.details["failures"] == {"one": "ValueError: 1", "two": "KeyError: '2'"}
    assert isinstance(failure.value.__cause__, ExceptionGroup)
    assert [type(each) for each in failure.value.__cause__.exceptions] == [ValueError, KeyError]


def test_after_an_error_that_may_be_the_others_go_on(targets: Any) -> None:
    with ExecutionContext() as run:
        failed = run.add("fail", targets.fail, on_error="continue")
        run.add("after", lambda value: [value], {"value": failed})
        results = run.execute()
    assert dict(results) == {"fail": None, "after": [None]}
    assert results.errors == {"fail": "ValueError: no good"}


def test_with_keep_going_only_what_depends_on_a_failure_does_not_run(targets: Any) -> None:
    with ExecutionContext(keep_going=True, executor="serial") as run:
        run.add("fail", targets.fail)
        run.add("after", targets.count, depends_on=["fail"])
        run.add("apart", targets.count)
        with pytest.raises(ScriptletError) as failure:
            run.execute()
    assert dict(failure.value.details["results"]) == {"apart": 1}


def test_a_step_is_tried_again(targets: Any) -> None:
    with ExecutionContext() as run:
        run.add("flaky", targets.flaky, retries=2, retry_delay=0.001, retry_backoff=2)
        assert run.execute()["flaky"] == "at last"
        assert run.context.get("tries") == 3


def test_a_timeout_ends_the_step(targets: Any) -> None:
    with ExecutionContext() as run:
        run.add("sleep", targets.sleep, timeout=0.2)
        with pytest.raises(ScriptletError, match=r"step .sleep. failed: timed out after 0\.2 s"):
            run.execute()


# --- what can't be run ----------------------------------------------------------------------------


def test_everything_that_is_wrong_is_told_before_anything_runs(targets: Any) -> None:
    def local(rows: Any) -> None: ...

    with ExecutionContext(executor="serial") as run:
        run.add("count", targets.count)
        run.add("unknown", targets.count, depends_on=["cuont"])
        run.add("none", targets.count, depends_on=[None])  # type: ignore[list-item]
        run.add("circle", targets.count, depends_on=["back"])
        run.add("back", targets.count, depends_on=["circle"])
        run.add("no parameter", targets.Load, {"sourse": "x"})
        run.add("wrong type", targets.Load, {"source": 5})
        run.add("later", targets.Load, {"source": run.add("x", targets.count)})
        run.add("no argument", targets.total, {"row": []})
        run.add("local", local, {"rows": 1}, timeout=1)
        run.add("no json", targets.take, {"value": {1}}, timeout=1)
        with pytest.raises(ScriptletError) as failure:
            run.execute()
        assert not run.context.contains("n")
    assert failure.value.details["problems"] == [
        "step 'unknown' depends on 'cuont', which is no step; did you mean 'count'?",
        "step 'none' depends on None, which is no step; did you mean 'none'?",
        "step 'no parameter': Load: parameter 'source' (str) is missing;"
        " there is no parameter 'sourse'; did you mean 'source'?",
        "step 'wrong type': Load: parameter 'source' must be str, not int: 5",
        "step 'no argument': total: parameter 'rows' is missing; there is no parameter 'row';"
        " did you mean 'rows'?",
        "step 'local' can't run in a worker process, but it has a timeout: it is defined inside a"
        " function; put it at the top level of a module of its own",
        "step 'no json' can't run in a worker process, but it has a timeout: JSON can't hold its"
        " parameter 'value' (set)",
        "steps depend on each other in a circle: circle -> back -> circle",
    ]


def test_what_can_not_be_imported_does_not_run_in_processes() -> None:
    with ExecutionContext(executor="processes") as run:
        run.add("local", lambda: None)
        with pytest.raises(ScriptletError, match="but the executor is 'processes': it is defined"):
            run.execute()


@pytest.mark.parametrize(
    ("name", "target", "options", "problem"),
    [
        ("there", print, {}, "there is a step of that name already"),
        ("", print, {}, STEP_NAMES),
        (" x", print, {}, STEP_NAMES),
        (3, print, {}, STEP_NAMES),
        ("x[1]", print, {}, STEP_NAMES),
        ("context", print, {}, "the engine keeps a group of that name"),
        ("global_parameters", print, {}, "the engine keeps a group of that name"),
        ("x", 5, {}, "5 is no class and no function"),
        ("x", print, {"depends_on": "a"}, "depends_on is a list of names, as ['a']"),
        ("x", print, {"depends_on": None}, "depends_on is a list of names, and is None"),
        ("x", print, {"params": [1]}, "params is a mapping, as {'name': value}, and is [1]"),
        ("x", print, {"retries": -1}, "retries must be a whole number, 0 or more, and is -1"),
        ("x", print, {"retry_delay": "1"}, "retry_delay must be a number, 0 or more, and is '1'"),
        ("x", print, {"on_error": "stop"}, "on_error must be 'fail' or 'continue', and is 'stop'"),
    ],
)
def test_a_step_that_is_none_is_not_added(
    name: Any, target: Any, options: dict[str, Any], problem: str
) -> None:
    with ExecutionContext() as run:
        run.add("there", print)
        with pytest.raises(ScriptletError) as failure:
            run.add(name, target, **options)
        assert failure.value.details["problems"] == [f"step {name!r}: {problem}"]
        assert list(run.execute()) == ["there"]


def test_an_executor_that_is_none_is_refused() -> None:
    with ExecutionContext(executor="thread") as run, pytest.raises(UsageError, match="'threads'"):
        run.execute()


# --- an instance that stays -----------------------------------------------------------------------


def test_what_has_failed_is_tried_again_and_what_is_done_is_not(
    targets: Any, tmp_path: Path
) -> None:
    def program(text: str | None) -> Any:
        with ExecutionContext(tmp_path / "run") as run:
            n = run.add("count", targets.count)
            run.add("object", targets.give_object)
            run.add("fail", targets.fail if text else targets.count, depends_on=["object"])
            run.add("last", lambda n, m: (n, m), {"n": n, "m": 5}, depends_on=["fail"])
            return run.execute()

    for _ in range(2):
        with pytest.raises(ScriptletError, match="step 'fail' failed") as failure:
            program("wrong")
        assert "the next execute() tries again what failed" in failure.value.hint
    results = program(None)
    assert (results["count"], results["fail"], results["last"]) == (1, 2, (1, 5))
    with pytest.raises(ScriptletError, match="was not kept"):
        results["object"]
    assert program(None)["last"] == [1, 5]  # as JSON kept it
    assert Context(tmp_path / "run").get("n") == 2


def test_a_run_goes_on_only_with_what_it_began_with(targets: Any, tmp_path: Path) -> None:
    def program(params: dict[str, str], *more: str, fresh: bool = False) -> Any:
        with ExecutionContext(tmp_path / "run", fresh=fresh) as run:
            run.add("load", targets.Load, params)
            for name in more:
                run.add(name, targets.count)
            return run.execute()

    program({"source": "a"})
    program({"source": "a"})
    with pytest.raises(ScriptletError, match="steps that are done call something else: load"):
        program({"source": "b"})
    with pytest.raises(ScriptletError, match="the steps or their dependencies are others"):
        program({"source": "a"}, "count")
    assert finished_hooks(tmp_path / "run") == ["load"]
    program({"source": "b"}, "count", fresh=True)
    assert Context(tmp_path / "run").to_dict() == {"source": "b", "n": 1}
    (archive,) = (tmp_path / "run" / "archive").iterdir()
    kept = {file.name.removeprefix(".octo_step_engine_") for file in archive.iterdir()}
    assert kept >= {"parameters.json", "events.jsonl", "context.jsonl", "scriptlets.json"}


def test_an_instance_of_something_else_is_refused(tmp_path: Path, command: Command) -> None:
    done = command("modules/octo_step_instance.py", "create", tmp_path / "i", "--library", "hello")
    assert done.returncode == 0, done.stderr
    with pytest.raises(InstanceError, match="is an instance of a library"):
        ExecutionContext(tmp_path / "i")


def test_two_do_not_run_one_instance_at_the_same_time(targets: Any, tmp_path: Path) -> None:
    def inner() -> None:
        with ExecutionContext(tmp_path / "run") as second:
            second.add("other", targets.count)
            with pytest.raises(EngineBusyError):
                second.execute()

    with ExecutionContext(tmp_path / "run", executor="serial") as run:
        run.add("inner", inner)
        run.execute()


def test_the_command_line_shows_and_pauses_it(
    targets: Any, tmp_path: Path, command: Command
) -> None:
    instance, shown = tmp_path / "run", []

    def pause() -> None:
        with InstanceDir(instance).parameters.transaction() as data:  # the command would wait
            data["global_parameters"]["pause_request_bool"] = True
        shown.append(command("modules/octo_step_instance.py", "status", instance).stdout)

    with ExecutionContext(instance, executor="serial") as run:
        run.add("pause", pause)
        run.add("count", targets.count, depends_on=["pause"])
        with pytest.raises(ScriptletError, match="the run rests: pause requested"):
            run.execute()
        assert "pause EXECUTE" in shown[0]
        drawn = command("modules/octo_step_instance.py", "graph", instance, "--format", "mermaid")
        assert drawn.returncode == 0, drawn.stderr
        again = command("modules/octo_step_instance.py", "run", instance)
        assert again.returncode == 2
        assert "only the program that added them can run the steps pause" in again.stderr
        assert run.execute()["count"] == 1


def test_ctrl_c_in_a_step_is_ctrl_c(targets: Any, tmp_path: Path) -> None:
    pressed: list[bool] = []

    def press() -> str:
        if not pressed:
            pressed.append(True)
            signal.raise_signal(signal.SIGINT)
        return "done"

    with ExecutionContext(tmp_path / "run", executor="serial") as run:
        run.add("press", press)
        with pytest.raises(KeyboardInterrupt):
            run.execute()
        assert run.execute()["press"] == "done"


PROGRAM = """
    import os, signal, sys
    from scriptlets.framework import ExecutionContext

    def step(name, after, context):
        kill = os.environ.get("KILL")
        if kill == f"{name} before":
            os.kill(os.getpid(), signal.SIGKILL)
        context.increment(f"done {name}")
        if kill == f"{name} after":
            os.kill(os.getpid(), signal.SIGKILL)
        return [name, *after]

    with ExecutionContext("run", executor=sys.argv[1], workers=2) as run:
        a = run.add("a", step, {"name": "a", "after": []})
        b = run.add("b", step, {"name": "b", "after": a})
        c = run.add("c", step, {"name": "c", "after": a})
        run.add("d", step, {"name": "d", "after": b}, depends_on=["c"])
        results = run.execute()
        print(dict(results))
"""


@needs_posix
@pytest.mark.slow
@pytest.mark.parametrize("executor", ["serial", "threads"])
@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("name", "abcd")
def test_a_program_that_is_killed_goes_on(
    tmp_path: Path, executor: str, name: str, moment: str
) -> None:
    program = tmp_path / "program.py"
    program.write_text(textwrap.dedent(PROGRAM))
    folders = (PROJECT / "modules", PROJECT / "orchestrator/packages", PROJECT)
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, folders))}

    def start(**more: str) -> subprocess.CompletedProcess[str]:
        words = [sys.executable, str(program), executor]
        return subprocess.run(
            words, cwd=tmp_path, env=env | more, capture_output=True, text=True, check=False
        )

    killed = start(KILL=f"{name} {moment}")
    assert killed.returncode == -signal.SIGKILL
    before = finished_hooks(tmp_path / "run")
    assert name not in before
    done = start()
    assert done.stdout == (
        "{'a': ['a'], 'b': ['b', 'a'], 'c': ['c', 'a'], 'd': ['d', 'b', 'a']}\n"
    ), done.stderr
    after = finished_hooks(tmp_path / "run")
    assert after[: len(before)] == before
    counts = Context(tmp_path / "run").to_dict()
    assert counts.pop(f"done {name}") == (1 if moment == "before" else 2)
    # What ran beside it may have been at work, or in the log and not yet in the file.
    beside = set("bc") - {name} if executor == "threads" and name in "bc" else set()
    assert {each for each in counts if counts[each] != 1} <= {f"done {each}" for each in beside}
    assert set(after) == set("abcd")
    assert {each for each in after if after.count(each) != 1} <= beside
    assert start().stdout == done.stdout
    assert finished_hooks(tmp_path / "run") == after


def test_the_instance_is_as_any_other(targets: Any, tmp_path: Path) -> None:
    with ExecutionContext(tmp_path / "run") as run:
        run.add("load", targets.Load, {"source": "x"})
        run.execute()
    data = InstanceDir(tmp_path / "run").parameters.read()
    assert data["global_parameters"]["step_engine_program"] == "scriptlets"
    assert data["load"]["result"] == [1, 2, 3]
    facts = [e for e in read_events(tmp_path / "run") if "peak_memory_bytes" in e]
    assert [each["node"] for each in facts] == ["load"]
