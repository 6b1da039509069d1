"""The steps of a Python program as they were added: what is wrong with them, what is kept of them.

Nothing here runs anything, or touches a file.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, NoReturn

from octo_errors import ScriptletError, did_you_mean
from octo_pin_file import FORMAT
from octo_step_declaration import ENGINE_GROUPS, STEP_NAMES, is_step_name
from octo_step_keys import DEPENDENCY_KEYS
from orchestrator.context import CONTEXT_GROUP
from orchestrator.dependency_graph import DependencyGraph, find_cycle
from scriptlets.lifecycle import check_call
from scriptlets.outcomes import why_not_kept
from scriptlets.parameters import UNKNOWN
from scriptlets.references import reference_to, why_only_here

NOT_KEPT: Final = "not_kept"
"""The only key of what stands in the place of a value that JSON can't hold."""


@dataclass(frozen=True, slots=True)
class Call:
    """What a step calls.

    Attributes:
        target: A scriptlet class, or something else that can be called.
        params: The parameters whose values are given.
        results: Parameter -> the step whose result it gets.
    """

    target: Any
    params: Mapping[str, Any]
    results: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class ResultOf:
    """In the place of a parameter's value: the result of a step, which has to be done first."""

    step: str


@dataclass(frozen=True, slots=True)
class Step:
    """A step.

    Attributes:
        depends_on: The steps that must be done first.
        policy: What its node says of retries, the time limit and failures, by keys of graph dicts.
    """

    call: Call
    depends_on: tuple[str, ...]
    policy: dict[str, Any]

    @property
    def goes_on(self) -> bool:
        """Whether its last failure counts as done."""
        return bool(self.policy["continue_on_error_bool"])


Steps = Mapping[str, Step]

POLICY: Final = {
    "retries": "max_retries",
    "retry_delay": "retry_delay_seconds",
    "retry_backoff": "retry_backoff_factor",
    "timeout": "timeout_seconds",
}
"""Arguments of `ExecutionContext.add`, and the keys of a node that they are for."""


def make_step(
    target: Any,
    params: Mapping[str, Any],
    depends_on: Iterable[str | ResultOf],
    policy: Mapping[str, Any],
) -> Step:
    """The step that is added with these, in which `check_added` has found nothing wrong."""
    results = {name: each.step for name, each in params.items() if isinstance(each, ResultOf)}
    plain = {name: each for name, each in params.items() if name not in results}
    named = [each.step if isinstance(each, ResultOf) else each for each in depends_on]
    keys = {key: policy[argument] for argument, key in POLICY.items()}
    return Step(
        Call(target, plain, results),
        tuple(dict.fromkeys([*named, *results.values()])),
        {**keys, "continue_on_error_bool": int(policy["on_error"] == "continue")},
    )


def check_added(
    name: object,
    target: Any,
    params: object,
    depends_on: object,
    policy: Mapping[str, Any],
    steps: Steps,
) -> Iterator[str]:
    """What is wrong with a step that is to be added to others, whatever these are."""
    if not is_step_name(name):
        yield STEP_NAMES
    elif name in (*ENGINE_GROUPS, CONTEXT_GROUP):
        yield "the engine keeps a group of that name"
    elif name in steps:
        yield "there is a step of that name already"
    if not callable(target):
        yield f"{target!r} is no class and no function"
    if not isinstance(params, Mapping | None):
        yield f"params is a mapping, as {{'name': value}}, and is {params!r:.60}"
    if isinstance(depends_on, str):
        yield f"depends_on is a list of names, as [{depends_on!r}]"
    elif not isinstance(depends_on, Iterable):
        yield f"depends_on is a list of names, and is {depends_on!r:.60}"
    for argument, key in POLICY.items():
        if not DEPENDENCY_KEYS[key].accepts(policy[argument]):
            expected = DEPENDENCY_KEYS[key].expected
            yield f"{argument} must be {expected}, and is {policy[argument]!r}"
    if policy["on_error"] not in ("fail", "continue"):
        yield f"on_error must be 'fail' or 'continue', and is {policy['on_error']!r}"


