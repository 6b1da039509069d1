"""What is told of a recipe's run, from real runs of the engine: result, summary, lines, display."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Collection, Iterator, MutableMapping
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from octo_graph_checks import dependency_graph
from octo_instance_dir import InstanceDir
from octo_instance_setup import make_instance
from octo_shown_text import seconds_between
from octo_step_engine import StepEngine
from octo_step_events import EVENT_FILE_NAME, read_events
from octo_step_graph import item_of
from octo_step_hooks import NodeSource, StepFailure, StepResult
from octo_step_outcome import Outcome
from orchestrator.run_record import RunRecord
from orchestrator.run_report import RunReport
from tests.support import PROJECT
from tests.terminals import on_a_terminal, screen

Capture = pytest.CaptureFixture[str]
Work = Callable[..., Any]


class Steps:
    """A program of steps, given as functions, and what they depend on, as the engine runs it."""

    warnings: list[Any] = []  # noqa: RUF012  (a Program's; nothing is doubtful here)
    executor = "serial"
    workers: int | None = None

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.graph = dependency_graph({}, {}, {}, directory)
        self._hooks: dict[str, dict[str, Any]] = {}
        self.source: NodeSource = _Source(self._hooks)
        self.keep_going = False
        self.compiled: dict[str, Any] = {"name": "example", "step_node_graph_dict": {}}
        self._arrows: dict[str, dict[str, Any]] = {}

    def add(self, name: str, work: Work, after: str = "", items: Any = None, **node: Any) -> None:
        """A step that does `work`, after others; with items it is called with each one's number."""
        hooks: dict[str, Any] = {"step_execute": work}
        if items is not None:
            hooks["step_items"] = lambda: items
        self._hooks[name] = hooks
        sources = after.split()
        nodes = self.compiled["step_node_graph_dict"]
        nodes[name] = {
            "module_name_string": "test",
            "first_node_step_bool": int(not sources),
            "join_all_bool": int(len(sources) > 1),
            **node,
        }
        self._arrows[name] = {}
        for source in sources:
            self._arrows[source][f"to_{name}"] = {"arrow_step_name_string": name}
        self.graph = dependency_graph(nodes, self._arrows, self._hooks, self.directory)

    def identify(self, data: MutableMapping[str, Any]) -> None: ...
    def add_missing(self, data: MutableMapping[str, Any]) -> None: ...
    def pin(self, instance: Path) -> None: ...
    def changes(self, instance: Path) -> list[str]:
        return []

    def require_ready(self) -> None:
        pass

    def heed_requests(self, nodes: Collection[str]) -> bool:
        return False

    def pass_on(self, request: str, nodes: Collection[str]) -> None:
        pass


class _Source:
    def __init__(self, hooks: dict[str, dict[str, Any]]) -> None:
        self._hooks = hooks

    def make(self, node: str) -> object:
        if node in self._hooks:
            return SimpleNamespace(**self._hooks[node])
        name, number = item_of(node)
        work = self._hooks[name]["step_execute"]
        return SimpleNamespace(step_execute=lambda: work(number))

    def directory(self, node: str) -> None:
        return None

    def description(self) -> dict[str, Any]:
        raise AssertionError("these steps can't be performed in another process")


@pytest.fixture
def steps(tmp_path: Path) -> Steps:
    return Steps(tmp_path)


@contextmanager
def reported(
    steps: Steps, *, json_output: bool = False, quiet: bool = False
) -> Iterator[tuple[RunReport, StepEngine]]:
    """The report of a run in the instance `run`, and the engine that performs it."""
    path = steps.directory / "run"
    instance = InstanceDir(path) if path.exists() else make_instance(path, steps)
    with RunReport(steps.compiled, json_output=json_output, quiet=quiet, instance=path) as report:
        engine = StepEngine(
            instance,
            program=steps,
            keep_going=steps.keep_going,
            observer=report.event,
            sink=report.output,
        )
        yield report, engine


def run(steps: Steps, **options: Any) -> tuple[dict[str, Any], str]:
    """The result and the summary of a run."""
    with reported(steps) as (report, engine):
        outcome = engine.run(**options)
        result = report.result(outcome)
        assert json.loads(json.dumps(result)) == result
        return result, report.summary(outcome)


def say(text: str, result: Any = 0) -> Work:
    def work() -> Any:
        print(text)
        return result

    return work


