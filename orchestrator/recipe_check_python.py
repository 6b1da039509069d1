"""What the Python steps of a recipe call: whether there is such a thing, and whether args fit."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from inspect import Parameter as P
from inspect import Signature
from pathlib import Path
from typing import Any, NamedTuple

from octo_errors import count
from orchestrator.recipe_document import Report, is_template
from orchestrator.recipe_model import Step
from orchestrator.recipe_modules import LackingError, ModulePath
from orchestrator.recipe_signatures import Target
from scriptlets.calls import ROLES, arguments_of, is_for_context
from scriptlets.parameters import Parameter

__all__ = ["Mistake", "PythonChecks", "call_mistakes"]


class PythonChecks:
    """Checks what Python steps call; see `ModulePath` for the directories."""

    def __init__(self, report: Report, directory: Path, working_directory: Path) -> None:
        self.report = report
        self._modules = ModulePath(directory, working_directory)

    def check(self, step: Step, module: str, function: str) -> None:
        """Tell what is wrong with the call of a step."""
        about = f"step {step.name!r}:"
        try:
            target = self._modules.find(module, function)
        except LackingError as lacking:
            hint = self.report.near(lacking.word, lacking.names) or lacking.hint
            self.report.tell((*step.path, lacking.key), f"{about} {lacking.message}", hint)
            return
        if not target.is_callable:
            message = f"{about} {function!r} of {module} is no function and no class"
            self.report.tell((*step.path, "function"), message)
            return
        if "args" in step.broken:
            return
        mistakes = [*call_mistakes(target, function, step.args)]
        meant = self._meant(mistakes)
        for mistake in mistakes:
            if mistake.lacking in meant:
                continue
            where = (*step.path, "args", *(() if mistake.at is None else (mistake.at,)))
            hint = self.report.near(str(mistake.at), mistake.names) if mistake.names else ""
            self.report.tell(where, f"{about} {mistake.message}", hint or mistake.hint)

    def _meant(self, mistakes: list[Mistake]) -> set[str]:
        """The arguments that misspelt ones may be meant for."""
        if not any(each.lacking for each in mistakes):
            return set()
        return {
            name
            for each in mistakes
            if each.names
            for name in self.report.near_names(str(each.at), each.names)
        }


class Mistake(NamedTuple):
    """Something wrong with the args of a call.

    Attributes:
        at: The name or index of the argument; None where all of them are to blame.
        names: The arguments that there are, where `at` is none of them.
        lacking: The argument that is needed and not given.
    """

    at: str | int | None
    message: str
    hint: str = ""
    names: Collection[str] = ()
    lacking: str = ""


def call_mistakes(
    target: Target, name: str, args: dict[str, Any] | list[Any] | None
) -> Iterator[Mistake]:
    """What is wrong with calling `target` as a step does, as far as that is certain."""
    if target.is_scriptlet:
        yield from _of_scriptlet(target, name, args or {})
    elif target.signature is not None:
        yield from _of_function(target.signature, name, args or {})


def _of_scriptlet(target: Target, name: str, args: dict[str, Any] | list[Any]) -> Iterator[Mistake]:
    if isinstance(args, list):
        message = f"{name} is a scriptlet: its args are a mapping, not a list"
        yield Mistake(None, message, "name each: args: {name: value}")
        return
    parameters = _asked_for(target, args) if target.parameters is None else target.parameters
    if parameters is None:
        return
    for given in args:
        if given not in parameters:
            hint = "" if parameters else "it has none"
            yield Mistake(given, f"{name} has no parameter {given!r}", hint, parameters)
    for wanted, needed in parameters.items():
        if needed and wanted not in args:
            yield Mistake(None, f"{name} needs the parameter {wanted!r}", lacking=wanted)
    for given in args.keys() & target.values.keys():
        problem = Parameter(**target.values[given]).problem(given, args[given])
        if problem and not is_template(repr(args[given])):
            yield Mistake(given, f"{name}: {problem}")


def _asked_for(target: Target, args: dict[str, Any]) -> dict[str, bool] | None:
    """What the methods of a scriptlet ask for by name: name -> whether it must be given.

    Also `args` themselves, where it may take any; None where all of that isn't known.
    """
    if not target.methods:
        return None
    asked = [each for method in target.methods for each in method.parameters.values()]
    roles = {"context": None, "params": args}
    made = [arguments_of(each.parameters.values(), roles, args) for each in target.methods]
    taken = {name for each in made for name in each.used}
    taken |= {each.name for each in asked if each.kind not in _ANY and each.name not in ROLES}
    if target.takes_more or any(each.takes_all for each in made):
        taken |= args.keys()
    missing = {name for each in made for name in each.missing}
    return {name: name in missing for name in (*taken, *missing)}


def _of_function(
    signature: Signature, name: str, args: dict[str, Any] | list[Any]
) -> Iterator[Mistake]:
    parameters = signature.parameters
    by_place = [e for e in parameters.values() if e.kind in (P.POSITIONAL_ONLY, _EITHER)]
    filled = _filled(signature, args, by_place)
    of_engine = {each.name for each in parameters.values() if is_for_context(each)}
    if isinstance(args, list):
        yield from _too_many(signature, name, args, by_place)
        if filled & of_engine:
            message = f"{name} gets its context from the engine, so args can't be a list"
            yield Mistake(None, message, "name each: args: {name: value}")
            return
    else:
        yield from _misnamed(signature, name, args)
    for each in parameters.values():
        needed = each.default is P.empty and each.kind in (P.POSITIONAL_ONLY, _EITHER, _BY_NAME)
        if needed and each.name not in filled | of_engine:
            message, hint = f"{name} needs the argument {each.name!r}", f"it is {name}{signature}"
            yield Mistake(None, message, hint, lacking=each.name)


_EITHER, _BY_NAME = P.POSITIONAL_OR_KEYWORD, P.KEYWORD_ONLY
_ANY = (P.VAR_POSITIONAL, P.VAR_KEYWORD)


def _filled(signature: Signature, args: dict[str, Any] | list[Any], by_place: list[P]) -> set[str]:
    """The names of the parameters that get something, as far as it was meant for them."""
    if isinstance(args, list):
        return {each.name for each in by_place[: len(args)]}
    takes_any = any(each.kind is P.VAR_KEYWORD for each in signature.parameters.values())
    # `**more` takes what is called like a parameter that is filled by its place alone.
    lost = {each.name for each in by_place if takes_any and each.kind is P.POSITIONAL_ONLY}
    return args.keys() - lost


def _too_many(
    signature: Signature, name: str, args: list[Any], by_place: list[P]
) -> Iterator[Mistake]:
    most = len(by_place)
    takes_any = any(each.kind is P.VAR_POSITIONAL for each in signature.parameters.values())
    if len(args) > most and not takes_any:
        taken = count(most, "argument") if most else "no arguments in order"
        yield Mistake(most, f"{name} takes {taken}, and args has {len(args)}")


def _misnamed(signature: Signature, name: str, args: dict[str, Any]) -> Iterator[Mistake]:
    parameters = signature.parameters
    takes_any = any(each.kind is P.VAR_KEYWORD for each in parameters.values())
    named = [each.name for each in parameters.values() if each.kind in (_EITHER, _BY_NAME)]
    for given in args:
        if given in named or takes_any:
            continue
        if given in parameters and parameters[given].kind is P.POSITIONAL_ONLY:
            message = f"{name} takes {given!r} by its place, not by name"
            yield Mistake(given, message, "make args a list")
        else:
            hint = "" if named else f"it takes {'none by name' if parameters else 'none'}"
            yield Mistake(given, f"{name} has no argument {given!r}", hint, named)
