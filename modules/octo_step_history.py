"""What the event log of an instance tells people: a line for each event, and what became of nodes.

Format of the log: octo_step_events. Unknown kinds of events are shown as they are, so that an older
command line can read a newer log.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

from octo_errors import count
from octo_shown_text import duration_text, local_time, one_line
from octo_step_graph import HOOK_OF_STATE, StepGraph
from octo_step_status import Status

Event = dict[str, Any]
Fate = Literal["done", "failed", "skipped"]
_EVERY_EVENT = {"ts", "run_id", "seq", "event", "node", "state", "attempt", "duration_s"}


def history_line(event: Event) -> str:
    """One event as a line: local time, node, state, and what happened."""
    moment = local_time(str(event.get("ts", "")))
    time = f"{moment:%Y-%m-%d %H:%M:%S}.{moment.microsecond // 1000:03}" if moment else "?" * 23
    place = f"{event.get('node', '-')} {event.get('state', '')}".strip()
    return f"{time}  {place:<32} {event_text(event)}".rstrip()


def event_text(event: Event) -> str:
    """What an event says, beside its node and state, in one line."""
    text = one_line(_words(event), 500)
    if event.get("attempt", 1) != 1 and event.get("event") != "retry":
        text += f", attempt {event['attempt']}"
    if "duration_s" in event:
        text += f", {duration_text(event['duration_s'])}"
    return text


def _words(event: Event) -> str:
    match event:
        case {"event": "state", "skipped": True}:
            return "skipped"
        case {"event": "state", "arrow": _}:
            return way_text(event)
        case {"event": "state", "result_not_kept": what}:
            return f"done; its result is not kept: {what}"
        case {"event": "state"}:
            return "done"
        case {"event": "step_error", "error": error}:
            return f"FAILED: {error}"
        case {"event": "retry", "attempt": attempt, "delay_s": delay}:
            return f"attempt {attempt} in {duration_text(delay)}"
        case {"event": "interrupted", "on_interrupt": policy}:
            return f"was interrupted; on_interrupt: {policy}"
        case {"event": "probe", "error": error}:
            return f"STEP_PROBE FAILED: {error}"
        case {"event": "probe", "return_value": answer}:
            return f"step_probe says {answer}"
        case {"event": "join_wait", "missing": missing}:
            return f"waits for {', '.join(missing)}"
        case {"event": "make_safe", "error": error}:
            return f"MAKE-SAFE FAILED: {error}"
        case {"event": "make_safe"}:
            return "made safe"
        case _:
            return _words_of_run(event)


def _words_of_run(event: Event) -> str:
    """The words for events of the whole run."""
    match event:
        case {"event": "run_start"}:
            return f"run starts: {event.get('run_id', '')}"
        case {"event": "resume", "crashed": True}:
            return "run goes on after a crash"
        case {"event": "resume"}:
            return "run goes on"
        case {"event": "reopened"}:
            return "opened again: what failed is tried again"
        case {"event": "program_changed"}:
            return "goes on as another program: its recipe, code, inputs or choices are others now"
        case {"event": "items", "count": number}:
            return f"is performed for {count(number, 'item')}"
        case {"event": "pause", "reason": reason}:
            return f"paused: {reason}" if reason else "paused"
        case {"event": "jump", "left": left}:
            return f"jump here; left: {', '.join(left) or 'nothing'}"
        case {"event": "run_end", "engine_state": state}:
            return f"{state}: {event['reason']}" if event.get("reason") else str(state)
        case {"event": "library_changed", "files": files}:
            return f"library changed: {', '.join(files)}"
        case {"event": "jump_refused", "reason": reason}:
            return f"jump refused: {reason}"
        case {"event": "left_running", "what": left}:
            return f"hooks left running: {'; '.join(left)}"
        case {"event": "log_mended", "cut_bytes": size}:
            return f"a torn last line of {size} bytes was cut off the event log"
        case _:
            facts = [f"{k}={v}" for k, v in event.items() if k not in _EVERY_EVENT]
            return " ".join([str(event.get("event", "?")), *facts])


def way_text(event: Event) -> str:
    """Where a node leads on: its arrow key, or those of a fork; in a recipe, the step."""
    way = event.get("to") or event["arrow"]
    return f"-> {' + '.join(map(str, way)) if isinstance(way, (list, tuple)) else way}"


# --- what became of nodes -------------------------------------------------------------------------


def fates(events: Iterable[Event]) -> dict[str, Fate]:
    """What became, in the latest run, of each node that was left or has failed."""
    found: dict[str, Fate] = {}
    failing: dict[str, str] = {}  # node -> the state in which it failed
    for event in events:
        node, state = event.get("node", ""), event.get("state", "")
        match event.get("event"):
            case "run_start":
                found.clear()
            case "step_error":
                found[node], failing[node] = "failed", state
            case "state":
                if state == "ENTER" or failing.get(node) == state:
                    failing.pop(node, None)
                    found.pop(node, None)
                if event.get("skipped") and state == "EXECUTE":
                    found[node] = "skipped"
                if state == "JUMP":
                    found.setdefault(node, "done")
    return found


def marks(status: Status, before: dict[str, Fate]) -> dict[str, str]:
    """What a picture says of each node, given what became of them before; see `fates`."""
    found: dict[str, str] = dict.fromkeys(status.joins, "waiting")
    found |= before
    for each in status.active:
        if each.node not in before or status.condition == "running":
            found.pop(each.node, None)
        if each.retry_due or status.condition == "paused":
            found[each.node] = "waiting"
        elif status.condition == "interrupted" and not each.held:
            found[each.node] = "interrupted"
    return found


@dataclass(frozen=True, slots=True)
class JumpPreview:
    """What a jump means: what is left behind, what runs again, what is passed over."""

    left: list[str]
    again: list[str]
    passed_over: list[str]

    def lines(self) -> list[str]:
        """For people."""
        rows = (
            ("left", "; ".join(self.left)),
            ("runs again", ", ".join(self.again)),
            ("passed over", ", ".join(self.passed_over)),
        )
        return [f"  {label:<12} {text or 'nothing'}" for label, text in rows]


def preview_jump(
    graph: StepGraph, status: Status, before: dict[str, Fate], node: str
) -> JumpPreview:
    """What a jump to `node` means for a run that stands as `status` says.

    Args:
        before: What became of the nodes so far; see `fates`.
    """
    active = [each for each in status.active if each.node in graph.nodes]
    left = []
    for each in active:
        states = list(HOOK_OF_STATE)
        rest = states[states.index(each.state) :] if each.state in states else []
        own = graph.nodes[each.node].hooks
        hooks = [hook for state in rest if (hook := HOOK_OF_STATE[state]) in own]
        dropped = f", without {', '.join(hooks)}" if hooks else ""
        left.append(f"{each.node} in {each.state}{dropped}")
    sort_out = _of_dependencies if graph.by_dependency else _of_arrows
    again, passed_over = sort_out(graph, {each.node for each in active}, before, node)
    return JumpPreview(
        left,
        [name for name in graph.nodes if name in again],
        [name for name in graph.nodes if name in passed_over],
    )


def _of_arrows(
    graph: StepGraph, active: set[str], before: dict[str, Fate], node: str
) -> tuple[set[str], set[str]]:
    """What runs again after a jump to `node`, and what is passed over."""
    ahead = {*graph.reachable(node)}
    expected = set().union(*map(graph.reachable, active))
    return ahead & before.keys(), expected - active - ahead - before.keys()


def _of_dependencies(
    graph: StepGraph, active: set[str], before: dict[str, Fate], node: str
) -> tuple[set[str], set[str]]:
    """The same where arrows are dependencies: what has nothing to do with `node` is performed."""
    sources, ahead = graph.all_sources(node) - {node}, graph.all_dependents(node)
    final = {name for name, each in graph.nodes.items() if each.is_final}
    done = {name for name, fate in before.items() if fate != "failed"}
    off = {name for name, each in graph.nodes.items() if not each.active}
    again = ((ahead | final) & before.keys()) | (active - ahead)
    return again - sources, sources - active - done - off