def failing(times: int, result: Any = 0) -> Work:
    """Fails so many times, then succeeds."""
    left = iter(range(times))

    def work() -> Any:
        if next(left, None) is not None:
            raise StepFailure("no luck", "Traceback: no luck", {"cpu_s": 1.5})
        return result

    return work


def statuses(result: dict[str, Any]) -> dict[str, str]:
    return {name: step["status"] for name, step in result["steps"].items()}


def numbers(result: dict[str, Any]) -> list[int]:
    """total, completed, failed, skipped, pending"""
    kinds = ("total", "completed", "failed", "skipped", "pending")
    return [result[f"{kind}_steps"] for kind in kinds]


# --- the result -----------------------------------------------------------------------------------


def test_a_run_that_succeeds(steps: Steps) -> None:
    facts = {"wall_s": 0.25, "cpu_s": 0.125, "peak_memory_bytes": 2**20}
    steps.add("load", lambda: StepResult([1, 2], facts=facts))
    steps.add("report", say("two"), after="load")
    result, summary = run(steps)
    head = {key: result[key] for key in ("recipe", "success", "status", "exit_code", "reason")}
    assert head == {
        "recipe": "example",
        "success": True,
        "status": "completed",
        "exit_code": 0,
        "reason": "",
    }
    assert numbers(result) == [2, 2, 0, 0, 0]
    load, report = result["steps"]["load"], result["steps"]["report"]
    events = list(read_events(steps.directory / "run"))
    assert (load["attempts"], load["result"], load["error"], load["log"]) == (1, [1, 2], None, None)
    assert (load["wall_seconds"], load["cpu_seconds"]) == (0.25, 0.125)
    assert load["peak_memory_bytes"] == 2**20
    assert Path(report["log"]).read_text() == "two\n"
    assert (report["wall_seconds"], report["result"]) == (None, None)
    assert load["started_at"] <= report["started_at"] <= result["ended_at"]
    assert (result["started_at"], result["ended_at"]) == (events[0]["ts"], events[-1]["ts"])
    assert {event["run_id"] for event in events} == {result["run_id"]}
    assert summary.startswith("example: completed\n  steps     2 steps: 2 completed\n")
    assert re.search(r"\n  load +completed +1 +[\d.]+ ms +125 ms +1 MiB\n", summary)


def test_a_run_that_fails_tells_the_error_and_what_was_not_done(steps: Steps) -> None:
    steps.add("bad", failing(9), max_retries=1, retry_delay_seconds=0)
    steps.add("never", say("no"), after="bad")
    result, summary = run(steps)
    assert (result["success"], result["status"], result["exit_code"]) == (False, "failed", 1)
    assert statuses(result) == {"bad": "failed", "never": "pending"}
    assert numbers(result) == [2, 0, 1, 0, 1]
    bad = result["steps"]["bad"]
    assert (bad["attempts"], bad["error"], bad["cpu_seconds"]) == (2, "no luck", 1.5)
    assert "2 steps: 1 failed, 1 not done" in summary
    assert summary.endswith("\nfailed:\n  bad: no luck")


def test_the_summary_names_the_log_of_what_failed(
    steps: Steps, monkeypatch: pytest.MonkeyPatch
) -> None:
    def work() -> None:
        print("some last words")
        raise ValueError("two\nlines")

    steps.add("bad", work)
    monkeypatch.chdir(steps.directory)
    _, summary = run(steps)
    assert summary.endswith("\n  bad: ValueError: two ...\n    output: run/logs/bad.log")


def test_a_step_that_succeeds_when_tried_again_is_completed(steps: Steps) -> None:
    steps.add("flaky", failing(2), max_retries=5, retry_delay_seconds=0)
    result, _ = run(steps)
    flaky = result["steps"]["flaky"]
    assert (flaky["status"], flaky["attempts"], flaky["error"]) == ("completed", 3, None)
    durations = [e.get("duration_s", 0.0) for e in read_events(steps.directory / "run")]
    assert flaky["duration_seconds"] == pytest.approx(sum(durations), abs=1e-5)


