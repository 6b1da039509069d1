"""What every released format left behind is loaded and finished by this version.

`format_N/` holds the state of instances as versions with format N kept it, made by `make_golden.py`
from the nodes in `library/`. A change here that makes a test fail breaks the runs of users.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from octo_instance_dir import InstanceDir
from octo_library_pin import changed_files
from octo_parameter_schema import FORMAT
from octo_step_engine import StepEngine
from octo_step_events import read_events
from octo_step_status import read_status
from tests.support import Command

HERE = Path(__file__).parent
PARAMETER_FILE = ".octo_step_engine_parameters.json"
FORMATS = sorted(HERE.glob("format_*"))
ALL_WORK = ["join", "left", "right"]

SITUATIONS = {
    # situation: condition, what is performed when it is finished
    "new": ("new", ALL_WORK),
    "resting": ("paused", ALL_WORK),
    "killed_in_execute": ("interrupted", [*ALL_WORK, "safe"]),
    "killed_in_back_off": ("interrupted", ["join", "right", "safe"]),
    "killed_before_join": ("interrupted", ["join", "left", "safe"]),
    "complete": ("complete_success", []),
    "error_armed": ("complete_error", ["safe"]),
}


@pytest.fixture(params=FORMATS, ids=lambda path: path.name)
def golden(request: pytest.FixtureRequest) -> Path:
    directory: Path = request.param
    return directory


def restored(golden: Path, situation: str, tmp_path: Path) -> InstanceDir:
    """A copy of a golden instance, told where its library is now, as a user would do it."""
    instance = InstanceDir(shutil.copytree(golden / situation, tmp_path / situation))
    with instance.parameters.transaction() as groups:
        groups["global_parameters"]["step_engine_library_path"] = str(HERE / "library")
    return instance


def done(instance: InstanceDir) -> list[str]:
    file = instance.path / "done"
    return sorted(file.read_text().split()) if file.exists() else []


def test_every_format_up_to_this_one_has_its_files(golden: Path) -> None:
    assert [path.name for path in FORMATS] == [f"format_{n}" for n in range(1, FORMAT + 1)]
    assert {path.name for path in golden.iterdir()} == set(SITUATIONS)


@pytest.mark.parametrize("situation", SITUATIONS)
def test_an_instance_of_every_format_is_understood_and_finished(
    golden: Path, situation: str, tmp_path: Path
) -> None:
    condition, work = SITUATIONS[situation]
    instance = restored(golden, situation, tmp_path)
    before = list(read_events(instance.path))
    assert read_status(instance).condition == condition
    assert changed_files(instance.path, instance.library_path()) == []

    outcome = StepEngine(instance).run()

    ends = "COMPLETE_ERROR" if situation == "error_armed" else "COMPLETE_SUCCESS"
    assert outcome.engine_state == ends, outcome
    assert outcome.armed == ()
    assert done(instance) == work
    after = list(read_events(instance.path))
    assert after[: len(before)] == before
    assert [event["seq"] for event in after] == list(range(1, len(after) + 1))
    assert sum(event["event"] == "interrupted" for event in after) == (
        situation in ("killed_in_execute", "killed_before_join")
    )
    groups = json.loads((instance.path / PARAMETER_FILE).read_text(encoding="utf-8"))
    assert groups["step_node_begin"]["unit"] == "V — volt"


def test_an_instance_without_a_number_is_of_format_1(tmp_path: Path) -> None:
    file = shutil.copytree(HERE / "format_1" / "resting", tmp_path / "old") / PARAMETER_FILE
    groups = json.loads(file.read_text(encoding="utf-8"))
    assert groups["global_parameters"].pop("instance_format") == 1
    file.write_text(json.dumps(groups), encoding="utf-8")
    assert read_status(InstanceDir(file.parent)).condition == "paused"


@pytest.mark.parametrize("number", ["2", "1.5", '"next"'])
@pytest.mark.parametrize(
    ("command_line", "code"),
    [
        ("octo_step_instance.py run", 2),
        ("octo_step_instance.py status", 2),
        ("octo_step_instance.py reset", 2),
        ("octo_step_engine_parameters.py . a b 1", 1),
        ("octo_step_engine_parameters.py . a n -i", 1),
    ],
)
def test_what_a_newer_version_made_is_refused_and_left_alone(
    command: Command, tmp_path: Path, number: str, command_line: str, code: int
) -> None:
    shared = f'"instance_format": {number}, "step_engine_state": "SOMETHING_NEW"'
    text = f'{{"global_parameters": {{{shared}}}}}'
    (tmp_path / PARAMETER_FILE).write_text(text)
    program, *words = command_line.split()

    ended = command(f"modules/{program}", *words, cwd=tmp_path)

    assert ended.returncode == code
    assert "made by a newer version" in ended.stderr
    assert "upgrade" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert (tmp_path / PARAMETER_FILE).read_text() == text
    left = {path.name for path in tmp_path.iterdir()}
    assert left <= {PARAMETER_FILE, ".octo_step_engine_parameters.lock"}


def test_what_a_newer_version_made_can_still_be_read(command: Command, tmp_path: Path) -> None:
    text = '{"global_parameters": {"instance_format": 2}, "a": {"n": 1}}'
    (tmp_path / PARAMETER_FILE).write_text(text)
    ended = command("modules/octo_step_engine_parameters.py", ".", "a", "n", cwd=tmp_path)
    assert (ended.returncode, ended.stdout) == (0, "1\n")
