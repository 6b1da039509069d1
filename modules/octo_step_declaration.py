"""What a step node class declares: its name, hooks and dicts, and what is wrong with them.

A class is only looked at, never called: no object of it is made. The graph and arrow dicts are
taken as they are; `octo_graph_checks` checks them, since recipes make such dicts as well.
"""

from __future__ import annotations

import difflib
import functools
import inspect
import sys
from dataclasses import dataclass, field
from types import FunctionType
from typing import Any

from octo_json_strict import JsonValueError, dump_value
from octo_parameter_schema import ACTIVE_GROUP, ARRIVALS_GROUP, GLOBAL_GROUP, PROGRESS_GROUP
from octo_signature import signature_of
from octo_step_problem import Problem, Reporter, shown

HOOKS = (
    "step_entry",
    "step_execute",
    "step_advance",
    "step_exit",
    "step_probe",
    "step_make_safe",
)
GRAPH_DICT = "step_node_graph_dict"
ARROW_DICT = "step_arrow_graph_dict"
PARAMS_INIT = "step_node_params_dict_init"
RESULTS_INIT = "step_node_results_dict_init"
ENGINE_GROUPS = (GLOBAL_GROUP, ACTIVE_GROUP, ARRIVALS_GROUP, PROGRESS_GROUP)

STEP_NAMES = "a name has no blanks around it, no [ or ], and nothing that can't be printed"
"""What the names of steps are like: of nodes that no class gives its name."""

_DICTS = (GRAPH_DICT, ARROW_DICT, PARAMS_INIT, RESULTS_INIT)
_BASE_CLASS_MODULE = "stepnode_baseclass"


def is_step_name(name: object) -> bool:
    """Whether a step can be called so; see STEP_NAMES. `[` and `]` are for items of steps."""
    return (
        isinstance(name, str)
        and name != ""
        and name == name.strip()
        and name.isprintable()
        and not set(name) & set("[]")
    )


@dataclass(slots=True)  # not frozen: see Node
class NodeDeclaration:
    """A step node as its author wrote it; it does not change.

    Attributes:
        module: The name of the `step_node_*` module that holds the node.
        file: The file in which it is written.
        graph_dict: The inner dict of this node, `step_node_graph_dict[NODE]`, unchecked.
        arrow_dict: `step_arrow_graph_dict`, arrow key -> dict of the arrow, unchecked.
        params_init: `{group: {key: value}}` for the parameter file; so is `results_init`.
        node_class: The class, or None for a node that is not made from a class (a recipe's step).
        hooks: Those of `HOOKS` that the author wrote; defaults of `stepnode_baseclass` don't count.
    """

    name: str
    module: str
    file: str
    description: str = ""
    node_class: type | None = None
    graph_dict: dict[str, Any] = field(default_factory=dict)
    arrow_dict: dict[str, Any] = field(default_factory=dict)
    params_init: dict[str, dict[str, Any]] = field(default_factory=dict)
    results_init: dict[str, dict[str, Any]] = field(default_factory=dict)
    hooks: frozenset[str] = frozenset()

    def reporter(self, problems: list[Problem]) -> Reporter:
        """Adds problems of this node to `problems`, at the lines of its class."""
        inside = () if self.node_class is None else (self.node_class.__name__,)
        return Reporter(problems, self.file, *inside)

    def place(self, *names: object) -> str:
        """`file:line` of the node, or of the nested names in it."""
        found: list[Problem] = []
        self.reporter(found).error("", *names)
        return found[0].place


def declare(node_class: type, module: str, file: str, problems: list[Problem]) -> NodeDeclaration:
    """Read a step node class that the module `module`, written in `file`, offers."""
    if node_class.__module__.rpartition(".")[2] != module:  # it is imported from elsewhere
        file = getattr(sys.modules.get(node_class.__module__), "__file__", None) or file
    report = Reporter(problems, file, node_class.__name__)
    graph, arrows, params, results = [_dict(node_class, member, report) for member in _DICTS]
    _check_name(node_class, report)
    name = name_of(node_class)
    declared = NodeDeclaration(
        name=name,
        module=module,
        file=file,
        description=_description(node_class),
        node_class=node_class,
        graph_dict=_inner_graph_dict(name, graph, report),
        arrow_dict=arrows,
        params_init=_init_dict(PARAMS_INIT, params, report),
        results_init=_init_dict(RESULTS_INIT, results, report),
        hooks=_hooks(node_class, report),
    )
    _check_spelling(node_class, report)
    return declared


def name_of(node_class: type) -> str:
    """The name of the node: the class attribute `name`, else the name of the class."""
    name = getattr(node_class, "name", None)
    return name if isinstance(name, str) else node_class.__name__


def _check_name(node_class: type, report: Reporter) -> None:
    """A name that is a value is text; None is no name, and a property is for the objects."""
    name = getattr(node_class, "name", None)
    if not (name is None or isinstance(name, str) or hasattr(type(name), "__get__")):
        report.error(f"name must be a text, and is {shown(name)}", "name")


def member_of(node_class: type, name: str) -> object:
    """A member as it is in the class that defines it (unbound), None if only `object` has it."""
    for base in node_class.__mro__[:-1]:
        if name in base.__dict__:
            return base.__dict__[name]
    return None


