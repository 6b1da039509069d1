"""How a hook is called, what came of it, and how its return value is judged.

Shared by the engine's process and the worker processes, so it imports next to nothing.
A node's hook never ends its caller: whatever it returns or raises becomes a `HookResult`.
"""

from __future__ import annotations

import os
import reprlib
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter
from types import CoroutineType
from typing import Any, Final, NoReturn, Protocol

from octo_step_messages import HookCall

TEXT_LIMIT: Final = 2_000
TRACEBACK_LIMIT: Final = 20_000
VALUE_LIMIT: Final = 200


@dataclass(slots=True)
class StepResult:
    """What `step_execute` may return in place of 0: a success with something to keep.

    Attributes:
        value: Kept in the node's group of the parameter file, key `result`, unless it is None.
            Anything that JSON can hold.
        skipped: There was nothing to do.
        facts: Further keys for the event of this step in the event log.
    """

    value: Any = None
    skipped: bool = False
    facts: dict[str, Any] = field(default_factory=dict)


class StepFailure(Exception):
    """Raised by a hook that calls the code of others: the step failed for this reason.

    Args:
        text: The error, told as it is.
        traceback: Where in the code of others; empty when nothing was raised there.
        facts: Further keys for the event of this failure in the event log.
    """

    def __init__(self, text: str, traceback: str = "", facts: dict[str, Any] | None = None) -> None:
        super().__init__(text)
        self.traceback = traceback
        self.facts = facts or {}


class StepRests(Exception):
    """Raised by a hook that rests in the middle of its work, as the run now does, too.

    It is called again when the run goes on; nothing was interrupted.
    """


@dataclass(slots=True)
class HookResult:
    """What came of a call. `error` is None exactly when the hook succeeded.

    `arrows` is set by a `step_advance` that succeeded (None if the node has no such hook), `answer`
    by a `step_probe`, `items` by a `step_items`, `output`, `skipped` and `facts` by a hook that
    returned a `StepResult`. `value` is what came back, as JSON can hold it: itself when short and
    plain, else a short repr. `refused` says that the hook was not called, or rests; neither is a
    failure. `survivors` tells of processes that left the step's process group.
    """

    node: str
    hook: str
    error: str | None = None
    traceback: str = ""
    arrows: list[str] | None = None
    answer: str | None = None
    value: Any = None
    output: Any = None
    skipped: bool = False
    items: list[Any] | None = None
    facts: dict[str, Any] = field(default_factory=dict)
    duration_s: float = 0.0
    timed_out: bool = False
    interrupted: bool = False
    refused: bool = False
    survivors: list[str] = field(default_factory=list)


class NodeSource(Protocol):
    """Where the objects come from whose hooks are called."""

    def make(self, node: str) -> object:
        """A new object for the node. Raises what loading or making it raises."""
        ...

    def directory(self, node: str) -> Path | None:
        """Where the node's hooks run, when that is not where those of the other nodes do."""
        ...

    def description(self) -> dict[str, Any]:
        """How a worker process makes its own source, as JSON can hold it.

        `{"module": ..., "class": ..., "arguments": {...}, "path": [directories to import from]}`
        """
        ...


@dataclass(frozen=True)
class LibrarySource:
    """Nodes of a step library (an absolute path); `modules` has the module of each node."""

    library: str | Path
    modules: Mapping[str, str]
    verbose: bool = False

    def make(self, node: str) -> object:
        """A new object of the node's class. Raises what loading or `__init__` raises."""
        from octo_step_lib import load_node, make_node

        return make_node(load_node(self.library, self.modules[node], node), node, self.verbose)

    def directory(self, node: str) -> Path | None:  # noqa: D102  (told above)
        return None

    def description(self) -> dict[str, Any]:  # noqa: D102  (told above)
        arguments = {
            "library": str(self.library),
            "modules": dict(self.modules),
            "verbose": self.verbose,
        }
        return {
            "module": __name__,
            "class": type(self).__name__,
            "arguments": arguments,
            "path": [],
        }


def source_from(description: dict[str, Any]) -> NodeSource:
    """The source that described itself so, in another process."""
    from importlib import import_module

    first = description["path"]  # also before what $PYTHONPATH names
    sys.path[1:] = [*first, *(folder for folder in sys.path[1:] if folder not in first)]
    made = getattr(import_module(description["module"]), description["class"])
    return made(**description["arguments"])  # type: ignore[no-any-return]


class NodeObjects:
    """The node objects of one process: made at first use, one per node, kept for the run.

    Calls of different nodes may come from different threads; calls of one node must not overlap.
    """

    def __init__(self, make: Callable[[str], object]) -> None:
        self._make = make
        self._objects: dict[str, object] = {}

    def perform(
        self, node: str, hook: str, starting: Callable[[], None] | None = None
    ) -> HookResult:
        """Calls the hook on the node's object, which is made first where there is none yet.

        `starting` is called in between, when the object is there.
        """
        if node not in self._objects:
            try:
                self._objects[node] = self._make(node)
            except BaseException as exc:
                result = HookResult(node, hook)
                # What make_node raises goes back to what `__init__` raised: that is the news.
                _tell_exception(result, exc.__cause__ or exc, "the node can't be made: ")
                return result
        if starting is not None:
            starting()
        return perform(self._objects[node], node, hook)


def perform(instance: object, node: str, hook: str) -> HookResult:
    """Calls a hook and judges it; whatever the hook does, this returns a result.

    A hook that the object doesn't have succeeds, with `arrows` and `answer` None. A process that
    the hook forked, and that comes back from the hook, is ended here.
    """
    result = HookResult(node, hook)
    process = os.getpid()
    started = perf_counter()
    try:
        method = getattr(instance, hook, None)
        if method is not None:
            _judge(result, method())
    except BaseException as exc:
        if os.getpid() != process:
            _leave_forked_child(exc)
        _tell_exception(result, exc)
    if os.getpid() != process:
        _leave_forked_child(None)
    result.duration_s = perf_counter() - started
    return result


