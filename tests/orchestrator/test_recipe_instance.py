"""What of a run's state is taken over when its recipe has changed."""

from __future__ import annotations

import json
import os
from collections.abc import Collection
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from octo_errors import EngineBusyError, InstanceError, RecipeError
from octo_instance_dir import STOP_REQUEST, InstanceDir
from octo_instance_setup import make_instance
from octo_step_engine import StepEngine
from octo_step_events import read_events
from octo_step_graph import StepGraph
from octo_step_states import RunState, Token
from orchestrator import recipe_instance
from orchestrator.recipe_choices import Choices
from orchestrator.recipe_compiler import compile_recipe
from orchestrator.recipe_instance import (
    Given,
    begin_run,
    carried_over,
    continuation,
    default_place,
    instance_to_resume,
    left_of,
    performable,
)
from orchestrator.recipe_pin import pin_recipe
from orchestrator.recipe_program import Inputs, RecipeProgram, load_program, recipe_graph


def write(tmp_path: Path, *steps: dict[str, Any], **head: Any) -> Path:
    file = tmp_path / "r.yaml"
    complete = [{"type": "shell", "command": "true", **step} for step in steps]
    file.write_text(json.dumps({**head, "steps": complete}))
    return file


def graph(tmp_path: Path, *steps: dict[str, Any]) -> StepGraph:
    return recipe_graph(compile_recipe(write(tmp_path, *steps)))


def step(name: str, *depends_on: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "depends_on": list(depends_on), **more}


def done(run: RunState, of: StepGraph) -> set[str]:
    return {name for name, place in of.positions.items() if run.done >> place & 1}


def test_what_is_done_stays_done_by_name(tmp_path: Path) -> None:
    old = graph(tmp_path, step("a"), step("b", "a"), step("c", "b"))
    new = graph(tmp_path, step("c", "a"), step("new"), step("a", "new"))
    run = RunState(done=old.bits(["a", "b"]), step_count=2)
    assert done(carried_over(run, old, new), new) == {"a"}
    run = RunState(done=old.bits(["a", "c"]), step_count=2)
    assert done(carried_over(run, old, new, again={"c"}), new) == {"a"}


def test_what_was_left_out_was_not_done(tmp_path: Path) -> None:
    old = graph(tmp_path, step("a"), step("b", enabled=False))
    new = graph(tmp_path, step("a"), step("b"))
    run = RunState(done=old.bits(["a", "b"]), step_count=1)
    assert done(carried_over(run, old, new), new) == {"a"}


def test_what_was_done_before_it_was_left_out_is_done(tmp_path: Path) -> None:
    old = graph(tmp_path, step("a"), step("b", enabled=False), step("c", enabled=False))
    new = graph(tmp_path, step("a"), step("b"), step("c"))
    for again, left in (([], {"a", "b"}), (["b"], {"a"})):
        run = RunState(done=old.bits(["a", "b", "c"]), state="COMPLETE_SUCCESS")
        run = carried_over(run, old, new, again, left_out=["b"])
        assert (done(run, new), run.state) == (left, "INACTIVE")
    run = RunState(done=old.bits(["a", "b", "c"]), state="COMPLETE_SUCCESS")
    assert carried_over(run, old, new, left_out=["b", "c"]).finished


def test_a_step_that_was_only_to_be_left_is_done_when_it_is_left_out(tmp_path: Path) -> None:
    steps = ["done", "leaving", "begun", "failed", "way_out"]
    more = {"failed": {"on_error": {"go_to": "way_out"}}}
    old = graph(tmp_path, *(step(name, **more.get(name, {})) for name in steps))
    new = graph(tmp_path, step("other"), *(step(name, enabled=False) for name in steps))
    tokens = [
        Token("done", "ADVANCE"),
        Token("leaving", "JUMP", arrows=("COMPLETE",)),
        Token("begun", "EXECUTE"),
        Token("failed", "EXIT", arrows=("on_error",)),
    ]
    run = RunState(tokens={token.node: token for token in tokens})
    assert done(carried_over(run, old, new), new) == {"done", "leaving"}


