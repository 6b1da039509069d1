"""Which step waits for which: order, levels, what depends on what, the longest path, circles.

All of it is linear in the number of steps and dependencies, but for a logarithm in `order`; a
question that goes across several arrows (`depends`) costs one bit per pair of steps, once.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from graphlib import CycleError, TopologicalSorter

from octo_errors import RecipeError, did_you_mean

__all__ = ["DependencyGraph", "find_cycle"]


class DependencyGraph:
    """The steps of a recipe and their dependencies, without a circle; it never changes.

    Args:
        dependencies: Step -> the steps that it waits for. The order of the steps is the wanted
            one: of several steps that could be next, the first of them is.

    Raises:
        RecipeError: A dependency is no step, or steps depend on each other in a circle.
    """

    def __init__(self, dependencies: Mapping[str, Iterable[str]]) -> None:
        self._parents = {step: list(dict.fromkeys(of)) for step, of in dependencies.items()}
        self._children: dict[str, list[str]] = {step: [] for step in self._parents}
        for step, parents in self._parents.items():
            for parent in parents:
                if parent not in self._children:
                    message = f"step {step!r} depends on {parent!r}, which is no step"
                    raise RecipeError(message, hint=did_you_mean(parent, self._parents))
                self._children[parent].append(step)
        self._position = {step: place for place, step in enumerate(self._parents)}
        self._order = self._sorted()

    def __len__(self) -> int:
        return len(self._parents)

    def __contains__(self, step: object) -> bool:
        return step in self._parents

    def order(self) -> list[str]:
        """The steps as a serial run performs them: of those that are ready, the first as given."""
        return list(self._order)

    def levels(self) -> list[list[str]]:
        """The steps by how many others must come before them, one after the other, at least."""
        levels: list[list[str]] = []
        for step in self._parents:
            depth = self._depth[step]
            levels.extend([] for _ in range(depth + 1 - len(levels)))
            levels[depth].append(step)
        return levels

    def parents(self, step: str) -> list[str]:
        """What a step waits for directly."""
        return list(self._parents[step])

    def children(self, step: str) -> list[str]:
        """What waits for a step directly."""
        return list(self._children[step])

    def ancestors(self, step: str) -> set[str]:
        """What must be done before a step, directly or not; the step itself is not among them."""
        return _reached(step, self._parents)

    def dependents(self, step: str) -> set[str]:
        """What can't start before a step is done, directly or not."""
        return _reached(step, self._children)

    def depends(self, step: str, other: str) -> bool:
        """Whether `other` is among the ancestors of `step`, for asking about many pairs."""
        if self._depth[other] >= self._depth[step]:
            return False
        if other in self._parents[step]:
            return True
        return bool(self._ancestor_bits[step] >> self._position[other] & 1)

    def critical_path(
        self, durations: Mapping[str, float] | None = None
    ) -> tuple[list[str], float]:
        """The chain of steps that takes longest, and how long: no run can be shorter.

        Args:
            durations: Step -> seconds, 0 where missing. Without it, every step counts 1.
        """
        end: dict[str, float] = {}
        before: dict[str, str | None] = {}
        for step in self._order:
            last = max(self._parents[step], key=end.__getitem__, default=None)
            before[step] = last
            end[step] = 1.0 if durations is None else durations.get(step, 0.0)
            end[step] += 0.0 if last is None else end[last]
        last = max(self._order, key=end.__getitem__, default=None)
        length = 0.0 if last is None else end[last]
        path = []
        while last is not None:
            path.append(last)
            last = before[last]
        return path[::-1], length

    @cached_property
    def _depth(self) -> dict[str, int]:
        depth: dict[str, int] = {}
        for step in self._order:
            depth[step] = max((depth[parent] + 1 for parent in self._parents[step]), default=0)
        return depth

    @cached_property
    def _ancestor_bits(self) -> dict[str, int]:
        """Step -> a bit at the position of each ancestor."""
        bits: dict[str, int] = {}
        for step in self._order:
            found = 0
            for parent in self._parents[step]:
                found |= bits[parent] | 1 << self._position[parent]
            bits[step] = found
        return bits

    def _sorted(self) -> list[str]:
        sorter = TopologicalSorter(self._parents)
        try:
            sorter.prepare()
        except CycleError as error:
            circle = _in_order(error.args[1], self._position)
            message = f"steps depend on each other in a circle: {' -> '.join(circle)}"
            raise RecipeError(message, hint="each of them waits for the next one") from None
        names, order = list(self._parents), []
        ready = [self._position[step] for step in sorter.get_ready()]
        heapq.heapify(ready)
        while ready:
            step = names[heapq.heappop(ready)]
            order.append(step)
            sorter.done(step)
            for each in sorter.get_ready():
                heapq.heappush(ready, self._position[each])
        return order


def find_cycle(dependencies: Mapping[str, Iterable[str]]) -> list[str] | None:
    """A circle of steps, each depending on the next, the first one again at the end; or None.

    It begins with the step of the circle that comes first in `dependencies`. Dependencies that are
    no steps are passed over.
    """
    known = {
        step: [each for each in of if each in dependencies] for step, of in dependencies.items()
    }
    try:
        TopologicalSorter(known).prepare()
    except CycleError as error:
        return _in_order(error.args[1], {step: place for place, step in enumerate(known)})
    return None


def _in_order(circle: Sequence[str], position: Mapping[str, int]) -> list[str]:
    """The circle of graphlib, which points to the dependent, turned round; from the first step."""
    steps = list(circle[:0:-1])
    first = min(range(len(steps)), key=lambda place: position[steps[place]])
    return [*steps[first:], *steps[:first], steps[first]]


def _reached(step: str, arrows: Mapping[str, Sequence[str]]) -> set[str]:
    found: set[str] = set()
    waiting = list(arrows[step])
    while waiting:
        each = waiting.pop()
        if each not in found:
            found.add(each)
            waiting.extend(arrows[each])
    return found
