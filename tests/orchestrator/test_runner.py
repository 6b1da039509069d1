"""The runner as users start it: a process, its options, its exit codes, its words."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.modules.engine_support import DEADLINE_S, wait_for
from tests.orchestrator.runner_support import RUNNER, Place, is_alive, note, result_of, work
from tests.recipes import SPEC_RECIPES, SPEC_SCRIPTLET

DIAMOND = (
    note("a"),
    note("b", "depends_on: a"),
    note("c", "depends_on: a"),
    note("d", "depends_on: [b, c]"),
)

# --- the recipes of the user's document -----------------------------------------------------------


def test_the_first_recipe_runs_as_printed(place: Place) -> None:
    place.write("my_first_recipe.yaml", SPEC_RECIPES["my_first_recipe"])
    ended = place.run("--recipe", "my_first_recipe.yaml", "--debug")
    assert ended.returncode == 0, ended.stderr
    assert "Hello from Framework0!\n" in ended.stdout
    assert place.parameters("hello_framework0")["run_progress"]["steps_done"] == 1


PIPELINE = """\
metadata:
  name: "data_processing_pipeline"
  version: "1.0"
steps:
  - name: "load_data"
    idx: 1
    type: "python"
    module: "scriptlets.data.loader"
    function: "DataLoaderScriptlet"
    args:
      source: "data.csv"

  - name: "process_data"
    idx: 2
    type: "python"
    module: "scriptlets.data.custom"
    function: "CustomProcessorScriptlet"
    depends_on: ["load_data"]
"""
LOADER = """\
from scriptlets.framework import BaseScriptlet, register_scriptlet

@register_scriptlet
class DataLoaderScriptlet(BaseScriptlet):
    def run(self, context, params):
        with open(params["source"]) as file:
            context.set("input_data", [int(each) for each in file.read().split(",")])
        return {"status": "success"}
