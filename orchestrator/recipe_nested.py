"""A recipe that is a step of another one.

It has an instance of its own below the outer one's, in `nested/<step>`, and an engine in the worker
process of the outer step: it ends with that, and goes on where it was when the outer step is
performed again.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, TypeVar

from octo_errors import EngineBusyError
from octo_instance_dir import PAUSE_REQUEST, STOP_REQUEST, InstanceDir, is_instance
from octo_instance_setup import make_instance, reset_instance
from octo_parameter_schema import ARMED_KEY, GLOBAL_GROUP
from octo_step_console import Stream
from octo_step_engine import StepEngine
from octo_step_hooks import StepFailure, StepRests, StepResult
from octo_step_outcome import Outcome
from orchestrator.context import CONTEXT_GROUP
from orchestrator.recipe_choices import Choices
from orchestrator.recipe_environment import RunEnvironment
from orchestrator.recipe_inputs import resolve_inputs
from orchestrator.recipe_instance import Continuation
from orchestrator.recipe_program import Inputs, RecipeProgram, load_program, nested_instance

_FREE_WITHIN_S: Final = 10.0
"""A killed engine's nested ones end at once, but not at the same instant."""
_T = TypeVar("_T")


def begin_nested(outer: RunEnvironment, node: str) -> None:
    """Put the run of a step's recipe away, if it has succeeded.

    The engine calls this once whenever the step is to be performed: so a run that has succeeded
    before has been told to it, and one that succeeds from now on has not.
    """
    place = nested_instance(outer.instance, node)
    if is_instance(place):
        instance = InstanceDir(place)
        shared = instance.parameters.read()[GLOBAL_GROUP]
        if shared["step_engine_state"] == "COMPLETE_SUCCESS":
            _patiently(lambda: _put_away(instance))


def _put_away(instance: InstanceDir) -> None:
    with instance.run_lock():
        reset_instance(instance)


def run_nested(outer: RunEnvironment, node: str, args: Mapping[str, Any]) -> StepResult:
    """Run the recipe that a step of another one names, or go on with its run.

    Args:
        node: The step, or one of its items.
        args: Its inputs.

    Returns:
        `instance`, and `context`: what its steps have left there.

    Raises:
        RecipeError: The inputs don't fit.
        StepFailure: It has failed; says at which step.
        StepRests: It rests, and so the outer run is to rest.
    """
    step, _ = outer.place_of(node)
    pinned = outer.pinned.of_step(step)
    place = nested_instance(outer.instance, node)
    program = RecipeProgram(
        pinned,
        Inputs(resolve_inputs(pinned.compiled["inputs"], args), hidden=outer.secrets),
        Choices(),
        instance=place,
        working_directory=outer.working_directory,
        verbose=outer.verbose,
    )
    instance = _patiently(lambda: _nested_instance(program, place))
    errors: list[dict[str, Any]] = []
    outcome = _patiently(lambda: _drive_nested(program, instance, errors))
    if outcome.engine_state == "COMPLETE_ERROR":
        text = f"recipe {pinned.compiled['name']}: {outcome.reason}"
        raise StepFailure(text, errors[-1].get("traceback", "") if errors else "")
    if outcome.engine_state != "COMPLETE_SUCCESS":
        raise StepRests(f"recipe {pinned.compiled['name']} rests: {outcome.reason}")
    context = instance.parameters.read().get(CONTEXT_GROUP, {})
    return StepResult({"instance": str(instance.path), "context": context})


def make_safe_nested(outer: RunEnvironment, node: str) -> None:
    """Call what is owed of the run of a step's recipe.

    Raises:
        StepFailure: Some of it has failed, and stays owed; says what.
    """
    place = nested_instance(outer.instance, node)
    if not is_instance(place):
        return
    events: list[dict[str, Any]] = []
    _patiently(lambda: _make_safe(outer, InstanceDir(place), events))
    failed = [f"{each['node']}: {each['error']}" for each in events if "error" in each]
    if failed:
        raise StepFailure("; ".join(failed))


def _make_safe(outer: RunEnvironment, instance: InstanceDir, events: list[dict[str, Any]]) -> None:
    """Make safe what is armed there; what happens is added to `events`."""
    if not instance.parameters.read()[GLOBAL_GROUP].get(ARMED_KEY):
        return
    found = load_program(instance, verbose=outer.verbose)
    program = RecipeProgram(
        found.pinned,
        replace(found.inputs, hidden=outer.secrets),
        found.choices,
        instance=instance.path,
        working_directory=outer.working_directory,
        verbose=outer.verbose,
    )
    with _engine(program, instance, events.append) as engine:
        engine.make_safe()


def _nested_instance(program: RecipeProgram, place: Path) -> InstanceDir:
    """The instance to begin or to go on in, as the outer run wants it now."""
    if not is_instance(place):
        return make_instance(place, program)
    instance = InstanceDir(place)
    Continuation(load_program(instance), program).begin(instance)
    _forget_requests(instance)
    return instance


def _forget_requests(instance: InstanceDir) -> None:
    """The outer run goes on: what it asked for before, nobody had heard when its engine ended."""
    with instance.parameters.transaction() as data:
        for request in (PAUSE_REQUEST, STOP_REQUEST):
            data[GLOBAL_GROUP].pop(request, None)


def _drive_nested(
    program: RecipeProgram, instance: InstanceDir, errors: list[dict[str, Any]]
) -> Outcome:
    """Run it; the events of failures are added to `errors`."""

    def hear(event: dict[str, Any]) -> None:
        if event["event"] == "step_error":
            errors.append(event)

    with _engine(program, instance, hear) as engine:
        return engine.run(retry_failed=True)


@contextmanager
def _engine(
    program: RecipeProgram, instance: InstanceDir, observer: Callable[[dict[str, Any]], None]
) -> Iterator[StepEngine]:
    """The engine of a nested run; what its steps write is output of the outer step."""
    shown = Stream(1)  # the descriptor itself is the hooks'
    try:
        yield StepEngine(
            instance,
            program=program,
            observer=observer,
            sink=lambda _, data: shown.write(data),
        )
    finally:
        shown.close()


def _patiently(action: Callable[[], _T]) -> _T:
    """Do something that an engine which is about to end may be in the way of."""
    until = time.monotonic() + _FREE_WITHIN_S
    while time.monotonic() < until:
        with suppress(EngineBusyError):
            return action()
    return action()
