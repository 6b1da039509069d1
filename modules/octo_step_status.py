"""What `status` says: where an instance stands, from its parameter file and its run lock.

Imports neither the machine nor the engine, so that it starts fast. The parameter file may have been
edited by people: what makes no sense there is left out here; `run` says what is wrong with it.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, NamedTuple

from octo_errors import OctoError
from octo_instance_dir import JUMP_REQUEST, PAUSE_REQUEST, STOP_REQUEST, InstanceDir, Runner
from octo_parameter_schema import (
    ACTIVE_GROUP,
    ARMED_KEY,
    ARRIVALS_GROUP,
    END_PENDING,
    GLOBAL_GROUP,
    JUMP_PENDING,
    PROGRAM_KEY,
    PROGRESS_GROUP,
    STATUS_KEY,
)
from octo_shown_text import duration_text, local_time, one_line, printable
from octo_typed_commands import resume_command

Condition = Literal["new", "running", "paused", "interrupted", "complete_success", "complete_error"]
_ASKED_TO = {PAUSE_REQUEST: "pause", STOP_REQUEST: "stop"}
_JUMPS = (JUMP_REQUEST, JUMP_PENDING)
LOOK_EVERY_S = 0.2

_ENDS: dict[str, Condition] = {
    "COMPLETE_SUCCESS": "complete_success",
    "COMPLETE_ERROR": "complete_error",
}
_AFTER_INTERRUPT = {
    "rerun": "perform it again",
    "ask": "stop there and leave it to you",
    "skip": "leave it out, and go on",
    "probe": "ask its step_probe whether it was done",
}


class ActiveNode(NamedTuple):
    """A node that is not left yet. `retry_due` (UTC, ISO 8601) is empty outside a back-off."""

    node: str
    state: str
    attempt: int = 1
    retry_due: str = ""
    held: bool = False


class Status(NamedTuple):
    """Where an instance stands. The fields are those of `status --json`.

    Attributes:
        condition: What it comes to. `interrupted`: its engine did not end by itself, and is gone.
        runner: The process that runs it.
        node, state, since: What changed last, and when; empty before the first run.
        active: All nodes that are not left yet: several in a fork.
        joins: Nodes that wait to be reached from everywhere -> the nodes they were reached from.
        next: The nodes that the chosen arrows lead to; empty until ADVANCE has chosen.
        steps: How many nodes were left since the run began.
        progress: In a graph by dependency: how many nodes are `done` or left out, of how many in
            `total`; elsewhere empty.
        reason: Why it rests or has ended.
        errors: Nodes whose last attempt failed -> the short text.
        armed: Nodes whose `step_make_safe` is owed if the run doesn't succeed.
        requests: What the running engine, or else the next one, is asked to do.
        on_interrupt: For each interrupted node, its policy; empty in every other condition.
        program: What it is an instance of: `library`, `recipe`, or `scriptlets` for the steps of a
            Python program.
        recipe: The file of the recipe; empty where it is none's.
        changed_files: Files of the library that are not as they were when the run began.
    """

    instance: str
    library: str
    condition: Condition
    engine_state: str
    run_id: str
    runner: Runner | None
    node: str
    state: str
    since: str
    active: list[ActiveNode]
    joins: dict[str, list[str]]
    next: list[str]
    steps: int
    progress: dict[str, int]
    reason: str
    errors: dict[str, str]
    armed: list[str]
    requests: list[str]
    first_node: str
    program: str
    recipe: str
    on_interrupt: dict[str, str]
    changed_files: list[str]

    def as_dict(self) -> dict[str, Any]:
        """What JSON can hold of it."""
        return {
            **self._asdict(),
            "runner": None if self.runner is None else self.runner._asdict(),
            "active": [each._asdict() for each in self.active],
        }


def read_status(instance: InstanceDir) -> Status:
    """Where an instance stands now.

    Raises:
        ParameterFileError: Its parameter file can't be read.
    """
    status = _read_consistently(instance)
    extra: dict[str, Any] = {}
    if status.condition == "interrupted":
        extra["on_interrupt"] = _policies(instance, status)
    if status.condition not in ("new", "complete_success") and os.path.isdir(status.library):  # noqa: PTH112
        from octo_library_pin import changed_files

        with suppress(OctoError):  # in the library, or its pin: `run` will say what is wrong
            extra["changed_files"] = changed_files(instance.path, instance.library_path())
    return status._replace(**extra)


def watch_status(instance: InstanceDir) -> Iterator[Status | None]:
    """The status now and after every change, until no engine runs the instance any more.

    Yields None every `LOOK_EVERY_S` in between, so that a caller can keep its display alive.
    """
    status = read_status(instance)
    yield status
    seen = _signature(instance)
    while status.condition == "running":
        time.sleep(LOOK_EVERY_S)
        signature = _signature(instance)
        ended = signature == seen and instance.runner() is None
        if signature == seen and not ended:
            yield None
            continue
        seen = signature
        latest = read_status(instance) if ended else _read_consistently(instance)
        yield latest if latest != status else None
        status = latest


def status_of(data: dict[str, Any], runner: Runner | None = None, instance: str = "") -> Status:
    """Where an instance stands that has `data` in its parameter file, and is run by `runner`."""
    shared = _dict(data, GLOBAL_GROUP)
    active = [_active(name, record) for name, record in _dict(data, ACTIVE_GROUP).items()]
    engine_state = _text(shared, "step_engine_state") or "INACTIVE"
    return Status(
        instance=instance,
        library=_text(shared, "step_engine_library_path"),
        program=_text(shared, PROGRAM_KEY) or "library",
        recipe=_text(_dict(data, "recipe"), "file"),
        condition=_condition(data, runner, bool(active)),
        engine_state=engine_state,
        run_id=_text(shared, "run_id"),
        runner=runner,
        node=_text(shared, "current_step_node"),
        state=_text(shared, "current_step_state"),
        since=_text(shared, "current_step_since"),
        active=active,
        joins={name: _list(sources) for name, sources in _dict(data, ARRIVALS_GROUP).items()},
        next=[name for name in _text(shared, "next_step_node").split(",") if name],
        steps=steps if isinstance(steps := shared.get("engine_step_count"), int) else 0,
        progress=_progress(_dict(data, PROGRESS_GROUP)),
        reason=_text(shared, "end_reason" if engine_state in _ENDS else "pause_reason"),
        errors=_errors(data),
        armed=_list(shared.get(ARMED_KEY)),
        requests=_requests(shared),
        first_node=_text(shared, "first_step_node"),
        on_interrupt={},
        changed_files=[],
    )


def status_lines(status: Status, launcher: str) -> list[str]:
    """The status for people; `launcher` is the command that they type to go on."""
    rows = [
        ("at", _place(status)),
        ("goes on", _elsewhere(status)),
        ("next", ", ".join(status.next)),
        ("joins", _joins(status)),
        ("steps", f"{_steps_done(status)} done" if status.steps or status.progress else ""),
        ("asked to", ", ".join(status.requests)),
        ("armed", ", ".join(status.armed)),
        *(("error", f"{node}: {one_line(text)}") for node, text in status.errors.items()),
        _program(status),
        ("changed", ", ".join(status.changed_files)),
        ("to do", _to_do(status, launcher)),
    ]
    lines = [f"{status.instance}: {_headline(status)}"]
    for label, text in rows:
        first, *more = text.splitlines() or [""]
        lines += [f"  {label:<9} {first}", *(f"  {'':<9} {line}" for line in more)] if text else []
    return [printable(line) for line in lines]


def status_line(status: Status) -> str:
    """The status in one line, with the present time."""
    places = [
        f"{each.node} {each.state}" + (f", attempt {each.attempt}" if each.attempt > 1 else "")
        for each in status.active
    ]
    facts = [
        f"{datetime.now():%H:%M:%S}",
        _headline(status),
        *places,
        f"steps done: {_steps_done(status)}",
    ]
    return printable("  ".join(facts))


# --- reading --------------------------------------------------------------------------------------


def _read_consistently(instance: InstanceDir) -> Status:
    """Run lock and parameter file are two looks: an engine may start or end between them."""
    while True:
        runner = instance.runner()
        data = instance.parameters.read()
        status = status_of(data, runner, str(instance.path))
        if status.condition != "interrupted":
            return status
        if instance.runner() is None and instance.parameters.read() == data:
            return status


def _policies(instance: InstanceDir, status: Status) -> dict[str, str]:
    """What the next run does about the nodes that were interrupted."""
    from octo_step_program import load_program

    interrupted = [each for each in status.active if not each.held and not each.retry_due]
    try:
        graph = load_program(instance).graph
        return {
            each.node: graph.policy_after_interrupt(each.node, each.state) for each in interrupted
        }
    except (OctoError, KeyError):  # the library has problems now: `run` will say which
        return {}


def _signature(instance: InstanceDir) -> tuple[int, int, int]:
    try:
        found = os.stat(instance.parameters.path)  # noqa: PTH116  (it may be a str)
    except OSError:
        return (0, 0, 0)
    return (found.st_mtime_ns, found.st_ino, found.st_size)


def _condition(data: dict[str, Any], runner: Runner | None, active: bool) -> Condition:
    shared = _dict(data, GLOBAL_GROUP)
    engine_state = _text(shared, "step_engine_state")
    if runner is not None:
        return "running"
    if engine_state in _ENDS:
        return _ENDS[engine_state]
    if engine_state in ("STARTUP", "RUNNING") and ACTIVE_GROUP in data:
        return "interrupted"
    # Between two steps of a graph by dependency no node is active.
    begun = active or shared.get("current_step_node") or shared.get("run_id")
    return "paused" if begun else "new"


def _active(name: str, record: object) -> ActiveNode:
    record = record if isinstance(record, dict) else {}
    attempt = record.get("attempt", 1)
    return ActiveNode(
        name,
        _text(record, "state"),
        attempt if isinstance(attempt, int) else 1,
        _text(record, "retry_due"),
        bool(record.get("held")),
    )


def _progress(group: dict[str, Any]) -> dict[str, int]:
    done, total = group.get("steps_done"), group.get("steps_total")
    if not (isinstance(done, int) and isinstance(total, int)):
        return {}
    return {"done": done, "total": total}


def _errors(data: dict[str, Any]) -> dict[str, str]:
    """The groups in which the engine keeps the result of a node, where that is an error."""
    return {
        name: str(group["last_error"])
        for name, group in data.items()
        if isinstance(group, dict) and group.get(STATUS_KEY) == "ERROR" and group.get("last_error")
    }


def _requests(shared: dict[str, Any]) -> list[str]:
    """What people ask for, and what the engine will do when the present hooks are done."""
    asked = [word for key, word in _ASKED_TO.items() if shared.get(key)]
    asked += [f"jump to {shared[key]}" for key in _JUMPS if shared.get(key)]
    return asked + ([f"end: {shared[END_PENDING]}"] if shared.get(END_PENDING) else [])


def _dict(data: dict[str, Any], key: str) -> dict[str, Any]:
    value = data.get(key)
    return value if isinstance(value, dict) else {}


def _list(value: object) -> list[str]:
    return [str(each) for each in value] if isinstance(value, list) else []


def _text(group: dict[str, Any], key: str) -> str:
    value = group.get(key)
    return value if isinstance(value, str) else ""


# --- wording --------------------------------------------------------------------------------------


def _headline(status: Status) -> str:
    match status.condition:
        case "new":
            first = f"; its first node is {status.first_node}" if status.first_node else ""
            return f"not started{first}"
        case "running":
            return f"{status.engine_state}, run by {status.runner}"
        case "paused":
            return f"paused: {one_line(status.reason)}" if status.reason else "paused"
        case "interrupted":
            return "interrupted: the engine that ran it was killed or crashed"
        case _:
            reason = f": {one_line(status.reason)}" if status.reason else ""
            return f"{status.engine_state}{reason}"


def _place(status: Status) -> str:
    """Every active node and its state; the one that changed last says since when."""
    if not status.active and status.node and status.condition != "new":
        return f"{status.node}{_since(status.since)}"
    return "\n".join(_active_text(status, each) for each in status.active)


def _elsewhere(status: Status) -> str:
    """Where `run` goes on as people have written it, if that is not where the run stands."""
    stands = {each.node: each.state for each in status.active}
    rests = status.condition == "paused"
    if not (status.node and stands and (rests or status.condition == "interrupted")):
        return ""
    if status.node not in stands:  # the state is its own only where the engine can't have left it
        own = rests and status.state not in ("", "INACTIVE", *stands.values())
        return f"at {status.node} {status.state if own else 'ENTER'}, as current_step_node says"
    if rests and status.state not in ("", "INACTIVE", stands[status.node]):
        return f"at {status.node} {status.state}, as current_step_state says"
    return ""


def _active_text(status: Status, each: ActiveNode) -> str:
    text = f"{each.node} {each.state}"
    if each.attempt > 1:
        text += f", attempt {each.attempt}"
    if each.retry_due:
        text += f" {_due(each.retry_due)}"
    elif each.node == status.node:
        text += _since(status.since)
    if policy := status.on_interrupt.get(each.node):
        text += f"; `run` will {_AFTER_INTERRUPT.get(policy, policy)}"
    return text


def _due(stamp: str) -> str:
    moment = local_time(stamp)
    if moment is None:
        return f"due {stamp}"
    wait = (moment - datetime.now(UTC)).total_seconds()
    return f"due in {duration_text(wait)}" if wait > 0 else "due now"


def _since(stamp: str) -> str:
    moment = local_time(stamp)
    if moment is None:
        return ""
    past = max(0.0, (datetime.now(UTC) - moment).total_seconds())
    return f", since {moment:%Y-%m-%d %H:%M:%S} ({duration_text(past)})"


def _program(status: Status) -> tuple[str, str]:
    """What it runs: a label, and where that is."""
    if status.recipe:
        return "recipe", status.recipe
    if status.program == "scriptlets":
        return "program", "the steps that a Python program has added to its ExecutionContext"
    if not status.library:
        return "library", "none, so there is nothing to run"
    lacks = "" if os.path.isdir(status.library) else ", which is not there"  # noqa: PTH112
    return "library", f"{status.library}{lacks}"


def _steps_done(status: Status) -> str:
    if status.progress:
        return f"{status.progress['done']} of {status.progress['total']}"
    return str(status.steps)


def _joins(status: Status) -> str:
    return "\n".join(
        f"{name} was reached from {', '.join(sources)}, and waits for the rest"
        for name, sources in status.joins.items()
    )


def _to_do(status: Status, launcher: str) -> str:
    """The commands that make sense now."""
    if status.condition == "new" and status.program == "library" and not status.library:
        return ""
    commands = {
        "new": ["run"],
        "running": [],
        "paused": ["run"],
        "interrupted": ["run"],
        "complete_success": ["run --fresh"],
        "complete_error": ["history", "run --fresh"],
    }[status.condition]
    if status.armed and status.condition != "running":
        commands = [*commands, "make-safe"]
    lines = [f"{launcher} {command}" for command in commands]
    if status.recipe and status.condition == "complete_error":
        lines.insert(1, resume_command(Path(status.instance)))
    return "\n".join(lines)
