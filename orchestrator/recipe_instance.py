"""The instance of a run of a recipe: made, put away for a new run, gone on with after changes."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator, Mapping, MutableMapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from octo_errors import InstanceError, RecipeError, UsageError
from octo_instance_dir import InstanceDir, is_instance
from octo_instance_setup import is_as_made, make_instance, reset_instance
from octo_parameter_schema import (
    ARMED_KEY,
    GLOBAL_GROUP,
    ITEM_RESULTS_KEY,
    ITEMS_KEY,
    RESULT_KEY,
)
from octo_step_arrows import leads_to
from octo_step_engine import StepEngine
from octo_step_events import EventLog
from octo_step_graph import COMPLETE, StepGraph, item_of
from octo_step_machine import HALVES
from octo_step_output import file_stem
from octo_step_states import RunState, Token
from octo_typed_commands import resume_command
from orchestrator.recipe_choices import Choices, steps_from
from orchestrator.recipe_inputs import input_mistake, required, resolve_inputs
from orchestrator.recipe_pin import PIN_FILES, PinnedRecipe, pin_recipe
from orchestrator.recipe_program import (
    LEFT_OUT_ITEMS_KEY,
    LEFT_OUT_KEY,
    RECIPE_GROUP,
    Inputs,
    RecipeProgram,
    left_out_bits,
    left_out_tokens,
    load_program,
    recipe_group,
)

DEFAULT_PLACE: Final = "step_instances"


def default_place(pinned: PinnedRecipe, working_directory: Path) -> Path:
    """Where the instance of a recipe is, if nobody says otherwise."""
    return working_directory / DEFAULT_PLACE / file_stem(pinned.compiled["name"])


# --- a new run ------------------------------------------------------------------------------------


@contextmanager
def begin_run(program: RecipeProgram, place: Path) -> Iterator[InstanceDir]:
    """The instance of a new run; what is there of an earlier run goes into its archive.

    No other engine can run it for the length of the block: else what is performed there could be of
    another run, which was begun in the meantime.

    Raises:
        InstanceError: It can't be made, or what is there is no instance of a recipe.
        EngineBusyError: An engine runs the instance that is there.
    """
    is_new = _made(place, program)
    instance = InstanceDir(place)
    recipe_group(instance)
    with instance.run_lock() as held:
        if not (is_new and is_as_made(held)):  # else another process has run it before
            _put_away(held, program)
        yield held


def _made(place: Path, program: RecipeProgram) -> bool:
    """Make the instance; False: there is one, which another process may just have made."""
    try:
        if not is_instance(place):
            make_instance(place, program)
            return True
    except InstanceError:
        if not is_instance(place):
            raise
    return False


def _put_away(instance: InstanceDir, program: RecipeProgram) -> None:
    """Put the run there was into the archive, and let that of the program be the next one."""
    _make_safe(instance)
    reset_instance(instance, program)
    for file in instance.path.glob(PIN_FILES):
        if file.name != program.pinned.file_name:  # the archive has it
            file.unlink()


def _make_safe(instance: InstanceDir) -> None:
    """Call what is owed of the run that is left behind."""
    if instance.parameters.read()[GLOBAL_GROUP].get(ARMED_KEY):
        StepEngine(instance).make_safe()


# --- going on -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Given:
    """The inputs that a user gives: as `NAME=VALUE`, and in files."""

    values: Sequence[str] = ()
    files: Sequence[Path] = ()


@dataclass(frozen=True)
class Changes:
    """What has changed since a run was begun.

    Attributes:
        difference: Of the recipe's text, as a unified diff.
        code: The files with code of the steps that are others now.
    """

    difference: str = ""
    code: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.difference or self.code)

    def __str__(self) -> str:
        code = [f"changed: {path}" for path in self.code]
        return "\n".join([*self.difference.splitlines(), *code])


@dataclass(frozen=True)
class Continuation:
    """How a run is to go on.

    Attributes:
        old: What it has run until now.
        new: What it is to run.
        again: The steps that are to be done again.
        changes: What has changed, and is accepted.
    """

    old: RecipeProgram
    new: RecipeProgram
    again: frozenset[str] = frozenset()
    changes: Changes = Changes()

    def left(self, instance: InstanceDir) -> list[str]:
        """The steps that are still to be done, or may be."""
        data = instance.parameters.read()
        return left_of(self._carried_over(self._loaded(data), data), self.new.graph)

    def begin(self, instance: InstanceDir) -> None:
        """Let the instance stand where it can be gone on with.

        Raises:
            EngineBusyError: An engine runs it.
        """
        if self.again or self.changes or self.new.described() != self.old.described():
            with instance.run_lock() as held:
                _make_safe(held)
                self.new.pin(held.path)
                self._replace(held)

    def _replace(self, instance: InstanceDir) -> None:
        with instance.parameters.transaction() as data:
            before = self._loaded(dict(data))
            half_done = self._left_out_half_done(before)
            run = self._carried_over(before, data)
            self.new.identify(data)
            run.store(data, self.new.graph, time.time())
            self._keep_what_is_left_out(run, half_done, data)
            self._drop_results(run, half_done, data)
            run_id = data[GLOBAL_GROUP].get("run_id", "")
        durability = instance.parameters.durability
        log = EventLog(instance.path, durability=durability, run_id=run_id)
        log.append({"event": "program_changed", "compiled": self.new.pinned.file_name})
        log.close()

    def _left_out_half_done(self, run: RunState) -> dict[str, Token]:
        """The steps that have items and were begun, of those that are left out from now on."""
        old, nodes = self.old.graph, self.new.graph.nodes
        return {
            name: Token(name, "EXECUTE", items=token.items, items_done=_items_done(run, token, old))
            for name, token in run.tokens.items()
            if token.items is not None and name in nodes
            if not nodes[name].active and name not in self.again
        }

    def _keep_what_is_left_out(
        self, run: RunState, half_done: Mapping[str, Token], data: MutableMapping[str, Any]
    ) -> None:
        """Steps that are left out count as done: remember those that are, and how far others."""
        nodes = self.new.graph.nodes
        done = [name for name in self.new.graph.named(run.done) if not nodes[name].active]
        if done:
            data[RECIPE_GROUP][LEFT_OUT_KEY] = hex(self.new.graph.bits(done))
        if half_done:
            tokens = {name: token.to_dict() for name, token in half_done.items()}
            data[RECIPE_GROUP][LEFT_OUT_ITEMS_KEY] = tokens

    def _drop_results(
        self, run: RunState, half_done: Collection[str], data: MutableMapping[str, Any]
    ) -> None:
        """What is to be done again has no result until then."""
        over = {*self.new.graph.named(run.done), *run.tokens, *half_done}
        for name, node in self.new.graph.nodes.items():
            if name not in over and not node.owns_group:
                for key in (RESULT_KEY, ITEMS_KEY, ITEM_RESULTS_KEY):
                    data.get(name, {}).pop(key, None)

    def _loaded(self, data: Mapping[str, Any]) -> RunState:
        """How the run stands, with what is left out half done among what is active."""
        run = RunState.load(data, self.old.graph)
        run.tokens |= left_out_tokens(data[RECIPE_GROUP])
        return run

    def _carried_over(self, run: RunState, data: Mapping[str, Any]) -> RunState:
        left_out = self.old.graph.named(left_out_bits(data[RECIPE_GROUP]))
        return carried_over(run, self.old.graph, self.new.graph, self.again, left_out)


def _items_done(run: RunState, parent: Token, graph: StepGraph) -> int:
    """The items of a step that are done, also those that are only to be left."""
    done = parent.items_done
    for token in run.tokens.values():
        name, number = item_of(token.node)
        if name == parent.node and _has_done_its_work(token, graph):
            done |= 1 << number
    return done


def left_of(run: RunState, graph: StepGraph) -> list[str]:
    """The steps that a run has still to do, or may have."""
    done, passed_over, begun = set(graph.named(run.done)), set(run.passed_over), set()
    for name, token in run.tokens.items():
        if token.state in HALVES["ADVANCE"] and name in graph.nodes:  # it is only to be left
            (done if token.arrows in ((), (COMPLETE,)) else passed_over).add(name)
        else:
            begun.add(item_of(name)[0] or name)
    return performable(graph, done, passed_over, begun)


def performable(
    graph: StepGraph,
    done: Collection[str] = (),
    passed_over: Collection[str] = (),
    begun: Collection[str] = (),
) -> list[str]:
    """The steps that can come: without those that only a failure leads to that there can't be.

    Args:
        done: The steps that are done; those that are left out count as such.
        passed_over: Those that have failed, and whose failure leads to others.
        begun: Those that are at work, or were when the run came to rest.
    """
    ways: dict[str, list[str]] = {}  # step -> those whose failure leads to it
    for name, node in graph.nodes.items():
        if node.error_arrow_key:
            ways.setdefault(node.arrows[node.error_arrow_key].target, []).append(name)
    over, failed = set(done), set(passed_over)
    over.update(name for name, node in graph.nodes.items() if not node.active)
    found: dict[str, None] = {}
    for name in graph.nodes:  # in an order in which they may be performed
        waits = (each for each in graph.sources_into(name) if each not in over)
        leads = any(each in found or each in failed for each in ways.get(name, ()))
        comes = (leads or name not in ways) and all(each in found for each in waits)
        if name not in over and name not in failed and (comes or name in begun):
            found[name] = None
    return list(found)


def instance_to_resume(place: Path) -> InstanceDir:
    """The instance at a place.

    Raises:
        InstanceError: There is none.
    """
    if not is_instance(place):
        raise InstanceError(
            f"{place}: there is no run to go on with",
            hint="begin one, without --resume; or name its directory: --instance DIR",
        )
    return InstanceDir(place)


def continuation(
    instance: InstanceDir,
    now: PinnedRecipe | None,
    given: Given,
    choices: Choices,
    *,
    accept_changes: bool = False,
) -> Continuation:
    """How a run that rests, has failed or was killed is to go on. Changes nothing.

    Args:
        now: The recipe as it is now; None: what the files are that the run was begun with.
        given: Inputs: the secret ones again, and those that the recipe has not had until now.
        choices: What is chosen anew.
        accept_changes: Go on with recipe and code as they are now; what is done stays done.

    Raises:
        RecipeError: Recipe or code have changed, and that is not accepted; or something is wrong
            with the recipe.
        UsageError: An input is missing, or is no longer what it was.
    """
    old = load_program(instance)
    pinned = old.pinned
    if now is None:
        now = _as_it_is_now(instance, old) if pinned.changed_sources() else pinned
    changes = Changes(
        pinned.difference(now), tuple(pinned.changed_code(instance.path, old.directory))
    )
    if changes and not accept_changes:
        raise RecipeError(
            f"{instance.path}: changed since this run was begun:\n{changes}",
            hint="go on with it as it is now: --accept-changes (steps that are done stay done)"
            "\nor begin a new run: without --resume",
        )
    if changes or now.compiled["source"] != pinned.compiled["source"]:
        pinned = now
    new = RecipeProgram(
        pinned,
        _inputs_again(pinned, old.inputs, given),
        old.choices.changed(choices),
        instance=instance.path,
        working_directory=old.directory,
        verbose=old.verbose,
    )
    again = steps_from(new.compiled, choices.from_step) if choices.from_step else ()
    return Continuation(old, new, frozenset(again), changes)


def _as_it_is_now(instance: InstanceDir, old: RecipeProgram) -> PinnedRecipe:
    source = old.pinned.compiled["source"]
    if not Path(source).exists():
        raise RecipeError(
            f"{instance.path}: the recipe of this run is gone: {source}",
            hint="put it back, or say where it is now: "
            + resume_command(instance.path, "--recipe", "FILE"),
        )
    return pin_recipe(source, old.directory)


def _inputs_again(pinned: PinnedRecipe, before: Inputs, given: Given) -> Inputs:
    """The inputs of a run that goes on: those it had, and what is given now.

    Another value than it had can be given only where the recipe has changed, and takes the old one
    no more; there it must be.
    """
    specs = pinned.compiled["inputs"]
    known = {name: value for name, value in before.values.items() if name in specs}
    had = dict(specs)
    had |= {name: {**specs[name], "default": known[name], "env": None} for name in known}
    had |= {name: required(specs[name]) for name in before.missing if name in specs}
    values = resolve_inputs(had, given.values, given.files)
    unfit = {}
    for name, value in known.items():
        if mistake := input_mistake(specs[name], value):
            if values[name] is value:  # what is given now has been found to fit
                unfit[name] = f"input {name!r} of this run {mistake}, as the recipe is now"
        elif values[name] != value and not specs[name].get("secret"):
            raise UsageError(
                f"input {name!r} of this run is {value!r}, and now given as {values[name]!r}",
                hint="leave it out, or begin a new run: without --resume",
            )
    if unfit:
        given_now = " ".join(f"--set {name}=..." for name in unfit)
        hint = f"give a value that fits: {given_now}\nor begin a new run: without --resume"
        raise UsageError("\n".join(unfit.values()), hint=hint)
    return Inputs(values)


def carried_over(
    run: RunState,
    old: StepGraph,
    new: StepGraph,
    again: Collection[str] = (),
    left_out: Collection[str] = (),
) -> RunState:
    """The state of a run of one graph, for another: what has the same name, is the same.

    Args:
        again: The steps that are to be done again.
        left_out: The steps that are done, and that the old graph leaves out.
    """
    done = {name for name in old.named(run.done) if old.nodes[name].active}
    done |= {name for name, token in run.tokens.items() if _is_over(token, old, new)}
    done.update(left_out)
    run.done = new.bits(name for name in done if name in new.nodes and name not in again)
    run.tokens = {
        name: token
        for name, token in run.tokens.items()
        if (step := item_of(name)[0] or name) not in again
        and new.has(name)
        and new.node(name).active
        and ("step_items" in old.node(name).hooks) == ("step_items" in new.node(name).hooks)
        and all(leads_to(new, step, key) is not None for key in token.arrows)
    }
    run.passed_over = [
        name
        for name in run.passed_over
        if name in new.nodes and name not in again and new.nodes[name].error_arrow_key
    ]
    if not (new.has(run.jump_target) and new.node(run.jump_target).active):
        run.jump_target = ""
    _open_again(run, old, new, again)
    return run


def _open_again(run: RunState, old: StepGraph, new: StepGraph, again: Collection[str]) -> None:
    """Let a run go on that has ended, if there is more to do, or was about to end."""
    if run.state == "COMPLETE_ERROR":
        run.reopen(new)
    elif run.finished and (again or _has_more(run, old, new)):
        run.move("jump")
        run.undo((), new)
    if again:
        run.ending = ""
    if not run.ending and not run.finished:  # there may be more to do before the final steps
        run.finalizing = False
        run.tokens = {n: t for n, t in run.tokens.items() if not new.node(n).is_final}


def _is_over(token: Token, old: StepGraph, new: StepGraph) -> bool:
    """Whether a step that is left out now has done its work."""
    name = token.node
    is_active = name in new.nodes and new.nodes[name].active
    return not is_active and name in old.nodes and _has_done_its_work(token, old)


def _has_done_its_work(token: Token, graph: StepGraph) -> bool:
    """Whether a step, or an item, is only to be left, and nothing is called to leave it."""
    is_left = token.state in HALVES["ADVANCE"] and token.arrows in ((), (COMPLETE,))
    return is_left and "step_exit" not in graph.node(token.node).hooks


def _has_more(run: RunState, old: StepGraph, new: StepGraph) -> bool:
    """Whether there are steps that the old graph had not, or left out when they were not done."""
    before = {name for name, node in old.nodes.items() if node.active} | set(new.named(run.done))
    return any(node.active and name not in before for name, node in new.nodes.items())
