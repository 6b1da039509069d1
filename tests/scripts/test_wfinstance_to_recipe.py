"""Workflows in WfFormat as recipes: nothing of them is lost, and what is wrong is told."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from octo_errors import RecipeError
from octo_step_events import read_events
from orchestrator.recipe_check import RESERVED
from orchestrator.recipe_model import parse_model
from orchestrator.recipe_yaml import load_yaml
from tests.modules.parameter_support import needs_posix
from tests.support import Command
from wfinstance_to_recipe import read_workflow, recipe_text, step_names

SCRIPT = "scripts/wfinstance_to_recipe.py"
Task = tuple[str, list[str], Any]
Change = Callable[[dict[str, Any]], Any]


def document(tasks: list[Task], name: str = "example") -> dict[str, Any]:
    """A workflow in WfFormat 1.5; each task is (id, parents, run time)."""
    children: dict[str, list[str]] = {id: [] for id, _, _ in tasks}
    for id, parents, _ in tasks:
        for parent in parents:
            children.setdefault(parent, []).append(id)
    specified = [
        {"name": id, "id": id, "parents": parents, "children": children[id]}
        for id, parents, _ in tasks
    ]
    executed = [{"id": id, "runtimeInSeconds": seconds} for id, _, seconds in tasks]
    return {
        "name": name,
        "schemaVersion": "1.5",
        "workflow": {"specification": {"tasks": specified}, "execution": {"tasks": executed}},
    }


DIAMOND = document(
    [("top", [], 1.5), ("left", ["top"], 2), ("right", ["top"], 0), ("end", ["left", "right"], 1)]
)


@pytest.fixture
def workflow(tmp_path: Path) -> Callable[[Any], Path]:
    """Writes a workflow's file: of a document, or of bytes."""

    def write(content: Any) -> Path:
        path = tmp_path / "workflow.json"
        path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
        return path

    return write


def steps_of(recipe: str) -> list[dict[str, Any]]:
    """The steps of a recipe, as the project reads it."""
    loaded = load_yaml(recipe.encode(), "recipe.yaml")
    assert parse_model(loaded)[1] == []
    steps: list[dict[str, Any]] = loaded.value["steps"]
    return steps


# --- what comes out -------------------------------------------------------------------------------


@st.composite
def tasks(draw: st.DrawFn) -> list[Task]:
    """Tasks of a random graph without circles, in any order, with any ids."""
    ids = draw(st.lists(st.text(min_size=1, max_size=8), min_size=1, max_size=12, unique=True))
    seconds = st.floats(0, 1e6) | st.integers(0, 10**6)
    found = [
        (id, draw(st.lists(st.sampled_from(ids[:place]), unique=True)) if place else [])
        for place, id in enumerate(ids)
    ]
    return draw(st.permutations([(id, parents, draw(seconds)) for id, parents in found]))


@given(tasks(), st.floats(1e-6, 10), st.text())
def test_tasks_parents_and_run_times_come_back(
    tmp_path_factory: pytest.TempPathFactory, given: list[Task], scale: float, name: str
) -> None:
    path = tmp_path_factory.mktemp("wf") / "workflow.json"
    path.write_text(json.dumps(document(given, name)))
    names = step_names(id for id, _, _ in given)
    assert len(set(names.values())) == len(given)
    steps = steps_of(recipe_text(read_workflow(path), scale))
    assert [
        (step["name"], step["module"], step["function"], step.get("depends_on", []))
        for step in steps
    ] == [(names[id], "time", "sleep", [names[each] for each in of]) for id, of, _ in given]
    waits = [step["args"] for step in steps]
    assert waits == [[pytest.approx(seconds * scale, abs=1e-6)] for _, _, seconds in given]


@given(st.lists(st.text(min_size=1), unique=True))
def test_names_are_legal_unique_and_the_ids_where_these_can_be_names(ids: list[str]) -> None:
    names = step_names(ids)
    assert list(names.keys() ^ set(ids)) == []
    assert len(set(names.values())) == len(ids)
    for id, name in names.items():
        assert name and name == name.strip() and name.isprintable()
        assert not set(name) & set("[],") and name not in RESERVED
        if all(c.isalnum() or c in "_.-" for c in id) and id not in RESERVED:
            assert name == id


