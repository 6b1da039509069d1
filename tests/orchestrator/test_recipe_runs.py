"""Runs of recipes through everything that can happen to them: kills, changes, stops, failures."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys

import pytest

import octo_step_instance
from octo_instance_dir import runner_of
from tests.modules.engine_support import DEADLINE_S, wait_for
from tests.orchestrator.runner_support import Place, is_alive, note, result_of, work

# --- after a kill ---------------------------------------------------------------------------------


@pytest.mark.parametrize("executor", ["serial", "threads", "processes"])
def test_a_killed_run_goes_on_and_repeats_no_finished_step(place: Place, executor: str) -> None:
    place.recipe(
        note("a"),
        work("b", "hold", "b", more="depends_on: a"),
        work("c", "hold", "c", more="depends_on: a"),
        note("d", "depends_on: [b, c]"),
    )
    at_work = {"serial": {"b"}}.get(executor, {"b", "c"})
    place.killed_when(lambda: at_work <= {*place.log()}, "r.yaml", "--executor", executor)
    assert place.parameters()["run_progress"]["steps_done"] == 1
    place.go("b", "c")
    ended = place.run("r.yaml", "--resume", "--executor", executor)
    assert ended.returncode == 0, ended.stderr
    interrupted = {each["node"] for each in place.events("interrupted")}
    assert interrupted == at_work
    for name in interrupted:
        assert f"{name} EXECUTE: was interrupted" in ended.stdout
    assert sorted(place.performed()) == ["a", "b", "c", "d"]
    assert place.log().count("a") == place.log().count("d") == 1


@pytest.mark.parametrize("executor", ["serial", "threads", "processes"])
def test_commands_end_with_their_run_even_when_that_is_killed(place: Place, executor: str) -> None:
    place.recipe(
        "name: a, type: shell, command: 'sleep 600 & echo $! > a.pid; wait'",
        "name: b, type: shell, command: 'true; echo $$ > b.pid'",
        "name: c, type: shell, command: 'echo $$ > c.pid; exec sleep 600', depends_on: b",
        head="defaults: {workers: 2}",
    )
    waited_for = ["a"] if executor == "serial" else ["a", "c"]

    def pids() -> list[int]:
        files = [place.path / f"{name}.pid" for name in waited_for]
        texts = [file.read_text() for file in files if file.exists()]
        return [int(text) for text in texts if text.endswith("\n")]

    place.killed_when(lambda: len(pids()) == len(waited_for), "r.yaml", "--executor", executor)
    wait_for(lambda: not any(map(is_alive, pids())), "the commands to be ended")


def test_what_the_steps_of_a_killed_run_have_left_is_there_when_it_goes_on(place: Place) -> None:
    place.recipe(
        "name: a, module: work, function: put, args: {key: k, value: [1, 2]}",
        work("b", "hold", "b", more="depends_on: a"),
        "name: c, module: work, function: note, depends_on: b,"
        " args: ['{{ context.k[1] }}-{{ results.a }}']",
    )
    place.killed_when(place.log, "r.yaml")
    place.go("b")
    assert place.run("r.yaml", "--resume").returncode == 0
    assert place.log() == ["b", "b", "2-None"]


def test_items_that_are_done_stay_done(place: Place) -> None:
    place.recipe(
        "name: a, module: work, function: until, foreach: [x, y, z], foreach_limit: 1,"
        " args: ['{{ item }}.there', '{{ item }}']"
    )
    place.write("x.there", "")
    assert place.run("r.yaml").returncode == 1
    assert place.log() == ["x", "y"]
    place.write("y.there", "")
    place.write("z.there", "")
    assert place.run("r.yaml", "--resume").returncode == 0
    assert place.log() == ["x", "y", "y", "z"]


def test_what_failed_is_tried_again_and_nothing_else(place: Place) -> None:
    place.recipe(
        note("a"),
        work("b", "until", "there", "b", more="depends_on: a"),
        note("c", "depends_on: b"),
        note("z", "finally: true"),
    )
    assert place.run("r.yaml").returncode == 1
    assert place.log() == ["a", "b", "z"]
    place.write("there", "")
    assert place.run("r.yaml", "--resume").returncode == 0
    assert place.log() == ["a", "b", "z", "b", "c", "z"]
    assert place.run("r.yaml", "--resume").returncode == 0  # it has ended: nothing is left
    assert len(place.log()) == 6


@pytest.mark.parametrize("options", [[], ["--continue-on-error"]])
def test_what_had_failed_before_a_kill_is_tried_again_at_once(
    place: Place, options: list[str]
) -> None:
    place.recipe(
        work("a", "until", "there", "a"),
        work("b", "hold", "b"),
        note("c", "depends_on: [a, b]"),
    )

    def failed() -> bool:
        return bool("b" in place.log() and place.parameters().get("a", {}).get("last_error"))

    place.killed_when(failed, "r.yaml", *options)
    place.write("there", "")
    place.go("b")
    assert place.run("r.yaml", "--resume", *options).returncode == 0
    assert sorted(place.log()) == ["a", "a", "b", "b", "c"]


def test_on_interrupt_of_a_step_is_heeded(place: Place) -> None:
    place.recipe(work("a", "hold", "a", more="on_interrupt: ask"), note("b", "depends_on: a"))
    place.killed_when(place.log, "r.yaml")
    ended = place.run("r.yaml", "--resume")
    assert ended.returncode == 3 and "interrupted in EXECUTE of a" in ended.stdout
    place.go("a")
    assert place.run("r.yaml", "--resume").returncode == 0
    assert place.log() == ["a", "a", "b"]


def test_a_run_goes_on_in_the_directory_that_it_was_started_in(place: Place) -> None:
    place.recipe(work("a", "hold", "a"), note("b", "depends_on: a"))
    place.killed_when(place.log, "r.yaml")
    place.go("a")
    elsewhere = Place(place.path / "elsewhere")
    elsewhere.path.mkdir()
    assert elsewhere.run("--resume", "--instance", place.instance()).returncode == 0
    assert place.log() == ["a", "a", "b"]


# --- a new run ------------------------------------------------------------------------------------


@pytest.mark.skipif(sys.platform != "linux", reason="names there are text")
def test_a_path_that_is_no_text_is_refused_and_nothing_is_done(place: Place) -> None:
    place.recipe(note("a"))
    odd = os.fsdecode(b"r\xff.yaml")
    (place.path / "r.yaml").rename(place.path / odd)
    ended = place.run(odd)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr.endswith(
        "/r\\udcff.yaml: this path is no UTF-8, and the files of a run"
        " can't hold it\n  rename what is called so, or make a link to it with another name\n"
    )
    assert not place.instance().parent.exists()


def test_a_new_run_puts_the_old_one_into_the_archive(place: Place) -> None:
    place.recipe(note("a"), work("b", "count"), "name: s, type: recipe, recipe: inner.yaml")
    place.recipe(work("in", "fail"), name="inner")
    assert place.run("r.yaml").returncode == 1
    first = {path.name for path in place.instance().iterdir()}
    [compiled] = place.instance().glob(".octo_step_engine_recipe.*.json")
    place.recipe(note("a", "description: other"))
    assert place.run("r.yaml").returncode == 0
    [archive] = (place.instance() / "archive").iterdir()
    names = {path.name for path in archive.iterdir()}
    assert {compiled.name, "logs", "nested", ".octo_step_engine_context.jsonl"} <= names
    assert {".octo_step_engine_events.jsonl", ".octo_step_engine_parameters.json"} <= names
    assert names <= first
    assert place.parameters()["run_progress"]["steps_total"] == 1
    assert "context" not in place.parameters()


def test_an_instance_of_a_library_is_no_place_for_a_recipe(place: Place) -> None:
    place.recipe(note("a"))
    place.write("step_library/lib/step_node_x.py", "class step_node_x:\n    pass\n")
    library = place.path / "step_library" / "lib"
    target = place.path / "x"
    assert octo_step_instance.main(["create", str(target), "--library", str(library)]) == 0
    for more in ([], ["--resume"]):
        ended = place.run("r.yaml", "--instance", "x", *more)
        assert ended.returncode == 2 and "an instance of a step library" in ended.stderr


# --- after changes --------------------------------------------------------------------------------


def test_a_changed_recipe_is_shown_and_gone_on_with_when_that_is_accepted(place: Place) -> None:
    place.recipe(note("a"), work("b", "fail", "b", more="depends_on: a"))
    assert place.run("r.yaml").returncode == 1
    place.recipe(
        note("new"),
        work("a", "note", "a2", more="depends_on: new"),
        note("b", "depends_on: a"),
        note("c", "depends_on: b"),
    )
    refused = place.run("r.yaml", "--resume")
    assert refused.returncode == 2
    assert "\n-  - {name: b, module: work, function: fail" in refused.stderr
    assert "\n+  - {name: new, " in refused.stderr and "--accept-changes" in refused.stderr
    assert place.log() == ["a", "b"]
    ended = place.run("r.yaml", "--resume", "--accept-changes")
    assert ended.returncode == 0, ended.stderr
    assert sorted(place.log()) == ["a", "b", "b", "c", "new"]  # `a` was done, whatever it is now
    assert place.events("program_changed")
    assert place.run("r.yaml", "--resume").returncode == 0  # what is accepted, is no change


def test_a_killed_run_goes_on_with_a_changed_recipe(place: Place) -> None:
    place.recipe(note("a"), work("b", "hold", "b", more="depends_on: a"), work("gone", "hold", "g"))
    place.killed_when(lambda: {"a", "b", "g"} <= {*place.log()}, "r.yaml")
    place.recipe(note("a"), note("b", "depends_on: a"), note("c", "depends_on: b"))
    ended = place.run("r.yaml", "--resume", "--accept-changes")
    assert ended.returncode == 0, ended.stderr
    assert "b EXECUTE: was interrupted" in ended.stdout
    assert sorted(place.log()) == ["a", "b", "b", "c", "g"]


def test_new_steps_of_a_run_that_has_succeeded_are_performed(place: Place) -> None:
    place.recipe(note("a"), note("z", "finally: true"))
    assert place.run("r.yaml").returncode == 0
    place.recipe(note("a"), note("b", "depends_on: a"), note("z", "finally: true"))
    assert place.run("r.yaml", "--resume", "--accept-changes").returncode == 0
    assert place.log() == ["a", "z", "b", "z"]


def test_changed_code_and_nested_recipes_are_changes_too(place: Place) -> None:
    place.write("mine.py", "def act():\n    raise ValueError\n")
    place.recipe(
        "name: a, module: mine, function: act, depends_on: s",
        "name: s, type: recipe, recipe: inner.yaml",
    )
    place.recipe(note("in"), name="inner")
    assert place.run("r.yaml").returncode == 1
    place.write("mine.py", "def act():\n    pass\n")
    refused = place.run("r.yaml", "--resume")
    assert refused.returncode == 2 and f"changed: {place.path / 'mine.py'}" in refused.stderr
    place.recipe(note("inn"), name="inner")
    refused = place.run("r.yaml", "--resume")
    assert "inner.yaml (now)" in refused.stderr and "\n+  - {name: inn, " in refused.stderr
    assert place.run("r.yaml", "--resume", "--accept-changes").returncode == 0
    assert place.log() == ["in"]


def test_a_pinned_run_goes_on_without_its_file(place: Place) -> None:
    place.recipe(work("a", "hold", "a"), note("b", "depends_on: a"))
    place.killed_when(place.log, "r.yaml")
    place.write("r.yaml", "steps: [broken")
    place.go("a")
    assert octo_step_instance.main(["run", str(place.instance())]) == 0
    assert place.log() == ["a", "a", "b"]
    assert place.events("library_changed")[0]["files"] == [str(place.path / "r.yaml")]


def test_choices_are_kept_and_can_be_made_anew(place: Place) -> None:
    place.recipe(note("a"), work("b", "until", "there", "b", more="depends_on: a"), note("c"))
    assert place.run("r.yaml", "--skip", "c").returncode == 1
    place.write("there", "")
    assert place.run("r.yaml", "--resume").returncode == 0
    assert place.log() == ["a", "b", "b"]
    assert place.run("r.yaml", "--resume", "--only", "c").returncode == 0
    assert place.log() == ["a", "b", "b", "c"]


def test_from_step_performs_again_what_comes_after(place: Place) -> None:
    place.recipe(note("a"), note("b", "depends_on: a"), note("c", "depends_on: b"), note("d"))
    assert place.run("r.yaml", "--executor", "serial").returncode == 0
    before = place.log()
    assert place.run("r.yaml", "--resume", "--from-step", "b").returncode == 0
    assert place.log() == [*before, "b", "c"]


def test_steps_that_are_done_stay_so_while_they_are_left_out(place: Place) -> None:
    place.recipe(note("a"), work("b", "until", "there", "b", more="depends_on: a"), note("c"))
    assert place.run("r.yaml", "--continue-on-error").returncode == 1
    assert sorted(place.log()) == ["a", "b", "c"]
    assert place.run("r.yaml", "--resume", "--only", "c").returncode == 0
    place.write("there", "")
    assert place.run("r.yaml", "--resume", "--skip", "c").returncode == 0
    assert sorted(place.log()) == ["a", "b", "b", "c"]


@pytest.mark.parametrize("executor", ["serial", "threads"])
def test_items_that_are_done_stay_so_while_their_step_is_left_out(
    place: Place, executor: str
) -> None:
    place.write("mine.py", MIND)
    items = "name: items, module: mine, function: mind, foreach: [a, b, c]"
    items += ", args: ['{{ item }}'], depends_on: before"
    place.recipe(note("before"), items, note("one"), note("two"))
    assert place.run("r.yaml", "--executor", executor, "--skip", "one,two").returncode == 1
    assert sorted(place.log()[1:]) == ["a", "b", "c"]
    for chosen in ("one", "two"):
        assert place.run("r.yaml", "--resume", "--only", chosen).returncode == 0
    place.write("there", "")
    ended = place.run("r.yaml", "--resume", "--only", "items", "--json-output")
    assert result_of(ended)["steps"]["items"]["items"] == {"total": 3, "completed": 3, "failed": {}}
    assert place.log()[-3:] == ["one", "two", "c"]
    assert place.parameters()["items"]["result"] == ["a", "b", "c"]
    assert place.run("r.yaml", "--resume", "--from-step", "items").returncode == 0
    assert sorted(place.log()[-3:]) == ["a", "b", "c"]


def test_a_step_that_is_done_again_has_no_result_of_before(place: Place) -> None:
    place.write(
        "mine.py", "def made():\n    text = open('is').read()\n    return int(text or 1 / 0)\n"
    )
    made = "name: made, module: mine, function: made, on_error: continue"
    told = "name: told, module: work, function: note, depends_on: made"
    place.recipe(made, f"{told}, args: ['{{{{ results.made }}}}']")
    place.write("is", "1")
    assert place.run("r.yaml").returncode == 0
    place.write("is", "")
    assert place.run("r.yaml", "--resume", "--from-step", "made").returncode == 0
    assert place.log() == ["1", "None"]
    assert "result" not in place.parameters()["made"]


MIND = """\
import os, work

