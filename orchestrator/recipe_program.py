"""A recipe as the engine runs it: its graph, and where the objects of its steps come from.

An instance keeps the recipe that it was made of (see `recipe_pin`), and in its parameter file:

    recipe    its name and file, where the run was started, the name of the file with the compiled
              recipe, the choices of the run, which inputs are secret, and which of the steps that
              are left out are done, or how far
    inputs    their values; `***` where the value is secret

Secret values are in memory alone: whoever goes on with a run has to give them again, unless they
come from the environment.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Mapping, MutableMapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from octo_errors import InstanceError, OctoError, UsageError
from octo_graph_checks import dependency_graph
from octo_instance_dir import InstanceDir, runner_of
from octo_parameter_schema import GLOBAL_GROUP, PROGRAM_KEY
from octo_step_graph import StepGraph, item_of
from octo_step_hooks import NodeSource
from octo_step_lib import Problem
from octo_step_output import file_stem
from octo_step_record import bits_in, group_in
from octo_step_states import Token
from octo_typed_commands import resume_command
from orchestrator.recipe_choices import Choices
from orchestrator.recipe_environment import RunEnvironment
from orchestrator.recipe_inputs import required, resolve_inputs
from orchestrator.recipe_pin import PinnedRecipe, read_pin
from orchestrator.recipe_secrets import MASK
from orchestrator.recipe_steps import RecipeStep, make_step
from orchestrator.search_path import ROOTS

EXECUTOR: Final = "threads"
"""Where steps run, unless the recipe or the user says otherwise."""
RECIPE_GROUP: Final = "recipe"
LEFT_OUT_KEY: Final = "left_out_done_bits"
"""In the group of the recipe: of the steps that the run leaves out now, those that are done, as
`run_progress` has them. (A list of names would be written again at each step.)"""
LEFT_OUT_ITEMS_KEY: Final = "left_out_items"
"""There, too: of those that are begun and not done, for how many items, and which are done."""
INPUTS_GROUP: Final = "inputs"

WORKER_MODULE: Final = "orchestrator.recipe_worker"
"""It stands on this one, and is imported by name."""


@dataclass(frozen=True)
class Inputs:
    """The inputs of a run.

    Attributes:
        values: By name; those of secret ones that are not known here are missing.
        hidden: Further secrets: those of a recipe that nests this one.
        missing: The names of secret inputs whose values are not known here.
    """

    values: Mapping[str, Any] = field(repr=False, default_factory=dict)
    hidden: Sequence[Any] = field(repr=False, default=())
    missing: tuple[str, ...] = ()


class RecipeProgram:
    """What an instance of a recipe runs.

    Args:
        instance: The directory of the instance, which need not exist yet.
        working_directory: Where the run was started; steps run there.

    Raises:
        UsageError: The choices name no step, or leave none.
    """

    def __init__(
        self,
        pinned: PinnedRecipe,
        inputs: Inputs,
        choices: Choices,
        *,
        instance: Path,
        working_directory: Path,
        verbose: bool = False,
    ) -> None:
        self.instance = instance
        self.pinned, self.inputs, self.choices = pinned, inputs, choices
        self.compiled = choices.apply(pinned.compiled)
        self.directory = working_directory
        self.warnings: list[Problem] = []
        defaults = self.compiled["defaults"]
        self.executor: str = defaults.get("executor", EXECUTOR)
        self.workers: int | None = defaults.get("workers")
        environment = RunEnvironment(
            instance, working_directory, pinned, inputs.values, inputs.hidden, verbose=verbose
        )
        self.masker, self.verbose = environment.masker, verbose
        self.source: NodeSource = RecipeSource(environment)
        if self.described()[RECIPE_GROUP]["secret_inputs"]:
            self.compiled = _isolated(self.compiled)
        self.graph = recipe_graph(self.compiled)
        tasks = self.compiled["steps"].items()
        self._nested = {name for name, task in tasks if task["type"] == "recipe"}

    # --- what the engine asks ---

    def identify(self, data: MutableMapping[str, Any]) -> None:
        """Put into the parameter file what `load_program` has to know."""
        data[GLOBAL_GROUP][PROGRAM_KEY] = "recipe"
        data.update(self.described())

    def add_missing(self, data: MutableMapping[str, Any]) -> None:
        """Add the groups and keys that nodes of libraries want there, where missing."""
        for task in self.compiled["steps"].values():
            for group, values in task.get("init", {}).items():
                present = data.setdefault(group, {})
                for key, value in values.items():
                    present.setdefault(key, value)

    def pin(self, instance: Path) -> None:
        """Remember in the directory `instance` what the run is made of."""
        self.pinned.keep(instance)
        self.pinned.keep_code(instance, self.directory)

    def changes(self, instance: Path) -> list[str]:
        """The files that are not as they were when the run was made of them."""
        return [*self.pinned.changed_sources(), *self.pinned.changed_code(instance, self.directory)]

    def require_ready(self) -> None:
        """Do nothing if the values of all inputs are known.

        Raises:
            UsageError: Those of secret ones are not.
        """
        if missing := self.inputs.missing:
            specs = self.compiled["inputs"]
            variables = [specs[name]["env"] for name in missing if specs[name].get("env")]
            values = [word for name in missing for word in ("--set", f"{name}=...")]
            ways = [
                *(f"set {each} before" for each in variables),
                f"give them in a file: {resume_command(self.instance, '--inputs', 'FILE')}",
                f"where others may see them: {resume_command(self.instance, *values)}",
            ]
            raise UsageError(
                f"secret inputs are kept nowhere, and needed again: {', '.join(missing)}",
                hint="\nor ".join(ways),
            )

    def heed_requests(self, nodes: Collection[str]) -> bool:
        """Whether a recipe that is a step of this one is at work."""
        return bool(self._nested) and any(map(self._is_nested, nodes))

    def pass_on(self, request: str, nodes: Collection[str]) -> None:
        """Ask the recipes to rest, or to end, that are steps of this one, and are at work."""
        for node in filter(self._is_nested, nodes):
            _ask_all(nested_instance(self.instance, node), request)

    def _is_nested(self, node: str) -> bool:
        return node in self._nested or item_of(node)[0] in self._nested

    def described(self) -> dict[str, dict[str, Any]]:
        """The groups of the parameter file that say what is run."""
        specs, known = self.compiled["inputs"], self.inputs.values
        shown = {
            name: MASK if _is_hidden(specs.get(name, {}), value) else self.masker.mask_value(value)
            for name, value in known.items()
        }
        secret = [name for name, value in known.items() if shown[name] != value]
        about = {
            "name": self.compiled["name"],
            "file": self.compiled["source"],
            "working_directory": str(self.directory),
            "compiled": self.pinned.file_name,
            "choices": self.choices.given(),
            "secret_inputs": sorted([*secret, *self.inputs.missing]),
        }
        inputs = {**shown, **dict.fromkeys(self.inputs.missing, MASK)}
        return {RECIPE_GROUP: about, INPUTS_GROUP: inputs}


class RecipeSource:
    """Where the objects of a recipe's steps come from."""

    def __init__(self, environment: RunEnvironment) -> None:
        self._environment = environment

    def make(self, node: str) -> RecipeStep:
        """The object of a step, or of one of its items."""
        return make_step(self._environment, node)

    def directory(self, node: str) -> Path | None:
        """The instance's for the nodes of libraries, as in instances of libraries."""
        name, _ = self._environment.place_of(node)
        is_node = self._environment.compiled["steps"][name]["type"] == "step_node"
        return self._environment.instance if is_node else None

    def description(self) -> dict[str, Any]:
        """How a worker process makes its own; only a pipe sees it, since secrets are in it."""
        environment = self._environment
        arguments = {
            "instance": str(environment.instance),
            "compiled": environment.pinned.file_name,
            "working_directory": str(environment.working_directory),
            "inputs": dict(environment.inputs),
            "hidden": list(environment.hidden),
            "verbose": environment.verbose,
            "log_level": logging.getLogger().level,
        }
        return {
            "module": WORKER_MODULE,
            "class": "worker_source",
            "arguments": arguments,
            "path": list(ROOTS),
        }