def _leave_forked_child(exc: BaseException | None) -> NoReturn:
    """Ends a process that a hook forked and let run on: it must not go on as a second engine."""
    code = 0
    try:
        if isinstance(exc, SystemExit):
            code = exc.code if isinstance(exc.code, int) else int(exc.code is not None)
        elif exc is not None:
            code = 1
            sys.excepthook(type(exc), exc, exc.__traceback__)
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        os._exit(code & 0xFF)


def failed(call: HookCall, error: str) -> HookResult:
    """The result of a call that could not be carried out, or not to its end."""
    return HookResult(call.node, call.hook, error=error)


def interrupted(call: HookCall, duration_s: float = 0.0) -> HookResult:
    """The result of a call that was broken off."""
    result = failed(call, "interrupted")
    result.interrupted, result.duration_s = True, duration_s
    return result


def refused(call: HookCall, why: str) -> HookResult:
    """The result of a call that this machine could not even begin."""
    result = failed(call, why)
    result.refused = True
    return result


def _judge(result: HookResult, value: Any) -> None:
    """Writes into the result what the value that a hook returned means."""
    if result.hook == "step_advance":
        keys = [value] if isinstance(value, str) else value
        if isinstance(keys, list | tuple) and keys and all(isinstance(key, str) for key in keys):
            result.arrows = [str.__str__(key) for key in keys]  # a str enum's own __str__ differs
            result.value = result.arrows if len(keys) > 1 else result.arrows[0]
            return
        wanted = "step_advance returns an arrow key, or a list of arrow keys"
    elif result.hook == "step_probe":
        if isinstance(value, str) and value in ("rerun", "done"):
            result.answer = result.value = str.__str__(value)
            return
        wanted = "step_probe returns 'rerun' or 'done'"
    elif result.hook == "step_items":
        if isinstance(value, list):
            result.items, result.value = value, len(value)
            return
        wanted = "step_items returns a list"
    elif isinstance(value, StepResult):
        _keep_output(result, value)
        return
    else:
        if value is None or (isinstance(value, int) and value == 0 and not isinstance(value, bool)):
            result.value = None if value is None else 0
            return
        wanted = "a hook returns 0 or None for success"
    if isinstance(value, CoroutineType):
        value.close()  # else Python warns about it at some later time, in an unrelated place
        wanted = "hooks are plain functions, not 'async def'"
    result.value = _plain_value(value)
    result.error = f"returned {_short_repr(value)}: {wanted}"


def _keep_output(result: HookResult, returned: StepResult) -> None:
    """Takes over what a hook wants kept, if JSON can hold it."""
    result.skipped, result.facts = returned.skipped, returned.facts
    if returned.value is None:
        return
    from octo_json_strict import JsonValueError, dump_value

    try:
        dump_value(returned.value)
    except JsonValueError as error:
        result.error = f"returned what JSON can't hold: {error.reason}"
    else:
        result.output, result.value = returned.value, _plain_value(returned.value)


def _tell_exception(result: HookResult, exc: BaseException, prefix: str = "") -> None:
    """Writes an exception into the result: text, traceback without the frames of this module."""
    if isinstance(exc, KeyboardInterrupt):
        result.interrupted = True
        result.error = "interrupted"
        return
    if isinstance(exc, StepRests):
        result.refused, result.error = True, as_utf_8(str(exc), TEXT_LIMIT)
        return
    if isinstance(exc, StepFailure):
        result.error = prefix + as_utf_8(str(exc), TEXT_LIMIT)
        result.traceback, result.facts = as_utf_8(exc.traceback, TRACEBACK_LIMIT), exc.facts
        return
    if isinstance(exc, SystemExit):
        text = f"called sys.exit({_short_repr(exc.code)}): a hook returns 0 or None for success"
    else:
        text = f"{type(exc).__name__}: {_safely(str, exc)}".removesuffix(": ")
    result.error = prefix + as_utf_8(text, TEXT_LIMIT)
    import traceback  # only a failure pays for it

    below = exc.__traceback__.tb_next if exc.__traceback__ else None
    lines = _safely(lambda e: "".join(traceback.format_exception(type(e), e, below)), exc)
    result.traceback = as_utf_8(lines, TRACEBACK_LIMIT)


def _plain_value(value: Any) -> Any:
    if value is None or isinstance(value, bool):
        return value
    if type(value) is int and abs(value) < 2**53:
        return value
    if type(value) is str and len(value) <= VALUE_LIMIT:
        return as_utf_8(value, VALUE_LIMIT)
    return _short_repr(value)


def _short_repr(value: object) -> str:
    return as_utf_8(_safely(_brief.repr, value), VALUE_LIMIT)


def _safely(describe: Callable[[Any], str], value: object) -> str:
    """What `describe` says of a value whose own code may raise, exit or return nonsense."""
    try:
        return str.__str__(describe(value))
    except KeyboardInterrupt:
        raise
    except BaseException:
        return f"<{type(value).__name__} that can't be described>"


def as_utf_8(text: str, limit: int) -> str:
    """The text as UTF-8 can hold it, shortened in the middle to about `limit` characters."""
    if len(text) > limit:
        half = limit // 2
        text = f"{text[:half]} ... {text[-half:]}"
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


_brief = reprlib.Repr()
_brief.maxstring = _brief.maxother = VALUE_LIMIT
_brief.maxlist = _brief.maxtuple = _brief.maxdict = _brief.maxset = 8
