"""What the events of a run tell: what became of each step, how long it took, what is at work now.

Pure: events go in. A step that is performed for the items of a list is one step here; its items are
counted, and each that is at work is among the active ones.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from octo_shown_text import seconds_between
from octo_step_graph import item_of
from octo_step_status import ActiveNode

Event = dict[str, Any]

PENDING: Final = "pending"
RUNNING: Final = "running"
RETRYING: Final = "retrying"
COMPLETED: Final = "completed"
FAILED: Final = "failed"
SKIPPED: Final = "skipped"

_OF_WORK: Final = {"state", "step_error", "retry", "items", "interrupted", "pause", "run_end"}
"""Events between whose first and last an engine was at work; others may come while it rests."""


@dataclass(slots=True)
class StepRecord:
    """What became of one step.

    Attributes:
        status: `pending`, `running`, `retrying` (it waits for its next attempt), `completed`,
            `failed` or `skipped`.
        attempts: How often it was performed, since it was last begun.
        began, ended: When, as the log tells; empty: it has not.
        duration_s: How long its code ran, all attempts together. With items: from its beginning
            to the end of the last.
        wall_s, cpu_s, peak_memory_bytes: What its latest attempt used; with items, the sum of
            theirs, and the greatest peak. None: not known.
        error: Of the latest failure; empty after a success.
        items: How many it is performed for; None: it is no such step.
        items_done: How many of them are done.
        failing: Which of its items failed -> the error.
    """

    status: str = PENDING
    attempts: int = 0
    began: str = ""
    ended: str = ""
    duration_s: float = 0.0
    wall_s: float | None = None
    cpu_s: float | None = None
    peak_memory_bytes: int | None = None
    error: str = ""
    items: int | None = None
    items_done: int = 0
    failing: dict[int, str] = field(default_factory=dict)
    _failed_in: str = ""
    _executed: str = ""

    @property
    def is_over(self) -> bool:
        """It has ended, one way or the other."""
        return self.status in (COMPLETED, FAILED, SKIPPED)

    def performed(self, event: Event) -> None:
        """One of its states was performed."""
        state, ts = event["state"], event["ts"]
        self.duration_s += event.get("duration_s", 0.0)
        if state == self._failed_in:
            self._failed_in = self.error = ""
            self.status = self._executed or RUNNING
        if state != "EXECUTE":
            return
        self._executed = self.status = SKIPPED if event.get("skipped") else COMPLETED
        self.ended = ts
        if self.items is None:
            self.attempts += 1
            self._use(event)
        else:
            self.attempts = max(self.attempts, 1)  # also without any item
            self.duration_s = seconds_between(self.began, ts)

    def failed(self, event: Event) -> None:
        """One of its hooks has failed, or too many of its items."""
        self.status, self._failed_in = FAILED, event.get("state", "")
        self.error, self.ended = str(event.get("error", "")), event["ts"]
        self.duration_s += event.get("duration_s", 0.0)
        if self.items is not None:
            self.duration_s = seconds_between(self.began, self.ended)
        else:
            self.attempts += 1
            self._use(event)

    def item_event(self, number: int, event: Event) -> None:
        """Something happened to one of its items."""
        kind = event["event"]
        if kind == "state" and event["state"] == "ENTER":
            self.status, self.error = RUNNING, ""  # it may have failed, and be tried again
            return
        if kind == "step_error":
            self.failing[number] = str(event.get("error", ""))
        elif kind == "state" and event["state"] == "EXECUTE":
            self.failing.pop(number, None)
            self.items_done += 1
        else:
            return
        self.attempts = max(self.attempts, event.get("attempt", 1))
        self.wall_s = _sum(self.wall_s, event.get("wall_s"))
        self.cpu_s = _sum(self.cpu_s, event.get("cpu_s"))
        self._peak(event)

    def run_ended(self) -> None:
        """Where the run has ended by the failure of an item, no more is heard of the step."""
        if self.status == RUNNING and self.failing:
            self.status = FAILED
            self.error = f"{len(self.failing)} of {self.items} items failed"

    def _use(self, event: Event) -> None:
        self.wall_s, self.cpu_s = event.get("wall_s"), event.get("cpu_s")
        self._peak(event)

    def _peak(self, event: Event) -> None:
        peak = event.get("peak_memory_bytes")
        if peak is not None:
            self.peak_memory_bytes = max(peak, self.peak_memory_bytes or 0)


class RunRecord:
    """What became of a run, event by event.

    Attributes:
        run_id: Of the run.
        steps: What became of each step, in the order of the recipe.
        began: When the run began; empty: not, or its log was rotated away.
        is_whole: No event of the run is missing here.
    """

    def __init__(self, steps: Iterable[str]) -> None:
        self.steps = {name: StepRecord() for name in steps}
        self.run_id = ""
        self.began = ""
        self.is_whole = False
        self._worked_s = 0.0
        self._since = self._until = ""
        self._active: dict[str, ActiveNode] = {}

    def add(self, event: Event) -> None:
        """Take in the next event of the run."""
        kind, node = event["event"], event.get("node")
        if kind in _OF_WORK:
            self._until = event["ts"]
        if kind in ("run_start", "resume"):
            self._starts(event)
        elif kind == "run_end":
            for step in self.steps.values():
                step.run_ended()
        elif node in self.steps:
            self._add_to_step(node, event)
        elif node is not None:
            name, number = item_of(node)
            if name in self.steps:  # else the recipe has changed, and its run gone on
                self.steps[name].item_event(number, event)
                self._follow(node, event)

    @property
    def ended(self) -> str:
        """When the last was heard of it, while an engine was at work."""
        return self._until or self._since

    @property
    def worked_s(self) -> float:
        """How long engines have been at work on it, from its first start to the last event."""
        return self._worked_s + seconds_between(self._since, self._until)

    def active(self) -> list[ActiveNode]:
        """What is at work now, or waits for its next attempt. May be asked in another thread."""
        now = datetime.now(UTC).isoformat()
        return [
            ActiveNode(each.node, "", each.attempt) if each.retry_due <= now else each
            for each in list(self._active.values())
        ]

    def _starts(self, event: Event) -> None:
        self._worked_s = self.worked_s
        self._since = self._until = event["ts"]
        self.run_id = event["run_id"]
        if event["event"] == "run_start":
            self.began, self.is_whole = event["ts"], True

    def _add_to_step(self, name: str, event: Event) -> None:
        match event["event"]:
            case "state":
                state = event["state"]
                if state == "ENTER":
                    self.steps[name] = StepRecord(RUNNING, began=event["ts"])
                else:
                    self.steps[name].performed(event)
                if state not in ("ENTER", "EXECUTE"):
                    return  # most events
            case "step_error":
                self.steps[name].failed(event)
            case "retry":
                self.steps[name].status = RETRYING
            case "items":
                self.steps[name].items = event["count"]
        self._follow(name, event)

    def _follow(self, node: str, event: Event) -> None:
        """Keep what is active up to date."""
        kind, state = event["event"], event.get("state")
        if kind == "retry":
            due = datetime.fromtimestamp(time.time() + event["delay_s"], UTC).isoformat()
            self._active[node] = ActiveNode(node, "", event["attempt"], due)
        elif kind == "interrupted" or (kind == "state" and state == "ENTER"):
            self._active[node] = ActiveNode(node, "", event["attempt"])
        elif kind == "step_error" or (kind == "state" and state == "EXECUTE"):
            self._active.pop(node, None)


def _sum(one: float | None, other: float | None) -> float | None:
    return one if other is None else other + (one or 0.0)
