"""What a run does otherwise than its recipe says: which steps, and how they are tried."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Final

from octo_errors import UsageError, did_you_mean

_POLICY: Final = {
    "step_timeout": "timeout_seconds",
    "max_retries": "max_retries",
    "retry_delay": "retry_delay_seconds",
}

_OF_STEPS: Final = {"only", "skip", "from_step"}


@dataclass(frozen=True)
class Choices:
    """The choices of a run; they are kept in its instance.

    Attributes:
        only: Perform these steps and no others; empty: all.
        skip: Leave these out, as if they were done.
        from_step: Perform this one and what comes after it, and finally steps; empty: all.
        step_timeout: Seconds that an attempt of any step may take; None: as the step says. So are
            the following.
        max_retries: Further attempts after a failed one.
        retry_delay: Seconds before the second attempt.
    """

    only: tuple[str, ...] = ()
    skip: tuple[str, ...] = ()
    from_step: str = ""
    step_timeout: float | None = None
    max_retries: int | None = None
    retry_delay: float | None = None

    def given(self) -> dict[str, Any]:
        """Those that were made, as JSON can hold them."""
        return {name: each for name, each in asdict(self).items() if each not in ((), "", None)}

    def changed(self, by: Choices) -> Choices:
        """These, but for what was chosen anew; who chooses steps chooses among all of them."""
        chosen = by.given()
        if _OF_STEPS & chosen.keys():
            chosen = {"only": by.only, "skip": by.skip, "from_step": by.from_step, **chosen}
        return replace(self, **chosen)

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> Choices:
        """The choices that `given` told; raises TypeError for what it can't have been."""
        lists = {name: tuple(given.get(name, ())) for name in ("only", "skip")}
        return cls(**{**given, **lists})

    def apply(self, compiled: Mapping[str, Any]) -> dict[str, Any]:
        """The compiled recipe as it is to be performed.

        Raises:
            UsageError: A name is none of a step, or no step is left.
        """
        nodes = compiled["step_node_graph_dict"]
        if wrong := [
            _no_step(option, name, nodes)
            for option, names in self._names().items()
            for name in names
            if name not in nodes
        ]:
            raise UsageError("\n".join(wrong))
        performed, policy = self._performed(compiled), self._policy()
        chosen = {}
        for name, node in nodes.items():
            chosen[name] = {**node, **policy}
            if name not in performed:
                chosen[name]["active_node_step_bool"] = 0
                if self._names_way_out(name, compiled):  # then no failure leads there
                    del chosen[name]["error_arrow_key"]
        if not any(node.get("active_node_step_bool", 1) for node in chosen.values()):
            raise UsageError("no step is left to be performed", hint="choose others")
        return {**compiled, "step_node_graph_dict": chosen}

    def _names(self) -> dict[str, Collection[str]]:
        from_step = (self.from_step,) if self.from_step else ()
        return {"--only": self.only, "--skip": self.skip, "--from-step": from_step}

    def _names_way_out(self, step: str, compiled: Mapping[str, Any]) -> bool:
        """Whether the step that is gone on at when `step` has failed is asked for by its name."""
        key = compiled["step_node_graph_dict"][step].get("error_arrow_key")
        arrow = compiled["step_arrow_graph_dict"][step].get(key, {})
        return arrow.get("arrow_step_name_string") in {*self.only, self.from_step}

    def _performed(self, compiled: Mapping[str, Any]) -> set[str]:
        nodes = compiled["step_node_graph_dict"]
        names = set(self.only or nodes)
        if self.from_step:
            final = {name for name, node in nodes.items() if node.get("finally_bool")}
            names &= steps_from(compiled, self.from_step) | final
        return names.difference(self.skip)

    def _policy(self) -> dict[str, Any]:
        """What is chosen of how steps are tried, by keys of nodes."""
        given = self.given()
        return {key: given[name] for name, key in _POLICY.items() if name in given}


def _no_step(option: str, name: str, steps: Collection[str]) -> str:
    """The error for a name that is none of a step."""
    is_list = option != "--from-step"
    hint = (is_list and _in_quotes(option, name, steps)) or did_you_mean(name, steps)
    return str(UsageError(f"{option}: the recipe has no step {name!r}", hint=hint))


def _in_quotes(option: str, part: str, steps: Collection[str]) -> str:
    """How to name a step that has this part of its name between commas; empty if there is none."""
    from shlex import join  # only a mistake pays for it

    for step in steps:
        if "," in step and part in map(str.strip, step.split(",")):
            quoted = '"{}"'.format(step.replace('"', '""'))
            return f"a name with a comma needs quotes of its own: {join([option, quoted])}"
    return ""


def steps_from(compiled: Mapping[str, Any], step: str) -> set[str]:
    """The step, and all that may come after it, also because one of them has failed."""
    arrows = compiled["step_arrow_graph_dict"]
    found, waiting = {step}, [step]
    while waiting:
        for arrow in arrows[waiting.pop()].values():
            target = arrow["arrow_step_name_string"]
            if target not in found:
                found.add(target)
                waiting.append(target)
    return found
