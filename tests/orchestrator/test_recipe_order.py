"""Random recipes, run by the real engine: what is performed, and in which order, by an oracle."""

from __future__ import annotations

import json
import tempfile
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from octo_step_engine import StepEngine
from orchestrator.recipe_choices import Choices
from orchestrator.recipe_instance import begin_run
from orchestrator.recipe_pin import pin_recipe
from orchestrator.recipe_program import Inputs, RecipeProgram
from tests.orchestrator import order_support


@dataclass(frozen=True)
class Step:
    name: str
    depends_on: tuple[str, ...]
    is_final: bool
    fails: bool
    goes_on: bool
    is_enabled: bool

    def as_recipe(self) -> dict[str, object]:
        return {
            "name": self.name,
            "module": order_support.__name__,
            "function": "act",
            "args": [self.name, self.fails],
            "depends_on": list(self.depends_on),
            "finally": self.is_final,
            "on_error": "continue" if self.goes_on else "fail",
            "enabled": self.is_enabled,
        }


@st.composite
def steps(draw: st.DrawFn) -> list[Step]:
    """Steps in any order, each depending on some that were made before."""
    made: list[Step] = []
    for number in range(draw(st.integers(1, 12))):
        is_final = draw(st.integers(0, 5)) == 0
        candidates = [each.name for each in made if each.is_final == is_final]
        chosen = draw(st.lists(st.sampled_from(candidates), unique=True)) if candidates else []
        made.append(
            Step(
                f"s{number}",
                tuple(chosen),
                is_final,
                fails=draw(st.integers(0, 4)) == 0,
                goes_on=draw(st.booleans()),
                is_enabled=draw(st.integers(0, 5)) > 0,
            )
        )
    return draw(st.permutations(made))


def in_order(given: list[Step]) -> list[Step]:
    """Each time the first whose dependencies have come: the simplest way there is."""
    left, order = list(given), list[Step]()
    while left:
        come = {step.name for step in order}
        step = next(step for step in left if come.issuperset(step.depends_on))
        left.remove(step)
        order.append(step)
    return order


def expected(given: list[Step], *, keep_going: bool) -> tuple[list[str], bool]:
    """What a serial run performs, in order, and whether it succeeds."""
    done = {step.name for step in given if not step.is_enabled}
    performed: list[str] = []
    succeeds = True
    for is_final in (False, True):
        for step in in_order([step for step in given if step.is_final == is_final]):
            if not (step.is_enabled and done.issuperset(step.depends_on)):
                continue
            performed.append(step.name)
            if not step.fails or step.goes_on:
                done.add(step.name)
                continue
            succeeds = False
            if not keep_going and not is_final:
                break
    return performed, succeeds


def run(
    given: list[Step], executor: str, *, keep_going: bool
) -> tuple[list[tuple[str, str]], bool]:
    """What happened in a run, and whether it succeeded."""
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        recipe = place / "r.yaml"
        recipe.write_text(json.dumps({"steps": [step.as_recipe() for step in given]}))
        program = RecipeProgram(
            pin_recipe(recipe, place),
            Inputs(),
            Choices(),
            instance=place / "instance",
            working_directory=place,
        )
        order_support.LOG.clear()
        with begin_run(program, program.instance) as instance:
            engine = StepEngine(instance, program=program, executor=executor, keep_going=keep_going)
            outcome = engine.run()
        return list(order_support.LOG), outcome.engine_state == "COMPLETE_SUCCESS"


@given(steps())
@settings(max_examples=60)
def test_a_serial_run_performs_the_first_that_is_ready_each_time(given: list[Step]) -> None:
    if not any(step.is_enabled for step in given):
        return
    log, succeeded = run(given, "serial", keep_going=True)
    performed = [name for what, name in log if what == "begin"]
    assert (performed, succeeded) == expected(given, keep_going=True)


@given(steps())
@settings(max_examples=60)
def test_a_failure_ends_a_serial_run_but_for_finally_steps(given: list[Step]) -> None:
    if not any(step.is_enabled for step in given):
        return
    log, succeeded = run(given, "serial", keep_going=False)
    performed = [name for what, name in log if what == "begin"]
    not_final = {step.name for step in given if not step.is_final}
    wanted, succeeds = expected(given, keep_going=False)
    assert succeeded == succeeds
    assert [n for n in performed if n in not_final] == [n for n in wanted if n in not_final]
    assert [n for n in performed if n not in not_final] == [n for n in wanted if n not in not_final]


@pytest.mark.slow
@given(steps())
@settings(max_examples=60)
def test_in_threads_the_same_is_performed_each_after_what_it_waits_for(given: list[Step]) -> None:
    if not any(step.is_enabled for step in given):
        return
    log, succeeded = run(given, "threads", keep_going=True)
    performed, succeeds = expected(given, keep_going=True)
    assert succeeded == succeeds
    assert sorted(name for what, name in log if what == "begin") == sorted(performed)
    order = {entry: place for place, entry in enumerate(log)}
    for step in given:
        if step.name not in performed:
            continue
        for source in {*step.depends_on} & {*performed}:
            assert order["end", source] < order["begin", step.name]
        for other in (each for each in given if step.is_final and not each.is_final):
            assert order.get(("end", other.name), -1) < order["begin", step.name]