def mind(word):
    '''Fail for one item until there is a file.'''
    work.note(word)
    if word == "c" and not os.path.exists("there"):
        raise ValueError(word)
    return word
"""
FOUND = """\
import os

def perhaps(*_):
    return "found" if os.path.exists("there") else None

def surely():
    return perhaps() or 1 / 0
"""


def test_a_step_that_returns_nothing_this_time_has_no_result(place: Place) -> None:
    place.write("mine.py", FOUND)
    perhaps = "module: mine, function: perhaps"
    items = "'{{ [1, 2] if results.plain else [1] }}'"
    place.recipe(
        f"name: plain, {perhaps}",
        f"name: guarded, {perhaps}, depends_on: plain, when: results.plain",
        "name: failing, module: mine, function: surely, depends_on: plain, on_error: continue",
        f"name: items, {perhaps}, depends_on: plain, foreach: {items}, args: ['{{{{ item }}}}']",
        f"name: end, {perhaps}, finally: true",
    )
    place.write("there", "")

    def results() -> dict[str, object]:
        kept = place.parameters()
        steps = ("plain", "guarded", "failing", "items", "end")
        return {name: kept[name]["result"] for name in steps if "result" in kept[name]}

    assert place.run("r.yaml").returncode == 0
    found = dict.fromkeys(("plain", "guarded", "failing", "end"), "found")
    assert results() == {**found, "items": ["found", "found"]}
    (place.path / "there").unlink()
    assert octo_step_instance.main(["jump", str(place.instance()), "plain"]) == 0
    assert place.run("r.yaml", "--resume").returncode == 0
    assert results() == {"items": [None]}


def test_what_a_node_keeps_as_its_result_is_the_nodes(place: Place) -> None:
    place.write(
        "step_library/lab/step_node_scale.py",
        "from stepnode_baseclass import stepnode_baseclass\n\n\n"
        "class step_node_scale(stepnode_baseclass):\n"
        "    def step_execute(self):\n"
        "        self.set(self.name, 'result', 5)\n",
    )
    place.recipe("name: weigh, type: step_node, module: lab, function: step_node_scale")
    assert place.run("r.yaml").returncode == 0
    assert octo_step_instance.main(["jump", str(place.instance()), "weigh"]) == 0
    assert place.run("r.yaml", "--resume").returncode == 0
    assert place.parameters()["weigh"]["result"] == 5


def test_inputs_stay_as_they_were_given(place: Place) -> None:
    head = "inputs: {who: {type: string}}"
    place.recipe(work("a", "until", "there", "{{ inputs.who }}"), head=head)
    assert place.run("r.yaml", "--set", "who=me").returncode == 1
    refused = place.run("r.yaml", "--resume", "--set", "who=you")
    assert refused.returncode == 2 and "input 'who' of this run is 'me'" in refused.stderr
    place.write("there", "")
    assert place.run("r.yaml", "--resume", "--set", "who=me").returncode == 0
    assert place.log() == ["me", "me"]


@pytest.mark.parametrize(
    ("now", "told", "fits"),
    [
        ("{type: integer}", "must be a whole number, and is text", "n=4"),
        ("{type: string, choices: [four, five]}", "must be one of 'four', 'five'", "n=four"),
        ("{type: boolean}", "must be true or false, and is text", "n=true"),
    ],
)
def test_an_input_that_fits_the_changed_recipe_no_more_is_to_be_given_again(
    place: Place, now: str, told: str, fits: str
) -> None:
    step = work("a", "until", "there", "{{ inputs.n }}")
    place.recipe(step, head="inputs: {n: {type: string}}")
    assert place.run("r.yaml", "--set", "n=3").returncode == 1
    place.recipe(step, head=f"inputs: {{n: {now}}}")
    place.write("there", "")
    accepting = ("r.yaml", "--resume", "--accept-changes")
    refused = place.run(*accepting)
    assert refused.returncode == 2 and told in refused.stderr, refused.stderr
    assert "--set n=" in refused.stderr
    assert place.log() == ["3"]
    ended = place.run(*accepting, "--set", fits)
    assert ended.returncode == 0, ended.stderr
    assert place.run("r.yaml", "--resume", "--set", fits).returncode == 0
    assert [word.lower() for word in place.log()] == ["3", fits[2:]]


# --- at the end -----------------------------------------------------------------------------------


@pytest.mark.parametrize("executor", ["serial", "threads", "processes"])
def test_finally_steps_run_after_a_failure(place: Place, executor: str) -> None:
    place.recipe(
        work("a", "fail", "a"),
        note("b", "depends_on: a"),
        note("y", "finally: true"),
        work("z", "note", "{{ results.a }}", more="finally: true, depends_on: y"),
    )
    assert place.run("r.yaml", "--executor", executor).returncode == 1
    assert place.log() == ["a", "y", "None"]


def test_finally_steps_run_after_a_stop(place: Place) -> None:
    place.recipe(work("a", "hold", "a"), note("b", "depends_on: a"), note("z", "finally: true"))
    with place.running("r.yaml") as process:
        wait_for(place.log, "the step to be at work")
        assert octo_step_instance.main(["stop", str(place.instance()), "--no-wait"]) == 0
        place.go("a")
        assert process.wait(DEADLINE_S) == 1
    assert place.log() == ["a", "z"]


def test_finally_steps_run_when_a_run_is_stopped_that_rests(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.recipe(work("a", "hold", "a"), note("b", "depends_on: a"), note("z", "finally: true"))
    with place.running("r.yaml") as process:
        wait_for(place.log, "the step to be at work")
        process.send_signal(signal.SIGTERM)
        wait_for(lambda: "pausing" in place.out(), "the signal to be heard")
        place.go("a")
        assert process.wait(DEADLINE_S) == 3
    monkeypatch.chdir(place.path)
    octo_step_instance.main(["stop", str(place.instance())])
    assert place.log() == ["a", "z"]
    assert place.parameters()["global_parameters"]["step_engine_state"] == "COMPLETE_ERROR"


def test_a_failing_finally_step_fails_the_run(place: Place) -> None:
    place.recipe(note("a"), work("z", "fail", "z", more="finally: true"))
    assert place.run("r.yaml").returncode == 1
    assert place.log() == ["a", "z"]


# --- conditions -----------------------------------------------------------------------------------


def test_a_step_whose_condition_is_false_is_skipped_and_counts_as_done(place: Place) -> None:
    place.recipe(
        note("a"),
        note("b", "depends_on: a, when: \"results.a == 'x'\""),
        note("c", "depends_on: b, when: \"results.a == 'a' and results.b is none\""),
    )
    assert place.run("r.yaml").returncode == 0
    assert place.log() == ["a", "c"]


def test_a_failure_can_be_gone_on_after_or_round(place: Place) -> None:
    place.recipe(
        work("a", "fail", "a", more="on_error: continue"),
        note("b", "depends_on: a"),
        work("c", "fail", "c", more="on_error: {go_to: d}, depends_on: b"),
        note("d"),
        note("e", "depends_on: c"),
    )
    assert place.run("r.yaml").returncode == 0
    assert place.log() == ["a", "b", "c", "d"]


# --- results --------------------------------------------------------------------------------------


def test_a_result_that_can_not_be_kept_is_told(place: Place) -> None:
    place.recipe(
        "name: a, module: builtins, function: set",
        "name: b, module: builtins, function: print, args: ['{{ results.a is none }}'],"
        " depends_on: a",
    )
    ended = place.run("r.yaml")
    assert ended.returncode == 0
    assert re.search("==> a: done, .* its result is not kept: set\n", ended.stdout)
    assert "True\n" in ended.stdout


# --- templates ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("made", "told"),
    [
        ("5", "command must be a text or a list, and is int: 5"),
        ("none", "command must be a text or a list, and is NoneType: None"),
        ("[]", "command is empty"),
    ],
)
def test_a_template_that_makes_no_command_is_told(place: Place, made: str, told: str) -> None:
    place.recipe(f"name: a, type: shell, command: '{{{{ {made} }}}}'")
    ended = place.run("r.yaml")
    assert ended.returncode == 1
    assert f"a EXECUTE: FAILED: {told}" in ended.stdout


def test_what_a_template_lacks_when_the_step_begins_is_told_with_the_place(place: Place) -> None:
    place.recipe(note("a"), "name: b, type: shell, command: 'echo {{ context.c }}'")
    ended = place.run("r.yaml")
    assert ended.returncode == 1
    told = f"context has no 'c' (the step is in {place.path / 'r.yaml'}:3)"
    assert told in ended.stdout


# --- while it runs --------------------------------------------------------------------------------


def test_the_commands_of_instances_work_while_it_runs(
    place: Place, capfd: pytest.CaptureFixture[str]
) -> None:
    place.recipe(
        note("a"), work("b", "hold", "b", more="depends_on: a"), note("c", "depends_on: b")
    )
    instance = str(place.instance())
    with place.running("r.yaml") as process:
        wait_for(lambda: "b" in place.log(), "the step to be at work")
        for command in (["status"], ["history"], ["graph", "-o", str(place.path / "now.svg")]):
            assert octo_step_instance.main([command[0], instance, *command[1:]]) == 0
        shown = capfd.readouterr().out
        assert f"run by pid {process.pid}" in shown and "b EXECUTE" in shown
        assert octo_step_instance.main(["pause", instance, "--no-wait"]) == 0
        place.go("b")
        assert process.wait(DEADLINE_S) == 3
    assert place.log() == ["a", "b"]
    assert octo_step_instance.main(["jump", instance, "a"]) == 0
    assert place.run("r.yaml", "--resume").returncode == 0
    assert place.log() == ["a", "b", "a", "b", "c"]


# --- recipes in recipes, nodes in recipes ---------------------------------------------------------

INNER = "inputs: {word: {type: string}}"


def test_a_nested_recipe_has_its_own_instance_inputs_and_result(place: Place) -> None:
    place.recipe(
        "name: s, type: recipe, recipe: sub/inner.yaml, args: {word: hello}",
        "name: b, module: work, function: note, depends_on: s, args: ['{{ results.s.context.k }}']",
    )
    place.recipe(
        "name: in, module: work, function: put, args: {key: k, value: '{{ inputs.word }}'}",
        "name: print, module: builtins, function: print, args: ['from within']",
        head=INNER,
        name="sub/inner",
    )
    ended = place.run("r.yaml")
    assert ended.returncode == 0, ended.stderr
    assert "from within\n" in ended.stdout
    assert place.log() == ["hello"]
    nested = place.parameters("r/nested/s")
    assert nested["global_parameters"]["step_engine_state"] == "COMPLETE_SUCCESS"
    assert nested["inputs"] == {"word": "hello"}


def test_a_nested_failure_is_told_with_its_step_and_place(place: Place) -> None:
    place.recipe("name: s, type: recipe, recipe: inner.yaml")
    place.recipe(note("fine"), work("bad", "fail", "x"), name="inner")
    ended = place.run("r.yaml")
    assert ended.returncode == 1
    assert "recipe inner: EXECUTE of bad failed: ValueError: x went wrong" in ended.stdout
    assert "work.py" in ended.stdout
    place.write("work.py", place.path.joinpath("work.py").read_text().replace("raise", "return #"))
    assert place.run("r.yaml", "--resume", "--accept-changes").returncode == 0
    assert sorted(place.log()) == ["fine", "x", "x"]


@pytest.mark.parametrize("executor", ["serial", "threads"])
def test_a_killed_nested_run_goes_on_where_it_was(place: Place, executor: str) -> None:
    place.recipe(note("a"), "name: s, type: recipe, recipe: inner.yaml, depends_on: a")
    place.recipe(note("in"), work("hold", "hold", "hold", more="depends_on: in"), name="inner")
    place.killed_when(lambda: "hold" in place.log(), "r.yaml", "--executor", executor)
    nested = place.instance("r/nested/s")
    wait_for(lambda: runner_of(nested) is None, "the nested engine to notice")
    place.go("hold")
    ended = place.run("r.yaml", "--resume", "--executor", executor)
    assert ended.returncode == 0, ended.stderr
    assert place.log() == ["a", "in", "hold", "hold"]
    assert [each["node"] for each in place.events("interrupted", name="r/nested/s")] == ["hold"]


def test_a_nested_recipe_runs_for_each_item_and_again_when_the_outer_step_does(
    place: Place,
) -> None:
    place.recipe(
        "name: s, type: recipe, recipe: inner.yaml, foreach: [x, y], args: {word: '{{ item }}'}"
    )
    place.recipe(
        "name: in, module: work, function: note, args: ['{{ inputs.word }}']",
        head=INNER,
        name="inner",
    )
    assert place.run("r.yaml").returncode == 0
    assert sorted(place.log()) == ["x", "y"]
    assert place.run("r.yaml", "--resume", "--from-step", "s").returncode == 0
    assert sorted(place.log()) == ["x", "x", "y", "y"]


@pytest.mark.parametrize("on_interrupt", ["rerun", "skip", "ask"])
def test_a_nested_run_that_rests_lets_the_outer_one_rest_and_is_not_interrupted(
    place: Place, on_interrupt: str
) -> None:
    nested_step = f"name: s, type: recipe, recipe: inner.yaml, on_interrupt: {on_interrupt}"
    place.recipe(nested_step, note("b", "depends_on: s"))
    place.recipe(work("in", "hold", "in"), note("then", "depends_on: in"), name="inner")
    with place.running("r.yaml") as process:
        wait_for(place.log, "the step to be at work")
        nested = str(place.instance() / "nested" / "s")
        assert octo_step_instance.main(["pause", nested, "--no-wait"]) == 0
        place.go("in")
        assert process.wait(DEADLINE_S) == 3
    assert place.log() == ["in"]
    reason = place.parameters()["global_parameters"]["pause_reason"]
    assert reason == "s: recipe inner rests: pause requested"
    assert place.run("r.yaml", "--resume").returncode == 0
    assert place.log() == ["in", "then", "b"]
    assert not place.events("interrupted")


def nest(place: Place, *more: str) -> None:
    """Three recipes in each other; with more steps in the outermost."""
    place.recipe("name: s, type: recipe, recipe: middle.yaml", note("b", "depends_on: s"), *more)
    place.recipe("name: m, type: recipe, recipe: inner.yaml", name="middle")
    place.recipe(
        work("in", "hold", "in"),
        note("then", "depends_on: in"),
        note("end", "finally: true"),
        name="inner",
    )


INNERMOST = "r/nested/s/nested/m"


@pytest.mark.parametrize("executor", ["serial", "threads"])
@pytest.mark.parametrize("way", ["Ctrl-C", "command"])
def test_who_lets_a_run_rest_lets_the_nested_ones_rest_too_at_any_depth(
    place: Place, way: str, executor: str
) -> None:
    nest(place)
    with place.running("r.yaml", "--executor", executor) as process:
        wait_for(place.log, "the step to be at work")
        if way == "Ctrl-C":
            process.send_signal(signal.SIGINT)
        else:
            assert octo_step_instance.main(["pause", str(place.instance()), "--no-wait"]) == 0
        wait_for(lambda: asked(place, "pause_request_bool"), "the inner run to be told")
        place.go("in")
        assert process.wait(DEADLINE_S) == 3
    assert place.log() == ["in"]
    if way == "command":
        assert place.parameters()["global_parameters"]["pause_reason"] == "pause requested"
    assert place.run("r.yaml", "--resume").returncode == 0
    assert place.log() == ["in", "then", "end", "b"]


def test_who_stops_a_run_stops_the_nested_ones_too(place: Place) -> None:
    nest(place, "name: last, type: recipe, recipe: last.yaml, finally: true")
    place.recipe(note("z1"), note("z2", "depends_on: z1"), name="last")
    with place.running("r.yaml") as process:
        wait_for(place.log, "the step to be at work")
        assert octo_step_instance.main(["stop", str(place.instance()), "--no-wait"]) == 0
        wait_for(lambda: asked(place, "stop_request_bool"), "the inner run to be told")
        place.go("in")
        assert process.wait(DEADLINE_S) == 1
    assert place.log() == ["in", "end", "z1", "z2"]
    assert place.parameters()["global_parameters"]["end_reason"] == "stopped by request"
    ended = place.run("r.yaml", "--resume")
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert place.log()[4:] == ["then", "end", "b", "z1", "z2"]


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGKILL])
def test_a_nested_run_that_was_ended_before_it_heard_goes_on_with_the_outer_one(
    place: Place, end: signal.Signals
) -> None:
    nest(place)
    with place.running("r.yaml") as process:
        wait_for(place.log, "the step to be at work")
        process.send_signal(signal.SIGINT)
        wait_for(lambda: asked(place, "pause_request_bool"), "the inner run to be told")
        process.send_signal(end)
        assert process.wait(DEADLINE_S) in (130, -signal.SIGKILL)
    wait_for(lambda: runner_of(place.instance(INNERMOST)) is None, "the nested engine to notice")
    place.go("in")
    ended = place.run("r.yaml", "--resume")
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert place.log() == ["in", "in", "then", "end", "b"]


def asked(place: Place, request: str) -> bool:
    """Whether the innermost run has been asked for something."""
    return request in place.parameters(INNERMOST)["global_parameters"]


def test_wrong_inputs_of_a_nested_recipe_are_told(place: Place) -> None:
    place.recipe("name: s, type: recipe, recipe: inner.yaml, args: {word: '{{ 1 + 1 }}'}")
    place.recipe(note("in"), head=INNER, name="inner")
    ended = place.run("r.yaml")
    assert ended.returncode == 1 and "input 'word' must be text" in ended.stdout


NODE = """\
import os
from stepnode_baseclass import stepnode_baseclass

