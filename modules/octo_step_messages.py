"""What goes into the step machine and what comes out: events, and instructions. Plain data."""

# Nobody changes them. They are not frozen, as to make a frozen one takes four times as long.

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

# --- events: what happened ------------------------------------------------------------------------


@dataclass(slots=True)
class Started:
    """The run begins or goes on."""


@dataclass(slots=True)
class HookDone:
    """A hook succeeded.

    Attributes:
        arrows: The choice of `step_advance`.
        facts: For the event log.
        output: What is to be kept of `step_execute`.
        skipped: There was nothing to do.
        items: The choice of `step_items`.
    """

    node: str
    arrows: tuple[str, ...] = ()
    facts: dict[str, Any] = field(default_factory=dict)
    output: Any = None
    skipped: bool = False
    items: list[Any] | None = None


@dataclass(slots=True)
class HookFailed:
    """A hook failed; `error` is the short text, `chance` a random number from 0 to 1."""

    node: str
    error: str
    facts: dict[str, Any] = field(default_factory=dict)
    chance: float = 0.5


@dataclass(slots=True)
class HookInterrupted:
    """A hook was broken off by the user; its state is to be performed again."""

    node: str


@dataclass(slots=True)
class HookRefused:
    """A hook was not called, for a reason that is not the node's, such as a full disk; or it rests.

    It is to be called again when the run goes on.
    """

    node: str
    reason: str


@dataclass(slots=True)
class ProbeAnswered:
    """`step_probe` said whether the interrupted hook had done its work.

    Attributes:
        answer: `done` or `rerun`; None: it failed.
        facts: For the event log.
    """

    node: str
    answer: str | None
    facts: dict[str, Any] = field(default_factory=dict)


@dataclass(slots=True)
class RetryDue:
    """The back-off of a node is over. Means nothing if the node isn't waiting any more."""

    node: str


@dataclass(slots=True)
class PauseRequested:
    """The run is to rest as soon as nothing is in flight."""

    reason: str


@dataclass(slots=True)
class StopRequested:
    """The run is to end without success as soon as nothing is in flight."""

    reason: str


@dataclass(slots=True)
class JumpRequested:
    """The run is to leave all that is active, as soon as nothing is in flight, and go on there."""

    node: str


@dataclass(slots=True)
class Tick:
    """Nothing new: go on with the tokens that are `ready`."""


Event = (
    Started
    | HookDone
    | HookFailed
    | HookInterrupted
    | HookRefused
    | ProbeAnswered
    | RetryDue
    | PauseRequested
    | StopRequested
    | JumpRequested
    | Tick
)


# --- instructions: what to do ---------------------------------------------------------------------


@dataclass(slots=True)
class HookCall:
    """One hook of one node, to be called once; what comes of it comes back as an event.

    A call with `timeout_s` or `own_process` runs in a worker process, where it can be killed. All
    hooks of a node have the same: the node's object, and what its hooks keep in it, then lives in
    one place.
    """

    node: str
    hook: str
    timeout_s: float | None = None
    own_process: bool = False


@dataclass(slots=True)
class Record:
    """Write an event into the log."""

    event: dict[str, Any]


@dataclass(slots=True)
class SetResult:
    """How a node's step went: `SUCCESS`, `SKIPPED` or `ERROR` with the short error text.

    `output` is what is to be kept of it.
    """

    node: str
    status: str
    error: str = ""
    output: Any = None


@dataclass(slots=True)
class SetItems:
    """The items for which a node is to be performed."""

    node: str
    items: list[Any]


@dataclass(slots=True)
class Rest:
    """Nothing is in flight: the run rests, and can go on later."""

    reason: str


@dataclass(slots=True)
class Finish:
    """Nothing is in flight: the run has ended."""

    success: bool
    reason: str = ""


Instruction = HookCall | Record | SetResult | SetItems | Rest | Finish
