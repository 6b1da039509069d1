"""What the steps of one run of a recipe share in a process."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

from octo_errors import RecipeError, did_you_mean
from octo_instance_dir import InstanceDir
from octo_lock_json import Groups
from octo_step_graph import item_of
from octo_step_hooks import StepResult
from orchestrator.context import Context
from orchestrator.recipe_modules import ModulePath
from orchestrator.recipe_pin import PinnedRecipe
from orchestrator.recipe_secrets import Masker


class Nest(Protocol):
    """Runs the recipes that steps, or items of steps, name."""

    def begin(self, outer: RunEnvironment, node: str) -> None:
        """Put a run that has succeeded away: the step is to be performed anew."""
        ...

    def run(self, outer: RunEnvironment, node: str, args: Mapping[str, Any]) -> StepResult:
        """Run the recipe with these inputs, or go on with its run."""
        ...

    def make_safe(self, outer: RunEnvironment, node: str) -> None:
        """Make safe what is armed in the recipe's run."""
        ...


@dataclass
class RunEnvironment:
    """What the steps of one run share in a process.

    Attributes:
        instance: The directory of the instance.
        working_directory: Where the run was started; steps run there.
        pinned: The recipe.
        inputs: The values of the recipe's inputs, secret ones included; they stay in memory.
        hidden: Further secrets: those of a recipe that nests this one.
        own_process: A step has this process for itself while it runs.
        verbose: Passed to the nodes of libraries.
        nest: Runs the recipe that a step names; in worker processes only.
    """

    instance: Path
    working_directory: Path
    pinned: PinnedRecipe
    inputs: Mapping[str, Any] = field(repr=False, default_factory=dict)
    hidden: Sequence[Any] = field(repr=False, default=())
    own_process: bool = False
    verbose: bool = False
    nest: Nest | None = None
    _loaded: dict[tuple[str, str], Any] = field(init=False, repr=False, default_factory=dict)
    _loading: dict[tuple[str, str], threading.Lock] = field(
        init=False, repr=False, default_factory=dict
    )

    @property
    def compiled(self) -> Mapping[str, Any]:
        """The compiled recipe."""
        return self.pinned.compiled

    def place_of(self, node: str) -> tuple[str, int | None]:
        """The step that a node is, and for which of its items, if it is for one.

        Raises:
            RecipeError: The recipe has no such step.
        """
        steps = self.compiled["steps"]
        name, number = (node, None) if node in steps else item_of(node)
        if name not in steps:
            raise RecipeError(f"the recipe has no step {node!r}", hint=did_you_mean(node, steps))
        return name, number

    @cached_property
    def secrets(self) -> list[Any]:
        """The values that must not be seen."""
        specs = self.compiled["inputs"]
        own = [each for name, each in self.inputs.items() if specs.get(name, {}).get("secret")]
        return [*own, *self.hidden]

    @cached_property
    def masker(self) -> Masker:
        """Masks secrets."""
        return Masker(self.secrets)

    @cached_property
    def context(self) -> Context:
        """The context of the instance."""
        return Context(self.instance, clean=self.masker.mask_value if self.masker else None)

    @cached_property
    def recipe(self) -> dict[str, str]:
        """What templates see as `recipe`."""
        return {
            "name": self.compiled["name"],
            "directory": str(Path(self.compiled["source"]).parent),
        }

    def load(self, module: str, function: str) -> Any:
        """What a step calls; loaded once, also where many threads ask for it at the same time.

        Raises:
            RecipeError: There is no such thing.
        """
        wanted = (module, function)
        if wanted not in self._loaded:
            with self._loading.setdefault(wanted, threading.Lock()):
                if wanted not in self._loaded:
                    self._loaded[wanted] = self._modules.load(module, function)
        return self._loaded[wanted]

    def keep(self, given: Mapping[str, Mapping[str, Any]]) -> None:
        """Put values into groups of the parameter file."""
        if not given:
            return
        with self._directory.parameters.transaction() as groups:
            for group, values in given.items():
                groups.setdefault(group, {}).update(values)

    def look(self) -> Groups:
        """The parameter file as it is now."""
        return self._directory.parameters.look()

    @cached_property
    def _directory(self) -> InstanceDir:
        return InstanceDir(self.instance)

    @cached_property
    def _modules(self) -> ModulePath:
        return ModulePath(Path(self.recipe["directory"]), self.working_directory)