def test_skipped_and_left_out_steps_and_a_failure_that_counts_as_done(steps: Steps) -> None:
    steps.add("unwanted", lambda: StepResult(skipped=True))
    steps.add("left_out", say("no"), active_node_step_bool=0)
    steps.add("bad", failing(9), continue_on_error_bool=1)
    steps.add("last", say("yes"), after="unwanted bad")
    result, _ = run(steps)
    assert result["success"] is True
    assert statuses(result) == {
        "unwanted": "skipped",
        "left_out": "skipped",
        "bad": "failed",
        "last": "completed",
    }
    assert numbers(result) == [4, 1, 1, 2, 0]


def test_the_items_of_a_step_are_counted_in_it(steps: Steps) -> None:
    def work(number: int) -> StepResult:
        if number == 1:
            raise StepFailure("not this one")
        return StepResult(number * 10, facts={"cpu_s": 0.5, "peak_memory_bytes": number})

    steps.keep_going = True
    steps.add("each", work, items=["a", "b", "c"])
    result, summary = run(steps)
    each = result["steps"]["each"]
    assert each["items"] == {"total": 3, "completed": 2, "failed": {"1": "not this one"}}
    assert (each["status"], each["error"]) == ("failed", "1 of 3 items failed")
    assert (each["cpu_seconds"], each["peak_memory_bytes"]) == (1.0, 2)
    assert numbers(result) == [1, 0, 1, 0, 0]
    assert "  each: 1 of 3 items failed\n  each[1]: not this one" in summary


def test_a_step_whose_items_fail_has_failed_also_when_that_ends_the_run(steps: Steps) -> None:
    works = {number: failing(1, StepResult(number)) for number in (1, 2)}
    steps.add("each", lambda number: works.get(number, say("0"))(), items=[0, 1, 2, 3])
    result, summary = run(steps)
    each = result["steps"]["each"]
    assert each["items"] == {"total": 4, "completed": 1, "failed": {"1": "no luck"}}
    assert (each["status"], each["error"]) == ("failed", "1 of 4 items failed")
    assert numbers(result) == [1, 0, 1, 0, 0]
    assert "failed:\n  each: 1 of 4 items failed\n  each[1]: no luck" in summary
    each = run(steps, retry_failed=True)[0]["steps"]["each"]
    assert each["items"] == {"total": 4, "completed": 2, "failed": {"2": "no luck"}}
    assert (each["status"], each["error"]) == ("failed", "1 of 4 items failed")
    each = run(steps, retry_failed=True)[0]["steps"]["each"]
    assert (each["status"], each["error"], each["items"]["completed"]) == ("completed", None, 4)


def test_a_step_with_items_is_at_work_again_while_they_are_tried_again() -> None:
    record = RunRecord(["each"])
    common = {"run_id": "1", "ts": "2026-03-01T09:30:12.000000Z", "attempt": 1}
    for kind, node, more in (
        ("state", "each", {"state": "ENTER"}),
        ("items", "each", {"count": 1}),
        ("state", "each[0]", {"state": "ENTER"}),
        ("step_error", "each[0]", {"error": "no luck"}),
        ("step_error", "each", {"error": "1 of 1 items failed"}),
        ("state", "each[0]", {"state": "ENTER"}),
    ):
        record.add({**common, "event": kind, "node": node, **more})
    assert (record.steps["each"].status, record.steps["each"].error) == ("running", "")


# --- a run in several stretches -------------------------------------------------------------------


def test_a_resumed_run_tells_of_what_was_done_before(steps: Steps) -> None:
    steps.add("first", lambda: StepResult("kept"))
    steps.add("second", say("on"), after="first")
    before, summary = run(steps, max_steps=1)
    assert (before["status"], before["exit_code"], before["success"]) == ("paused", 3, False)
    assert statuses(before) == {"first": "completed", "second": "pending"}
    assert "paused: max-steps 1" in summary
    after, _ = run(steps)
    assert after["status"] == "completed" and after["run_id"] == before["run_id"]
    assert after["steps"]["first"] == before["steps"]["first"]
    assert after["steps"]["first"]["result"] == "kept"
    events = list(read_events(steps.directory / "run"))
    (goes_on,) = (place for place, event in enumerate(events) if event["event"] == "resume")
    stretches = (events[:goes_on], events[goes_on:])
    worked = sum(seconds_between(each[0]["ts"], each[-1]["ts"]) for each in stretches)
    assert after["execution_time_seconds"] == pytest.approx(worked, abs=1e-5)
    assert (after["started_at"], after["ended_at"]) == (events[0]["ts"], events[-1]["ts"])