def test_active_steps_stay_active_where_they_still_can_be(tmp_path: Path) -> None:
    old = graph(
        tmp_path,
        step("same"),
        step("gone"),
        step("off"),
        step("items", foreach=[1, 2]),
        step("no_items", foreach=[1, 2]),
        step("failed", on_error={"go_to": "out"}),
        step("out"),
    )
    new = graph(
        tmp_path,
        step("same"),
        step("off", enabled=False),
        step("items", foreach=[1, 2]),
        step("no_items"),
        step("failed"),
        step("out"),
    )
    names = ["same", "gone", "off", "items", "items[1]", "no_items", "no_items[0]"]
    tokens = {name: Token(name, "EXECUTE") for name in names}
    tokens["failed"] = Token("failed", "EXIT", arrows=("on_error",))
    run = carried_over(RunState(tokens=tokens), old, new)
    assert list(run.tokens) == ["same", "items", "items[1]"]


def test_a_jump_that_leads_nowhere_any_more_is_dropped(tmp_path: Path) -> None:
    old = graph(tmp_path, step("same"), step("gone"), step("off"))
    new = graph(tmp_path, step("same"), step("off", enabled=False))
    wanted = ("same", "gone", "off")
    left = [carried_over(RunState(jump_target=each), old, new).jump_target for each in wanted]
    assert left == ["same", "", ""]


def test_a_failed_run_is_opened_again_and_one_that_succeeded_if_there_is_more(
    tmp_path: Path,
) -> None:
    old = graph(tmp_path, step("a"), step("z", **{"finally": True}))
    new = graph(tmp_path, step("a"), step("b"), step("z", **{"finally": True}))
    failed = RunState(state="COMPLETE_ERROR", ending="it failed", finalizing=True)
    failed = carried_over(failed, old, old)
    assert (failed.state, failed.ending, failed.finalizing) == ("INACTIVE", "", False)
    everything = RunState(state="COMPLETE_SUCCESS", done=old.bits(["a", "z"]), finalizing=True)
    assert carried_over(everything, old, old).state == "COMPLETE_SUCCESS"
    more = carried_over(everything, old, new)
    assert (more.state, more.finalizing, done(more, new)) == ("INACTIVE", False, {"a"})


def test_a_way_out_is_left_only_where_a_failure_may_lead_to_it(tmp_path: Path) -> None:
    steps = [
        step("a", on_error={"go_to": "out"}),
        step("b", "a"),
        step("out", on_error={"go_to": "last"}),
        step("after", "out"),
        step("last"),
        step("z", **{"finally": True}),
    ]
    whole = graph(tmp_path, *steps)
    assert performable(whole) == ["a", "b", "out", "after", "last", "z"]
    assert performable(whole, done=["a"]) == ["b", "z"]
    assert performable(whole, passed_over=["a"]) == ["out", "after", "last", "z"]
    assert performable(whole, ["out"], ["a"]) == ["after", "z"]
    assert performable(whole, ["a"], begun=["out"]) == ["b", "out", "after", "last", "z"]
    without = graph(tmp_path, {**steps[0], "enabled": False}, *steps[1:])
    assert performable(without) == ["b", "z"]


def test_what_is_only_to_be_left_is_not_to_be_done(tmp_path: Path) -> None:
    whole = graph(
        tmp_path,
        step("done", foreach=[1]),
        step("leaving"),
        step("failed", on_error={"go_to": "way_out"}),
        step("begun", foreach=[1, 2]),
        step("next", "leaving", "failed"),
        step("way_out"),
    )
    tokens = [
        Token("leaving", "ADVANCE"),
        Token("failed", "EXIT", arrows=("on_error",)),
        Token("begun", "EXECUTE", items=2),
        Token("begun[0]", "ADVANCE"),
    ]
    run = RunState(done=whole.bits(["done"]), tokens={token.node: token for token in tokens})
    assert left_of(run, whole) == ["begun", "way_out"]


# --- the instance ---------------------------------------------------------------------------------


def program(tmp_path: Path, recipe: Path, **options: Any) -> RecipeProgram:
    return RecipeProgram(
        pin_recipe(recipe, tmp_path),
        options.get("inputs", Inputs()),
        options.get("choices", Choices()),
        instance=tmp_path / "instance",
        working_directory=tmp_path,
    )


def begun(made: RecipeProgram) -> InstanceDir:
    """The instance of a run that was begun, and nothing more."""
    with begin_run(made, made.instance):
        return InstanceDir(made.instance)


