"""What people and programs see of a recipe's run: while it goes on, and when it has ended.

    on a terminal, with `rich`   a bar, the steps at work with their times; above them what steps
                                 print, and a line for each step that is done or fails
    elsewhere                    the same lines, as a log
    quiet                        what steps print, and on stderr what goes wrong
    JSON                         the same on stderr; stdout is left to the result

Events and output have been masked before they come here.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from octo_errors import InstanceError, OctoError, count
from octo_instance_dir import InstanceDir
from octo_parameter_schema import GLOBAL_GROUP, RESULT_KEY
from octo_shown_text import duration_text, one_line
from octo_step_console import LiveView, PlainView, QuietView, has_rich, is_foreground
from octo_step_events import read_events
from octo_step_graph import named
from octo_step_machine import HALVES
from octo_step_outcome import Outcome
from octo_step_output import log_file_name
from octo_step_states import RunState
from octo_typed_commands import path_from_here
from orchestrator.recipe_program import RECIPE_GROUP, left_out_bits
from orchestrator.run_record import (
    COMPLETED,
    FAILED,
    PENDING,
    RETRYING,
    RUNNING,
    SKIPPED,
    RunRecord,
    StepRecord,
)

SLOWEST: Final = 10
"""So many of the steps are in the summary's table."""
NAMED: Final = 20
"""So many failures are told there, each with its error and its log."""

PAUSED, INTERRUPTED = "paused", "interrupted"

Groups = Mapping[str, Mapping[str, Any]]

_log = logging.getLogger(__name__)