"""


@pytest.mark.parametrize("executor", ["threads", "processes"])
def test_scriptlets_beside_the_recipe_share_the_context(place: Place, executor: str) -> None:
    place.write("scriptlets/data/loader.py", LOADER)
    place.write("scriptlets/data/custom.py", SPEC_SCRIPTLET)
    place.write("data.csv", "1,-2,3")
    place.write("pipeline.yaml", PIPELINE)
    ended = place.run("pipeline.yaml", "--executor", executor, "--debug")
    assert ended.returncode == 0, ended.stderr
    assert "Starting custom processing" in ended.stdout  # logged, to the output of its step
    kept = place.parameters("data_processing_pipeline")
    assert kept["context"]["processed_data"] == [2, 6]
    assert kept["context"]["custom_processor.completed"] is True
    assert kept["process_data"]["result"]["records_processed"] == 2


def test_a_folder_called_like_the_projects_packages_shadows_none(place: Place) -> None:
    place.write("orchestrator/__init__.py", "raise SystemExit('the wrong one')")
    place.write("scriptlets/__init__.py", "raise SystemExit('the wrong one')")
    place.write("scriptlets/mine.py", "def act():\n    return 7\n")
    place.recipe("name: a, module: scriptlets.mine, function: act, timeout: 60")
    for env in ({}, {"PYTHONPATH": str(place.path)}):
        ended = place.run("r.yaml", env=env)
        assert (ended.returncode, place.parameters()["a"]["result"]) == (0, 7), ended.stderr


# --- exit codes -----------------------------------------------------------------------------------


def test_a_failure_is_told_with_its_place_and_ends_with_1(place: Place) -> None:
    place.recipe(work("a", "fail"), note("b", "depends_on: a"))
    ended = place.run("r.yaml")
    assert ended.returncode == 1
    assert "ValueError: it went wrong" in ended.stdout and "work.py" in ended.stdout
    assert "orchestrator" not in ended.stdout.partition("try again")[0]  # no frames of ours
    assert place.log() == ["it"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["r.yaml", "--only", "a,bb"], "--only: the recipe has no step 'bb'\n  did you mean 'b'"),
        (["r.yaml", "--skip", "cc"], "--skip: the recipe has no step 'cc'\n  did you mean 'c'"),
        (["r.yaml", "--from-step", "dd"], "--from-step: the recipe has no step 'dd'"),
        (["r.yaml", "--only", "a", "--skip", "a"], "no step is left"),
        (["r.yaml", "--executor", "thread"], "did you mean 'threads'"),
        (["r.yaml", "--only", '"a'], "is no list of names with commas in between"),
        (["r.yaml", "--only", ""], "is no list of names with commas in between"),
        (["r.yaml", "--workers", "0"], "'0' is no whole number above 0"),
        (["r.yaml", "--step-timeout", "-1"], "'-1' is not a number of seconds above 0"),
        (["r.yaml", "--max-retries", "x"], "'x' is no whole number, 0 or more"),
        (["r.yaml", "--max-retries", "9" * 20], "... is more than can be kept"),
        (["r.yaml", "--retry-delay", "nan"], "'nan' is not a number of seconds, 0 or more"),
        (["r.yaml", "--instance", ""], "'' is no directory"),
        (["r.yaml", "--instance", "i\udcff"], "is no UTF-8: choose another name"),
        (["r.yaml", "--resum"], "did you mean '--resume'"),
        (["r.yaml", "--set", "no=1"], "there is no input 'no'"),
        (["r.yaml", "--accept-changes"], "--accept-changes goes with --resume"),
        (["r.yaml", "x.yaml"], "one word too many: 'x.yaml'"),
        (["r.yaml", "--recipe", "x.yaml"], "two recipes"),
        (["validate", "r.yaml"], "enhanced_recipe_parser.py validate r.yaml\n"),
        (
            ["run", "r.yaml"],
            f"'run' is no recipe\n  this will do: {sys.executable} {RUNNER} r.yaml\n",
        ),
        ([], "a recipe is missing"),
        (["q.yaml"], "q.yaml: there is no such file\n"),
        (["r"], "r: there is no such file\n  did you mean 'r.yaml'?"),
        (["r.yaml", "--resume"], "there is no run to go on with"),
    ],
)
def test_a_typo_is_told_with_what_is_right_and_nothing_is_done(
    place: Place, words: list[str], said: str
) -> None:
    place.recipe(*DIAMOND)
    ended = place.run(*words)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert said in ended.stderr and "Traceback" not in ended.stderr
    assert not (place.path / "step_instances").exists()


@pytest.mark.parametrize("script", ["runner.py", "enhanced_recipe_parser.py validate"])
def test_a_directory_that_is_gone_is_told(place: Place, script: str) -> None:
    place.recipe(note("a"))
    (place.path / "gone").mkdir()
    program = f"{sys.executable} {RUNNER.parent}/{script} {place.path / 'r.yaml'}"
    ended = subprocess.run(
        ["sh", "-c", f"cd gone && rmdir ../gone && {program}"],
        cwd=place.path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (ended.returncode, ended.stderr) == (
        2,
        "error: the current directory is gone\n  change to one that exists\n",
    )


def test_a_recipe_with_problems_is_told_with_places_and_ends_with_2(place: Place) -> None:
    place.recipe(note("a", "depend_on: b"), note("b", "depends_on: c"))
    ended = place.run("r.yaml")
    assert ended.returncode == 2
    assert "r.yaml:2:" in ended.stderr and "r.yaml:3:" in ended.stderr
    assert not (place.path / "step_instances").exists()


def test_another_engine_ends_it_with_4_and_is_named(place: Place) -> None:
    place.recipe(work("a", "hold", "a"))
    with place.running("r.yaml") as process:
        wait_for(place.log, "the step to be at work")
        for more in ([], ["--resume"]):
            ended = place.run("r.yaml", *more)
            assert ended.returncode == 4
            assert f"pid {process.pid}" in ended.stderr
        place.go("a")
        assert process.wait(DEADLINE_S) == 0
    assert place.log() == ["a"]


# --- signals --------------------------------------------------------------------------------------


def test_of_those_that_begin_at_the_same_instant_one_runs_and_the_others_end_with_4(
    place: Place,
) -> None:
    place.recipe(work("a", "hold", "x"))
    with ExitStack() as running:
        processes = [running.enter_context(place.running("r.yaml")) for _ in range(4)]
        wait_for(lambda: sum(each.poll() is None for each in processes) == 1, "one is left")
        place.go("x")
        assert sorted(each.wait(DEADLINE_S) for each in processes) == [0, 4, 4, 4]
    assert place.log() == ["x"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_lets_it_rest_when_the_steps_at_work_are_done(place: Place, number: int) -> None:
    place.recipe(work("a", "hold", "a"), note("b", "depends_on: a"))
    with place.running("r.yaml") as process:
        wait_for(place.log, "the step to be at work")
        process.send_signal(number)
        wait_for(lambda: "pausing" in place.out(), "the signal to be heard")
        place.go("a")
        assert process.wait(DEADLINE_S) == 3
    assert place.log() == ["a"]
    assert "--resume --instance step_instances/r" in place.out()
    assert place.run("--resume", "--instance", "step_instances/r").returncode == 0
    assert place.log() == ["a", "b"]


@pytest.mark.parametrize("executor", ["serial", "threads", "processes"])
def test_a_second_ctrl_c_interrupts_the_steps_at_work(place: Place, executor: str) -> None:
    place.recipe(
        "name: a, type: shell, command: 'echo $$ > sh.pid; exec sleep 600'",
        note("b", "depends_on: a"),
    )
    pid = place.path / "sh.pid"
    with place.running("r.yaml", "--executor", executor) as process:
        wait_for(lambda: pid.exists() and pid.read_text().strip(), "the command to be at work")
        process.send_signal(signal.SIGINT)
        wait_for(lambda: "pausing" in place.out(), "the signal to be heard")
        process.send_signal(signal.SIGINT)
        assert process.wait(DEADLINE_S) == 130
    wait_for(lambda: not is_alive(int(pid.read_text())), "the command to be ended")
    assert place.log() == []
    place.recipe("name: a, type: shell, command: 'true'", note("b", "depends_on: a"))
    assert place.run("r.yaml", "--resume", "--accept-changes").returncode == 0
    assert place.log() == ["b"]


# --- which steps, and how -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "performed"),
    [
        (["--only", "a,c"], {"a", "c"}),
        (["--skip", "b"], {"a", "c", "d"}),
        (["--from-step", "b"], {"b", "d"}),
        (["--from-step", "a", "--skip", "d,c"], {"a", "b"}),
        (["--only", "d"], {"d"}),
    ],
)
def test_the_chosen_steps_are_performed_and_no_others(
    place: Place, words: list[str], performed: set[str]
) -> None:
    place.recipe(*DIAMOND)
    ended = place.run("r.yaml", "--json-output", *words)
    assert ended.returncode == 0, ended.stderr
    assert set(place.log()) == performed
    statuses = {name: step["status"] for name, step in result_of(ended)["steps"].items()}
    assert {name for name, status in statuses.items() if status == "completed"} == performed


def test_a_name_with_commas_is_given_in_quotes(place: Place) -> None:
    place.recipe(note("'a, b'"), note("a"), note("b"))
    for words, performed in (("a, b", {"a", "b"}), ('"a, b",b', {"a, b", "b"})):
        ended = place.run("r.yaml", "--dry-run", "--json-output", "--only", words)
        assert ended.returncode == 0, ended.stderr
        assert {name for level in result_of(ended)["levels"] for name in level} == performed


def test_finally_steps_come_with_from_step_and_not_with_only(place: Place) -> None:
    place.recipe(*DIAMOND, note("z", "finally: true"))
    assert place.run("r.yaml", "--from-step", "d").returncode == 0
    assert place.log() == ["d", "z"]
    assert place.run("r.yaml", "--only", "d").returncode == 0
    assert place.log() == ["d", "z", "d"]


def test_a_way_out_that_is_left_out_is_none(place: Place) -> None:
    place.recipe(work("a", "fail", more="on_error: {go_to: b}"), note("b"))
    assert place.run("r.yaml", "--skip", "b").returncode == 1
    assert place.run("r.yaml").returncode == 0
    assert place.log() == ["it", "it", "b"]


def test_a_way_out_that_is_asked_for_by_its_name_is_performed(place: Place) -> None:
    place.recipe(note("a", "on_error: {go_to: b}"), note("b"), note("c", "depends_on: b"))
    for words, performed in ((["--only", "b"], ["b"]), (["--from-step", "b"], ["b", "c"])):
        assert place.run("r.yaml", *words).returncode == 0
        assert place.log() == performed
        (place.path / "log.txt").unlink()


def test_continue_on_error_performs_what_does_not_depend_on_the_failure(place: Place) -> None:
    place.recipe(
        work("a", "fail", "a"),
        note("b", "depends_on: a"),
        note("c"),
        note("d", "depends_on: c"),
    )
    assert place.run("r.yaml", "--executor", "serial").returncode == 1
    assert place.log() == ["a"]
    ended = place.run("r.yaml", "--executor", "serial", "--continue-on-error")
    assert ended.returncode == 1
    assert "==> r: failed: a (4 steps" in ended.stdout
    assert place.log() == ["a", "a", "c", "d"]


def test_every_step_is_tried_again_as_often_as_is_wanted(place: Place) -> None:
    place.recipe(work("a", "fail", "a", more="retries: 5"))
    words = ["r.yaml", "--max-retries", "2", "--retry-delay", "0.01"]
    assert place.run(*words).returncode == 1
    assert place.log() == ["a"] * 3
    assert [each["delay_s"] for each in place.events("retry")] == [0.01, 0.01]


def test_a_back_off_grows_and_is_left_to_chance_as_the_step_says(place: Place) -> None:
    more = "retries: 3, retry_delay: 0.02, retry_backoff: 2, retry_jitter: 0.5"
    place.recipe(work("a", "fail", "a", more=more))
    assert place.run("r.yaml").returncode == 1
    delays = [each["delay_s"] for each in place.events("retry")]
    assert len(delays) == 3
    for delay, middle in zip(delays, (0.02, 0.04, 0.08), strict=True):
        assert middle * 0.5 <= delay <= middle * 1.5


@pytest.mark.parametrize("executor", ["serial", "threads", "processes"])
@pytest.mark.skipif(sys.platform != "linux", reason="looks at processes in /proc")
def test_a_timeout_ends_the_step_and_what_it_has_started(place: Place, executor: str) -> None:
    place.recipe(work("a", "hang"), note("b"))
    ended = place.run("r.yaml", "--step-timeout", "0.5", "--executor", executor)
    assert ended.returncode == 1
    assert "timed out after 0.5 s" in ended.stdout
    assert not is_alive(int((place.path / "child.pid").read_text()))


def test_the_recipe_says_where_steps_run_and_the_user_goes_before(place: Place) -> None:
    place.write("pid.py", "import os\n\ndef pid():\n    return os.getpid()\n")
    place.recipe(
        "name: a, module: pid, function: pid",
        "name: b, module: pid, function: pid",
        head="defaults: {executor: processes, workers: 1}",
    )
    with place.running("r.yaml", "--quiet") as process:
        assert process.wait(DEADLINE_S) == 0
    of_a, of_b = (place.parameters()[name]["result"] for name in "ab")
    assert of_a == of_b != process.pid
    with place.running("r.yaml", "--quiet", "--executor", "serial") as process:
        assert process.wait(DEADLINE_S) == 0
    assert place.parameters()["a"]["result"] == process.pid


def test_independent_steps_are_at_work_at_the_same_time(place: Place) -> None:
    place.recipe(*(work(name, "hold", name) for name in "abc"))
    with place.running("r.yaml") as process:
        wait_for(lambda: sorted(place.log()) == ["a", "b", "c"], "all three to be at work")
        place.go("a", "b", "c")
        assert process.wait(DEADLINE_S) == 0


def test_a_step_waits_for_its_own_dependencies_only(place: Place) -> None:
    place.recipe(work("slow", "hold", "slow"), note("a"), note("b", "depends_on: a"))
    with place.running("r.yaml") as process:
        wait_for(lambda: "b" in place.log(), "what doesn't wait for the slow one")
        place.go("slow")
        assert process.wait(DEADLINE_S) == 0


# --- a dry run ------------------------------------------------------------------------------------


def test_a_dry_run_shows_levels_and_the_critical_path_and_changes_nothing(place: Place) -> None:
    place.recipe(*DIAMOND, note("z", "finally: true"))
    before = sorted(place.path.rglob("*"))
    ended = place.run("r.yaml", "--dry-run")
    assert (ended.returncode, ended.stderr) == (0, "")
    assert "a -> b -> d" in ended.stdout and "at the end  z" in ended.stdout
    assert sorted(place.path.rglob("*")) == before
    plan = result_of(place.run("r.yaml", "--dry-run", "--json-output", "--skip", "c"))
    assert plan["levels"] == [["a"], ["b"], ["d"]]
    assert plan["finally"] == ["z"]
    place.recipe(note("a"), note("b", "on_error: {go_to: c}"), note("c"))
    plan = result_of(place.run("r.yaml", "--dry-run", "--json-output", "--skip", "b"))
    assert plan["steps"] == ["a"]


def test_a_run_that_had_ended_already_is_said_to_and_how_to_begin_a_new_one(place: Place) -> None:
    place.recipe(note("a"), work("b", "fail", more="on_error: {go_to: c}"), note("c"))
    ended = place.run("r.yaml")
    assert "==> b: failed" in ended.stdout and "-> c\n" in ended.stdout
    assert "had ended already" not in ended.stdout
    again = place.run("r.yaml", "--resume")
    assert again.returncode == 0
    assert "==> r: completed (this run had ended already; 3 steps: 2 completed" in again.stdout
    assert again.stdout.endswith("runner.py r.yaml\n")
    named = place.run("--resume", "--instance", "step_instances/r")
    assert named.stdout.endswith("runner.py r.yaml --instance step_instances/r\n")
    plan = result_of(place.run("r.yaml", "--resume", "--dry-run", "--json-output"))
    assert plan["steps"] == []


def test_a_dry_run_of_a_resume_shows_what_is_left(place: Place) -> None:
    place.recipe(note("a"), work("b", "fail", more="depends_on: a"), note("c", "depends_on: b"))
    assert place.run("r.yaml").returncode == 1
    kept = place.parameters()
    plan = result_of(place.run("r.yaml", "--resume", "--dry-run", "--json-output"))
    assert plan["steps"] == ["b", "c"]
    assert place.parameters() == kept


# --- what is shown --------------------------------------------------------------------------------


def test_the_json_output_is_one_object_and_steps_print_elsewhere(place: Place) -> None:
    place.recipe("name: a, module: builtins, function: print, args: [said]", note("b"))
    ended = place.run("r.yaml", "--json-output", "--summary")
    assert "said" in ended.stderr
    result = result_of(ended)
    assert (result["success"], result["completed_steps"]) == (True, 2)
    assert result["steps"]["b"]["result"] == "b"


def test_a_thread_that_outlives_the_run_prints_nothing_beside_the_json_output(
    place: Place,
) -> None:
    place.write(
        "late.py",
        """\
        import os, threading

        def leave():
            threading.Thread(target=print_at_the_end).start()

        def print_at_the_end():
            threading.main_thread().join()  # the result is written by then
            print("late", flush=True)
            os.write(1, b"later")
        """,
    )
    place.recipe("name: a, module: late, function: leave")
    ended = place.run("r.yaml", "--json-output", "--executor", "serial")
    assert result_of(ended)["success"]
    assert "late\nlater" in ended.stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize("option", ["--executor=threads", "--executor=serial", "--json-output"])
def test_a_full_disk_behind_the_output_is_said_and_the_run_goes_on(
    place: Place, option: str
) -> None:
    place.recipe("name: a, module: builtins, function: print, args: [said]", note("b"))
    with Path("/dev/full").open("w") as full:
        ended = subprocess.run(
            [sys.executable, str(RUNNER), "r.yaml", option],
            cwd=place.path,
            stdout=full,
            stderr=subprocess.PIPE,
            encoding="utf-8",
            check=False,
        )
    assert ended.returncode == 1
    assert ended.stderr.endswith("error: the output can't be written: No space left on device\n")
    assert place.parameters()["run_progress"]["steps_done"] == 2


def test_the_summary_has_every_step(place: Place) -> None:
    place.recipe(*DIAMOND)
    out = place.run("r.yaml", "--summary").stdout
    assert all(f"\n  {name} " in out for name in "abcd")


def test_debug_shows_what_is_logged(place: Place) -> None:
    place.write(
        "logs.py",
        "import logging\n\ndef act():\n    logging.getLogger('mine').debug('deep inside')\n",
    )
    place.recipe("name: a, module: logs, function: act")
    assert "deep inside" not in place.run("r.yaml").stdout
    assert "deep inside" in place.run("r.yaml", "--debug").stdout
    assert "deep inside" in place.run("r.yaml", "--debug", "--executor", "processes").stdout


# --- inputs ---------------------------------------------------------------------------------------

INPUTS = """\
inputs:
  times: 2
  who: {type: string}
  tags: {type: list, default: []}