def test_names_stay_readable() -> None:
    ids = ["merge [1]", "merge_[1]", "merge__1_", "context", "größe/2"]
    assert step_names(ids) == {
        "merge [1]": "merge__1__2",
        "merge_[1]": "merge__1__3",
        "merge__1_": "merge__1_",
        "context": "context_2",
        "größe/2": "größe_2",
    }


def test_the_recipe_of_a_diamond(command: Command, workflow: Callable[[Any], Path]) -> None:
    done = command(SCRIPT, workflow(DIAMOND), "--scale", 0.1)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == (
        "metadata:\n"
        '  name: "example"\n'
        '  description: "4 tasks that ran 4.5 s, times 0.1"\n'
        "steps:\n"
        '  - name: "top"\n    module: time\n    function: sleep\n    args: [0.15]\n'
        '  - name: "left"\n    module: time\n    function: sleep\n    args: [0.2]\n'
        '    depends_on: ["top"]\n'
        '  - name: "right"\n    module: time\n    function: sleep\n    args: [0]\n'
        '    depends_on: ["top"]\n'
        '  - name: "end"\n    module: time\n    function: sleep\n    args: [0.1]\n'
        '    depends_on: ["left", "right"]\n'
    )


def test_all_steps_together_wait_as_long_as_asked_for(
    command: Command, workflow: Callable[[Any], Path], tmp_path: Path
) -> None:
    recipe = tmp_path / "recipe.yaml"
    done = command(SCRIPT, workflow(DIAMOND), "-o", recipe, "--total-seconds", 9)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert [step["args"] for step in steps_of(recipe.read_text())] == [[3], [4], [0], [2]]


# --- it runs --------------------------------------------------------------------------------------


def lanes(number: int, parts: int) -> list[Task]:
    """Lanes that are split, and each part of which takes two stages; all of it is merged."""
    tasks: list[Task] = []
    for lane in range(number):
        tasks.append((f"split {lane}", [], 2 + lane))
        for part in range(parts):
            tasks.append((f"map [{lane}/{part}]", [f"split {lane}"], 1 + part))
            tasks.append((f"sort [{lane}/{part}]", [f"map [{lane}/{part}]"], 3 - part % 3))
    ends = [id for id, _, _ in tasks if id.startswith("sort")]
    return [("merge", ends, 1.5), *tasks]


@pytest.mark.slow
@pytest.mark.parametrize("executor", ["threads", "processes"])
def test_a_workflow_runs_to_its_end_in_the_order_of_its_dependencies(
    command: Command, workflow: Callable[[Any], Path], tmp_path: Path, executor: str
) -> None:
    tasks = lanes(4, 4)
    recipe, instance = tmp_path / "recipe.yaml", tmp_path / "instance"
    made = command(SCRIPT, workflow(document(tasks)), "-o", recipe, "--total-seconds", 0.5)
    assert made.returncode == 0, made.stderr
    options = ["--executor", executor, "--workers", 4, "--instance", instance]
    done = command("orchestrator/runner.py", "--recipe", recipe, *options, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    began, ended = {}, {}
    for event in read_events(instance):
        match event:
            case {"event": "state", "state": "ENTER", "node": node, "seq": seq}:
                assert node not in began
                began[node] = seq
            case {"event": "state", "state": "EXECUTE", "node": node, "seq": seq}:
                assert node not in ended
                ended[node] = seq
    names = step_names(id for id, _, _ in tasks)
    assert began.keys() == ended.keys() == set(names.values())
    for id, parents, _ in tasks:
        for parent in parents:
            assert ended[names[parent]] < began[names[id]], f"{id} began before {parent} had ended"


# --- what is wrong --------------------------------------------------------------------------------


def changed(change: Change) -> dict[str, Any]:
    """The diamond, with something wrong in it."""
    made: dict[str, Any] = json.loads(json.dumps(DIAMOND))
    change(made["workflow"])
    return made


def specified(workflow: dict[str, Any], task: int) -> dict[str, Any]:
    found: dict[str, Any] = workflow["specification"]["tasks"][task]
    return found


def executed(workflow: dict[str, Any], task: int) -> dict[str, Any]:
    found: dict[str, Any] = workflow["execution"]["tasks"][task]
    return found


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda w: specified(w, 1).update(parents=["tob"]), "parent 'tob' is no task\n  did you"),
        (lambda w: specified(w, 1).update(parents="top"), "task 'left': its parents are no list"),
        (lambda w: specified(w, 1).pop("parents"), "task 'left': its parents are no list of ids"),
        (lambda w: specified(w, 1).update(id=7), "tasks[1] has an id that is no text: 7"),
        (lambda w: specified(w, 1).pop("id"), "specification.tasks[1] has no id"),
        (lambda w: specified(w, 1).update(id="top"), "tasks[1]: there is a task 'top' already"),
        (lambda w: specified(w, 0).update(parents=["end"]), "top -> end -> left -> top"),
        (lambda w: executed(w, 2).pop("runtimeInSeconds"), "no runtimeInSeconds for it"),
        (lambda w: w["execution"]["tasks"].pop(), "task 'end': workflow.execution.tasks has no"),
        (lambda w: executed(w, 2).update(runtimeInSeconds=-1), "0 or more, and is -1"),
        (lambda w: executed(w, 2).update(runtimeInSeconds="5"), "0 or more, and is '5'"),
        (lambda w: executed(w, 2).update(runtimeInSeconds=True), "0 or more, and is True"),
        (lambda w: executed(w, 2).update(runtimeInSeconds=float("nan")), "and is nan"),
        (lambda w: executed(w, 2).update(runtimeInSeconds=10**400), "and is 1000"),
        (lambda w: w.update(execution=[]), "there is no list workflow.execution.tasks"),
        (lambda w: w["specification"].update(tasks=[]), "the workflow has no tasks"),
    ],
)
def test_a_workflow_that_is_wrong(
    workflow: Callable[[Any], Path], change: Change, told: str
) -> None:
    path = workflow(changed(change))
    with pytest.raises(RecipeError) as raised:
        read_workflow(path)
    assert told in str(raised.value) and str(path) in str(raised.value)


