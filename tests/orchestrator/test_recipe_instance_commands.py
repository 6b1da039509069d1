"""An instance of a recipe, and the commands of instances."""

from __future__ import annotations

import subprocess
from itertools import groupby, pairwise
from pathlib import Path

import pytest

import octo_step_instance
from octo_instance_dir import InstanceDir
from octo_step_events import read_events
from octo_typed_commands import recipe_command, resume_command, run_recipe_command
from orchestrator import enhanced_recipe_parser, runner
from orchestrator.recipe_pin import CODE_FILE_NAME, PIN_FILES
from tests.modules.engine_support import DEADLINE_S, stored, wait_for
from tests.orchestrator.runner_support import Place, note, work

RECIPE = """\
steps:
  - {name: a, type: shell, command: "true"}
  - {name: b, type: shell, command: test -e good, depends_on: a}
  - {name: c, type: shell, command: "true", depends_on: b}
"""


@pytest.fixture
def failed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The instance of a run in which `b` has failed."""
    monkeypatch.chdir(tmp_path)
    Path("example.yaml").write_text(RECIPE)
    assert runner.main(["example.yaml", "--quiet"]) == 1
    return Path("step_instances/example")


def test_it_is_valid(failed: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert octo_step_instance.main(["validate", str(failed)]) == 0
    assert capfd.readouterr().out == f"{failed} is valid: 3 steps\n"


def test_what_failed_can_be_tried_again_and_who_asks_is_told_how(
    failed: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    command = resume_command(failed)
    octo_step_instance.main(["status", str(failed)])
    assert command in capfd.readouterr().out
    assert octo_step_instance.main(["run", str(failed)]) == 1
    assert f"try again what failed: {command}\n" in capfd.readouterr().out
    Path("good").touch()
    assert subprocess.run(command, shell=True, check=False).returncode == 0
    octo_step_instance.main(["status", str(failed)])
    assert command not in capfd.readouterr().out


def test_who_runs_it_without_its_secrets_is_told_how_to_give_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("example.yaml").write_text("inputs: {token: {secret: true, env: OCTO_NOWHERE}}\n" + RECIPE)
    assert runner.main(["example.yaml", "--quiet", "--set", "token=swordfish"]) == 1
    instance = Path("step_instances/example")
    assert octo_step_instance.main(["jump", str(instance), "b"]) == 0
    assert octo_step_instance.main(["run", str(instance)]) == 2
    safe, seen = (("--inputs", "FILE"), ("--set", "token=..."))
    assert capfd.readouterr().err.endswith(
        "needed again: token\n  set OCTO_NOWHERE before\n"
        f"  or give them in a file: {resume_command(instance, *safe)}\n"
        f"  or where others may see them: {resume_command(instance, *seen)}\n"
    )


@pytest.mark.parametrize("begin_anew", ["the recipe", "another one", "reset", "run --fresh"])
def test_a_run_that_is_put_away_is_complete_with_what_it_was_made_of(
    failed: Path, begin_anew: str
) -> None:
    made_of = pins(failed)
    match begin_anew:
        case "the recipe":
            runner.main(["example.yaml", "--quiet"])
        case "another one":
            Path("example.yaml").write_text(RECIPE.replace("good", "better"))
            runner.main(["example.yaml", "--quiet"])
        case _:
            command, *options = begin_anew.split()
            octo_step_instance.main([command, str(failed), *options])
    [archive] = (failed / "archive").iterdir()
    assert pins(archive) == made_of
    assert pins(failed).keys() == {CODE_FILE_NAME, stored(failed)["recipe"]["compiled"]}
    assert (pins(failed) == made_of) == (begin_anew != "another one")


def pins(directory: Path) -> dict[str, bytes]:
    """The files that tell what a run is made of."""
    files = [directory / CODE_FILE_NAME, *directory.glob(PIN_FILES)]
    return {file.name: file.read_bytes() for file in files}


def test_it_is_drawn_with_what_failed(failed: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert octo_step_instance.main(["graph", str(failed), "-o", "now.mmd"]) == 0
    drawn = Path("now.mmd").read_text(encoding="utf-8")
    assert 'n1("a<br/>✓ done")' in drawn
    assert 'n2("b<br/>✗ failed' in drawn


def test_who_wants_to_run_a_recipe_with_the_wrong_program_is_told_the_right_one(
    capfd: pytest.CaptureFixture[str],
) -> None:
    assert enhanced_recipe_parser.main(["run", "example.yaml"]) == 2
    assert "octo-recipe-run FILE" in capfd.readouterr().err


def test_who_leaves_the_command_out_is_told_what_can_be_done_with_a_recipe(
    capfd: pytest.CaptureFixture[str],
) -> None:
    assert enhanced_recipe_parser.main(["example.yaml"]) == 2
    said = capfd.readouterr().err
    assert said.startswith("error: a command is missing before 'example.yaml'\n")
    assert recipe_command("validate", "example.yaml") in said
    assert run_recipe_command("example.yaml") in said


def test_a_run_whose_recipe_has_been_moved_goes_on_with_it_there(
    failed: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    Path("example.yaml").rename("moved.yaml")
    assert runner.main(["--resume", "--instance", str(failed)]) == 2
    said = capfd.readouterr().err
    assert f"the recipe of this run is gone: {Path('example.yaml').absolute()}\n" in said
    assert resume_command(failed, "--recipe", "FILE") in said
    Path("good").touch()
    assert runner.main(["--resume", "--instance", str(failed), "--recipe", "moved.yaml"]) == 0


MEET = "touch {0}; until test -e {1}; do sleep 0.01; done"
"""What a step does that is not done unless another one is at work at the same time."""


def test_run_performs_steps_where_the_recipe_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    steps = [
        f"  - {{name: {one}, type: shell, command: '{MEET.format(one, other)}'}}"
        for one, other in (("a", "b"), ("b", "a"))
    ]
    Path("meet.yaml").write_text("\n".join(["steps:", *steps, ""]))
    assert runner.main(["meet.yaml", "--quiet"]) == 0
    instance = Path("step_instances/meet")
    for file in ("a", "b"):
        Path(file).unlink()
    assert octo_step_instance.main(["run", str(instance), "--fresh", "--quiet"]) == 0
    for words, executor in (([], "threads"), (["--executor", "serial"], "serial")):
        assert octo_step_instance.main(["run", str(instance), "--fresh", "--quiet", *words]) == 0
        started = [each for each in read_events(instance) if each["event"] == "run_start"]
        assert started[-1]["executor"] == executor


def test_run_performs_as_many_steps_at_once_as_the_recipe_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    steps = [f"  - {{name: {name}, type: shell, command: 'true'}}" for name in "abc"]
    Path("one.yaml").write_text("\n".join(["defaults: {workers: 1}", "steps:", *steps, ""]))
    assert runner.main(["one.yaml", "--quiet"]) == 0
    instance = Path("step_instances/one")
    assert octo_step_instance.main(["run", str(instance), "--fresh", "--quiet"]) == 0
    nodes = [each["node"] for each in read_events(instance) if each["event"] == "state"]
    assert [node for node, _ in groupby(nodes)] == ["a", "b", "c"]


STEPS = """\
steps:
  - {name: a, type: shell, command: "true"}
  - {name: b, type: shell, command: "true", foreach: [1, 2]}
  - {name: c, type: shell, command: "true", depends_on: [a, b]}
  - {name: last, type: shell, command: "true", finally: true}