class RunReport:
    """Shows one call of a runner, and tells at its end what became of the run.

    Args:
        compiled: The compiled recipe.
        json_output: Stdout is left to the result, as JSON.
        quiet: Show what steps print and what goes wrong, no more.
        instance: The directory of the instance.
    """

    def __init__(
        self, compiled: Mapping[str, Any], *, json_output: bool, quiet: bool, instance: Path
    ) -> None:
        self._recipe = str(compiled["name"])
        self._instance = instance
        self._nodes: Mapping[str, Mapping[str, Any]] = compiled["step_node_graph_dict"]
        self._record = RunRecord(self._nodes)
        self._view = self._fitting_view(2 if json_output else 1, quiet)
        self._left_out: set[str] | None = None

    def __enter__(self) -> Self:
        self._view.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._view.__exit__(kind, error, trace)

    # --- while it runs ---

    def event(self, event: dict[str, Any]) -> None:
        """Show an event of the run; of one that goes on, read what was before."""
        if event["event"] == "resume":
            self._read_earlier(event["run_id"], event["seq"])
        self._record.add(event)
        self._view.event(event)

    def output(self, step: str, data: bytes) -> None:
        """Pass on what a step wrote. May be called from any thread."""
        self._view.output(step, data)

    def notice(self, text: str) -> None:
        """Say something on stderr; a signal handler may call it."""
        self._view.notice(text)

    @property
    def error(self) -> OSError | None:
        """What kept the display from being written: it ended there, and the run went on."""
        return self._view.out.error

    @property
    def began(self) -> bool:
        """Whether the run was begun or gone on with; one that had ended already is not."""
        return self._view.began

    def ending(self, outcome: Outcome) -> None:
        """Take the display away, and say in a line how the run ended, or why it rests."""
        ended = self._ended(outcome)
        facts = f"{ended.counts()}, {duration_text(self._record.worked_s)}"
        if not self.began:
            facts = f"this run had ended already; {facts}"
        text = f"{self._recipe}: {_status_and_reason(outcome)} ({facts})"
        self._view.ending(text, bad=_status(outcome) in (FAILED, INTERRUPTED))

    def _fitting_view(self, descriptor: int, quiet: bool) -> PlainView:
        if quiet:
            return QuietView(descriptor=descriptor)
        if is_foreground(descriptor) and has_rich():
            return LiveView(self._record.active, progress=self._progress, descriptor=descriptor)
        return PlainView(descriptor=descriptor)

    def _progress(self) -> tuple[int, int]:
        """How many of the steps that this run performs are over, and how many there are."""
        steps = dict(self._record.steps)
        pending = {name for name, step in steps.items() if step.status == PENDING}
        if self._left_out is None and len(pending) < len(steps):  # the file is this run's by now
            self._left_out = pending & _done(self._read_file(), list(steps))
        performed = steps.keys() - (self._left_out or ())
        return sum(steps[name].is_over for name in performed), len(performed)

    def _read_earlier(self, run_id: str, before: int | None = None) -> None:
        """Take in the events of the run that are in the log already."""
        try:
            for event in read_events(self._instance):
                if before is not None and event["seq"] >= before:
                    break
                if event["run_id"] == run_id:
                    self._record.add(event)
        except OctoError as error:  # the parameter file still tells which steps are done
            _log.warning("what was before is not known: %s", error)
            self._record.is_whole = False

    def _read_file(self) -> Groups:
        return InstanceDir(self._instance).parameters.read()

    # --- when it has ended ---

    def result(self, outcome: Outcome) -> dict[str, Any]:
        """What became of the run, as JSON can hold it.

        `recipe`, `success`, `status` (completed, failed, paused, interrupted), `exit_code`,
        `engine_state`, `reason`, `armed` (steps to be made safe), `run_id`, `instance`;
        `started_at` and `ended_at` (UTC, ISO 8601) of the run, which may have been resumed, and
        `execution_time_seconds`, without the time in which no engine ran it; the numbers
        `total_steps`, `completed_steps`, `failed_steps`, `skipped_steps` (their `when` was false,
        or they were left out), `pending_steps` (all others); and `steps`, by name, in the order in
        which a serial run performs them:

        - `status`: completed, failed, skipped, pending (not begun), retrying (waits for its next
          attempt), paused or interrupted (begun, and not over)
        - `attempts`, `started_at`, `duration_seconds` (of all attempts; null: not begun)
        - `wall_seconds`, `cpu_seconds`, `peak_memory_bytes`: of the latest attempt; null: not known
        - `error`: of the last failure; null: none. `result`: what it returned
        - `log`: the file with what it printed; null: nothing
        - `items`, of a step with `foreach`: numbers `total`, `completed`, and `failed`, their
          errors by number
        """
        ended = self._ended(outcome)
        record = self._record
        return {
            "recipe": self._recipe,
            "success": outcome.engine_state == "COMPLETE_SUCCESS",
            "status": _status(outcome),
            "exit_code": outcome.exit_code,
            "engine_state": outcome.engine_state,
            "reason": outcome.reason,
            "armed": list(outcome.armed),
            "run_id": record.run_id,
            "instance": str(self._instance),
            "started_at": record.began or None,
            "ended_at": record.ended or None,
            "execution_time_seconds": round(record.worked_s, 6),
            "total_steps": len(ended.statuses),
            "completed_steps": ended.number(COMPLETED),
            "failed_steps": ended.number(FAILED),
            "skipped_steps": ended.number(SKIPPED),
            "pending_steps": ended.pending,
            "steps": {name: self._step(name, ended) for name in ended.statuses},
        }

    def summary(self, outcome: Outcome) -> str:
        """The result for people: totals, the slowest steps, failures with their logs."""
        return "\n".join(self._summary_lines(outcome))

    def _ended(self, outcome: Outcome) -> _Ended:
        """How the steps stand when nothing runs any more."""
        groups = self._read_file()
        if not self._record.run_id:  # it had ended before: nothing was heard of it
            self._read_earlier(groups[GLOBAL_GROUP].get("run_id", ""))
        done = _done(groups, list(self._record.steps))
        left_out = self._left_out_undone(groups)
        statuses = {}
        for name, step in self._record.steps.items():
            if name in left_out:
                statuses[name] = SKIPPED
            elif step.status == PENDING and name in done:
                # What the log doesn't tell was left out, or is so long ago that it is gone.
                statuses[name] = SKIPPED if self._record.is_whole else COMPLETED
            elif step.status in (COMPLETED, SKIPPED) and name not in done:
                statuses[name] = PENDING  # somebody wants it done again
            else:
                statuses[name] = _at_rest(step, outcome)
        return _Ended(statuses, groups)

    def _left_out_undone(self, groups: Groups) -> set[str]:
        """The steps that are left out, which counts as done, but for those that are done."""
        nodes = self._nodes.items()
        left_out = {name for name, node in nodes if not node.get("active_node_step_bool", 1)}
        return left_out.difference(named(left_out_bits(groups.get(RECIPE_GROUP, {})), self._nodes))

    def _step(self, name: str, ended: _Ended) -> dict[str, Any]:
        step = self._record.steps[name]
        found = {
            "status": ended.statuses[name],
            "attempts": step.attempts,
            "started_at": step.began or None,
            "duration_seconds": round(step.duration_s, 6) if step.began else None,
            "wall_seconds": step.wall_s,
            "cpu_seconds": step.cpu_s,
            "peak_memory_bytes": step.peak_memory_bytes,
            "error": step.error or None,
            "result": ended.result(name),
            "log": self._log_of(name),
        }
        if step.items is not None:
            failing = {str(number): error for number, error in sorted(step.failing.items())}
            found["items"] = {
                "total": step.items,
                "completed": step.items_done,
                "failed": failing,
            }
        return found

    def _log_of(self, name: str) -> str | None:
        path = self._instance / "logs" / log_file_name(name)
        return str(path) if path.exists() else None

    def _summary_lines(self, outcome: Outcome) -> Iterator[str]:
        ended, record = self._ended(outcome), self._record
        yield f"{self._recipe}: {_status_and_reason(outcome)}"
        yield f"  steps     {ended.counts()}"
        yield f"  time      {duration_text(record.worked_s)}"
        yield f"  run       {record.run_id}"
        yield f"  instance  {self._instance}"
        if outcome.armed:
            yield f"  armed     {', '.join(outcome.armed)}"
        yield from self._slowest(ended)
        yield from self._failures(ended)

    def _slowest(self, ended: _Ended) -> Iterator[str]:
        begun = {name: step for name, step in self._record.steps.items() if step.began}
        slowest = sorted(begun, key=lambda name: -begun[name].duration_s)[:SLOWEST]
        rows: list[tuple[str, ...]] = [("step", "status", "attempts", "time", "cpu", "memory")]
        for name in slowest:
            step = begun[name]
            cpu = "" if step.cpu_s is None else duration_text(step.cpu_s)
            peak = step.peak_memory_bytes
            memory = "" if peak is None else f"{peak / 2**20:.0f} MiB"
            took = duration_text(step.duration_s)
            rows.append((name, ended.statuses[name], str(step.attempts), took, cpu, memory))
        if slowest:
            yield "" if len(slowest) == len(begun) else f"\nthe {SLOWEST} slowest steps:"
            yield from _table(rows)

    def _failures(self, ended: _Ended) -> Iterator[str]:
        failed = [name for name, status in ended.statuses.items() if status == FAILED]
        if failed:
            yield "\nfailed:"
        for name in failed[:NAMED]:
            step = self._record.steps[name]
            places = {name: step.error}
            places |= {f"{name}[{number}]": error for number, error in step.failing.items()}
            for place, error in list(places.items())[:NAMED]:
                yield f"  {place}: {one_line(error)}"
                if log := self._log_of(place):
                    yield f"    output: {path_from_here(log)}"
        if len(failed) > NAMED:
            yield f"  ... and {len(failed) - NAMED} more"