def _description(node_class: type) -> str:
    described = getattr(node_class, "description", None)
    if isinstance(described, str):
        return described
    return next(iter((node_class.__doc__ or "").strip().splitlines()), "")


# --- hooks ----------------------------------------------------------------------------------------


def _hooks(node_class: type, report: Reporter) -> frozenset[str]:
    """The hooks that the author wrote; that they and `__init__` can be called is checked."""
    found = set()
    for hook in HOOKS:
        member = member_of(node_class, hook)
        if member is None or getattr(member, "__module__", None) == _BASE_CLASS_MODULE:
            continue
        found.add(hook)
        if wrong := _wrong_call(member):
            report.error(f"{hook} {wrong}", hook, hint=f"write def {hook}(self):")
    init = member_of(node_class, "__init__")
    if wrong := "" if init is None else _wrong_call(init, "name", "verbose_flag"):
        hint = "write def __init__(self, name, verbose_flag=False):"
        report.error(f"__init__ {wrong}", "__init__", hint=hint)
    return frozenset(found)


def _wrong_call(member: object, *arguments: str) -> str:
    """Why `member` of a class can't serve as a method called with `arguments`, or ""."""
    if isinstance(member, FunctionType):
        code = member.__code__
        if code.co_flags & (inspect.CO_COROUTINE | inspect.CO_ASYNC_GENERATOR):
            return "is async: the engine calls it and waits for nothing, so it would never run"
        if code.co_flags & inspect.CO_GENERATOR:
            return "has a yield in it, so a call would not run it"
        if code.co_argcount == 1 + len(arguments) and not code.co_kwonlyargcount:
            return ""  # nearly all: spares inspect.signature, which is slow
    bound = () if isinstance(member, staticmethod | functools.partialmethod) else ("self",)
    function = getattr(member, "__func__", member)
    if isinstance(member, functools.partialmethod):
        function = member.__get__(object(), object)
    if not callable(function):
        return f"must be a method, and is {shown(member)}"
    try:
        signature_of(function).bind(*bound, *arguments)
    except TypeError as error:
        return f"can't be called as self.method({', '.join(arguments)}): {error}"
    except ValueError:
        return ""  # written in C without a signature: nobody knows
    return ""


def _check_spelling(node_class: type, report: Reporter) -> None:
    """Warn of methods and dicts whose names are nearly those that the engine knows."""
    for name, value in vars(node_class).items():
        known = HOOKS if callable(value) else _DICTS if isinstance(value, dict) else ()
        meant = _nearest(name, known) if known else ""
        if meant and member_of(node_class, meant) is None:
            message = f"{name} means nothing to the engine"
            report.warning(message, name, hint=f"did you mean {meant!r}?")


@functools.lru_cache(maxsize=1000)
def _nearest(name: str, known: tuple[str, ...]) -> str:
    if name.startswith("_") or name in known or any(name.startswith(k + "_") for k in known):
        return ""
    return next(iter(difflib.get_close_matches(name.lower(), known, n=1, cutoff=0.8)), "")


# --- dicts ----------------------------------------------------------------------------------------


def _dict(node_class: type, member: str, report: Reporter) -> dict[Any, Any]:
    value = getattr(node_class, member, {})
    if isinstance(value, dict):
        return value
    report.error(f"{member} must be a dict, and is {shown(value)}", member)
    return {}


def _inner_graph_dict(name: str, outer: dict[Any, Any], report: Reporter) -> dict[str, Any]:
    if strange := [key for key in outer if key != name]:
        report.error(
            f"{GRAPH_DICT} has the key {shown(strange[0])}, but the node is called {name!r}",
            GRAPH_DICT,
            strange[0],
            hint=f"write {GRAPH_DICT} = {{{name!r}: {{...}}}}",
        )
    inner = outer.get(name, {})
    if isinstance(inner, dict):
        return inner
    report.error(f"{GRAPH_DICT}[{name!r}] must be a dict, and is {shown(inner)}", GRAPH_DICT, name)
    return {}


def _init_dict(member: str, groups: dict[Any, Any], report: Reporter) -> dict[str, dict[str, Any]]:
    """The good part of an init dict."""
    good: dict[str, dict[str, Any]] = {}
    for group, values in groups.items():
        if not isinstance(group, str) or not isinstance(values, dict):
            given = f"{shown(group)}: {shown(values)}"
            report.error(
                f"{member} must be {{group: {{key: value}}}}, and has {given}", member, group
            )
            continue
        if group in ENGINE_GROUPS[1:]:
            report.error(f"{member} sets the group {group!r}, the engine's own", member, group)
        unfit = _unfit_values(group, values)
        for key, error in unfit.items():
            path = "".join(f"[{step!r}]" for step in error.path[:6])
            report.error(f"{member}{path}: {error.reason}", member, group, key)
        good[group] = {key: value for key, value in values.items() if key not in unfit}
    return good


def _unfit_values(group: str, values: dict[Any, Any]) -> dict[Any, JsonValueError]:
    """The keys of a group that JSON can't hold, or whose values it can't, and why."""
    if _misfit({group: values}) is None:  # one by one takes three times as long
        return {}
    found = {key: _misfit({group: {key: value}}) for key, value in values.items()}
    return {key: error for key, error in found.items() if error is not None}


def _misfit(value: object) -> JsonValueError | None:
    try:
        dump_value(value)
    except JsonValueError as error:
        return error
    return None