"""


def test_inputs_are_given_by_name_and_in_files(place: Place) -> None:
    step = "name: a, module: builtins, function: dict, args: {got: '{{ inputs }}'}"
    place.recipe(step, head=INPUTS)
    place.write("given.yaml", "who: file\ntags: [x]\n")
    ended = place.run("r.yaml", "--inputs", "given.yaml", "--set", "times=5")
    assert ended.returncode == 0, ended.stderr
    wanted = {"times": 5, "who": "file", "tags": ["x"]}
    assert place.parameters()["a"]["result"]["got"] == wanted
    assert place.parameters()["inputs"] == wanted


def test_a_missing_input_is_told(place: Place) -> None:
    place.recipe(note("a"), head=INPUTS)
    ended = place.run("r.yaml")
    assert ended.returncode == 2
    assert "'who' has no value" in ended.stderr


# --- secrets --------------------------------------------------------------------------------------

SECRET = "tr0ub4dor&3"
LEAKY = """\
import logging, os, subprocess, sys

def leak(token, context, fails=False):
    print("printed", token)
    sys.stderr.write(f"to stderr {token}\\n")
    logging.getLogger("leaky").warning("logged %s", token)
    os.write(1, f"raw {token}\\n".encode())
    subprocess.run(["echo", "child", token])
    context.set("kept", {"token": token, token: 1})
    if fails:
        raise ValueError(f"bad token {token}")
    return {"token": token}
