"""Everything that is wrong with a recipe, told at once: names, order, inputs, calls, templates.

No code of the user is run for it: modules are looked at, not imported. The exception are step
libraries, whose nodes are known only when they are loaded, where a step names one.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from octo_errors import RecipeError
from octo_step_declaration import ENGINE_GROUPS, STEP_NAMES, NodeDeclaration, is_step_name
from orchestrator.dependency_graph import DependencyGraph, find_cycle
from orchestrator.recipe_cache import Source, read_source
from orchestrator.recipe_check_calls import CallChecks
from orchestrator.recipe_check_templates import check_templates
from orchestrator.recipe_document import KeyPath, Problem, Report, is_template
from orchestrator.recipe_inputs import input_mistake
from orchestrator.recipe_model import KEYS_OF_TYPE, NO_TEMPLATE, Recipe, Step, parse_model

__all__ = ["CheckedRecipe", "check_recipe"]

RESERVED = {*ENGINE_GROUPS, "recipe", "inputs", "context"}
"""The groups of a recipe's instance that are no step's."""
TYPES_OF_KEY = {
    key: [kind for kind, keys in KEYS_OF_TYPE.items() if key in keys[0] + keys[1]]
    for key in ("module", "function", "command", "recipe")
}
_NAMED_IN_TEMPLATES = re.compile(r"(?<!\$)\{\{-?\s*(inputs|results|context|env|recipe)\b")
"""Braces that other programs read are none: `{{.Names}}`, `${{ env.NAME }}`."""
MOST_CYCLES = 10
"""As many circles of dependencies are told at once."""
MOST_OF_CYCLE = 30
"""As many steps of a circle are named."""
MOST_NESTED = 50
"""Recipes in each other."""


@dataclass
class CheckedRecipe:
    """A recipe and all that is wrong with it.

    Attributes:
        recipe: What is right of it; None where there is no list of steps.
        problems: Also those of the recipes that it nests, each with its own file.
        order: The steps' names as a serial run performs them; only where nothing is wrong.
        nodes: Of each step that is a node of a library: the library's path, and what it declares.
        nested: Of each step that is a recipe, that recipe.
        makes_safe: Whether a step, here or in those, is a node with a `step_make_safe`.
    """

    source: Source
    recipe: Recipe | None = None
    problems: list[Problem] = field(default_factory=list)
    order: list[str] = field(default_factory=list)
    nodes: dict[str, tuple[Path, NodeDeclaration]] = field(default_factory=dict)
    nested: dict[str, CheckedRecipe] = field(default_factory=dict)
    makes_safe: bool = False

    @property
    def name(self) -> str:
        """What the recipe calls itself, in one line, or else its file's name."""
        about = self.recipe and (self.recipe.metadata or self.recipe.test_meta)
        named = (about.name, about.test_id) if about else ()
        lines = (" ".join(name.split()) for name in named if name)
        return next(filter(None, lines), self.source.path.stem)

    def sources(self) -> dict[str, Source]:
        """Each file that was read, by its absolute path."""
        found = {str(self.source.path): self.source}
        for each in self.nested.values():
            found |= each.sources()
        return found


def check_recipe(path: str | Path, working_directory: str | Path = ".") -> CheckedRecipe:
    """Read a recipe, and those that it nests, and find all that is wrong.

    Args:
        path: The file; in problems it is called as it is given.
        working_directory: Where the recipe's modules are looked for after its own directory.

    Raises:
        RecipeError: The file can't be read, or is no YAML.
    """
    return _Files(Path(working_directory)).check(read_source(path), ())


class _Files:
    """Checks recipe files, each once, and keeps what it found."""

    def __init__(self, working_directory: Path) -> None:
        self.working_directory = working_directory
        self._checked: dict[str, CheckedRecipe] = {}

    def check(self, source: Source, chain: tuple[Source, ...]) -> CheckedRecipe:
        """Check a recipe.

        Args:
            chain: The recipes that nest it, outermost first.
        """
        key = os.path.realpath(source.path)
        if key not in self._checked:
            checked = self._checked[key] = CheckedRecipe(source)
            checked.recipe, checked.problems = parse_model(source.document)
            if checked.recipe is not None:
                _Checks(self, checked, checked.recipe, (*chain, source)).run()
        return self._checked[key]