def test_a_run_that_had_ended_is_told_again(steps: Steps) -> None:
    steps.add("only", say("once"))
    assert run(steps)[0] == run(steps)[0]


def test_a_run_that_failed_and_is_tried_again(steps: Steps) -> None:
    steps.add("first", say("one"))
    steps.add("flaky", failing(1), after="first")
    before, _ = run(steps)
    assert statuses(before) == {"first": "completed", "flaky": "failed"}
    after, _ = run(steps, retry_failed=True)
    assert statuses(after) == {"first": "completed", "flaky": "completed"}
    assert (after["run_id"], after["steps"]["flaky"]["error"]) == (before["run_id"], None)


def test_a_step_that_is_to_be_done_again_is_pending_and_has_no_result(steps: Steps) -> None:
    for name, after in (("first", ""), ("second", "first"), ("third", "second")):
        steps.add(name, say(name, StepResult(name)), after=after)
    assert set(statuses(run(steps)[0]).values()) == {"completed"}
    with reported(steps) as (report, engine):
        engine.jump("second")
        result = report.result(Outcome("INACTIVE", "jump to second"))
    assert statuses(result) == {"first": "completed", "second": "pending", "third": "pending"}
    results = {name: step["result"] for name, step in result["steps"].items()}
    assert results == {"first": "first", "second": None, "third": None}


def test_steps_that_the_log_has_forgotten_are_known_from_the_parameter_file(steps: Steps) -> None:
    steps.add("first", say("one"))
    steps.add("second", say("two"), after="first")
    run(steps, max_steps=1)
    (steps.directory / "run" / EVENT_FILE_NAME).unlink()
    result, _ = run(steps)
    assert statuses(result) == {"first": "completed", "second": "completed"}
    assert result["started_at"] is None and result["steps"]["first"]["started_at"] is None


def test_a_log_that_cant_be_read_ends_no_run(
    steps: Steps, caplog: pytest.LogCaptureFixture
) -> None:
    steps.add("first", say("one"))
    steps.add("second", say("two"), after="first")
    run(steps, max_steps=1)
    log = steps.directory / "run" / EVENT_FILE_NAME
    log.write_bytes(b"no event\n" + log.read_bytes())
    result, _ = run(steps)
    assert result["success"] and statuses(result)["first"] == "completed"
    assert f"{log}:1" in caplog.text


def test_what_is_left_out_now_is_completed_only_if_it_is_done(steps: Steps) -> None:
    for name in ("kept", "undone", "failed", "other"):
        steps.add(name, failing(9) if name == "failed" else say(name))
    steps.keep_going = True
    assert list(statuses(run(steps)[0]).values()) == ["completed"] * 2 + ["failed", "completed"]
    for name in ("kept", "undone", "failed"):
        steps.compiled["step_node_graph_dict"][name]["active_node_step_bool"] = 0
    with InstanceDir(steps.directory / "run").parameters.transaction() as data:
        data["recipe"] = {"left_out_done_bits": hex(steps.graph.bits(["kept"]))}
    result, _ = run(steps)
    assert list(statuses(result).values()) == ["completed", "skipped", "skipped", "completed"]


# --- how steps stand when nothing is at work ------------------------------------------------------


@pytest.mark.parametrize(
    ("last", "outcome", "status"),
    [
        ({"event": "interrupted"}, Outcome("INACTIVE", "interrupted", (), True), "interrupted"),
        ({"event": "interrupted"}, Outcome("INACTIVE", "breakpoint"), "paused"),
        ({"event": "interrupted"}, Outcome("COMPLETE_ERROR", "another failed"), "interrupted"),
        ({"event": "retry", "delay_s": 9}, Outcome("INACTIVE", "Ctrl-C"), "retrying"),
        ({"event": "retry", "delay_s": 9}, Outcome("COMPLETE_ERROR", "stopped"), "failed"),
    ],
)
def test_a_step_that_was_begun_and_is_not_over(
    steps: Steps, last: dict[str, Any], outcome: Outcome, status: str
) -> None:
    steps.add("work", say(""))
    with reported(steps) as (report, _):
        common = {"node": "work", "attempt": 1, "run_id": "1", "ts": "2026-03-01T09:30:12.000000Z"}
        for seq, event in enumerate(
            ({"event": "run_start"}, {"event": "state", "state": "ENTER"}, last), 1
        ):
            report.event({**common, "seq": seq, **event})
        assert statuses(report.result(outcome)) == {"work": status}


