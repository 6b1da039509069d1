"""A recipe -> what the engine runs: node and arrow graph dicts, and what each step does.

The compiled recipe is plain data that JSON can hold. It is kept in the instance, so that a run
doesn't change when the recipe's file does.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from octo_step_declaration import NodeDeclaration
from orchestrator.recipe_check import CheckedRecipe, check_recipe
from orchestrator.recipe_document import recipe_error
from orchestrator.recipe_model import Recipe, Step

__all__ = ["FORMAT", "compile_checked", "compile_recipe"]

FORMAT = 1
"""Of what `compile_recipe` returns."""

_POLICY = {
    "timeout": "timeout_seconds",
    "retries": "max_retries",
    "retry_delay": "retry_delay_seconds",
    "retry_backoff": "retry_backoff_factor",
    "retry_jitter": "retry_jitter_factor",
    "on_interrupt": "on_interrupt",
}
"""Keys that a step has or else the recipe's defaults, and those of the node."""

_OF_LIBRARY_NODE = (*_POLICY.values(), "skip_step_node_execute_bool")
"""What a node of a library says of itself, where the recipe says nothing."""


def compile_recipe(path: str | Path, working_directory: str | Path = ".") -> dict[str, Any]:
    """Compile a recipe.

    Args:
        working_directory: Where the recipe's modules are looked for after its own directory.

    Returns:
        format, name, description, version, source (absolute path), source_sha256, inputs,
        defaults, sources (each file that was read -> SHA-256), and by step, in the order in which
        a serial run performs them: step_node_graph_dict, step_arrow_graph_dict, steps.

    Raises:
        RecipeError: Something is wrong with it; tells all of it, with places.
    """
    checked = check_recipe(path, working_directory)
    if checked.problems:
        raise recipe_error(checked.problems)
    return compile_checked(checked)


def compile_checked(checked: CheckedRecipe) -> dict[str, Any]:
    """Compile a recipe in which no problem was found."""
    assert checked.recipe is not None
    return _Compiler(checked, checked.recipe).compiled()


class _Compiler:
    def __init__(self, checked: CheckedRecipe, recipe: Recipe) -> None:
        self.checked, self.recipe = checked, recipe
        steps = {step.name: step for step in recipe.steps}
        self.steps = {name: steps[name] for name in checked.order}
        self.targets = {name: recipe.error_target(step) for name, step in self.steps.items()}
        self.fallbacks = set(filter(None, self.targets.values()))

    def compiled(self) -> dict[str, Any]:
        about = self.recipe.metadata or self.recipe.test_meta
        source = self.checked.source
        return {
            "format": FORMAT,
            "name": self.checked.name,
            "description": (about and about.description) or "",
            "version": (about and about.version) or "",
            "source": str(source.path),
            "source_sha256": source.sha256,
            "step_node_graph_dict": {name: self._node(step) for name, step in self.steps.items()},
            "step_arrow_graph_dict": self._arrows(),
            "steps": {name: self._task(step) for name, step in self.steps.items()},
            "inputs": {
                name: {"type": spec.type, **spec.model_dump(exclude_unset=True)}
                for name, spec in self.recipe.inputs.items()
            },
            "defaults": self.recipe.defaults.model_dump(exclude_unset=True),
            "sources": {path: each.sha256 for path, each in self.checked.sources().items()},
        }

    def _node(self, step: Step) -> dict[str, Any]:
        """The step's node; only the keys whose values are not the default."""
        sources = len(dict.fromkeys(step.depends_on))
        starts = not (sources or step.finally_ or step.name in self.fallbacks)
        target = self.targets[step.name]
        found = {
            "module_name_string": self._module(step),
            "node_step_name_string": step.name,
            "dg_node_attr_dict": {"label": step.name},
            "first_node_step_bool": int(starts),
            "active_node_step_bool": None if step.enabled else 0,
            **self._policy(step),
            # A node works in the instance's directory, and a nested recipe has an engine.
            "own_process_bool": 1 if step.type in ("step_node", "recipe") else None,
            "join_all_bool": 1 if sources > 1 else None,
            "error_arrow_key": "on_error" if target else None,
            "continue_on_error_bool": 1 if self._goes_on(step) else None,
            "finally_bool": 1 if step.finally_ else None,
            "foreach_limit": step.foreach_limit,
        }
        return {key: value for key, value in found.items() if value is not None}

    def _policy(self, step: Step) -> dict[str, Any]:
        chosen: dict[str, Any] = {}
        declared = self.checked.nodes[step.name][1].graph_dict if step.type == "step_node" else {}
        for part in (self.recipe.defaults, step):
            if part.max_retries is not None:
                chosen["retries"] = part.max_retries
            chosen |= part.model_dump(include=set(_POLICY), exclude_none=True)
        own = {key: declared[key] for key in _OF_LIBRARY_NODE if key in declared}
        said = {key: chosen[name] for name, key in _POLICY.items() if name in chosen}
        return own | said

    def _goes_on(self, step: Step) -> bool:
        chosen = self.recipe.defaults.on_error if step.on_error is None else step.on_error
        return chosen == "continue"

    def _module(self, step: Step) -> str:
        if step.type == "step_node":
            return self.checked.nodes[step.name][1].module
        return step.module or step.type

    def _arrows(self) -> dict[str, dict[str, Any]]:
        """Each step's arrows: to what waits for it, and to where it goes when it fails."""
        arrows: dict[str, dict[str, Any]] = {name: {} for name in self.steps}
        for name, step in self.steps.items():
            for source in dict.fromkeys(step.depends_on):
                arrows[source][f"to_{name}"] = self._arrow(step)
        for name, target in self.targets.items():
            if target is not None:
                arrows[name]["on_error"] = self._arrow(self.steps[target])
        return arrows

    def _arrow(self, target: Step) -> dict[str, Any]:
        return {
            "module_name_string": self._module(target),
            "arrow_step_name_string": target.name,
            "dg_edge_attr_dict": {},
            "active_arrow_step_bool": 1,
        }

    def _task(self, step: Step) -> dict[str, Any]:
        """What the step does."""
        task: dict[str, Any] = {"type": step.type}
        keys = ("module", "function", "command", "args", "when", "foreach", "description")
        task |= {key: value for key in keys if (value := getattr(step, key)) is not None}
        if step.success is not None:
            task["success"] = step.success.model_dump(exclude_unset=True)
        if step.type == "shell" and isinstance(step.args, dict) and "command" in step.args:
            task["args"] = dict(step.args)
            task["command"] = task["args"].pop("command")
        if step.type == "recipe":
            nested = self.checked.nested[step.name]
            task["recipe"] = str(nested.source.path)
            if nested.makes_safe:
                task["hooks"] = ["step_make_safe"]
        if step.type == "step_node":
            library, node = self.checked.nodes[step.name]
            # The recipe says what comes next: the node isn't asked.
            task["hooks"] = sorted(node.hooks - {"step_advance"})
            task |= {"library": str(library), "node_module": node.module}
            task["init"] = _groups(step.name, node)
        task["line"] = self.checked.source.document.place(step.path).line
        return task


def _groups(step: str, node: NodeDeclaration) -> dict[str, dict[str, Any]]:
    """The groups and keys that a node wants in the parameter file.

    Its own group is there twice: as the node names it, for one that spells that out, and as the
    step is named, for one that says `self.name`.
    """
    groups: dict[str, dict[str, Any]] = {}
    for init in (node.params_init, node.results_init):
        for group, values in init.items():
            for name in {group, step} if group == node.name else {group}:
                groups.setdefault(name, {}).update(values)
    return groups
