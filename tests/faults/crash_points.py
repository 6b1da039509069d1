"""Named moments of the engine, at each of which a child can end itself: around what it does.

They are laid around the project's own functions from outside, here, so the project's code holds
nothing that is only for tests.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from octo_lock_json import Transaction
from octo_step_events import EventLog
from octo_step_executors import Executor

_AROUND = (
    (Transaction, "commit"),
    (EventLog, "append"),
    (Executor, "submit"),
    (Executor, "wait"),
    (Executor, "close"),
)


def install(passing: Callable[[str], None]) -> None:
    """From now on call `passing` with the name of each crash point that is passed."""
    for owner, name in _AROUND:
        setattr(owner, name, _between(getattr(owner, name), name, passing))


def _between(function: Callable[..., Any], name: str, passing: Callable[[str], None]) -> Any:
    @functools.wraps(function)
    def wrapper(*arguments: Any) -> Any:
        passing(f"before {name}")
        result = function(*arguments)
        passing(f"after {name}")
        return result

    return wrapper
