"""What can be called in a module, and with what, as its source says: nothing of it is run."""

from __future__ import annotations

import ast
import inspect
import warnings
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from inspect import Parameter as P
from typing import Any

from octo_signature import signature_of

__all__ = ["Outline", "Target", "target_of"]


@dataclass(frozen=True)
class Target:
    """What a step calls, as far as it is known without calling it.

    Attributes:
        is_callable: False where it is certain that it can't be called.
        is_scriptlet: Whether it is certain that it is a class with a method `run`.
        signature: What a call takes; None where that isn't known, and for scriptlets. Annotations
            are texts where they come from source.
        parameters: What a scriptlet declares: name -> whether it must be given; None where it
            declares nothing, or nothing that is known.
        values: What its values must be, where that is known: name -> arguments of
            `scriptlets.parameters.Parameter`.
        methods: What `__init__` and `run` of a scriptlet take that declares nothing; empty where
            that isn't known.
        takes_more: Whether such a scriptlet may have a use for others than these take.
    """

    is_callable: bool = True
    is_scriptlet: bool = False
    signature: inspect.Signature | None = None
    parameters: Mapping[str, bool] | None = None
    values: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    methods: tuple[inspect.Signature, ...] = ()
    takes_more: bool = False


UNKNOWN = Target()


def target_of(value: object) -> Target:
    """The same of an object of a module that is loaded."""
    if not callable(value):
        return Target(is_callable=False)
    if isinstance(value, type) and callable(getattr(value, "run", None)):
        return Target(is_scriptlet=True)
    try:
        return Target(signature=signature_of(value))
    except (ValueError, TypeError):
        return UNKNOWN


class Outline:
    """The names at the top level of a module's source.

    Raises:
        SyntaxError: The source is none.
    """

    def __init__(self, source: bytes, file: str) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # they come when the module is imported
            tree = ast.parse(source, file)
        self._bound = _bound(tree.body)
        self._is_open = any(map(_makes_names, ast.walk(tree))) or not (
            self._bound.keys().isdisjoint(("*", "__getattr__"))
        )

    def names(self) -> list[str]:
        """The names that are certain."""
        return [name for name in self._bound if name != "*"]

    def target(self, name: str) -> Target | None:
        """What the module has under a name; None where it is certain that there is nothing."""
        first, _, rest = name.partition(".")
        node = self._bound.get(first)
        if node is None:
            return UNKNOWN if self._is_open else None
        return UNKNOWN if rest else _target(node)


# --- names ----------------------------------------------------------------------------------------

_MAKERS = {"globals", "vars", "locals", "exec", "setattr"}


def _makes_names(node: ast.AST) -> bool:
    """Can it give the module names that don't stand in its source?"""
    if isinstance(node, ast.Attribute):
        return (
            node.attr == "modules" and isinstance(node.value, ast.Name) and node.value.id == "sys"
        )
    return isinstance(node, ast.Global) or (isinstance(node, ast.Name) and node.id in _MAKERS)


_UNSURE = ast.Pass()
"""In the place of what a name is bound to, where that isn't certain."""


def _bound(body: Iterable[ast.stmt]) -> dict[str, ast.AST]:
    """What the names are bound to when all statements are carried out."""
    found: dict[str, ast.AST] = {}
    for name, node, in_block in _bindings(body):
        if name == "*":  # it may bind any of them anew
            found = dict.fromkeys(found, _UNSURE)
        found[name] = _UNSURE if in_block and name in found else node
    return found


def _bindings(
    body: Iterable[ast.stmt], in_block: bool = False
) -> Iterator[tuple[str, ast.AST, bool]]:
    """What statements bind, in their order, and whether that is in a block, as below `if`."""
    for node in body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.name, node, in_block
            continue
        if isinstance(node, ast.Import | ast.ImportFrom):
            for alias in node.names:
                whole = isinstance(node, ast.ImportFrom) or alias.asname
                name = alias.asname or (alias.name if whole else alias.name.split(".")[0])
                yield name, node, in_block
            continue
        for name in _names_stored(node):
            yield name, _value(node, name), in_block
        for inner in _blocks(node):
            yield from _bindings(inner, in_block=True)


def _value(node: ast.stmt, name: str) -> ast.AST:
    """What an assignment gives a name, if it gives it the whole value."""
    targets = node.targets if isinstance(node, ast.Assign) else []
    whole = any(isinstance(each, ast.Name) and each.id == name for each in targets)
    return node.value if whole and isinstance(node, ast.Assign) else node


def _names_stored(node: ast.stmt) -> Iterator[str]:
    """The names that a statement itself binds, not those in the blocks below it."""
    waiting: list[ast.AST] = [
        each
        for each in ast.iter_child_nodes(node)
        if not isinstance(each, ast.stmt | ast.ExceptHandler | ast.match_case)
    ]
    while waiting:
        each = waiting.pop()
        if isinstance(each, ast.Name) and isinstance(each.ctx, ast.Store):
            yield each.id
        elif not isinstance(each, ast.Lambda):
            waiting.extend(ast.iter_child_nodes(each))


def _blocks(node: ast.stmt) -> Iterator[list[ast.stmt]]:
    for key in ("body", "orelse", "finalbody"):
        yield getattr(node, key, [])
    for inner in (*getattr(node, "handlers", ()), *getattr(node, "cases", ())):
        yield inner.body


# --- what they are --------------------------------------------------------------------------------

_TRANSPARENT = {"register_scriptlet", "cache", "lru_cache", "final", "override"}
"""Decorators whose result is called as what they decorate is."""