class step_node_heat(stepnode_baseclass):
    step_node_graph_dict = {"step_node_heat": {"max_retries": 1}}
    step_node_params_dict_init = {"step_node_heat": {"degrees": 20, "seconds": 5}}

    def step_entry(self):
        print(self.name, "enters", os.path.basename(os.getcwd()))

    def step_execute(self):
        tries = self.increment(self.name, "tries")
        print("heats to", self.get(self.name, "degrees"), "for", self.get(self.name, "seconds"))
        return 0 if tries == 2 else 1

    def step_advance(self):
        return "COMPLETE_ERROR"

    def step_exit(self):
        print("exits")

    def step_make_safe(self):
        print("cools down")
"""


@pytest.mark.parametrize("executor", ["serial", "threads", "processes"])
def test_a_node_of_a_library_is_a_step(place: Place, executor: str) -> None:
    place.write("step_library/lab/step_node_heat.py", NODE)
    node = "type: step_node, module: lab, function: step_node_heat"
    place.recipe(
        f"name: warm, {node}, args: {{degrees: 80}}",
        f"name: never, {node}, when: false",
        note("b", "depends_on: [warm, never]"),
    )
    ended = place.run("r.yaml", "--executor", executor)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    lines = [line for line in ended.stdout.splitlines() if not line.startswith("==>")]
    heats = ["heats to 80 for 5"] * 2
    assert lines == ["warm enters r", *heats, "exits"]
    kept = place.parameters()["warm"]
    assert (kept["degrees"], kept["seconds"], kept["tries"]) == (80, 5, 2)
    assert place.log() == ["b"]


def test_a_node_that_spells_its_own_group_out_is_a_step_of_any_name(place: Place) -> None:
    node = "type: step_node, module: hello, function"
    place.recipe(
        f"name: greet, {node}: step_node_hello",
        f"name: again, {node}: step_node_hello, args: {{who: Ada}}, depends_on: greet",
        f"name: leave, {node}: step_node_goodbye, depends_on: again",
    )
    ended = place.run("r.yaml", "--executor", "serial")
    assert ended.returncode == 0, ended.stdout + ended.stderr
    lines = [line for line in ended.stdout.splitlines() if not line.startswith("==>")]
    assert lines == ["Hello, world!", "Hello, Ada!", "I said 'Hello, Ada!'. Goodbye!"]
    kept = place.parameters()
    assert kept["step_node_hello"] == {"who": "Ada", "greeting": "Hello, Ada!"}
    assert (kept["greet"]["who"], kept["again"]["who"]) == ("world", "Ada")


def test_each_item_of_a_node_has_a_group_with_what_the_node_declares(place: Place) -> None:
    place.write("step_library/lab/step_node_heat.py", NODE)
    node = "type: step_node, module: lab, function: step_node_heat, retries: 1"
    place.recipe(f'name: warm, {node}, foreach: [70, 80], args: {{degrees: "{{{{ item }}}}"}}')
    ended = place.run("r.yaml", "--executor", "serial")
    assert ended.returncode == 0, ended.stdout + ended.stderr
    for degrees in (70, 80):
        assert ended.stdout.count(f"heats to {degrees} for 5\n") == 2
    assert place.parameters()["warm[1]"]["tries"] == 2


def test_what_a_node_has_armed_is_made_safe_after_a_failure(place: Place) -> None:
    place.write("step_library/lab/step_node_heat.py", NODE)
    place.recipe(
        "name: warm, type: step_node, module: lab, function: step_node_heat",
        work("b", "fail", more="depends_on: warm"),
    )
    ended = place.run("r.yaml")
    assert ended.returncode == 1
    assert "cools down\n" in ended.stdout
    assert place.parameters()["global_parameters"]["make_safe"] == []


HEATER = """\
import time
from pathlib import Path

