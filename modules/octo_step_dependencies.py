"""The decisions of the engine for a graph whose arrows are dependencies, as a recipe's is.

A node is entered as soon as all that it depends on is done and fewer hooks than `Limits.at_once`
are in flight; of several, the one that comes first in the graph. No more tokens are made than can
be at work, and which nodes are done is kept as one number, so a step costs the same in a graph of
ten nodes and of ten thousand.

A node with the hook `step_items` is performed once for each item of a list: `load` is active while
`load[0]`, `load[1]`, ... are, each with a token, attempts and a time limit of its own.

When all is done, or the run is to end otherwise, the final nodes are performed; then it ends.
"""

from __future__ import annotations

from dataclasses import dataclass
from heapq import heappop, heappush
from typing import Any

from octo_step_arrows import followed
from octo_step_graph import COMPLETE, Node, StepGraph, item_of
from octo_step_machine import Limits, StepMachine
from octo_step_messages import Finish, HookDone, SetItems
from octo_step_states import RunState, Token

_NAMED = 5  # so many failed nodes are named in the reason of an end
_NODE = -1  # in place of the number of an item


@dataclass(slots=True)
class _Items:
    """How far the items of a node are: the next one to look at, and how many may be at work."""

    next: int = 0
    open: int = 0


class DependencyMachine(StepMachine):
    """Decides what a run of a graph by dependency does next."""

    def __init__(
        self, graph: StepGraph, state: RunState | None = None, limits: Limits | None = None
    ) -> None:
        super().__init__(graph, state, limits)
        self._names = list(graph.nodes)
        self._on_error_only = {
            node.arrows[node.error_arrow_key].target
            for node in graph.nodes.values()
            if node.error_arrow_key
        }
        self._survey()

    # --- what can be entered ---

    def _survey(self) -> None:
        """Find out from the state which nodes can be entered, and what the others wait for."""
        nodes = self.graph.nodes
        self.state.done |= self.graph.bits(name for name in nodes if not nodes[name].active)
        self._to_enter: list[tuple[int, int]] = []  # a heap of (place in the graph, item)
        self._missing: dict[str, int] = {}
        self._items: dict[str, _Items] = {}
        for name in self._names:
            if not self._is_done(name):
                sources = self.graph.sources_into(name)
                self._missing[name] = sum(not self._is_done(source) for source in sources)
                self._offer(name)
        for name in self.state.passed_over:
            self._offer_instead(name)
        for token in list(self.state.tokens.values()):
            if self._waits(token) and token.items is not None:
                self._offer_items(token)

    def _is_done(self, name: str) -> bool:
        return bool(self.state.done >> self.graph.positions[name] & 1)

    def _offer(self, name: str) -> None:
        """Let a node be entered, if it waits for nothing and its time has come."""
        state = self.state
        waits = self._missing[name] or name in self._on_error_only or name in state.passed_over
        in_time = self.graph.nodes[name].is_final == state.finalizing
        if in_time and not waits and name not in state.tokens:
            heappush(self._to_enter, (self.graph.positions[name], _NODE))

    def _offer_instead(self, failed: str) -> None:
        """Let the node be entered that is performed where `failed` has failed."""
        node = self.graph.nodes[failed]
        target = node.arrows[str(node.error_arrow_key)].target
        entry = (self.graph.positions[target], _NODE)
        if self.graph.nodes[target].is_final != self.state.finalizing:
            return
        if not (self._is_done(target) or target in self.state.tokens or entry in self._to_enter):
            heappush(self._to_enter, entry)

    def _offer_items(self, token: Token) -> None:
        """Let as many of the items that are left be entered as the node wants at once."""
        tokens, name = self.state.tokens, token.node
        if self.graph.nodes[name].is_final != self.state.finalizing:
            return
        if name not in self._items:
            active = [each for each in tokens.values() if item_of(each.node)[0] == name]
            self._items[name] = _Items(open=sum(not each.failed for each in active))
        items = self._items[name]
        at_once = self.graph.nodes[name].items_at_once or self.limits.at_once
        while items.open < at_once and items.next < (token.items or 0):
            number, items.next = items.next, items.next + 1
            if not token.items_done >> number & 1 and f"{name}[{number}]" not in tokens:
                heappush(self._to_enter, (self.graph.positions[name], number))
                items.open += 1

    def _admit(self) -> bool:
        limits, state = self.limits, self.state
        if state.state != "RUNNING" or self._rest_reason() or state.jump_target:
            return False
        if not self._to_enter or len(self.in_flight) >= limits.at_once:
            return False
        if state.ending and not state.finalizing:
            return False
        if limits.at_state == "ENTER" or (limits.at_state and self._live() >= limits.at_once):
            return False
        done = state.step_count - self._steps_before
        if limits.max_steps is not None and done >= limits.max_steps:
            self._hold(f"max-steps {limits.max_steps}")
            return False
        self._activate(self._name(heappop(self._to_enter)))
        return True

    def _live(self) -> int:
        return sum(not self._waits(token) for token in self.state.tokens.values())

    def _name(self, entry: tuple[int, int]) -> str:
        place, number = entry
        name = self._names[place]
        return name if number == _NODE else f"{name}[{number}]"

    def _next_entry(self) -> list[tuple[str, str]]:
        return [(self._name(self._to_enter[0]), "ENTER")] if self._to_enter else []

    # --- where it differs from following arrows ---

    def _enter_first(self) -> None:
        """See anew what can be entered: the run may have been opened again since it was loaded."""
        self._survey()

    def _waits(self, token: Token) -> bool:
        items_are_at_work = token.items is not None and token.state == "EXECUTE"
        return token.failed or items_are_at_work

    def _is_ending(self, token: Token) -> bool:
        final = self.state.finalizing and self._node(token).is_final
        return bool(self.state.ending) and not final

    def _hook(self, token: Token, node: Node) -> str:
        if self.graph.has_items(token.node):
            return "step_items" if token.state == "EXECUTE" and token.items is None else ""
        return super()._hook(token, node)

    def _pass(self, token: Token, node: Node) -> None:
        if token.state == "ADVANCE":
            token.arrows = (COMPLETE,)
            self._performed(token, {})
        else:
            super()._pass(token, node)

    def _way(self, token: Token) -> dict[str, Any]:
        if token.arrows == (COMPLETE,):
            return {}
        return {**super()._way(token), "to": followed(self.graph, token.node, token.arrows)[0]}

    def _hook_done(self, token: Token, done: HookDone) -> None:
        if done.items is None:
            super()._hook_done(token, done)
            return
        token.items = len(done.items)
        self._out.append(SetItems(token.node, done.items))
        self._record("items", token, {"count": token.items, **done.facts})
        self._offer_items(token)
        self._see_items(token)

    def _give_up(self, token: Token, node: Node, error: str) -> None:
        parent = self.state.tokens.get(item_of(token.node)[0])
        has_way_out = node.error_arrow_key in self.graph.open_arrows(node.name)
        if node.continue_on_error or (parent is None and has_way_out):
            token.arrows = (COMPLETE if node.continue_on_error else str(node.error_arrow_key),)
            self.state.leave_items(token.node)
            self._moved(token, "failed")
        else:
            token.failed = token.held = True
            if not has_way_out and not self.limits.keep_going:
                self._end(f"{token.state} of {token.node} failed: {error}")
            if parent is not None:
                self._item_left(parent)

    def _leave(self, token: Token) -> None:
        """`token` has performed JUMP: what waited for it can be entered."""
        state, name = self.state, token.node
        del state.tokens[name]
        parent_name, number = item_of(name) if name not in self.graph.nodes else ("", 0)
        if parent_name:
            parent = state.tokens[parent_name]
            parent.items_done |= 1 << number
            self._item_left(parent)
            return
        state.step_count += 1
        if token.arrows != (COMPLETE,):
            state.passed_over.append(name)
            self._offer_instead(name)
            return
        state.done |= 1 << self.graph.positions[name]
        for dependent in self.graph.dependents(name):
            if not self._is_done(dependent):
                self._missing[dependent] -= 1
                self._offer(dependent)

    def _item_left(self, parent: Token) -> None:
        self._items[parent.node].open -= 1
        self._offer_items(parent)
        self._see_items(parent)

    def _see_items(self, parent: Token) -> None:
        """When all items have gone, their node goes on: it is done, or has failed."""
        count, done = parent.items or 0, parent.items_done.bit_count()
        if done == count:
            del self._items[parent.node]
            self._performed(parent, {"items": count})
            return
        items = self._items[parent.node]
        if items.open == 0 and items.next >= count and not self.state.ending:
            error = f"{count - done} of {count} items failed"
            node = self.graph.nodes[parent.node]
            self._record("step_error", parent, {"error": error, "items": count})
            self._give_up(parent, node, error)

    def _jump(self) -> None:
        super()._jump()
        self._survey()

    # --- ending ---

    def _conclude(self) -> None:
        """Nothing is in flight and nothing can go on: rest, wait for a back-off, or end."""
        state = self.state
        if state.state != "RUNNING":
            return
        live = [t for t in state.tokens.values() if not self._waits(t) and not self._is_ending(t)]
        if live or (self._to_enter and (state.finalizing or not state.ending)):
            if self._rest_reason() or all(token.held for token in live):
                self._rest()
            return
        if not state.finalizing:
            state.finalizing = True
            self._survey()
            if self._to_enter:
                self._go_on()
                return
        reason = state.ending or self._failures()
        state.move("fail" if reason else "succeed")
        self._out.append(Finish(not reason, reason))

    def _failures(self) -> str:
        """Which nodes have failed, in a run that kept going."""
        failed = [
            t.node for t in self.state.tokens.values() if t.failed and t.node in self.graph.nodes
        ]
        more = f" and {len(failed) - _NAMED} more" if len(failed) > _NAMED else ""
        return f"failed: {', '.join(failed[:_NAMED])}{more}" if failed else ""