"""


def test_single_steps_perform_one_step_or_item_at_a_time_and_say_which_is_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("single.yaml").write_text(STEPS)
    instance = "step_instances/single"
    assert runner.main(["single.yaml", "--quiet"]) == 0
    assert octo_step_instance.main(["reset", instance]) == 0
    capfd.readouterr()
    for here, after in pairwise(["a", "b[0]", "b[1]", "c", "last", ""]):
        assert octo_step_instance.main(["step", instance]) == 0
        assert f"==> next: {here} ADVANCE\n" in capfd.readouterr().out
        assert octo_step_instance.main(["step", instance]) == 2
        assert f"{here} stands at ADVANCE\n" in capfd.readouterr().err
        assert octo_step_instance.main(["advance", instance]) == 0
        expected = f"==> next: {after.replace('b[0]', 'b')} ENTER\n" if after else "SUCCESS"
        assert expected in capfd.readouterr().out


def test_a_failed_step_can_be_jumped_over(failed: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert octo_step_instance.main(["jump", str(failed), "c"]) == 0
    assert "left         b in EXECUTE" in capfd.readouterr().out
    assert octo_step_instance.main(["run", str(failed)]) == 0
    assert "COMPLETE_SUCCESS (1 step" in capfd.readouterr().out
    executed = [e for e in read_events(failed) if e.get("state") == "EXECUTE"]
    assert [(e["event"], e["node"]) for e in executed] == [
        ("state", "a"),
        ("step_error", "b"),
        ("state", "c"),
    ]


def test_a_step_that_is_not_active_cannot_be_jumped_to(
    place: Place, capfd: pytest.CaptureFixture[str]
) -> None:
    place.recipe(
        work("a", "hold", "a"),
        note("b", "depends_on: a, enabled: false"),
        note("c", "depends_on: b"),
    )
    instance = str(place.instance())
    with place.running("r.yaml") as process:
        wait_for(lambda: "a" in place.log(), "the step to be at work")
        assert octo_step_instance.main(["jump", instance, "b", "--no-wait"]) == 2
        assert "nearest active nodes: a, c" in capfd.readouterr().err
        with InstanceDir(instance).parameters.transaction() as data:
            data["global_parameters"]["jump_request_node"] = "b"
        place.go("a")
        assert process.wait(DEADLINE_S) == 0
    assert sorted(place.log()) == ["a", "c"]  # nothing waits for anything
    [refused] = place.events("jump_refused")
    assert "not active" in refused["reason"]
    assert octo_step_instance.main(["jump", instance, "b"]) == 2