def _target(node: ast.AST) -> Target:
    match node:
        case ast.Constant() | ast.JoinedStr() | ast.List() | ast.Dict() | ast.Set() | ast.Tuple():
            return Target(is_callable=False)
        case ast.FunctionDef() | ast.AsyncFunctionDef() if _is_plain(node):
            return Target(signature=_signature(node.args))
        case ast.ClassDef() if _is_plain(node):
            return _class(node)
    return UNKNOWN


def _is_plain(node: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) -> bool:
    for each in node.decorator_list:
        called = each.func if isinstance(each, ast.Call) else each
        if getattr(called, "attr", getattr(called, "id", "")) not in _TRANSPARENT:
            return False
    return True


def _class(node: ast.ClassDef) -> Target:
    members = _bound(node.body)
    if isinstance(members.get("run"), ast.FunctionDef | ast.AsyncFunctionDef):
        return _scriptlet(node, members)
    if node.keywords or "run" in members or any(ast.unparse(e) != "object" for e in node.bases):
        return UNKNOWN
    if {"__new__", "__call__"} & members.keys() or not members.keys().isdisjoint({"__slots__"}):
        return UNKNOWN
    init = members.get("__init__")
    if init is None:
        return Target(signature=inspect.Signature())
    if isinstance(init, ast.FunctionDef) and not init.decorator_list:
        return Target(signature=_signature(init.args, skip=1))
    return UNKNOWN


def _scriptlet(node: ast.ClassDef, members: Mapping[str, ast.AST]) -> Target:
    if "parameters" in members:
        declared = members["parameters"]
        needed, values = _declared(declared), _declared_values(declared)
        return Target(is_scriptlet=True, parameters=needed, values=values)
    bases = {ast.unparse(each).rpartition(".")[2] for each in node.bases}
    methods = [members[name] for name in ("__init__", "run") if name in members]
    plain = [
        _signature(each.args, skip=1)
        for each in methods
        if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef) and not each.decorator_list
    ]
    own = node.keywords or "__new__" in members or bases - {"object", "BaseScriptlet"}
    if own or len(plain) < len(methods):
        return Target(is_scriptlet=True)
    hooks = {"validate", "setup"} & members.keys()
    more = "BaseScriptlet" in bases or bool(hooks)
    return Target(is_scriptlet=True, methods=tuple(plain), takes_more=more)


def _declared(value: ast.AST | None) -> dict[str, bool] | None:
    """A literal `parameters = {"source": str, "limit": Parameter(int, default=10)}`."""
    if not isinstance(value, ast.Dict):
        return None
    found = {}
    for key, each in zip(value.keys, value.values, strict=True):
        if not (isinstance(key, ast.Constant) and isinstance(key.value, str)):
            return None
        found[key.value] = not (
            isinstance(each, ast.Call)
            and (len(each.args) > 1 or any(word.arg in ("default", None) for word in each.keywords))
        )
    return found


def _declared_values(value: ast.AST) -> dict[str, dict[str, Any]]:
    """What the values of a literal `parameters` must be, as far as that is certain."""
    found = {}
    pairs = zip(value.keys, value.values, strict=True) if isinstance(value, ast.Dict) else ()
    for key, each in pairs:
        try:
            if isinstance(key, ast.Constant):
                found[str(key.value)] = _parameter_arguments(each)
        except (TypeError, ValueError):  # only running the module would tell
            continue
    return found


def _parameter_arguments(value: ast.AST) -> dict[str, Any]:
    """The arguments of the Parameter that a type, or `Parameter(...)`, stands for."""
    words = {"type": value}
    if isinstance(value, ast.Call):
        if ast.unparse(value.func).rpartition(".")[2] != "Parameter":
            raise ValueError(value)
        words = dict(zip(("type", "default", "choices"), value.args, strict=False))
        words |= {str(each.arg): each.value for each in value.keywords}
    literals = {key: words[key] for key in ("default", "choices") if key in words}
    kind = {"type": _type(words["type"])} if "type" in words else {}
    return kind | {key: ast.literal_eval(each) for key, each in literals.items()}


_TYPES = {each.__name__: each for each in (str, int, float, bool, list, dict, object)}


def _type(node: ast.AST) -> Any:
    match node:
        case ast.Name(id=name) if name in _TYPES:
            return _TYPES[name]
        case ast.Constant(value=None):
            return None
        case ast.BinOp(left=left, op=ast.BitOr(), right=right):
            return _type(left) | _type(right)
        case ast.Tuple(elts=each):
            return tuple(map(_type, each))
    raise ValueError(node)


def _signature(args: ast.arguments, skip: int = 0) -> inspect.Signature:
    """The signature of a `def`, without the parameters that a call fills by itself."""
    positional = [
        *((each, P.POSITIONAL_ONLY) for each in args.posonlyargs),
        *((each, P.POSITIONAL_OR_KEYWORD) for each in args.args),
    ]
    without = len(positional) - len(args.defaults)
    found = [
        _parameter(each, kind, None if place < without else args.defaults[place - without])
        for place, (each, kind) in enumerate(positional)
    ][skip:]
    if args.vararg is not None:
        found.append(_parameter(args.vararg, P.VAR_POSITIONAL, None))
    for each, default in zip(args.kwonlyargs, args.kw_defaults, strict=True):
        found.append(_parameter(each, P.KEYWORD_ONLY, default))
    if args.kwarg is not None:
        found.append(_parameter(args.kwarg, P.VAR_KEYWORD, None))
    return inspect.Signature(found)


class _Source(str):
    """A piece of source, that a signature shows as it is."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)


def _parameter(argument: ast.arg, kind: Any, default: ast.expr | None) -> P:
    said = argument.annotation
    return P(
        argument.arg,
        kind,
        default=P.empty if default is None else _Source(ast.unparse(default)),
        annotation=P.empty if said is None else _Source(ast.unparse(said)),
    )
