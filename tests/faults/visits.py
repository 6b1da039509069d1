"""A small model of a run: what its hooks may do next, and what the parameter file must say then.

The hooks of this library write down when they begin and when they are done. `replay` follows these
lines from the state that was in the file before: each hook must be the next one that is owed. So a
hook that is left out, or performed once more than the file allows, is noticed.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

from octo_instance_dir import JUMP_REQUEST, PAUSE_REQUEST, STOP_REQUEST
from octo_parameter_schema import ACTIVE_GROUP, ARRIVALS_GROUP, END_PENDING, JUMP_PENDING
from tests.faults.runs import HOOK_OF
from tests.faults.scenarios import LEDGER
from tests.modules.engine_support import node_text

FIRST, JOIN = "step_node_start", "step_node_join"
SOURCES = {"step_node_left", "step_node_right"}  # of the join
ARROWS = {
    "start": {"l": "left", "r": "right"},
    "left": {"j": "join"},
    "right": {"j": "join"},
    "join": {"on": "loop"},
    "loop": {"again": "loop", "on": "flaky"},
    "flaky": {},
}
NODES = tuple(f"step_node_{name}" for name in ARROWS)
OPTIONS = {"join": {"join_all_bool": 1}, "flaky": {"max_retries": 1}}
WORK = "work"  # the group in which each node counts its calls of step_execute

_NEXT = {"ENTER": "EXECUTE", "EXECUTE": "ADVANCE", "ADVANCE": "EXIT", "EXIT": "JUMP"}
_WRITE = f"""\
    def write(self, *words):
        ledger = os.open("../../{LEDGER}", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        os.write(ledger, (" ".join(map(str, words)) + "\\n").encode())
        os.close(ledger)

    def performs(self, hook):
        attempt = (self.get("active_steps", self.name) or {{}}).get("attempt", 1)
        self.write("begin", self.name, hook, attempt)
        if hook == "step_execute":
            self.increment("{WORK}", self.name)
        gate = Path(f"../../gate.{{self.name}}.{{hook}}")
        if gate.exists():
            gate.read_bytes()
        result = self.result(hook, attempt)
        self.write("end", self.name, hook, result if isinstance(result, int) else ",".join(result))
        return result

    def result(self, hook, attempt):
        if hook == "step_advance":
            return self.arrows()
        return int(self.name == "step_node_flaky" and hook == "step_execute" and attempt == 1)

    def arrows(self):
        if self.name == "step_node_loop":
            return ["again" if self.get("{WORK}", self.name) % 3 else "on"]
        return list(self.step_arrow_graph_dict) or ["COMPLETE"]
"""


def library() -> dict[str, str]:
    """A fork and its join, a node that follows itself, and one that fails before it succeeds."""
    hooks = "".join(
        f"\n    def {hook}(self):\n        return self.performs('{hook}')\n"
        for hook in HOOK_OF.values()
    )
    return {
        name: node_text(name, _WRITE + hooks, to=to, **OPTIONS.get(name, {}))
        for name, to in ARROWS.items()
    }


@dataclass(frozen=True)
class Token:
    """An active node: the state to be performed, and the arrows that it has chosen."""

    state: str = "ENTER"
    attempt: int = 1
    arrows: tuple[str, ...] = ()


@dataclass(frozen=True)
class Stand:
    """How a run stands.

    Attributes:
        tokens: The active nodes.
        arrivals: The nodes that have come to the join, which waits for more.
        jump: The node that somebody has asked to go on at.
        ending: Whether somebody has asked to end the run, or it has ended.
        resting: Whether somebody has asked to pause.
    """

    tokens: dict[str, Token]
    arrivals: frozenset[str] = frozenset()
    jump: str = field(default="", compare=False)
    ending: bool = field(default=False, compare=False)
    resting: bool = field(default=False, compare=False)

    @classmethod
    def of(cls, data: dict[str, Any]) -> Stand:
        """What the parameter file says."""
        shared = data["global_parameters"]
        ended = shared["step_engine_state"].startswith("COMPLETE")
        tokens = {
            name: Token(record["state"], record.get("attempt", 1), tuple(record.get("arrows", ())))
            for name, record in data.get(ACTIVE_GROUP, {}).items()
        }
        if not tokens and not ended:
            tokens = {FIRST: Token()}
        stand = cls(
            tokens,
            frozenset(data.get(ARRIVALS_GROUP, {}).get(JOIN, ())),
            jump=shared.get(JUMP_REQUEST) or shared.get(JUMP_PENDING, ""),
            ending=ended or bool(shared.get(STOP_REQUEST) or shared.get(END_PENDING)),
            resting=bool(shared.get(PAUSE_REQUEST)),
        )
        for name in [name for name, token in tokens.items() if token.state == "JUMP"]:
            stand = stand.left(name)
        return stand

    def after(self, line: str) -> Stand:
        """After a line of the ledger: a hook has come back, or somebody has asked for a jump."""
        word, name, *rest = line.split()
        if word == "jump":
            return replace(self, jump=name)
        token = self.tokens[name]
        if word == "begin":
            assert rest == [HOOK_OF[token.state], str(token.attempt)], (line, self)
            return self
        if self.jump:
            return Stand({self.jump: Token()})
        if rest[-1] == "1":
            return self.with_token(name, replace(token, attempt=token.attempt + 1))
        arrows = tuple(rest[-1].split(",")) if token.state == "ADVANCE" else token.arrows
        next_state = _NEXT[token.state]
        stand = self.with_token(name, Token(next_state, 1, arrows if next_state != "JUMP" else ()))
        return stand.left(name, arrows) if next_state == "JUMP" else stand

    def with_token(self, name: str, token: Token) -> Stand:
        return replace(self, tokens={**self.tokens, name: token})

    def left(self, name: str, arrows: Iterable[str] = ()) -> Stand:
        """After the jump along the arrows that a node has chosen."""
        tokens = dict(self.tokens)
        arrows = arrows or tokens[name].arrows
        del tokens[name]
        targets = [ARROWS[name.removeprefix("step_node_")].get(key) for key in arrows]
        arrivals = self.arrivals
        for target in (f"step_node_{target}" for target in targets if target):
            if target == JOIN:
                arrivals |= {name}
                if arrivals < SOURCES:
                    continue
                arrivals = frozenset()
            tokens[target] = Token()
        return replace(self, tokens=tokens, arrivals=arrivals)


def replay(before: Stand, lines: list[str]) -> list[Stand]:
    """How a run may stand after these lines, when it was killed; the last one when it was not.

    The last hook may have come back without a trace in the file, since it was being written.
    """
    stands = [before]
    if before.jump and not before.ending:
        stands.append(Stand({before.jump: Token()}))
    in_flight = ""
    for line in lines:
        word, name, hook = (*line.split(), "")[:3]
        if word != "jump":
            assert in_flight == (f"{name} {hook}" if word == "end" else ""), (line, lines)
            in_flight = f"{name} {hook}" if word == "begin" else ""
        assert not before.ending and not before.resting, (line, before)
        stands = (
            [*stands[-1:], stands[-1].after(line)] if word == "end" else [stands[-1].after(line)]
        )
    return stands