def test_a_step_without_items_was_performed_once(steps: Steps) -> None:
    steps.add("each", lambda _: None, items=[])
    with reported(steps) as (report, engine):
        each = report.result(engine.run())["steps"]["each"]
    assert (each["attempts"], each["items"]["total"]) == (1, 0)


def test_what_is_at_work_is_known_while_it_is(steps: Steps) -> None:
    record = RunRecord(["a", "each"])
    seen: list[list[str]] = []

    def look(_: int = 0) -> None:
        seen.append([each.node for each in record.active()])

    steps.add("a", look)
    steps.add("each", look, after="a", items=[1, 2])
    instance = make_instance(steps.directory / "run", steps)
    StepEngine(instance, program=steps, observer=record.add).run()
    assert seen == [["a"], ["each", "each[0]"], ["each", "each[1]"]]
    assert record.active() == []


# --- what is shown while it runs ------------------------------------------------------------------


def show(steps: Steps, **options: bool) -> None:
    with reported(steps, **options) as (report, engine):
        report.ending(engine.run())


def test_without_a_terminal_there_is_a_line_for_each_step(steps: Steps, capfd: Capture) -> None:
    steps.add("load", say("loading"))
    steps.add("none", lambda: StepResult(skipped=True), after="load")
    show(steps)
    out, err = capfd.readouterr()
    assert re.sub(r"[\d.]+ m?s\b", "T", out) == (
        "loading\n==> load: done, T\n==> none: skipped, T\n"
        "==> example: completed (2 steps: 1 completed, 1 skipped, T)\n"
    )
    assert err == ""


def test_with_json_stdout_is_left_to_the_result(steps: Steps, capfd: Capture) -> None:
    steps.add("load", say("loading"))
    show(steps, json_output=True)
    out, err = capfd.readouterr()
    assert out == "" and "loading\n==> load: done" in err


@pytest.mark.parametrize("json_output", [False, True])
def test_quiet_shows_what_steps_print_and_failures(
    steps: Steps, capfd: Capture, json_output: bool
) -> None:
    steps.add("load", say("loading"))
    steps.add("bad", failing(9), after="load")
    show(steps, json_output=json_output, quiet=True)
    out, err = capfd.readouterr()
    assert out == ("" if json_output else "loading\n")
    assert ("loading" in err) is json_output
    assert "==> bad EXECUTE: FAILED: no luck" in err and "load: done" not in err


def test_the_bar_counts_the_steps_that_this_run_performs(steps: Steps) -> None:
    steps.add("left_out", say("no"), active_node_step_bool=0)
    steps.add("first", say("one"))
    steps.add("second", say("two"), after="first")
    with reported(steps) as (report, engine):
        engine.run(max_steps=1)
        assert report._progress() == (1, 2)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="pseudo-terminals")
@pytest.mark.parametrize("columns", [100, 30])
def test_on_a_terminal_a_bar_and_the_steps_at_work_are_below_what_steps_print(
    tmp_path: Path, columns: int
) -> None:
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(
        "steps:\n"
        "- {name: hello, type: shell, command: echo hello}\n"
        "- {name: ask, type: shell, command: until test -e go; do sleep 0.05; done,"
        " depends_on: hello}\n"
        "- {name: bye, type: shell, command: echo bye, depends_on: ask}\n"
    )
    runner = str(PROJECT / "orchestrator" / "runner.py")
    command = [sys.executable, runner, "--recipe", str(recipe), "--summary"]
    with on_a_terminal(command, tmp_path, columns) as terminal:
        out = terminal.read_until("1 of 3 steps done" if columns > 80 else "1 of 3")
        shown = screen(out)
        assert "hello" in shown and re.match(r"[|/\\-]  ask  ", shown[-3])
        assert re.match(r"━+.* 1 of 3 ", shown[-2]) and len(shown[-2]) < columns
        (tmp_path / "go").touch()
        out += terminal.read_until(None)
        assert terminal.exit_code() == 0, out
    shown = screen(out)
    assert "bye" in shown and not any("━" in line for line in shown)
    assert any(line.startswith("==> recipe: completed (3 steps: 3 completed, ") for line in shown)
    assert "recipe: completed" in shown