"""


@pytest.mark.parametrize("executor", ["serial", "threads", "processes"])
def test_a_secret_is_nowhere(place: Place, executor: str) -> None:
    place.write("leaky.py", LEAKY)
    given = "token: '{{ inputs.token }}'"
    place.recipe(
        f"name: a, module: leaky, function: leak, args: {{{given}}}",
        f"name: b, module: leaky, function: leak, args: {{{given}, fails: true}},"
        " on_error: continue",
        "name: c, type: shell, command: 'echo \"{{ inputs.token }}\" | tee /dev/stderr'",
        "name: d, type: shell, command: 'echo $T', args: {env: {T: '{{ inputs.token }}'}}",
        "name: e, module: builtins, function: print, foreach: ['{{ inputs.token }}'],"
        " args: ['{{ item }}']",
        "name: f, type: recipe, recipe: inner.yaml, args: {word: '{{ inputs.token }}'}",
        "name: g, module: leaky, function: leak, timeout: 60, args: {" + given + "}",
        head="inputs: {token: {type: string, secret: true}}",
    )
    place.recipe(
        "name: in, module: leaky, function: leak, args: {token: '{{ inputs.word }}'}",
        head="inputs: {word: {type: string}}",
        name="inner",
    )
    ended = place.run(
        "r.yaml",
        *("--set", f"token={SECRET}", "--executor", executor, "--json-output", "--debug"),
    )
    assert ended.returncode == 0, ended.stderr
    assert "printed ***" in ended.stderr and "bad token ***" in ended.stderr
    assert SECRET not in ended.stdout + ended.stderr
    assert place.files_with(SECRET) == []
    assert result_of(ended)["steps"]["a"]["result"] == {"token": "***"}
    assert place.parameters()["inputs"] == {"token": "***"}


def test_a_killed_run_has_its_secret_nowhere_and_needs_it_again(place: Place) -> None:
    place.recipe(
        work("a", "hold", "a"),
        "name: b, type: shell, command: 'test {{ inputs.token | length }} = 8', depends_on: a",
        head="inputs: {token: {type: string, secret: true, env: TEST_TOKEN}}",
    )
    place.killed_when(place.log, "r.yaml", "--set", "token=abcd1234")
    assert place.files_with("abcd1234") == []  # in the command of the runner, for one
    place.go("a")
    missing = place.run("r.yaml", "--resume")
    assert missing.returncode == 2 and "'token' has no value" in missing.stderr
    by_instance = place.run("--resume", "--instance", place.instance(), env={"TEST_TOKEN": "x"})
    assert by_instance.returncode == 1  # it comes from the environment
    assert place.run("r.yaml", "--resume", "--set", "token=abcd1234").returncode == 0
    assert place.files_with("abcd1234") == []


def test_a_run_goes_on_without_the_secret_that_it_was_begun_without(place: Place) -> None:
    place.recipe(
        work("a", "until", "ready", "{{ inputs.token }}"),
        head="inputs: {token: {type: string, secret: true, default: null}}",
    )
    assert place.run("r.yaml").returncode == 1
    assert place.parameters()["inputs"] == {"token": None}
    assert place.parameters()["recipe"]["secret_inputs"] == []
    place.write("ready", "")
    assert place.run("r.yaml", "--resume").returncode == 0
    assert place.log() == ["None", "None"]


def test_an_optional_secret_that_was_given_is_needed_again(place: Place) -> None:
    place.recipe(
        work("a", "until", "ready", "x"),
        head="inputs: {token: {type: string, secret: true, default: null}}",
    )
    assert place.run("r.yaml", "--set", "token=abcd1234").returncode == 1
    assert place.files_with("abcd1234") == []
    place.write("ready", "")
    missing = place.run("r.yaml", "--resume")
    assert missing.returncode == 2 and "'token' has no value" in missing.stderr
    assert place.run("r.yaml", "--resume", "--set", "token=abcd1234").returncode == 0


# --- what steps share -----------------------------------------------------------------------------


@pytest.mark.parametrize("executor", ["threads", "processes"])
def test_a_counter_that_fifty_parallel_steps_increment_counts_fifty(
    place: Place, executor: str
) -> None:
    steps = [f"name: s{number}, module: work, function: count" for number in range(50)]
    place.recipe(*steps)
    ended = place.run("r.yaml", "--quiet", "--executor", executor, "--workers", "8")
    assert ended.returncode == 0, ended.stderr
    assert place.parameters()["context"] == {"count": 50}


def test_a_step_that_leaves_out_what_it_promised_has_failed(place: Place) -> None:
    put = "name: a, module: work, function: put, args: {key: k, value: 1}"
    place.recipe(f"{put}, success: {{ctx_has_keys: [k, other]}}")
    ended = place.run("r.yaml")
    assert ended.returncode == 1 and "the context has no key 'other'" in ended.stdout


def test_steps_run_where_the_runner_was_started(place: Place) -> None:
    place.recipe("name: a, module: os, function: getcwd", name="sub/r")
    for executor in ("serial", "threads", "processes"):
        assert place.run("sub/r.yaml", "--executor", executor).returncode == 0
        assert place.parameters()["a"]["result"] == os.path.realpath(place.path)


def test_installed_and_as_a_script_from_anywhere(place: Place, tmp_path: Path) -> None:
    place.recipe(note("a"))
    installed = Path(sys.executable).with_name("octo-recipe-run")
    if not installed.exists():
        pytest.skip("not installed here")
    ended = subprocess.run([installed, "r.yaml"], cwd=tmp_path, check=False, capture_output=True)
    assert ended.returncode == 0, ended.stderr
