"""The commands that steer a run, whoever drives it: `pause`, `stop`, `jump`, `reset`.

A running engine is asked by a key in the parameter file, which it takes out between two hooks. It
may also end before it sees the request; then the request is taken back, so that it can't surprise
the next run, and the command deals with the run at rest.
"""

from __future__ import annotations

import sys
import time
from argparse import Namespace
from collections.abc import Callable
from typing import Any

from octo_commands_run import drive
from octo_errors import InstanceError, UsageError, did_you_mean
from octo_instance_dir import (
    JUMP_REQUEST,
    PAUSE_REQUEST,
    STOP_REQUEST,
    InstanceDir,
    is_instance,
)
from octo_instance_setup import reset_instance, still_armed
from octo_parameter_schema import GLOBAL_GROUP
from octo_step_engine import StepEngine
from octo_step_events import read_events
from octo_step_history import fates, preview_jump
from octo_step_program import load_program
from octo_step_states import check_jump
from octo_step_status import LOOK_EVERY_S, read_status, status_lines
from octo_typed_commands import instance_command, launcher_command

PATIENCE_S = 1.0


def pause(arguments: Namespace) -> int:
    """Let a run rest after the present hook."""
    instance = InstanceDir(arguments.instance)
    _ask(instance, PAUSE_REQUEST, True, wait=not arguments.no_wait)
    return _say_status(instance)


def stop(arguments: Namespace) -> int:
    """End a run without success."""
    instance = InstanceDir(arguments.instance)
    heard = _ask(instance, STOP_REQUEST, True, wait=not arguments.no_wait)
    if heard or read_status(instance).engine_state.startswith("COMPLETE_"):
        return _say_status(instance)
    outcome = drive(arguments, StepEngine.stop)
    if outcome.interrupted:
        return outcome.exit_code
    return 1 if outcome.armed else 0


def jump(arguments: Namespace) -> int:
    """Let a run go on at another node, and say what that means."""
    instance, node = _instance_and_node(arguments)
    graph = load_program(instance).graph
    if node not in graph.nodes:
        hint = did_you_mean(node, graph.nodes)
        raise UsageError(f"{instance.path}: there is no node {node!r}", hint=hint)
    check_jump(node, graph)
    before = fates(read_events(instance.path))
    preview = preview_jump(graph, read_status(instance), before, node)
    heard = _ask(instance, JUMP_REQUEST, node, wait=not arguments.no_wait)
    if not heard:
        StepEngine(instance).jump(node)
    lines = [f"{instance.path}: jump to {node}", *preview.lines()]
    if not heard:
        lines.append(f"go on: {launcher_command(instance.path)} run")
    sys.stdout.write("\n".join(lines) + "\n")
    return 0


def reset(arguments: Namespace) -> int:
    """Put the state into the archive and begin anew; what is armed is made safe first."""
    instance = InstanceDir(arguments.instance)
    if armed := read_status(instance).armed:
        try:
            drive(arguments, StepEngine.make_safe, last_words=False)
        except InstanceError as error:
            raise still_armed(instance, armed, error.message) from error
    with instance.run_lock():
        archive = reset_instance(instance)
    sys.stdout.write(f"reset {instance.path}; its old state is in {archive}\n")
    sys.stdout.write(f"run it: {launcher_command(instance.path)} run\n")
    return 0


def _instance_and_node(arguments: Namespace) -> tuple[InstanceDir, str]:
    """`jump [INSTANCE] NODE`; of two words, the one that is no instance is the node."""
    *place, node = arguments.words
    if len(place) > 1:
        raise UsageError(f"one word too many: {place[1]!r}", hint="jump [INSTANCE] NODE")
    path = place[0] if place else arguments.instance
    if not is_instance(path) and is_instance(node):
        if not place:
            hint = f"say where to: {instance_command(node, 'jump', 'NODE')}"
            raise UsageError("NODE is missing", hint=hint)
        path, node = node, path
    return InstanceDir(path), node


def _say_status(instance: InstanceDir) -> int:
    lines = status_lines(read_status(instance), launcher_command(instance.path))
    sys.stdout.write("\n".join(lines) + "\n")
    return 0


# --- asking a running engine ----------------------------------------------------------------------


def _ask(instance: InstanceDir, key: str, value: object, *, wait: bool) -> bool:
    """Ask the engine that runs the instance to pause, to stop, or to jump.

    Args:
        wait: Return when it has done so: heard of the jump, or let go of the instance.

    Returns:
        False: no engine runs the instance, or it ended before it saw the request.
    """
    if instance.runner() is None:
        return False
    with instance.parameters.transaction() as data:
        data[GLOBAL_GROUP][key] = value
    if not wait:
        return True
    if not _wait(instance, lambda data: key not in data[GLOBAL_GROUP]):
        with instance.parameters.transaction() as data:
            if data[GLOBAL_GROUP].pop(key, None) is not None:
                return False
    if key != JUMP_REQUEST:
        _wait(instance, lambda _: False)
    return True


def _wait(instance: InstanceDir, settled: Callable[[dict[str, Any]], bool]) -> bool:
    """Wait until the parameter file is `settled`; False when the engine is gone before that."""
    patient_until = time.monotonic() + PATIENCE_S
    while not settled(instance.parameters.read()):
        if instance.runner() is None:
            return settled(instance.parameters.read())
        if patient_until and time.monotonic() > patient_until:
            patient_until = 0.0
            sys.stderr.write("waiting until the present hook is done (Ctrl-C: don't wait)\n")
        time.sleep(LOOK_EVERY_S)
    return True
