"""The objects that perform the steps of a recipe: the engine calls their hooks.

A step's templates are rendered just before it begins, so they see what was kept until then. What
its code returns is kept where JSON can hold it; what it raises is told with a traceback that begins
in that code. Where the recipe has secrets, results, errors, the context and the output are masked.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any, Final

from octo_errors import RecipeError
from octo_instance_dir import InstanceDir
from octo_json_strict import JsonValueError, dump_value
from octo_lock_json import Groups
from octo_parameter_schema import ITEMS_KEY, RESULT_KEY
from octo_step_graph import item_of
from octo_step_hooks import StepFailure, StepResult
from orchestrator.context import Context
from orchestrator.recipe_modules import ModulePath
from orchestrator.recipe_secrets import Masker, masked_output
from orchestrator.recipe_shell import run_command
from orchestrator.recipe_values import is_true, render
from scriptlets.lifecycle import ScriptletFailed, call_target
from scriptlets.outcomes import error_text, users_traceback, why_not_kept
from scriptlets.resources import Usage, has_own_process

_ITEM: Final = re.compile(r"\b(item|index)\b")


@dataclass
class RunEnvironment:
    """What the steps of one run share in a process.

    Attributes:
        instance: The directory of the instance.
        working_directory: Where the run was started; steps run there.
        compiled: The compiled recipe.
        inputs: The values of the recipe's inputs, secret ones included; they stay in memory.
        own_process: A step has this process for itself while it runs.
    """

    instance: Path
    working_directory: Path
    compiled: Mapping[str, Any]
    inputs: Mapping[str, Any] = field(repr=False, default_factory=dict)
    own_process: bool = field(default_factory=has_own_process)

    def make(self, node: str) -> RecipeStep:
        """The object of a step, or of one of its items (`STEP[3]`).

        Raises:
            RecipeError: The recipe has no such step.
        """
        steps = self.compiled["steps"]
        if node in steps:
            return RecipeStep(self, node, steps[node])
        name, number = item_of(node)
        if name not in steps:
            raise RecipeError(f"the recipe has no step {node!r}", hint="compile it anew")
        return RecipeStep(self, name, steps[name], number)

    @cached_property
    def masker(self) -> Masker:
        """Masks the values of secret inputs."""
        specs = self.compiled.get("inputs", {})
        return Masker(
            value for name, value in self.inputs.items() if specs.get(name, {}).get("secret")
        )

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
        """What a step calls; loaded once.

        Raises:
            RecipeError: There is no such thing.
        """
        found = self._loaded.get((module, function))
        if found is None:
            found = self._loaded[module, function] = self._modules.load(module, function)
        return found

    def look(self) -> Groups:
        """The parameter file as it is now."""
        return self._directory.parameters.look()

    @cached_property
    def _directory(self) -> InstanceDir:
        return InstanceDir(self.instance)

    @cached_property
    def _modules(self) -> ModulePath:
        return ModulePath(Path(self.recipe["directory"]), self.working_directory)

    @cached_property
    def _loaded(self) -> dict[tuple[str, str], Any]:
        return {}


class RecipeStep:
    """One step, or one item of a step that is performed for each item of a list.

    Args:
        environment: What it shares with the other steps.
        name: Its name in the recipe.
        task: What it does, as the compiled recipe says.
        number: Which item it is for, from 0; None: it is no item.
    """

    def __init__(
        self,
        environment: RunEnvironment,
        name: str,
        task: Mapping[str, Any],
        number: int | None = None,
    ) -> None:
        self.name = name if number is None else f"{name}[{number}]"
        self._environment = environment
        self._step = name
        self._task = task
        self._number = number
        self._fixed = not _has_template([task.get(key) for key in ("args", "command", "success")])
        when = task.get("when", True)
        self._when_of_item = "foreach" in task and bool(_ITEM.search(str(when)))

    # --- hooks ---

    def step_items(self) -> list[Any]:
        """The items that the step is performed for; none where its `when` is false.

        Raises:
            StepFailure: They can't be told.
        """
        with _Telling(self._environment):
            if not self._when_of_item and not self._is_wanted(self._variables()):
                return []
            items = self._rendered_items(self._variables())
            masked = self._environment.masker.mask_value(items)
        return list(masked)

    def step_execute(self) -> StepResult:
        """Do what the step says.

        Raises:
            StepFailure: It failed.
        """
        environment = self._environment
        usage = Usage(environment.own_process)
        with _Telling(environment, usage):
            output = masked_output(environment.masker, own_process=environment.own_process)
            with output if environment.masker else nullcontext():
                variables = self._variables() if self._needs_variables() else {}
                parent_decided = self._number is not None and not self._when_of_item
                if not parent_decided and not self._is_wanted(variables):
                    return StepResult(skipped=True)
                result = self._perform(variables)
                self._check_success(variables)
            result.facts = {**usage.facts(), **result.facts}
            return self._kept(result)
        raise AssertionError  # for type checkers: the block above swallows nothing

    # --- what the step is for ---

    def _needs_variables(self) -> bool:
        return not self._fixed or not isinstance(self._task.get("when", True), bool)

    def _variables(self) -> dict[str, Any]:
        """What templates may name; what takes a look into a file is looked up when it is named."""
        environment = self._environment
        variables: dict[str, Any] = {
            "inputs": environment.inputs,
            "results": _Lookup(self._results),
            "context": _Lookup(environment.context.to_dict),
            "env": _Lookup(lambda: os.environ),
            "recipe": environment.recipe,
        }
        if self._number is not None:
            variables.update(item=self._item(variables), index=self._number)
        return variables

    def _results(self) -> Mapping[str, Any]:
        return _Results(self._environment.look(), self._environment.compiled["steps"])

    def _item(self, variables: Mapping[str, Any]) -> Any:
        """The item: as it was when the list was made, but for what is masked in the file."""
        assert self._number is not None
        kept = self._environment.look()[self._step][ITEMS_KEY][self._number]
        masker = self._environment.masker
        if masker:
            now = self._rendered_items(variables)[self._number : self._number + 1]
            if masker.mask_value(now) == [kept]:
                return now[0]
        return kept

    def _rendered_items(self, variables: Mapping[str, Any]) -> list[Any]:
        items = render(self._task["foreach"], variables)
        if not isinstance(items, list | tuple | range):
            raise RecipeError(
                f"foreach must be a list, and is {type(items).__name__}: {items!r:.80}",
                hint="as foreach: [a, b], or a template that yields a list",
            )
        try:
            dump_value(list(items))
        except JsonValueError as error:
            raise RecipeError(
                f"foreach: JSON can't hold its items: {error.reason}",
                hint="turn them into texts, numbers, lists and mappings",
            ) from error
        return list(items)

    def _is_wanted(self, variables: Mapping[str, Any]) -> bool:
        when = self._task.get("when", True)
        return when if isinstance(when, bool) else is_true(when, variables)

    # --- doing it ---

    def _perform(self, variables: Mapping[str, Any]) -> StepResult:
        kind = self._task["type"]
        args = self._rendered("args", variables)
        if kind == "python":
            return StepResult(self._call(args))
        if kind == "shell":
            return self._run_command(self._rendered("command", variables), args or {})
        from orchestrator.recipe_instance import run_nested

        nested: StepResult = run_nested(self._environment, self.name, args or {})
        return nested

    def _rendered(self, key: str, variables: Mapping[str, Any]) -> Any:
        value = self._task.get(key)
        return value if self._fixed else render(value, variables)

    def _call(self, args: Any) -> Any:
        """Call the step's function, or run its scriptlet."""
        target = self._environment.load(self._task["module"], self._task["function"])
        return call_target(target, self._context, args)

    @property
    def _context(self) -> Context:
        return self._environment.context.named(self.name)

    def _run_command(self, command: Any, args: Mapping[str, Any]) -> StepResult:
        if isinstance(command, list):
            command = [_as_text(each) for each in command]
        environment = {
            **os.environ,
            "OCTO_STEP_INSTANCE": str(self._environment.instance),
            "OCTO_STEP": self.name,
            **{name: _as_text(value) for name, value in (args.get("env") or {}).items()},
        }
        directory = args.get("directory")
        ended = run_command(
            command,
            environment=environment,
            directory=None if directory is None else str(directory),
            own_process=self._environment.own_process,
        )
        if ended.exit_code:
            raise ScriptletFailed(f"exit code {ended.exit_code}")
        return StepResult({"exit_code": 0, "stdout": ended.stdout}, facts=ended.facts)

    def _check_success(self, variables: Mapping[str, Any]) -> None:
        """Do nothing if what the step was to leave behind is there."""
        wanted = self._task.get("success")
        if not wanted:
            return
        wanted = self._rendered("success", variables)
        problems = []
        if keys := wanted.get("ctx_has_keys"):
            there = self._context.to_dict()
            problems += [f"the context has no key {key!r}" for key in keys if key not in there]
        files = map(str, wanted.get("files_exist") or ())
        problems += [f"there is no file {file}" for file in files if not Path(file).exists()]
        if problems:
            raise ScriptletFailed(f"did its work, but {', '.join(problems)}")

    def _kept(self, result: StepResult) -> StepResult:
        """The result as it can be kept; what can't be is told, and no failure."""
        if reason := why_not_kept(result.value):
            result.facts["result_not_kept"], result.value = reason, None
        elif result.value is not None:
            result.value = self._environment.masker.mask_value(result.value)
        return result