def _isolated(compiled: dict[str, Any]) -> dict[str, Any]:
    """With a process for each Python step that inputs are passed to.

    There, all that it writes can be masked: in a thread, what C code and child processes write
    belongs to no step.
    """
    nodes = dict(compiled["step_node_graph_dict"])
    for name, task in compiled["steps"].items():
        if task["type"] == "python" and "inputs" in repr([task.get("args"), task.get("foreach")]):
            nodes[name] = {**nodes[name], "own_process_bool": 1}
    return {**compiled, "step_node_graph_dict": nodes}


def recipe_graph(compiled: Mapping[str, Any]) -> StepGraph:
    """The graph of a compiled recipe."""
    nodes, arrows = compiled["step_node_graph_dict"], compiled["step_arrow_graph_dict"]
    hooks = {name: _hooks(task) for name, task in compiled["steps"].items()}
    of_libraries = {name for name, task in compiled["steps"].items() if task["type"] == "step_node"}
    return dependency_graph(nodes, arrows, hooks, Path(compiled["source"]), of_libraries)


def _hooks(task: Mapping[str, Any]) -> set[str]:
    """The hooks that the engine calls of a step."""
    more = ["step_items"] if "foreach" in task else []
    more += ["step_entry"] if task["type"] == "recipe" else []
    return {"step_execute", *more, *task.get("hooks", [])}


