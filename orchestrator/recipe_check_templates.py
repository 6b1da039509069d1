"""The templates of a recipe's steps: whether they are such, and what they name exists there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from orchestrator.dependency_graph import DependencyGraph
from orchestrator.recipe_document import KeyPath, Report, is_template
from orchestrator.recipe_model import Recipe, Step


def check_templates(
    report: Report, recipe: Recipe, steps: Mapping[str, Step], graph: DependencyGraph | None
) -> None:
    """Tell what is wrong with the templates of all steps.

    Args:
        graph: Which steps come before which; None where that isn't known, for then every step may.
    """
    found = [each for step in steps.values() for each in _templates(report, step)]
    if not found:
        return
    from orchestrator.recipe_values import Names, check_template  # loads Jinja2

    inputs = report.document.value.get("inputs", {})
    if any("depends_on" in step.broken for step in steps.values()):
        graph = None
    for step, path, text, shift in found:
        before, key = _Before(step, steps, graph, recipe), str(path[2])
        known = Names(
            inputs=_Anything() if "inputs" in recipe.broken else inputs,
            results=before,
            all_steps=steps,
            has_item=key != "foreach" and _repeats(step),
            remedy=before.remedy,
            looked_up=report.looked_up,
        )
        for problem in check_template(text, known, key=key):
            column = problem.column - (0 if problem.line_offset else shift)
            place = report.document.text_place(path, problem.line_offset, column)
            message = f"step {step.name!r}: {problem.message}"
            report.tell_at(place, message, problem.hint)


def _repeats(step: Step) -> bool:
    return step.foreach is not None or "foreach" in step.broken


def _templates(report: Report, step: Step) -> Iterator[tuple[Step, KeyPath, str, int]]:
    """Each template: its step, where it is, and it; and how far it was moved to the right."""
    success = step.success and step.success.model_dump()
    for key, whole in (
        *(("args", step.args), ("command", step.command)),
        *(("foreach", step.foreach), ("success", success)),
    ):
        waiting: list[tuple[KeyPath, Any]] = [((*step.path, key), whole)]
        while waiting:
            path, value = waiting.pop()
            if isinstance(value, dict):
                waiting.extend(((*path, name), each) for name, each in value.items())
            elif isinstance(value, list):
                waiting.extend(((*path, place), each) for place, each in enumerate(value))
            elif is_template(value):
                yield step, path, value, 0
    if isinstance(step.foreach, str) and not is_template(step.foreach):
        message = f"step {step.name!r}: foreach must be a list or a template, and is plain text"
        report.tell((*step.path, "foreach"), message, 'a template: "{{ ... }}"')
    if isinstance(step.when, str):
        path = (*step.path, "when")
        braces = "" if is_template(step.when) else "{{ "
        yield step, path, f"{braces}{step.when}{' }}' if braces else ''}", len(braces)


class _Anything:
    """Names, none of which is known."""

    def __contains__(self, name: object) -> bool:
        return True

    def __iter__(self) -> Iterator[str]:
        return iter(())


class _Before:
    """The steps whose results a step can name."""

    def __init__(
        self,
        step: Step,
        steps: Mapping[str, Step],
        graph: DependencyGraph | None,
        recipe: Recipe,
    ) -> None:
        self.step, self.steps, self.graph, self.recipe = step, steps, graph, recipe

    def __contains__(self, name: object) -> bool:
        other = self.steps.get(name) if isinstance(name, str) else None
        if other is None:  # it may be one that couldn't be read
            return "steps" in self.recipe.broken
        if self.graph is None:
            return True
        if self.step.finally_ and not other.finally_:
            return True
        return self.graph.depends(self.step.name, other.name)

    def __iter__(self) -> Iterator[str]:
        return (name for name in self.steps if name in self)

    def remedy(self, name: str) -> str:
        """What to do so that another step is done before; or why nothing will do."""
        if name == self.step.name:
            return "it is this step itself"
        if self.steps[name].finally_ and not self.step.finally_:
            return "it is a finally step, which comes last"
        if self._waits(name, self.step.name):
            return "it waits for this one"
        failing = [e.name for e in self.steps.values() if self._leads_here(e)]
        for each in failing:  # a step that is gone on at waits for nothing else
            if each == name or self._waits(name, each):
                return f"it waits for {each!r}, whose failure leads here"
        return f"add it to depends_on{f' of {failing[0]!r}' if failing else ''}: {name}"

    def _waits(self, step: str, other: str) -> bool:
        return self.graph is not None and self.graph.depends(step, other)

    def _leads_here(self, step: Step) -> bool:
        return self.recipe.error_target(step) == self.step.name