def test_an_instance_is_of_the_recipe_as_it_was(tmp_path: Path) -> None:
    made = program(
        tmp_path,
        write(tmp_path, step("a"), step("b"), inputs={"n": 1}),
        inputs=Inputs({"n": 2}),
        choices=Choices(skip=("b",)),
    )
    instance = begun(made)
    write(tmp_path, step("other"))
    loaded = load_program(instance)
    assert list(loaded.graph.nodes) == ["a", "b"]
    assert not loaded.graph.nodes["b"].active
    assert loaded.inputs.values == {"n": 2}
    assert loaded.described() == made.described()
    assert loaded.changes(instance.path) == [str(tmp_path / "r.yaml")]
    assert not (instance.path / "archive").exists()


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("compiled", 3),
        ("compiled", ".octo_step_engine_recipe.no.json"),
        ("choices", []),
        ("choices", {"onlyy": ["a"]}),
        ("left_out_done_bits", 5),
        ("left_out_done_bits", ""),
        ("left_out_items", []),
        ("left_out_items", {"a": {"state": "EXECUTE", "items": "three"}}),
    ],
)
def test_a_group_that_was_edited_wrongly_is_told(tmp_path: Path, key: str, value: object) -> None:
    made = program(tmp_path, write(tmp_path, step("a")))
    instance = begun(made)
    with instance.parameters.transaction() as data:
        data["recipe"][key] = value
    with pytest.raises(InstanceError, match=r"recipe\.|can't be read"):
        load_program(instance)


def test_an_instance_that_is_run_is_left_alone(tmp_path: Path) -> None:
    recipe = write(tmp_path, step("a"))
    made = program(tmp_path, recipe)
    instance = begun(made)
    before = sorted(instance.path.rglob("*"))
    other = program(tmp_path, write(tmp_path, step("b")))
    plan = continuation(instance, other.pinned, Given(), Choices(), accept_changes=True)
    with instance.run_lock():
        with pytest.raises(EngineBusyError):
            begun(other)
        with pytest.raises(EngineBusyError):
            plan.begin(instance)
    assert sorted(instance.path.rglob("*")) == before


def test_items_that_are_only_to_be_left_are_done_when_their_step_is_left_out(
    tmp_path: Path,
) -> None:
    recipe = write(tmp_path, step("a"), step("items", foreach=[1, 2, 3, 4]))
    made = program(tmp_path, recipe)
    instance = begun(made)
    tokens = [
        Token("items", "EXECUTE", items=4, items_done=1),
        Token("items[1]", "ADVANCE", held=True),
        Token("items[2]", "EXECUTE", failed=True, held=True),
    ]
    run = RunState("COMPLETE_ERROR", {token.node: token for token in tokens})
    with instance.parameters.transaction() as data:
        run.store(data, made.graph, 0.0)
    for only in ("a", "items"):
        choices = Choices(only=(only,))
        continuation(instance, None, Given(), choices).begin(instance)
    program_now = load_program(instance)
    resumed = RunState.load(instance.parameters.read(), program_now.graph)
    assert resumed.tokens == {"items": Token("items", "EXECUTE", items=4, items_done=0b11)}
    assert "left_out_items" not in instance.parameters.read()["recipe"]


@pytest.mark.parametrize("other_comes", ["before it is made", "before the run lock is had"])
def test_a_run_that_is_begun_at_the_same_instant_and_ends_is_put_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, other_comes: str
) -> None:
    ours = program(tmp_path, write(tmp_path, step("a")))
    other = program(tmp_path, write(tmp_path, step("b")))

    def make(place: Path, made: RecipeProgram) -> InstanceDir:
        monkeypatch.undo()
        if other_comes == "before it is made":
            assert run(other) == ["b"]
        instance = make_instance(place, made)
        assert run(other) == ["b"]
        return instance

    monkeypatch.setattr(recipe_instance, "make_instance", make)
    assert run(ours) == ["a"]
    archived = len(list((ours.instance / "archive").iterdir()))
    assert archived == (1 if other_comes == "before it is made" else 2)


def test_a_run_that_is_begun_at_the_same_instant_and_is_at_work_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours = program(tmp_path, write(tmp_path, step("a")))
    other = program(tmp_path, write(tmp_path, step("b")))
    with ExitStack() as at_work:

        def make(place: Path, made: RecipeProgram) -> InstanceDir:
            monkeypatch.undo()
            at_work.enter_context(begin_run(other, place))
            return make_instance(place, made)

        monkeypatch.setattr(recipe_instance, "make_instance", make)
        with pytest.raises(EngineBusyError, match=f"pid {os.getpid()}"):
            begun(ours)
        assert load_program(InstanceDir(ours.instance)).described() == other.described()


