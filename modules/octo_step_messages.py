"""What goes into the step machine and what comes out: events, and instructions. Plain data."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

# --- events: what happened ------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Started:
    """The run begins or goes on."""


@dataclass(frozen=True, slots=True)
class HookDone:
    """A hook succeeded; `arrows` is the choice of step_advance, `facts` go into the event log."""

    node: str
    arrows: tuple[str, ...] = ()
    facts: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class HookFailed:
    """A hook failed; `error` is the short text."""

    node: str
    error: str
    facts: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class HookInterrupted:
    """A hook was broken off by the user; its state is to be performed again."""

    node: str


@dataclass(frozen=True, slots=True)
class ProbeAnswered:
    """`step_probe` said whether the interrupted hook had done its work; None: it failed."""

    node: str
    answer: str | None


@dataclass(frozen=True, slots=True)
class RetryDue:
    """The back-off of a node is over. Means nothing if the node isn't waiting any more."""

    node: str


@dataclass(frozen=True, slots=True)
class PauseRequested:
    """The run is to rest as soon as nothing is in flight."""

    reason: str


@dataclass(frozen=True, slots=True)
class StopRequested:
    """The run is to end without success as soon as nothing is in flight."""

    reason: str


@dataclass(frozen=True, slots=True)
class JumpRequested:
    """The run is to leave all that is active, as soon as nothing is in flight, and go on there."""

    node: str


@dataclass(frozen=True, slots=True)
class Tick:
    """Nothing new: go on with the tokens that are `ready`."""


Event = (
    Started
    | HookDone
    | HookFailed
    | HookInterrupted
    | ProbeAnswered
    | RetryDue
    | PauseRequested
    | StopRequested
    | JumpRequested
    | Tick
)


# --- instructions: what to do ---------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class CallHook:
    """Call a hook, for at most `timeout_s` seconds; its result comes back as an event."""

    node: str
    hook: str
    timeout_s: float | None


@dataclass(frozen=True, slots=True)
class Record:
    """Write an event into the log."""

    event: dict[str, Any]


@dataclass(frozen=True, slots=True)
class SetResult:
    """The last status of a node, `SUCCESS` or `ERROR`, with the short error text."""

    node: str
    status: str
    error: str = ""


@dataclass(frozen=True, slots=True)
class Rest:
    """Nothing is in flight: the run rests, and can go on later."""

    reason: str


@dataclass(frozen=True, slots=True)
class Finish:
    """Nothing is in flight: the run has ended."""

    success: bool
    reason: str = ""


Instruction = CallHook | Record | SetResult | Rest | Finish