def check_steps(steps: Steps, *, in_processes: bool) -> None:
    """Do nothing if the steps can be run.

    Args:
        in_processes: All of them are to run in worker processes.

    Raises:
        ScriptletError: They can't; all problems at once.
    """
    problems = [
        f"step {name!r}{problem}"
        for name, step in steps.items()
        for problem in _problems(step, steps, in_processes)
    ]
    circle = find_cycle({name: step.depends_on for name, step in steps.items()})
    if circle:
        problems.append(f"steps depend on each other in a circle: {' -> '.join(circle)}")
    if problems:
        refuse(problems)


def why_not_elsewhere(call: Call) -> str:
    """Why only this process can make the call; empty when others can."""
    if reason := why_only_here(call.target):
        return f"{reason}; put it at the top level of a module of its own"
    for name, value in call.params.items():
        if reason := why_not_kept(value):
            return f"JSON can't hold its parameter {name!r} ({reason})"
    return ""


def kept_plan(steps: Steps, directory: str) -> dict[str, Any]:
    """What an instance keeps of the steps, as JSON reads it; `check_steps` has passed them.

    Returns:
        format, directory (where the steps run), step_node_graph_dict, step_arrow_graph_dict, and
        calls: step -> target (a reference), params, results, and only_here: why no other process
        can make the call; empty when one can.
    """
    order = DependencyGraph({name: step.depends_on for name, step in steps.items()}).order()
    arrows: dict[str, dict[str, Any]] = {name: {} for name in order}
    for name in order:
        for other in steps[name].depends_on:
            arrows[other][f"to_{name}"] = {"arrow_step_name_string": name}
    kept = {
        "format": FORMAT,
        "directory": directory,
        "step_node_graph_dict": {name: _node(name, steps[name]) for name in order},
        "step_arrow_graph_dict": arrows,
        "calls": {name: _described(steps[name].call) for name in order},
    }
    as_read: dict[str, Any] = json.loads(json.dumps(kept))
    return as_read


def dependencies_of(kept: Mapping[str, Any]) -> list[tuple[str, list[str]]]:
    """The steps of what is kept, in their order, and what waits for each."""
    return [(name, list(kept["step_arrow_graph_dict"][name])) for name in kept["calls"]]


def refuse(problems: list[str], hint: str = "") -> NoReturn:
    """Raise a ScriptletError that tells all problems."""
    raise ScriptletError("\n".join(problems), hint=hint, problems=problems)


def _problems(step: Step, steps: Steps, in_processes: bool) -> Iterator[str]:
    """What is wrong with one step, to go on after its name."""
    for other in step.depends_on:
        if other not in steps:
            near = did_you_mean(str(other), steps)
            yield f" depends on {other!r}, which is no step{near and '; ' + near}"
    try:
        check_call(step.call.target, {**step.call.params, **_unknown(step.call)})
    except ScriptletError as error:
        yield f": {error.message}{error.hint and '; ' + error.hint}"
    why = "it has a timeout" if step.policy[POLICY["timeout"]] else ""
    why = "the executor is 'processes'" if in_processes else why
    if why and (reason := why_not_elsewhere(step.call)):
        yield f" can't run in a worker process, but {why}: {reason}"


def _node(name: str, step: Step) -> dict[str, Any]:
    return {
        "module_name_string": reference_to(step.call.target)["module"] or "python",
        "node_step_name_string": name,
        "first_node_step_bool": int(not step.depends_on),
        "join_all_bool": int(len(step.depends_on) > 1),
        **step.policy,
    }


def _described(call: Call) -> dict[str, Any]:
    params = {}
    for name, value in call.params.items():
        reason = why_not_kept(value)
        params[name] = {NOT_KEPT: reason} if reason else value
    return {
        "target": reference_to(call.target),
        "params": params,
        "results": dict(call.results),
        "only_here": why_not_elsewhere(call),
    }


def _unknown(call: Call) -> dict[str, Any]:
    return dict.fromkeys(call.results, UNKNOWN)