class _Telling:
    """Turns what is raised in its block into a StepFailure, masked; Ctrl-C alone goes through."""

    def __init__(self, environment: RunEnvironment, usage: Usage | None = None) -> None:
        self._environment = environment
        self._usage = usage

    def __enter__(self) -> None:
        pass

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is None or isinstance(error, KeyboardInterrupt):
            return
        masker = self._environment.masker
        facts = self._usage.facts() if self._usage is not None else {}
        raise StepFailure(
            masker.mask_text(error_text(error)),
            masker.mask_text(users_traceback(error, trace)),
            facts,
        ) from None


class _Lookup(Mapping[str, Any]):
    """A mapping that is made when it is first looked into."""

    def __init__(self, load: Callable[[], Mapping[str, Any]]) -> None:
        self._load = load

    @cached_property
    def _values(self) -> Mapping[str, Any]:
        return self._load()

    def __getitem__(self, key: str) -> Any:
        return self._values[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)


class _Results(Mapping[str, Any]):
    """What the steps returned; None for one that returned nothing, or has not run."""

    def __init__(self, groups: Groups, steps: Mapping[str, Any]) -> None:
        self._groups = groups
        self._steps = steps

    def __getitem__(self, key: str) -> Any:
        if key not in self._steps:
            raise KeyError(key)
        return self._groups.get(key, {}).get(RESULT_KEY)

    def __iter__(self) -> Iterator[str]:
        return iter(self._steps)

    def __len__(self) -> int:
        return len(self._steps)


def _as_text(value: Any) -> str:
    """A value for a command line or the environment: texts as they are, others as JSON."""
    return value if isinstance(value, str) else "" if value is None else dump_value(value)


def _has_template(value: Any) -> bool:
    if isinstance(value, str):
        return "{{" in value or "{%" in value
    if isinstance(value, dict):
        return any(map(_has_template, value)) or any(map(_has_template, value.values()))
    return isinstance(value, list | tuple) and any(map(_has_template, value))
