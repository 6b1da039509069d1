"""What comes of a hook: told to the step machine, and kept in the parameter file."""

from __future__ import annotations

from collections.abc import MutableMapping
from random import random
from typing import Any

from octo_parameter_schema import ITEM_RESULTS_KEY, ITEMS_KEY, RESULT_KEY, STATUS_KEY
from octo_step_graph import StepGraph, item_of
from octo_step_hooks import HookResult
from octo_step_messages import (
    Event,
    HookDone,
    HookFailed,
    HookInterrupted,
    HookRefused,
    ProbeAnswered,
    SetItems,
    SetResult,
)


def as_event(result: HookResult) -> Event:
    """What the step machine is told of a hook that came back."""
    if result.interrupted:
        return HookInterrupted(result.node)
    if result.hook == "step_probe":
        error = {} if result.error is None else {"error": result.error}
        return ProbeAnswered(result.node, result.answer, {**error, **facts_of(result)})
    if result.refused:
        return HookRefused(result.node, str(result.error))
    if result.error is not None:
        return HookFailed(result.node, result.error, facts_of(result), random())
    return HookDone(
        result.node,
        tuple(result.arrows or ()),
        facts_of(result),
        result.output,
        result.skipped,
        result.items,
    )


def facts_of(result: HookResult) -> dict[str, Any]:
    """What the event log tells of a hook's call, beside its node and state."""
    facts: dict[str, Any] = {"duration_s": round(result.duration_s, 6), **result.facts}
    if result.error is None:
        facts["return_value"] = result.value
    if result.traceback:
        facts["traceback"] = result.traceback
    if result.timed_out:
        facts["timed_out"] = True
    if result.survivors:
        facts["survivors"] = result.survivors
    return facts


def keep_result(
    result: SetResult, data: MutableMapping[str, dict[str, Any]], graph: StepGraph
) -> None:
    """Write how a step went into its node's group; what it returned another time is kept no more.

    In a graph by dependency a success with nothing to keep leaves no trace there: the file would
    grow with each node, and `run_progress` tells that it is done.
    """
    node, number = item_of(result.node) if result.node not in graph.nodes else (result.node, None)
    if number is not None and result.status != "ERROR":
        if result.output is not None:
            data[node][ITEM_RESULTS_KEY][str(number)] = result.output
        return
    nothing_to_tell = result.status != "ERROR" and result.output is None and node not in data
    if graph.by_dependency and nothing_to_tell:
        return
    group = data.setdefault(node, {})
    if not graph.node(node).owns_group:
        group.pop(RESULT_KEY, None)
    if result.status == "ERROR":
        group["last_error"] = result.error
    else:
        if group.get(STATUS_KEY) == "ERROR":
            group["last_error"] = ""
        if result.output is not None:
            group[RESULT_KEY] = result.output
        elif graph.has_items(node) and ITEMS_KEY in group:
            items, kept = group.pop(ITEMS_KEY), group.pop(ITEM_RESULTS_KEY, {})
            group[RESULT_KEY] = [kept.get(str(place)) for place in range(len(items))]
    group[STATUS_KEY] = result.status


def keep_items(given: SetItems, data: MutableMapping[str, dict[str, Any]]) -> None:
    """Write into a node's group for which items it is performed; what they return is its result."""
    group = data.setdefault(given.node, {})
    group.pop(RESULT_KEY, None)
    group[ITEMS_KEY], group[ITEM_RESULTS_KEY] = given.items, {}
