"""What every released format left behind of recipes is understood and finished by this version.

`recipe_format_N/` holds the state of instances of recipes, and of Python programs with steps, made
by `make_golden_recipes.py` from what is in `recipes/`. A change here that makes a test fail breaks
the runs of users.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from octo_instance_dir import InstanceDir
from octo_pin_file import FORMAT
from octo_step_events import read_events
from octo_step_program import load_program
from octo_step_status import read_status
from orchestrator.context import Context
from tests.golden.places import ENVIRONMENT, RECIPES, UNIT, state_of, used
from tests.support import Command

FORMATS = sorted(Path(__file__).parent.glob("recipe_format_*"))
NESTED = ["inner_begin", f"inner_end_{UNIT}"]
LAST = [f"last_left_{UNIT}", "tidy"]


class Situation(NamedTuple):
    """How an instance stands, what is performed when it is finished, and what was interrupted."""

    condition: str
    work: list[str]
    interrupted: tuple[str, ...] = ()


OF_RECIPES = {
    "paused": Situation("paused", ["each_1", "each_2", *NESTED, *LAST]),
    "killed_in_two_steps": Situation(
        "interrupted", ["left", "right", *NESTED, *LAST], ("left", "right")
    ),
    "killed_in_back_off": Situation("interrupted", ["right", *NESTED, *LAST]),
    "killed_in_foreach": Situation(
        "interrupted", ["each_1", "each_2", *NESTED, *LAST], ("each[1]",)
    ),
    "killed_in_nested": Situation("interrupted", [NESTED[1], *LAST], ("inner",)),
    "failed": Situation("complete_error", ["right", "each_1", "each_2", *NESTED, *LAST]),
    "complete": Situation("complete_success", []),
}
OF_PROGRAMS = {
    "program_killed": Situation("interrupted", ["middle", "last"], ("middle",)),
    "program_failed": Situation("complete_error", ["middle", "last"]),
}
RESUME = ("orchestrator/runner.py", "--resume", "--instance")
RUN = ("modules/octo_step_instance.py", "run")


@pytest.fixture(params=FORMATS, ids=lambda path: path.name)
def golden(request: pytest.FixtureRequest) -> Path:
    directory: Path = request.param
    return directory


def restored(golden: Path, situation: str, work: Path) -> InstanceDir:
    """A copy of a golden instance, and of what it was made from, with the places of the copies."""
    recipes = shutil.copytree(
        RECIPES, work / "recipes", ignore=shutil.ignore_patterns("__pycache__")
    )
    for file in (golden / situation).rglob("*.json*"):
        place = work / file.relative_to(golden)
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(used(file.read_text("utf-8"), recipes, work), encoding="utf-8")
    return InstanceDir(work / situation)


def events(instance: Path) -> list[dict[str, Any]]:
    """The event log, which must not have a gap."""
    found = list(read_events(instance))
    assert [event["seq"] for event in found] == list(range(1, len(found) + 1))
    return found


def check_finished(
    instance: InstanceDir, before: list[dict[str, Any]], situation: Situation
) -> None:
    """All that was left is done, once, and nothing of what there was is lost."""
    assert state_of(instance.path)["global_parameters"]["step_engine_state"] == "COMPLETE_SUCCESS"
    ledger = instance.path.parent / "done"
    done = ledger.read_text(encoding="utf-8").splitlines() if ledger.exists() else []
    assert sorted(done) == sorted(situation.work)
    after = events(instance.path)
    assert after[: len(before)] == before
    interrupted = [each["node"] for each in after if each["event"] == "interrupted"]
    assert sorted(interrupted) == [*situation.interrupted]
    assert counted(instance) == list(range(1, len(counted(instance)) + 1))


def counted(instance: InstanceDir) -> list[int]:
    """The values that the steps have given to their counter, as the context's history has them."""
    context = Context(instance.path)
    changes = context.history()
    assert [each["seq"] for each in changes] == list(range(1, len(changes) + 1))
    values = [each["after"] for each in changes if each["key"] == "count"]
    assert context.get("count") == values[-1]
    return values


def test_every_format_up_to_this_one_has_its_files(golden: Path) -> None:
    assert [path.name for path in FORMATS] == [f"recipe_format_{n}" for n in range(1, FORMAT + 1)]
    assert {path.name for path in golden.iterdir()} == {*OF_RECIPES, *OF_PROGRAMS}


@pytest.mark.parametrize("way", [RESUME, RUN], ids=["runner", "instance"])
@pytest.mark.parametrize("name", OF_RECIPES)
def test_an_instance_of_a_recipe_is_understood_and_finished(
    command: Command, golden: Path, name: str, way: tuple[str, ...], tmp_path: Path
) -> None:
    situation = OF_RECIPES[name]
    instance = restored(golden, name, tmp_path)
    before, counts = events(instance.path), counted(instance)
    assert read_status(instance).condition == situation.condition
    assert load_program(instance).changes(instance.path) == []

    ended = command(way[0], *way[1:], instance.path, cwd=tmp_path)

    if way == RUN and name == "failed":
        assert ended.returncode == 1  # it is opened again by --resume alone
        assert events(instance.path) == before
        return
    assert ended.returncode == 0, ended.stdout + ended.stderr
    check_finished(instance, before, situation)
    outer = [word for word in situation.work if word not in NESTED]
    assert len(counted(instance)) == len(counts) + len(outer)
    assert read_status(InstanceDir(instance.path / "nested" / "inner")).condition == (
        "complete_success"
    )


@pytest.mark.parametrize("name", OF_PROGRAMS)
def test_an_instance_of_a_python_program_is_understood_and_finished(
    command: Command, golden: Path, name: str, tmp_path: Path
) -> None:
    situation = OF_PROGRAMS[name]
    instance = restored(golden, name, tmp_path)
    before = events(instance.path)
    assert read_status(instance).condition == situation.condition
    assert load_program(instance).changes(instance.path) == []

    ended = command(
        tmp_path / "recipes" / "program.py", instance.path, cwd=tmp_path, env=ENVIRONMENT
    )

    assert ended.returncode == 0, ended.stdout + ended.stderr
    check_finished(instance, before, situation)
    assert len(counted(instance)) == 3


@pytest.mark.parametrize("way", [RESUME, RUN], ids=["runner", "instance"])
@pytest.mark.parametrize("file", ["recipe.*.json", "code.json"])
def test_what_a_newer_version_kept_of_a_recipe_is_refused_and_left_alone(
    command: Command, way: tuple[str, ...], file: str, tmp_path: Path
) -> None:
    instance = restored(FORMATS[-1], "paused", tmp_path)
    [pin] = instance.path.glob(f".octo_step_engine_{file}")
    pin.write_text(json.dumps({**json.loads(pin.read_text()), "format": FORMAT + 1}))
    before = {each: each.read_bytes() for each in instance.path.glob("*.json*")}

    ended = command(way[0], *way[1:], instance.path, cwd=tmp_path)

    assert ended.returncode == 2
    assert str(pin) in ended.stderr
    assert "made by a newer version" in ended.stderr
    assert "upgrade" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert {each: each.read_bytes() for each in instance.path.glob("*.json*")} == before
    assert not (tmp_path / "done").exists()