@dataclass(frozen=True, slots=True)
class _Ended:
    """How the steps stand when nothing runs any more, and the groups of the parameter file."""

    statuses: dict[str, str]
    groups: Groups

    def number(self, status: str) -> int:
        return sum(each == status for each in self.statuses.values())

    def result(self, name: str) -> Any:
        """What a step returned that is done; what is to be done again has no result until then."""
        is_done = self.statuses[name] in (COMPLETED, SKIPPED)
        return self.groups.get(name, {}).get(RESULT_KEY) if is_done else None

    @property
    def pending(self) -> int:
        """The steps that are not over."""
        return len(self.statuses) - sum(map(self.number, (COMPLETED, FAILED, SKIPPED)))

    def counts(self) -> str:
        """In words."""
        numbers = {status: self.number(status) for status in (COMPLETED, FAILED, SKIPPED)}
        numbers["not done"] = self.pending
        told = ", ".join(f"{number} {what}" for what, number in numbers.items() if number)
        return f"{count(len(self.statuses), 'step')}: {told}" if told else "no steps"


def _status(outcome: Outcome) -> str:
    """How the run stands, in a word."""
    if outcome.interrupted:
        return INTERRUPTED
    ends = {"COMPLETE_SUCCESS": COMPLETED, "COMPLETE_ERROR": FAILED}
    return ends.get(outcome.engine_state, PAUSED)


def _status_and_reason(outcome: Outcome) -> str:
    """How the run stands, and why if that is known; a reason may begin with the same word."""
    status = _status(outcome)
    reason = one_line(outcome.reason).removeprefix(f"{status}: ")
    return f"{status}: {reason}" if reason else status


def _at_rest(step: StepRecord, outcome: Outcome) -> str:
    """The status of a step when no engine is at work any more."""
    ended = outcome.engine_state.startswith("COMPLETE_")
    if step.status == RUNNING:
        return INTERRUPTED if ended or outcome.interrupted else PAUSED
    return FAILED if step.status == RETRYING and ended else step.status


def _done(groups: Groups, steps: list[str]) -> set[str]:
    """The steps that have done their work, as the parameter file says.

    It has a bit for each step that was left, in their order, and tells of those that are active.
    """
    try:
        run = RunState.read(groups, by_dependency=True)
    except InstanceError:  # edited by hand: `run` will say what is wrong
        return set()
    leaving = {name for name, token in run.tokens.items() if token.state in HALVES["ADVANCE"]}
    return {*leaving, *named(run.done, steps)}


def _table(rows: list[tuple[str, ...]]) -> Iterator[str]:
    """Columns as wide as need be; the first two to the left, figures to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = [
            text.ljust(width) if place < 2 else text.rjust(width)
            for place, (text, width) in enumerate(zip(row, widths, strict=True))
        ]
        yield f"  {'  '.join(cells)}".rstrip()
