"""How the functions of users are called: each gets what its parameters ask for by name.

A parameter called `context` (or `ctx`) gets the context, one called `params` (or `parameters`,
`args`, `arguments`) the dict of all parameters, any other the parameter of its name. `**kwargs`
gets the parameters that nothing else takes, unless the whole dict is passed as well.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from inspect import Parameter as P
from typing import Any, Final

from octo_errors import ScriptletError, did_you_mean
from octo_signature import signature_of

ROLES: Final = {
    "context": "context",
    "ctx": "context",
    "_context": "context",
    "params": "params",
    "parameters": "params",
    "args": "params",
    "arguments": "params",
    "_params": "params",
    "result": "result",
    "error": "error",
}
"""What a parameter of this name gets."""

_CONTEXT_TYPES: Final = {"Context", "context.Context", "orchestrator.context.Context"}


class Arguments:
    """What a call is made with, and what could not be.

    Attributes:
        positional: The values for positional-only parameters.
        keywords: The other values by name.
        missing: The required parameters that there is nothing for.
        used: The names among the given parameters that are passed on.
        takes_all: The call takes any parameter.
    """

    def __init__(self) -> None:
        self.positional: list[Any] = []
        self.keywords: dict[str, Any] = {}
        self.missing: list[str] = []
        self.used: set[str] = set()
        self.takes_all = False


def arguments_for(
    function: Callable[..., Any],
    roles: Mapping[str, Any],
    params: Mapping[str, Any],
    *,
    first: str = "",
    skip: int = 0,
) -> Arguments:
    """What to call `function` with.

    Args:
        function: A function, method or class.
        roles: What there is for the roles of ROLES, by role.
        params: What there is by name.
        first: The role that a required parameter gets that nothing else is meant for.
        skip: How many parameters the call will fill by itself (`self`).
    """
    return arguments_of(parameters_of(function)[skip:], roles, params, first=first)


def arguments_of(
    parameters: Iterable[P], roles: Mapping[str, Any], params: Mapping[str, Any], *, first: str = ""
) -> Arguments:
    """The same for something that has these parameters."""
    made = Arguments()
    rest = False
    for parameter in parameters:
        if parameter.kind is P.VAR_KEYWORD:
            rest = True
        elif parameter.kind is not P.VAR_POSITIONAL:
            role = _role(parameter, roles, params)
            if not role and first and parameter.default is P.empty and parameter.name not in params:
                role, first = first, ""
            _fill(made, parameter, role, roles, params)
    if rest and not made.takes_all:
        made.takes_all = True
        made.keywords.update((k, v) for k, v in params.items() if k not in made.used)
    return made


def wants_context(function: Callable[..., Any]) -> bool:
    """Whether a plain function has a parameter `context` that is meant for the recipe's context.

    One that has a default is, when its annotation says so: many functions take a `context` of
    another kind.
    """
    return any(map(is_for_context, parameters_of(function)))


def is_for_context(parameter: P) -> bool:
    """Whether a parameter is meant for the recipe's context; see `wants_context`."""
    required = parameter.default is P.empty
    return parameter.name == "context" and (required or _is_context(parameter.annotation))


def named_parameters(target: Any) -> list[P]:
    """The parameters that a scriptlet class, or a function, gets by their names."""
    run = getattr(target, "run", None) if isinstance(target, type) else None
    found: dict[str, P] = {}
    for function in filter(None, (target, run)):
        for each in parameters_of(function):
            plain = each.kind not in (P.VAR_KEYWORD, P.VAR_POSITIONAL)
            if plain and each.name not in ROLES and not _is_context(each.annotation):
                found.setdefault(each.name, each)
    found.pop("self", None)
    return list(found.values())


def refuse_call(name: str, missing: list[str], unknown: list[str], known: list[str]) -> None:
    """Do nothing if nothing is missing or unknown.

    Raises:
        ScriptletError: Something is.
    """
    problems = [f"parameter {each!r} is missing" for each in missing]
    problems += [f"there is no parameter {each!r}" for each in unknown]
    if problems:
        hint = did_you_mean(unknown[0], known) if unknown else ""
        raise ScriptletError(f"{name}: {'; '.join(problems)}", hint=hint, problems=problems)


def parameters_of(function: Callable[..., Any]) -> tuple[P, ...]:
    """The parameters of a function, without a bound `self`; none where they can't be known."""
    bound = getattr(function, "__self__", None)
    plain = getattr(function, "__func__", None)
    if bound is not None and plain is not None:
        return _parameters(plain)[1:]
    return _parameters(function)


@lru_cache(maxsize=1024)
def _parameters(function: Callable[..., Any]) -> tuple[P, ...]:
    try:
        return tuple(signature_of(function).parameters.values())
    except (ValueError, TypeError):
        return ()


def _role(parameter: P, roles: Mapping[str, Any], params: Mapping[str, Any]) -> str:
    """The role that a parameter has; a parameter of the user's own goes before another's name."""
    name = parameter.name
    role = ROLES.get(name, "context" if _is_context(parameter.annotation) else "")
    if role not in roles or (name in params and name != role):
        return ""
    return role


def _fill(
    made: Arguments, parameter: P, role: str, roles: Mapping[str, Any], params: Mapping[str, Any]
) -> None:
    name = parameter.name
    if role:
        value = roles[role]
        made.takes_all |= role == "params"
    elif name in params:
        value = params[name]
        made.used.add(name)
    else:
        if parameter.default is P.empty:
            made.missing.append(name)
        return
    if parameter.kind is P.POSITIONAL_ONLY:
        made.positional.append(value)
    else:
        made.keywords[name] = value


def _is_context(annotation: Any) -> bool:
    if annotation is P.empty:
        return False
    annotation = getattr(annotation, "__forward_arg__", annotation)
    if not isinstance(annotation, str):
        return getattr(annotation, "__module__", "") == "orchestrator.context"
    plain = (
        annotation.strip("'\"").removesuffix(" | None").removeprefix("Optional[").removesuffix("]")
    )
    return plain in _CONTEXT_TYPES