def test_everything_that_is_wrong_is_told_up_to_a_limit(workflow: Callable[[Any], Path]) -> None:
    path = workflow(document([(str(number), ["nobody"], -1) for number in range(2100)]))
    with pytest.raises(RecipeError) as raised:
        read_workflow(path)
    lines = str(raised.value).splitlines()
    assert len(lines) == 51 and lines[-1] == f"{path}: ... and 4150 more problems"


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "is no JSON"),
        (b'{"a": 1,\n b}', ":2:2: is no JSON: Expecting property name"),
        (b'{"a": "\xff"}', "is no JSON"),
        (b"[" * 100_000, "is no JSON"),
        (b"[]", "is no WfFormat 1.4 or 1.5: there is no list workflow.specification.tasks"),
        (b'{"schemaVersion": "1.3", "workflow": {"tasks": []}}', "its schemaVersion is 1.3"),
    ],
)
def test_a_file_that_is_no_workflow(
    command: Command, workflow: Callable[[Any], Path], content: bytes, told: str
) -> None:
    done = command(SCRIPT, workflow(content))
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: ") and told in done.stderr


@needs_posix
def test_the_recipe_is_written_where_a_link_leads_and_nothing_beside_it_is_touched(
    command: Command, workflow: Callable[[Any], Path], tmp_path: Path
) -> None:
    (tmp_path / "recipe.yaml").symlink_to("else.yaml")
    (tmp_path / "recipe.yaml.tmp").write_text("mine")
    done = command(SCRIPT, workflow(DIAMOND), "-o", tmp_path / "recipe.yaml")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert (tmp_path / "recipe.yaml").is_symlink()
    assert len(steps_of((tmp_path / "else.yaml").read_text())) == 4
    assert (tmp_path / "recipe.yaml.tmp").read_text() == "mine"


def test_mistakes_of_the_command_line(
    command: Command, workflow: Callable[[Any], Path], tmp_path: Path
) -> None:
    path = workflow(document([("only", [], 0)]))
    for arguments, code, told in (
        ([tmp_path / "none.json"], 2, "none.json: can't be read: No such file"),
        ([], 2, "FILE"),
        ([path, "--scal", "1"], 2, "did you mean '--scale'?"),
        ([path, "--scale", "0"], 2, "must be a number above 0, and is '0'"),
        ([path, "--scale", "nan"], 2, "must be a number above 0, and is 'nan'"),
        ([path, "--total-seconds", "5"], 2, "its tasks took no time"),
        ([path, "-o", tmp_path / "no" / "recipe.yaml"], 1, "can't be written: No such file"),
    ):
        done = command(SCRIPT, *arguments)
        assert (done.returncode, done.stdout) == (code, ""), arguments
        assert done.stderr.startswith("error: ") and told in done.stderr
