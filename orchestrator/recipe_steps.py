"""The objects that perform the steps of a recipe: the engine calls their hooks.

A step's templates are rendered just before it begins, so they see what was kept until then. What
its code returns is kept where JSON can hold it; what it raises is told with a traceback that begins
in that code. Where the recipe has secrets, results, errors, the context and the output are masked.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any, Final

from octo_errors import RecipeError
from octo_json_strict import JsonValueError, dump_value
from octo_lock_json import Groups
from octo_parameter_schema import ITEMS_KEY, RESULT_KEY
from octo_step_hooks import HookResult, StepFailure, StepRests, StepResult, perform
from octo_step_lib import load_node, make_node
from orchestrator.context import Context
from orchestrator.recipe_document import is_template
from orchestrator.recipe_environment import Nest, RunEnvironment
from orchestrator.recipe_output import masked_output
from orchestrator.recipe_shell import run_command
from scriptlets.lifecycle import ScriptletFailed, call_target
from scriptlets.outcomes import error_text, users_traceback, why_not_kept
from scriptlets.resources import Usage

_ITEM: Final = re.compile(r"\b(item|index)\b")


def make_step(environment: RunEnvironment, node: str) -> RecipeStep:
    """The object of a step, or of one of its items (`STEP[3]`).

    Raises:
        RecipeError: The recipe has no such step.
    """
    name, number = environment.place_of(node)
    task = environment.compiled["steps"][name]
    kinds = {"step_node": LibraryStep, "recipe": NestedStep}
    return kinds.get(task["type"], RecipeStep)(environment, name, task, number)


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
        self._fixed = not any(map(_has_template, map(task.get, ("args", "command", "success"))))
        when = task.get("when", True)
        self._when_of_item = "foreach" in task and bool(_ITEM.search(str(when)))

    # --- hooks ---

    def step_items(self) -> list[Any]:
        """The items that the step is performed for; none where its `when` is false.

        Raises:
            StepFailure: They can't be told.
        """
        with self._telling():
            variables = self._variables()
            if not self._when_of_item and not self._is_true_now(variables):
                return []
            items = self._rendered_items(variables)
            masked = self._environment.masker.mask_value(items)
        return list(masked)

    def step_execute(self) -> StepResult:
        """Do what the step says.

        Raises:
            StepFailure: It failed.
        """
        usage = Usage(self._environment.own_process)
        with self._telling(usage):
            variables = self._variables() if self._needs_variables() else {}
            if not self._is_wanted(variables):
                return StepResult(skipped=True)
            result = self._perform(variables)
            self._check_success(variables)
            result.facts = {**usage.facts(), **result.facts}
            return self._kept(result)

    def _telling(self, usage: Usage | None = None) -> _Telling:
        return _Telling(self._environment, self._task["line"], usage)

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
        items = _render(self._task["foreach"], variables)
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
        decided = self._number is not None and not self._when_of_item  # when the items were made
        return decided or self._is_true_now(variables)

    def _is_true_now(self, variables: Mapping[str, Any]) -> bool:
        when = self._task.get("when", True)
        if isinstance(when, bool):
            return when
        from orchestrator.recipe_values import is_true  # loads Jinja2

        return is_true(when, variables)

    # --- doing it ---

    def _perform(self, variables: Mapping[str, Any]) -> StepResult:
        kind = self._task["type"]
        args = self._rendered("args", variables)
        if kind == "python":
            return StepResult(self._call(args))
        assert kind == "shell"
        return self._run_command(self._rendered("command", variables), args or {})

    def _rendered(self, key: str, variables: Mapping[str, Any]) -> Any:
        value = self._task.get(key)
        return value if self._fixed else _render(value, variables)

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
        elif not isinstance(command, str):
            what = f"{type(command).__name__}: {command!r:.80}"
            raise ScriptletFailed(f"command must be a text or a list, and is {what}")
        if not command:
            raise ScriptletFailed("command is empty")
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
        if result.value is None:
            return result
        if reason := why_not_kept(result.value):
            result.facts["result_not_kept"], result.value = reason, None
        else:
            result.value = self._environment.masker.mask_value(result.value)
        return result


class NestedStep(RecipeStep):
    """A step that is a recipe; the engine calls it in a worker process."""

    def step_entry(self) -> None:
        """Begin anew what has succeeded; what has not is gone on with."""
        with self._telling():
            self._nest.begin(self._environment, self.name)

    def step_make_safe(self) -> None:
        """Make safe what the steps of the recipe control."""
        with self._telling():
            self._nest.make_safe(self._environment, self.name)

    def _perform(self, variables: Mapping[str, Any]) -> StepResult:
        args = self._rendered("args", variables) or {}
        return self._nest.run(self._environment, self.name, args)

    @property
    def _nest(self) -> Nest:
        assert self._environment.nest is not None
        return self._environment.nest


class LibraryStep(RecipeStep):
    """A step that is a node of a step library: the engine calls the hooks that the node has.

    Its `args` are put into the parameter file before its first hook: into the group of the step,
    and into the one that is called as the node. What the recipe says goes before what the node
    says: its `step_advance` is not asked.
    """

    _wanted: bool | None = None
    """Whether its `when` is true; None: not known yet."""

    def step_entry(self) -> None:
        """Prepare the step, unless its `when` is false."""
        self._wanted = None
        with self._telling():
            if self._is_performed():
                self._give_args(self._variables())
                self._call_node("step_entry")

    def step_exit(self) -> None:
        """Leave the step, if it was performed."""
        with self._telling():
            if self._is_performed():
                self._call_node("step_exit")

    def step_probe(self) -> str | None:
        """Ask the node whether it had done its work when it was interrupted."""
        with self._telling():
            return self._call_node("step_probe").answer

    def step_make_safe(self) -> None:
        """Make safe what the node controls."""
        with self._telling():
            self._call_node("step_make_safe")

    def _perform(self, variables: Mapping[str, Any]) -> StepResult:
        if "step_entry" not in self._task["hooks"]:
            self._give_args(variables or self._variables())
        if "step_execute" not in self._task["hooks"]:
            return StepResult()
        result = self._call_node("step_execute")
        return StepResult(result.output, result.skipped, result.facts)

    def _is_performed(self) -> bool:
        """Whether its `when` is true: found out once, for all hooks."""
        if self._wanted is None:
            self._wanted = self._is_wanted(self._variables())
        return self._wanted

    def _give_args(self, variables: Mapping[str, Any]) -> None:
        args = self._environment.masker.mask_value(self._rendered("args", variables)) or {}
        given = dict.fromkeys([self.name, self._task["function"]], args)
        if self._number is not None:  # an item has a group of its own, too
            declared = self._task["init"].get(self._step, {})
            there = self._environment.look().get(self.name, {})
            given[self.name] = {**declared, **there, **args}
        self._environment.keep({group: values for group, values in given.items() if values})

    def _call_node(self, hook: str) -> HookResult:
        result = perform(self._node, self.name, hook)
        if result.interrupted:
            raise KeyboardInterrupt
        if result.error is not None:
            raise StepFailure(result.error, result.traceback, result.facts)
        return result

    @cached_property
    def _node(self) -> object:
        task = self._task
        made = load_node(task["library"], task["node_module"], task["function"])
        return make_node(made, self.name, self._environment.verbose)


class _Telling:
    """Masks what is written in its block, and turns what is raised there into a StepFailure.

    Ctrl-C goes through, and that the step rests.

    Args:
        line: Where the step is in the recipe: told of what is wrong with the recipe itself.
    """

    def __init__(self, environment: RunEnvironment, line: int, usage: Usage | None) -> None:
        self._environment = environment
        self._line = line
        self._usage = usage
        self._output = masked_output(environment.masker, own_process=environment.own_process)

    def __enter__(self) -> None:
        self._output.__enter__()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._output.__exit__(kind, error, trace)
        if error is None or isinstance(error, KeyboardInterrupt | StepRests):
            return
        facts = self._usage.facts() if self._usage is not None else {}
        if isinstance(error, StepFailure):  # told already
            text, lines, facts = str(error), error.traceback, {**facts, **error.facts}
        elif isinstance(error, RecipeError):
            source = self._environment.compiled["source"]
            told = f"{error.message} (the step is in {source}:{self._line})"
            text, lines = str(RecipeError(told, hint=error.hint)), ""
        else:
            text, lines = error_text(error), users_traceback(error, trace)
        mask = self._environment.masker.mask_text
        raise StepFailure(mask(text), mask(lines), facts) from None


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


def _render(value: Any, variables: Mapping[str, Any]) -> Any:
    if not _has_template(value):
        return value
    from orchestrator.recipe_values import render  # loads Jinja2

    return render(value, variables)


def _as_text(value: Any) -> str:
    """A value for a command line or the environment: texts as they are, others as JSON."""
    return value if isinstance(value, str) else "" if value is None else dump_value(value)


def _has_template(value: Any) -> bool:
    if isinstance(value, dict):
        return any(map(_has_template, value.values()))
    if isinstance(value, list | tuple):
        return any(map(_has_template, value))
    return is_template(value)