from stepnode_baseclass import stepnode_baseclass

PLACE = Path(__file__).parents[2]

class step_node_heater(stepnode_baseclass):
    def _note(self, word):
        with (PLACE / "log.txt").open("a") as file:
            file.write(f"{word}{self.get(self.name, 'at', '')}\\n")

    def step_execute(self):
        self._note("hot")
        while not (PLACE / "hot.go").exists():
            time.sleep(0.01)

    def step_make_safe(self):
        self._note("cold")
        if (PLACE / "stuck").exists():
            raise ValueError("the switch is stuck")
"""


def nest_heater(place: Place) -> None:
    """A recipe in which a recipe switches heaters on in a recipe of its own."""
    place.write("step_library/lab/step_node_heater.py", HEATER)
    place.recipe("name: s, type: recipe, recipe: middle.yaml")
    place.recipe("name: m, type: recipe, recipe: inner.yaml, foreach: [1, 2]", name="middle")
    place.recipe("name: on, type: step_node, module: lab, function: step_node_heater", name="inner")


@pytest.mark.parametrize("command", ["make-safe", "stop", "reset"])
def test_what_nested_runs_have_armed_is_made_safe_after_a_kill(place: Place, command: str) -> None:
    nest_heater(place)
    place.killed_when(lambda: len(place.log()) == 2, "r.yaml")
    assert place.parameters()["global_parameters"]["make_safe"] == ["s"]
    assert octo_step_instance.main([command, str(place.instance())]) == 0
    assert place.log() == ["hot", "hot", "cold", "cold"]
    assert not place.parameters()["global_parameters"].get("make_safe")


def test_each_item_of_a_node_is_made_safe_with_what_it_was_given(place: Place) -> None:
    place.write("step_library/lab/step_node_heater.py", HEATER)
    node = "type: step_node, module: lab, function: step_node_heater"
    place.recipe(f'name: on, {node}, foreach: [70, 80], args: {{at: "{{{{ item }}}}"}}')
    place.killed_when(lambda: len(place.log()) == 2, "r.yaml")
    assert octo_step_instance.main(["make-safe", str(place.instance())]) == 0
    assert sorted(place.log()) == ["cold70", "cold80", "hot70", "hot80"]
    assert sorted(each["node"] for each in place.events("make_safe")) == ["on[0]", "on[1]"]


def test_who_lets_a_run_rest_is_told_what_is_still_armed(place: Place) -> None:
    nest_heater(place)
    with place.running("r.yaml") as process:
        wait_for(lambda: len(place.log()) == 2, "the heaters to be on")
        process.send_signal(signal.SIGINT)
        wait_for(lambda: "pausing" in place.out(), "the signal to be heard")
        place.go("hot")
        assert process.wait(DEADLINE_S) == 3
    assert place.log() == ["hot", "hot"]
    [told] = re.findall("still armed: s; make safe: (.*)", place.out())
    assert subprocess.run(told, shell=True, cwd=place.path, check=False).returncode == 0
    assert place.log() == ["hot", "hot", "cold", "cold"]


def test_what_cant_be_made_safe_in_a_nested_run_stays_owed(place: Place) -> None:
    nest_heater(place)
    place.killed_when(lambda: len(place.log()) == 2, "r.yaml")
    place.write("stuck", "")
    assert octo_step_instance.main(["make-safe", str(place.instance())]) == 1
    [failed] = place.events("make_safe")
    assert "on: ValueError: the switch is stuck" in failed["error"]
    (place.path / "stuck").unlink()
    assert octo_step_instance.main(["make-safe", str(place.instance())]) == 0
    assert place.log()[-2:] == ["cold", "cold"]


def test_a_nested_recipe_with_nothing_to_make_safe_is_not_armed(place: Place) -> None:
    place.recipe("name: s, type: recipe, recipe: inner.yaml")
    place.recipe(work("bad", "fail"), name="inner")
    assert place.run("r.yaml").returncode == 1
    assert not place.events("make_safe")
