"""Libraries whose runs are broken, and what must hold of the hooks that were called.

Each hook writes down that it begins, in a file beside the directory that is watched. What a clean
run has written down is what every node owes; a run that was killed and taken up again owes the same
from the state on that the parameter file shows.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from octo_step_events import read_events
from tests.faults.scenarios import INSTANCE, LEDGER, library_of
from tests.modules.engine_support import node_text, stored

HOOK_OF = {
    "ENTER": "step_entry",
    "EXECUTE": "step_execute",
    "ADVANCE": "step_advance",
    "EXIT": "step_exit",
}
_WRITE = f"""\
    def begins(self, hook):
        self.attempt = (self.get("active_steps", self.name) or {{}}).get("attempt", 1)
        ledger = os.open("../../{LEDGER}", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        os.write(ledger, f"{{self.name}} {{hook}} {{self.attempt}}\\n".encode())
        os.close(ledger)
"""


def node(name: str, to: Mapping[str, str] | None = None, **options: Any) -> str:
    """A node with all hooks; those that are given as options are the bodies of theirs."""
    hooks = dict.fromkeys(HOOK_OF.values(), "return 0")
    hooks["step_advance"] = f"return {list(to or ['COMPLETE'])!r}"
    hooks |= {hook: options.pop(hook) for hook in list(options) if hook.startswith("step_")}
    return _with_hooks(name, hooks, to, options)


def light_node(name: str, to: Mapping[str, str], **options: Any) -> str:
    """A node with a `step_execute`, and a `step_advance` where there are several arrows."""
    hooks = {"step_execute": "return 0"}
    if len(to) > 1:
        hooks["step_advance"] = f"return {list(to)!r}"
    return _with_hooks(name, hooks, to, options)


def _with_hooks(
    name: str, hooks: Mapping[str, str], to: Mapping[str, str] | None, options: dict[str, Any]
) -> str:
    body = _WRITE
    for hook, text in hooks.items():
        body += f"    def {hook}(self):\n        self.begins('{hook}')\n        {text}\n"
    return node_text(name, body, to=dict(to or {}), **options)


@dataclass(frozen=True)
class Run:
    """A library, the executor that runs it, and how a clean run of it ends."""

    library: Mapping[str, str]
    executor: str = "serial"
    end: str = "COMPLETE_SUCCESS"


_FORK = {
    "start": light_node("start", {"l": "left", "r": "right"}),
    "left": light_node("left", {"j": "join"}),
    "right": light_node("right", {"j": "join"}),
    "join": light_node("join", {}, join_all_bool=1),
}
_FAIL_TWICE = "return int(self.attempt < 3)"
_HANG_ONCE = "time.sleep(600 if self.attempt == 1 else 0); return 0"
_QUIET = node("a", step_entry="print('output'); return 0").replace(
    'self.get("active_steps", self.name)', "None"
)
RUNS = {
    "quiet": Run({"a": _QUIET}),
    "single": Run({"a": node("a", step_entry="print('output'); return 0")}),
    "chain": Run({"a": node("a", {"go": "b"}), "b": node("b")}),
    "forked": Run(_FORK),
    "forked in threads": Run(_FORK, "threads"),
    "forked in processes": Run(_FORK, "processes"),
    "retried": Run({"a": node("a", step_execute=_FAIL_TWICE, max_retries=2)}),
    "on the error arrow": Run(
        {
            "a": node("a", {"go": "b", "bad": "b"}, step_execute="return 1", error_arrow_key="bad"),
            "b": node("b"),
        }
    ),
    "failed and made safe": Run(
        {"a": node("a", step_execute="return 1", step_make_safe="return 0")}, end="COMPLETE_ERROR"
    ),
    "timed out": Run({"a": node("a", step_execute=_HANG_ONCE, max_retries=1, timeout_seconds=0.2)}),
}


def write_library(work: Path, library: Mapping[str, str]) -> None:
    """Put a library where the instance in `work` will be made of it."""
    library_of(work).mkdir(parents=True)
    for name, text in library.items():
        (library_of(work) / f"step_node_{name}.py").write_text(text)


def ledger(work: Path) -> list[str]:
    """What the hooks have written down since it was last asked for: node, hook, attempt."""
    file = work.parent / LEDGER
    lines = file.read_text().splitlines() if file.exists() else []
    file.unlink(missing_ok=True)
    return lines


@dataclass(frozen=True)
class Stand:
    """How a run stands: what the parameter file says, and what its hooks have done."""

    parameters: dict[str, Any]
    done: list[str]

    @classmethod
    def of(cls, work: Path) -> Stand:
        return cls(stored(work / INSTANCE), ledger(work))

    def owed(self, clean: list[str]) -> dict[str, list[str]]:
        """What each node is still to do; checks that it has done what the file says it has.

        Of what `clean` shows, a node has done all that comes before the state that is in the file,
        and has perhaps begun that, unless it waits to try again. A node that is not active has done
        nothing or all.
        """
        active = self.parameters.get("active_steps", {})
        done, owed = by_node(self.done), {}
        for name, whole in by_node(clean).items():
            begun = done.pop(name, [])
            if name not in active:
                assert begun in ([], whole), (name, begun)
                owed[name] = whole[len(begun) :]
                continue
            at = len(whole) if self.ended() else position(active[name], whole)
            waits = "retry_due" in active[name]
            assert begun in (whole[:at], whole[: at if waits else at + 1]), (name, begun, active)
            owed[name] = whole[at:]
        assert not done
        return {name: rest for name, rest in owed.items() if rest}

    def ended(self) -> bool:
        """Whether the run has ended, well or not."""
        return str(self.parameters["global_parameters"]["step_engine_state"])[:8] == "COMPLETE"

    def states(self) -> set[str]:
        """The states that active nodes are in."""
        return {token["state"] for token in self.parameters.get("active_steps", {}).values()}

    def armed(self) -> bool:
        """Whether a node is to be made safe first of all."""
        return bool(self.parameters["global_parameters"].get("make_safe"))

    def interrupted(self) -> list[tuple[str, str]]:
        """The nodes and states of which nobody knows how far their hooks came."""
        if self.parameters["global_parameters"]["step_engine_state"] != "RUNNING":
            return []
        return [
            (name, token["state"])
            for name, token in self.parameters.get("active_steps", {}).items()
            if token["state"] in HOOK_OF and not token.get("held") and "retry_due" not in token
        ]


def by_node(lines: list[str]) -> dict[str, list[str]]:
    """The hooks and attempts of each node, in order; to make safe is another matter."""
    hooks = defaultdict(list)
    for line in lines:
        name, _, rest = line.partition(" ")
        if "step_make_safe" not in rest:
            hooks[name].append(rest)
    return dict(hooks)


def position(token: dict[str, Any], whole: list[str]) -> int:
    """Where in a node's hooks a token stands."""
    if token["state"] == "JUMP":
        return len(whole)
    return whole.index(f"{HOOK_OF[token['state']]} {token.get('attempt', 1)}")


def events(work: Path, kind: str) -> list[tuple[str, str]]:
    """Node and state of the events of a kind; the numbers of all events have no gap."""
    found = list(read_events(work / INSTANCE))
    assert [event["seq"] for event in found] == list(range(1, len(found) + 1))
    return [(event["node"], event["state"]) for event in found if event["event"] == kind]