class _Checks:
    """The checks of one recipe."""

    def __init__(
        self, files: _Files, checked: CheckedRecipe, recipe: Recipe, chain: tuple[Source, ...]
    ) -> None:
        self.files, self.checked, self.recipe, self.chain = files, checked, recipe, chain
        self.report = Report(checked.source.document, checked.problems)
        self.steps: dict[str, Step] = {}

    def run(self) -> None:
        """Make all of them."""
        self._head()
        self._inputs()
        self._names()
        for step in self.recipe.steps:  # also those whose name is another's
            self._keys_of_type(step)
            self._keys_together(step)
            self._dependencies(step)
            self._go_to(step)
        graph = self._graph()
        if graph is not None:
            self.checked.order = graph.order()
        check_templates(self.report, self.recipe, self.steps, graph)
        directory = self.checked.source.path.parent
        calls = CallChecks(self.report, directory, self.files.working_directory)
        for step in self.recipe.steps:
            calls.check(step)
            if step.type == "recipe" and step.recipe is not None:
                self._nested(step, step.recipe)
        self.checked.nodes = calls.nodes
        self.checked.makes_safe = any(
            "step_make_safe" in node.hooks for _, node in calls.nodes.values()
        ) or any(each.makes_safe for each in self.checked.nested.values())

    # --- what is no step --------------------------------------------------------------------------

    def _head(self) -> None:
        if self.recipe.format != 1:
            message = f"format is {self.recipe.format}, and this program reads format 1"
            self.report.tell(("format",), message, "a newer Octo Step Engine may read it")
        if self.recipe.metadata and self.recipe.test_meta:
            message = "metadata and test_meta are two names of the same"
            self.report.tell(("test_meta",), message, "put all of it into one")

    def _inputs(self) -> None:
        for name, spec in self.recipe.inputs.items():
            where, about = spec.path, f"input {name!r}"
            if not name.isidentifier():
                hint = "letters, digits and _, and no digit first"
                self.report.tell(where, f"{about}: templates can't name it", hint)
            if spec.secret and spec.default is not None:
                hint = (
                    "give it at the start, or by an environment variable, `env: NAME`;"
                    " `default: null` makes it optional"
                )
                message = f"{about}: a secret has no default but null"
                self.report.tell((*where, "default"), message, hint)
            if _means_template(spec.default):
                message = f"{about}: a default stays as it is written, and is no template"
                self.report.tell((*where, "default"), message, NO_TEMPLATE)
            facts = {"type": spec.type, "secret": spec.secret}
            for place, choice in enumerate(spec.choices or ()):
                if mistake := input_mistake(facts, choice):
                    self.report.tell((*where, "choices", place), f"{about}: a choice {mistake}")
                    break
            else:
                facts["choices"] = spec.choices
                mistake = "" if spec.default is None else input_mistake(facts, spec.default)
                if mistake and not spec.secret:
                    self.report.tell((*where, "default"), f"{about}: default {mistake}")

    # --- the steps one by one ---------------------------------------------------------------------

    def _names(self) -> None:
        numbers: dict[int, Step] = {}
        for step in self.recipe.steps:
            self._name(step)
            twin = self.steps.setdefault(step.name, step)
            if twin is not step:
                where = self.report.document.place((*twin.path, "name")).line
                message = f"there is a step {step.name!r} already, in line {where}"
                self.report.tell((*step.path, "name"), message, "each needs a name of its own")
            if step.idx is None:
                continue
            twin = numbers.setdefault(step.idx, step)
            if twin is not step:
                where = self.report.document.place((*twin.path, "idx")).line
                message = f"step {step.name!r}: step {twin.name!r} in line {where} has idx "
                self.report.tell((*step.path, "idx"), f"{message}{step.idx}, too")

    def _name(self, step: Step) -> None:
        name, where = step.name, (*step.path, "name")
        if not is_step_name(name):
            self.report.tell(where, f"a step can't be called {name[:80]!r}", STEP_NAMES)
        elif name in RESERVED:
            message = f"a step can't be called {name!r}: the engine keeps a group of that name"
            self.report.tell(where, message, "each step has a group in the parameter file, too")
        elif is_template(name):
            message = f"a step can't be called {name[:80]!r}: a name is no template"
            self.report.tell(where, message, NO_TEMPLATE)

    def _keys_of_type(self, step: Step) -> None:
        if "type" in step.broken:
            return
        needed, possible = KEYS_OF_TYPE[step.type]
        about = f"step {step.name!r}"
        given = step.model_fields_set | step.broken
        others = [key for key in ("command", "recipe") if key in step.model_fields_set]
        if others and given.isdisjoint({"type", *needed}):
            [kind] = TYPES_OF_KEY[others[0]]
            message = f"{about}: {others[0]} is for {kind} steps, and without a type this is a "
            hint = f"add `type: {kind}`"
            self.report.tell((*step.path, others[0]), f"{message}{step.type} step", hint)
            return
        for key in needed:
            if key not in given:
                self.report.tell(step.path, f"{about}: a {step.type} step needs {key}")
        for key, kinds in TYPES_OF_KEY.items():
            if key in step.model_fields_set and key not in needed + possible:
                message = f"{about}: {key} is for {' and '.join(kinds)} steps, and this is a "
                self.report.tell((*step.path, key), f"{message}{step.type} step")

    def _keys_together(self, step: Step) -> None:
        about = f"step {step.name!r}"
        if "max_retries" in step.model_fields_set and "retries" in step.model_fields_set:
            message = f"{about}: max_retries and retries are two names of the same"
            self.report.tell((*step.path, "max_retries"), message)
        if step.foreach is None and "foreach" not in step.broken and step.foreach_limit is not None:
            message = f"{about}: foreach_limit without a foreach"
            self.report.tell((*step.path, "foreach_limit"), message)

    def _dependencies(self, step: Step) -> None:
        for place, name in enumerate(step.depends_on):
            other = self.steps.get(name)
            if other is not None and other.finally_ == step.finally_:
                continue
            where, about = (*step.path, "depends_on", place), f"step {step.name!r} depends on"
            if other is None:
                self._no_such_step(name, where, about)
            elif step.finally_:
                hint = "it runs when all others are done, without saying so"
                message = f"{about} {name!r}, which is no finally step"
                self.report.tell(where, f"finally {message}", hint)
            else:
                self.report.tell(where, f"{about} {name!r}, a finally step, which comes last")

    def _go_to(self, step: Step) -> None:
        if not isinstance(step.on_error, dict):
            return
        where, about = (*step.path, "on_error", "go_to"), f"step {step.name!r}: on_error goes to"
        if step.finally_:
            hint = "fail, or continue"
            self.report.tell(where, f"{about} a step, and a finally step can't", hint)
            return
        self._target(step.on_error["go_to"], where, about)

    def _target(self, name: str, where: KeyPath, about: str) -> None:
        target = self.steps.get(name)
        if target is None:
            self._no_such_step(name, where, about)
        elif target.depends_on:
            hint = "what runs only after a failure waits for nothing else"
            self.report.tell(where, f"{about} {name!r}, which has depends_on", hint)
        elif target.finally_:
            self.report.tell(where, f"{about} {name!r}, a finally step, which runs anyway")
        elif not target.enabled:
            self.report.tell(where, f"{about} {name!r}, which is not enabled")

    def _no_such_step(self, name: str, where: KeyPath, about: str) -> None:
        if "steps" not in self.recipe.broken:  # else it may be the one that couldn't be read
            hint = self.report.near(name, self.steps)
            self.report.tell(where, f"{about} {name[:80]!r}, and there is no such step", hint)

    # --- their order ------------------------------------------------------------------------------

    def _graph(self) -> DependencyGraph | None:
        """The graph of the steps that exist; None where they depend on each other in circles."""
        defaults = self.recipe.defaults
        if isinstance(defaults.on_error, dict):
            where = (*defaults.path, "on_error", "go_to")
            self._target(defaults.on_error["go_to"], where, "defaults: on_error goes to")
        ordered = dict.fromkeys(step.name for step in self.recipe.ordered_steps())
        waits = {name: dict.fromkeys(self.steps[name].depends_on) for name in ordered}
        for name in waits:
            if (target := self.recipe.error_target(self.steps[name])) in waits:
                waits[target].setdefault(name)
        known = {name: [each for each in of if each in waits] for name, of in waits.items()}
        return None if self._tell_cycles(known) else DependencyGraph(known)

    def _tell_cycles(self, dependencies: Mapping[str, list[str]]) -> bool:
        rest = {name: list(of) for name, of in dependencies.items()}
        for count in range(MOST_CYCLES):
            cycle = find_cycle(rest)
            if cycle is None:
                return count > 0
            first, second = cycle[0], cycle[1]
            step = self.steps[first]
            if second in step.depends_on:
                where, hint = (*step.path, "depends_on", step.depends_on.index(second)), ""
            else:
                where, hint = (*self.steps[second].path, "on_error", "go_to"), self._leads(second)
            self.report.tell(where, f"steps wait for each other: {_way(cycle)}", hint)
            rest[first].remove(second)
        return True

    def _leads(self, step: str) -> str:
        """Where the failure of a step leads, if it doesn't say that itself."""
        if self.steps[step].on_error is not None:
            return ""
        target = self.recipe.error_target(self.steps[step])
        return (
            f"the failure of {step!r} leads to {target!r}, as defaults say:"
            f" give {step!r} an on_error of its own"
        )

    # --- recipes in recipes -----------------------------------------------------------------------

    def _nested(self, step: Step, file: str) -> None:
        where, about = (*step.path, "recipe"), f"step {step.name!r}:"
        if is_template(file):
            self.report.tell(where, f"{about} the file of a recipe is no template")
            return
        directory = Path(self.checked.source.document.file).parent
        try:
            source = read_source(directory / file)
        except RecipeError as error:
            inner = error.details["problems"]
            if inner[0].line is None:
                message = f"{about} {inner[0].file}: {inner[0].message}"
                self.report.tell(where, message, inner[0].hint)
            else:
                self.checked.problems.extend(inner)
            return
        real = [os.path.realpath(each.path) for each in self.chain]
        if os.path.realpath(source.path) in real:
            first = real.index(os.path.realpath(source.path))
            files = [each.document.file for each in self.chain[first:]]
            way = " -> ".join([*files, files[0]])
            self.report.tell(where, f"{about} recipes nest each other: {way}")
            return
        if len(self.chain) >= MOST_NESTED:
            self.report.tell(where, f"{about} more than {MOST_NESTED} recipes in each other")
            return
        nested = self.checked.nested[step.name] = self.files.check(source, self.chain)
        known = set(map(id, self.checked.problems))
        self.checked.problems.extend(each for each in nested.problems if id(each) not in known)
        if nested.recipe and "args" not in step.broken and not isinstance(step.args, list):
            self._given_inputs(step, step.args or {}, nested.recipe)

    def _given_inputs(self, step: Step, args: Mapping[str, Any], nested: Recipe) -> None:
        about = f"step {step.name!r}: {step.recipe}"
        for name, value in args.items():
            where, spec = (*step.path, "args", name), nested.inputs.get(name)
            if spec is None:
                hint = self.report.near(name, nested.inputs) if nested.inputs else "it has none"
                self.report.tell(where, f"{about} has no input {name!r}", hint)
            elif not is_template(value):
                facts = {"type": spec.type, **spec.model_dump(exclude_unset=True)}
                if mistake := input_mistake(facts, value):
                    self.report.tell(where, f"{about}: input {name!r} {mistake}")
        for name, spec in nested.inputs.items():
            if spec.is_required and spec.env is None and name not in args:
                where = (*step.path, "args") if step.args is not None else step.path
                self.report.tell(where, f"{about} needs the input {name!r}")


def _means_template(value: object) -> bool:
    """Whether what is no template names what those of recipes do; braces alone may be meant."""
    if isinstance(value, dict | list):
        return any(map(_means_template, value.values() if isinstance(value, dict) else value))
    return isinstance(value, str) and bool(_NAMED_IN_TEMPLATES.search(value))


def _way(cycle: list[str]) -> str:
    """The steps of a circle; of a long one, the first and the last."""
    if len(cycle) > MOST_OF_CYCLE:
        left_out = len(cycle) - MOST_OF_CYCLE
        cycle = [*cycle[: MOST_OF_CYCLE - 2], f"... ({left_out} more)", *cycle[-2:]]
    return " -> ".join(cycle)
