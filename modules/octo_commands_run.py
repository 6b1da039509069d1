"""The commands that call hooks: `run`, `step`, `advance`, `make-safe`.

    Ctrl-C, first time     rest after the hook that runs            exit code 3
    Ctrl-C, second time    interrupt that hook, and rest            exit code 130
    Ctrl-C, third time     leave at once, as if killed              exit code 130
    SIGTERM, SIGHUP        rest after the hook that runs            exit code 3

Leaving at once is safe: the state is on disk before each hook, and the next run sees that this one
was broken off.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from argparse import Namespace
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from octo_errors import count
from octo_exit_code import EXIT_INTERRUPTED
from octo_instance_dir import InstanceDir
from octo_parameter_store import DURABILITY_VARIABLE
from octo_shown_text import duration_text, one_line
from octo_step_console import JsonView, LiveView, PlainView, QuietView, has_rich, is_foreground
from octo_step_engine import StepEngine
from octo_step_machine import SINGLE_STEP
from octo_step_outcome import Outcome
from octo_step_output import log_file_name
from octo_step_status import ActiveNode, read_status, status_of
from octo_typed_commands import (
    ToldFromHere,
    launcher_command,
    path_from_here,
    resume_command,
)


def run(arguments: Namespace) -> int:
    """Start a run, or go on with it."""

    def action(engine: StepEngine) -> Outcome:
        return engine.run(
            max_steps=arguments.max_steps, until=arguments.until, fresh=arguments.fresh
        )

    return drive(arguments, action).exit_code


def step(arguments: Namespace) -> int:
    """ENTER and EXECUTE of the current node."""
    return _exit_code_of_step(drive(arguments, StepEngine.step))


def advance(arguments: Namespace) -> int:
    """ADVANCE, EXIT and JUMP of the current node."""
    return _exit_code_of_step(drive(arguments, StepEngine.advance))


def make_safe(arguments: Namespace) -> int:
    """Call step_make_safe of the armed nodes."""
    armed = read_status(InstanceDir(arguments.instance)).armed
    if not armed:
        sys.stdout.write("nothing is armed\n")
        return 0
    outcome = drive(arguments, StepEngine.make_safe, last_words=False)
    if outcome.interrupted:
        return outcome.exit_code
    return 1 if outcome.armed else 0


def drive(
    arguments: Namespace, action: Callable[[StepEngine], Outcome], *, last_words: bool = True
) -> Outcome:
    """Let an engine do something that may call hooks: shown in a view, paused by signals.

    Raises:
        OSError: Stdout could not be written; the run has not been troubled by that.
    """
    options = vars(arguments)
    durability = options.get("durability")
    if durability:
        os.environ[DURABILITY_VARIABLE] = durability  # what nodes write is to survive as much
    instance = InstanceDir(arguments.instance, durability=durability)
    launcher = launcher_command(instance.path)
    verbose = options.get("verbose", False)
    with _view(instance, options.get("json", False), options.get("quiet", False), verbose) as view:
        engine = StepEngine(
            instance,
            executor=options.get("executor"),
            workers=options.get("workers"),
            verbose=verbose,
            strict=options.get("strict", False),
            observer=view.event,
            sink=view.output,
        )
        with ToldFromHere(), steered_by_signals(engine, view.notice):
            outcome = action(engine)
        if last_words:
            view.ending(
                "\n".join(_last_words(outcome, view, instance, launcher)),
                bad=outcome.engine_state == "COMPLETE_ERROR" or outcome.interrupted,
            )
    if view.out.error:
        raise view.out.error
    return outcome


def _view(instance: InstanceDir, as_json: bool, quiet: bool, verbose: bool) -> PlainView:
    """The view that fits the options, and what stdout is."""
    if as_json:
        return JsonView()
    if quiet:
        return QuietView()
    if not (is_foreground(1) and has_rich()):
        return PlainView(verbose=verbose)

    def active() -> list[ActiveNode]:
        return status_of(instance.parameters.read()).active

    return LiveView(active, verbose=verbose)


@contextmanager
def steered_by_signals(engine: StepEngine, notice: Callable[[str], None]) -> Iterator[None]:
    """Signals pause the engine inside; what was ignored (`nohup`, `&` in a script) stays so.

    `notice` tells the user what has been heard; it is called in a signal handler.
    """
    presses = 0

    def on_signal(number: int, _: object) -> None:
        nonlocal presses
        if number != signal.SIGINT:
            notice(f"{signal.Signals(number).name}: pausing when the present hook is done")
            engine.request_pause(signal.Signals(number).name)
            return
        presses += 1
        if presses == 1:
            notice("pausing when the present hook is done; Ctrl-C again interrupts it")
            engine.request_pause("Ctrl-C")
        elif presses == 2:
            notice("interrupting the present hook; Ctrl-C again leaves at once")
            engine.interrupt()
        else:
            os._exit(EXIT_INTERRUPTED)

    names = ("SIGINT", "SIGTERM", "SIGHUP")
    numbers = [getattr(signal, name) for name in names if hasattr(signal, name)]
    if threading.current_thread() is not threading.main_thread():
        numbers = []  # only the main thread may set handlers
    before = {n: signal.getsignal(n) for n in numbers if signal.getsignal(n) != signal.SIG_IGN}
    for number in before:
        signal.signal(number, on_signal)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


# --- last words -----------------------------------------------------------------------------------


def _last_words(
    outcome: Outcome, view: PlainView, instance: InstanceDir, launcher: str
) -> Iterator[str]:
    """How a run ended or rests, why, and what can be done now."""
    if outcome.engine_state == "INACTIVE":
        yield from _rest(outcome, launcher)
    else:
        yield from _end(outcome, view, instance, launcher)
    if outcome.armed:
        yield f"still armed: {', '.join(outcome.armed)}; make safe: {launcher} make-safe"


def _rest(outcome: Outcome, launcher: str) -> Iterator[str]:
    if not _is_single_step(outcome):
        how = "interrupted" if outcome.interrupted else "paused"
        yield how if outcome.reason == how else f"{how}: {one_line(outcome.reason)}"
        yield f"go on: {launcher} run"
        return
    entering = all(state in ("ENTER", "EXECUTE") for _, state in outcome.ahead)
    yield f"next: {', '.join(' '.join(each) for each in outcome.ahead)}"
    yield f"go on: {launcher} {'step' if entering else 'advance'}"


def _end(outcome: Outcome, view: PlainView, instance: InstanceDir, launcher: str) -> Iterator[str]:
    reason = f": {one_line(outcome.reason)}" if outcome.reason else ""
    if view.began:
        facts = f"{count(view.steps, 'step')}, {duration_text(view.elapsed)}"
        yield f"{outcome.engine_state}{reason} ({facts})"
    else:
        yield f"{outcome.engine_state}{reason} (this run had ended already)"
    if outcome.engine_state == "COMPLETE_ERROR":
        yield from _logs(view, instance.logs)
        if read_status(instance).recipe:
            yield f"try again what failed: {resume_command(instance.path)}"
        yield f"go on at a node: {launcher} jump NODE"
    if outcome.engine_state == "COMPLETE_ERROR" or not view.began:
        yield f"begin anew: {launcher} run --fresh"


def _logs(view: PlainView, logs: Path) -> Iterator[str]:
    """Where the output of the failed nodes is, for those that printed anything."""
    for node in view.failed:
        path = logs / log_file_name(node)
        if path.exists():
            yield f"output: {path_from_here(path)}"


def _is_single_step(outcome: Outcome) -> bool:
    return outcome.engine_state == "INACTIVE" and outcome.reason == SINGLE_STEP


def _exit_code_of_step(outcome: Outcome) -> int:
    return 0 if _is_single_step(outcome) else outcome.exit_code