def run(made: RecipeProgram) -> list[str]:
    """Begin a run, and let it go to its end; returns the steps that were performed in it."""
    with begin_run(made, made.instance) as instance:
        assert StepEngine(instance, program=made).run().exit_code == 0
    events = read_events(instance.path)
    return [each["node"] for each in events if each.get("state") == "EXECUTE"]


def test_accepted_code_is_no_change_any_more(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("def act():\n    pass\n")
    recipe = write(tmp_path)
    recipe.write_text('{"steps": [{"name": "a", "module": "mine", "function": "act"}]}')
    made = program(tmp_path, recipe)
    instance = begun(made)
    (tmp_path / "mine.py").write_text("def act():\n    return 1\n")
    with pytest.raises(RecipeError, match=r"changed: .*mine\.py"):
        continuation(instance, None, Given(), Choices())
    continuation(instance, None, Given(), Choices(), accept_changes=True).begin(instance)
    assert not continuation(instance, None, Given(), Choices()).changes


def test_a_way_out_that_was_not_needed_is_nothing_more_to_do(tmp_path: Path) -> None:
    old = graph(tmp_path, step("a", on_error={"go_to": "out"}), step("out"))
    run = RunState(state="COMPLETE_SUCCESS", done=old.bits(["a"]))
    assert carried_over(run, old, old).state == "COMPLETE_SUCCESS"
    assert carried_over(run, old, old, again={"a"}).state == "INACTIVE"


def test_the_place_of_a_recipe_is_called_like_it(tmp_path: Path) -> None:
    plain = pin_recipe(write(tmp_path, step("a"), metadata={"name": "plain"}), tmp_path)
    assert default_place(plain, tmp_path) == tmp_path / "step_instances" / "plain"
    odd = pin_recipe(write(tmp_path, step("a"), metadata={"name": "../a b"}), tmp_path)
    assert default_place(odd, tmp_path).parent == tmp_path / "step_instances"


def test_what_is_no_instance_can_not_be_gone_on_with(tmp_path: Path) -> None:
    with pytest.raises(InstanceError, match="no run to go on with"):
        instance_to_resume(tmp_path)
    made = program(tmp_path, write(tmp_path, step("a")))
    begun(made)
    assert isinstance(instance_to_resume(made.instance), InstanceDir)


# --- requests -------------------------------------------------------------------------------------


class Heeding(RecipeProgram):
    """Whose steps heed requests: `a` is done when it was asked, `end` when it could have been."""

    asked: tuple[tuple[str, set[str]], ...] = ()
    looked = 0

    def heed_requests(self, nodes: Collection[str]) -> bool:
        self.looked += "end" in nodes
        if self.looked == 2:
            (self.directory / "end.go").touch()
        return True

    def pass_on(self, request: str, nodes: Collection[str]) -> None:
        self.asked += ((request, set(nodes)),)
        if "a" in nodes:
            (self.directory / "a.go").touch()


def test_a_stop_is_passed_on_to_steps_at_work_and_not_to_finally_steps(tmp_path: Path) -> None:
    wait = "until [ -e $OCTO_STEP.go ]; do sleep 0.01; done"
    recipe = write(
        tmp_path, step("a", command=wait), step("end", command=wait, **{"finally": True})
    )
    steps = Heeding(
        pin_recipe(recipe, tmp_path),
        Inputs(),
        Choices(),
        instance=tmp_path / "instance",
        working_directory=tmp_path,
    )
    instance = begun(steps)

    def stop(event: dict[str, Any]) -> None:
        if event.get("node") == "a" and event["state"] == "ENTER":
            with instance.parameters.transaction() as data:
                data["global_parameters"][STOP_REQUEST] = True

    outcome = StepEngine(instance, program=steps, observer=stop).run()
    assert (outcome.engine_state, outcome.reason) == ("COMPLETE_ERROR", "stopped by request")
    assert steps.asked[0] == (STOP_REQUEST, {"a"})
    assert not any("end" in nodes for _, nodes in steps.asked)