def _is_hidden(spec: Mapping[str, Any], value: Any) -> bool:
    """Whether nobody may see the value of an input; null, of a secret, is that none was given."""
    return bool(spec.get("secret")) and value is not None


# --- of an instance -------------------------------------------------------------------------------

_KINDS_IN_GROUP: Final = {
    "name": str,
    "file": str,
    "working_directory": str,
    "compiled": str,
    "choices": dict,
    "secret_inputs": list,
}


def load_program(instance: InstanceDir, verbose: bool = False) -> RecipeProgram:
    """What an instance of a recipe runs, as it was pinned.

    Raises:
        InstanceError: What the instance keeps of its recipe can't be read.
    """
    groups = instance.parameters.read()
    about = _recipe_in(groups, instance.path)
    pinned = read_pin(instance.path, about["compiled"])
    try:
        choices = Choices.of(about["choices"])
    except TypeError:
        raise _edited(instance.path, "choices") from None
    return RecipeProgram(
        pinned,
        kept_inputs(pinned, groups.get(INPUTS_GROUP, {}), about["secret_inputs"]),
        choices,
        instance=instance.path,
        working_directory=Path(about["working_directory"]),
        verbose=verbose,
    )


def _ask_all(place: Path, request: str) -> None:
    """Ask a nested run for something, then those that are nested in it, for which it waits."""
    with suppress(OctoError), InstanceDir(place).parameters.transaction() as data:
        is_running = data[GLOBAL_GROUP]["step_engine_state"] == "RUNNING"
        if is_running and runner_of(place) is not None:  # else the next run would heed it
            data[GLOBAL_GROUP][request] = True
    for deeper in place.glob("nested/*"):
        _ask_all(deeper, request)


def nested_instance(outer: Path, node: str) -> Path:
    """Where the recipe runs that a step, or an item of one, of the instance `outer` is."""
    return outer / "nested" / file_stem(node)


def recipe_group(instance: InstanceDir) -> dict[str, Any]:
    """What the parameter file says of the recipe.

    Raises:
        InstanceError: It was made of something else, or what it says can't be so.
    """
    return _recipe_in(instance.parameters.read(), instance.path)


def _recipe_in(groups: Mapping[str, Any], place: Path) -> dict[str, Any]:
    if groups[GLOBAL_GROUP].get(PROGRAM_KEY) != "recipe":
        raise InstanceError(
            f"{place}: an instance of a step library, and of no recipe",
            hint="choose another directory with --instance DIR",
        )
    about: Any = groups.get(RECIPE_GROUP)
    for key, wanted in _KINDS_IN_GROUP.items():
        if not isinstance(about, dict) or not isinstance(about.get(key), wanted):
            raise _edited(place, key)
    for key, read in ((LEFT_OUT_KEY, left_out_bits), (LEFT_OUT_ITEMS_KEY, left_out_tokens)):
        try:
            read(about)
        except InstanceError:
            raise _edited(place, key) from None
    return dict(about)


def left_out_bits(about: Mapping[str, Any]) -> int:
    """The bits of the steps that are done and left out, as the group of the recipe has them."""
    return bits_in(about, RECIPE_GROUP, LEFT_OUT_KEY)


def left_out_tokens(about: Mapping[str, Any]) -> dict[str, Token]:
    """The steps that were left out when some of their items were done, to go on from there."""
    kept = group_in(about, LEFT_OUT_ITEMS_KEY)
    return {name: Token.from_dict(name, record) for name, record in kept.items()}


def _edited(place: Path, key: str) -> InstanceError:
    return InstanceError(
        f"{place}: {RECIPE_GROUP}.{key} is not what was written there",
        hint="put it right, or begin a new run of the recipe",
    )


def kept_inputs(pinned: PinnedRecipe, kept: Mapping[str, Any], secret: Iterable[str]) -> Inputs:
    """The inputs that an instance keeps; secret ones come from the environment, if they do."""
    specs = pinned.compiled["inputs"]
    values, missing = dict(kept), []
    for name in secret:
        values.pop(name, None)
        try:
            spec = required(specs[name]) if specs[name].get("secret") else specs[name]
            values |= resolve_inputs({name: spec}, [], [])
        except (KeyError, OctoError):
            missing.append(name)
    return Inputs(values, missing=tuple(missing))
