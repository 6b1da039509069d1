"""The sandbox of templates: Jinja2 with a bound on what a template can make, and places in errors.

A template can't change what it is given, can't reach what isn't data, and can't make more than
MOST: what could multiply (`*`, `**`, `%`, `~`, methods of texts, filters) is measured before it
does. What a recipe has no use for is left out: macros, blocks, imports, and filters for HTML.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial, wraps
from typing import Any, Final

import jinja2
from jinja2 import nodes
from jinja2.exceptions import SecurityError
from jinja2.lexer import TokenStream
from jinja2.runtime import StrictUndefined
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import missing
from jinja2.visitor import NodeTransformer

__all__ = ["MOST", "Environment", "TooMuchError", "UndefinedNameError", "plain", "walk"]

MOST: Final = 2**21
"""Of characters and values, together, that a template gives, or has in between."""
_MOST_BITS: Final = 4096
"""Of a whole number."""


class TooMuchError(Exception):
    """A template would make more than MOST."""

    def __init__(self) -> None:
        super().__init__(f"it makes more than {MOST:,} characters or values")


class UndefinedNameError(jinja2.UndefinedError):
    """Something undefined was used.

    Attributes:
        name: What isn't there.
        of: What it isn't in; `jinja2.utils.missing` where it is no variable.
    """

    def __init__(self, undefined: Undefined, message: str) -> None:
        super().__init__(message)
        self.name, self.of = undefined._undefined_name, undefined._undefined_obj


class Undefined(StrictUndefined):
    """What there is not: any use of it but `is defined` and `default` raises UndefinedNameError."""

    __slots__ = ()

    def __init__(
        self, hint: str | None = None, obj: Any = missing, name: str | None = None, exc: Any = None
    ) -> None:
        raised: Any = exc if exc is SecurityError else partial(UndefinedNameError, self)
        super().__init__(hint, obj, name, raised)


def measure(*values: Any) -> int:
    """How many characters and values these are, those in them included.

    Raises:
        TooMuchError: More than MOST.
    """
    found = 0
    waiting: list[Any] = [values]
    while waiting:
        value = waiting.pop()
        if isinstance(value, str | bytes):
            found += len(value)
        elif isinstance(value, dict):
            found += len(value)
            if found <= MOST:
                waiting.extend((*value, *value.values()))
        elif isinstance(value, _COLLECTIONS):
            found += len(value)
            if found <= MOST and not isinstance(value, range):
                waiting.extend(value)
        if found > MOST:
            raise TooMuchError
    return found


_COLLECTIONS: Final = (list, tuple, set, frozenset, range)


def plain(value: Any) -> Any:
    """A value as JSON has it: lists for whatever can be gone through, plain texts and mappings.

    Raises:
        TooMuchError: It would be more than MOST.
        TypeError: It is a method: its call was meant.
    """
    measure(value)  # much faster where it is too much
    return _plain(value, [MOST])


def _plain(value: Any, left: list[int]) -> Any:
    left[0] -= 1 + (len(value) if isinstance(value, str) else 0)
    if left[0] < 0:
        raise TooMuchError
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, str | jinja2.Undefined):
        return str(value)  # of what is undefined, this raises what it is to raise
    if isinstance(value, Mapping):
        return {key: _plain(each, left) for key, each in value.items()}
    if isinstance(value, Iterable):
        return [_plain(each, left) for each in value]
    if callable(value):
        name = getattr(value, "__name__", "it")
        raise TypeError(f"{name} is a method; call it: {name}()")
    return value


def _multiply(*factors: int) -> None:
    product = 1
    for factor in factors:
        product *= max(1, factor)
    if product > MOST:
        raise TooMuchError


# --- operators and methods ------------------------------------------------------------------------

_WIDE = re.compile(r"\d{4,}|\*")
_PADDING = {"center", "expandtabs", "ljust", "rjust", "zfill"}


def _check_operator(operator: str, left: Any, right: Any) -> None:
    numbers = isinstance(left, int) and isinstance(right, int)
    if numbers and operator == "*" and left.bit_length() + right.bit_length() > _MOST_BITS:
        raise TooMuchError
    if numbers and operator == "**" and left.bit_length() * max(0, right) > _MOST_BITS:
        raise TooMuchError
    if operator == "*" and not numbers:
        for many, times in ((left, right), (right, left)):
            if isinstance(times, int):
                _multiply(measure(many), times)
    if operator == "+" and not numbers:
        measure(left, right)
    if operator == "%" and isinstance(left, str):
        _check_format(left, right)


def _check_format(text: str, *values: Any) -> None:
    """A format may have values with widths, but small ones that stand in it."""
    if _WIDE.search(text) or re.search(r"\{[^{}]*:[^{}]*\{", text):
        raise TooMuchError
    _multiply(len(text), 1 + measure(*values))


def _check_method(owner: str, name: str, arguments: tuple[Any, ...]) -> None:
    if name in ("format", "format_map"):
        _check_format(owner, *arguments)
    elif name in _PADDING:
        widths = (each for each in arguments if isinstance(each, int))
        _multiply(1 + len(owner) if name == "expandtabs" else 1, *widths)
    else:
        _multiply(1 + len(owner), 1 + measure(*arguments))


# --- filters --------------------------------------------------------------------------------------

_KEPT = (
    "abs batch capitalize center count d default dictsort filesizeformat first float format"
    " groupby indent int items join last length list lower map max min reject rejectattr replace"
    " reverse round select selectattr sort string sum title trim truncate unique upper urlencode"
    " wordcount wordwrap"
)
_WITH_NUMBERS = {"batch", "center", "indent", "round", "truncate", "wordwrap"}
"""Filters whose results grow with a number that they are given."""


def _bounded(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """A filter that measures what it is given before it is carried out."""
    passed = 1 if hasattr(function, "jinja_pass_arg") else 0

    @wraps(function)
    def measured(*arguments: Any, **keywords: Any) -> Any:
        settled = [*arguments[:passed], *map(_settled, arguments[passed:])]
        value, *others = [*settled[passed:], *keywords.values()]
        size, more = measure(value), measure(*others)
        if name in _WITH_NUMBERS:
            _multiply(1 + size, *(each for each in others if isinstance(each, int)))
        elif name == "format":
            _check_format(str(value), *others)
        elif name in ("join", "replace"):
            _multiply(1 + size, 1 + more)
        return function(*settled, **keywords)

    return measured


def _settled(value: Any) -> Any:
    """A value that is there: what would be made one by one, is made, if it is not too much."""
    if not isinstance(value, Iterator):
        return value
    found, size = [], 0
    for each in value:
        size += 1 + measure(each)
        if size > MOST:
            raise TooMuchError
        found.append(each)
    return found


def _as_json(value: Any, indent: int | None = None) -> str:
    """The filter `tojson`: JSON as it is, not for HTML."""
    return json.dumps(plain(value), ensure_ascii=False, indent=indent and min(indent, 16))


def _joined(values: list[Any]) -> str:
    """What the operator `~` does."""
    measure(values)
    return "".join(str(_printable(each)) for each in values)


def walk(tree: nodes.Node) -> Iterator[nodes.Node]:
    """A node and all nodes below it, in no order; several times as fast as `find_all`."""
    waiting = [tree]
    while waiting:
        node = waiting.pop()
        yield node
        for field in node.fields:
            value = getattr(node, field)
            for each in value if isinstance(value, list) else (value,):
                if isinstance(each, nodes.Node):
                    waiting.append(each)


class _Joins(NodeTransformer):
    """Makes each `~` a filter, for Jinja2 has no hook for it."""

    def visit_Concat(self, node: nodes.Concat) -> nodes.Node:
        self.generic_visit(node)
        line = node.lineno
        parts = nodes.List(node.nodes, lineno=line)
        return nodes.Filter(parts, _JOINED, [], [], None, None, lineno=line)


_JOINED = "~"
_REFUSED = (
    nodes.AssignBlock,
    nodes.Block,
    nodes.CallBlock,
    nodes.Extends,
    nodes.FilterBlock,
    nodes.FromImport,
    nodes.Import,
    nodes.Include,
    nodes.Macro,
)


# --- the environment ------------------------------------------------------------------------------


class Environment(ImmutableSandboxedEnvironment):
    """Reads and carries out templates. Safe to share among threads.

    What Jinja2 calls the line of a node or an error is here the place of its first character in the
    text, from 1: its own lines have no columns.
    """

    intercepted_binops = frozenset(["*", "**", "%", "+"])

    def __init__(self) -> None:
        super().__init__(
            undefined=Undefined,
            keep_trailing_newline=True,
            comment_start_string="{%#",  # `{#` is in shell commands: ${#list[@]}
            comment_end_string="#%}",
            finalize=_printable,
        )
        self.filters = {name: _bounded(name, self.filters[name]) for name in _KEPT.split()}
        self.filters |= {"tojson": _as_json, _JOINED: _joined}
        self.globals = {name: self.globals[name] for name in ("range", "dict")}

    def read(self, text: str) -> nodes.Template:
        """The nodes of a template; its filters and tests may be unknown.

        Raises:
            jinja2.TemplateSyntaxError: It is none, or has a tag that recipes have no use for.
        """
        tree = self._parse(text, None, None)
        for node in walk(tree):
            if isinstance(node, _REFUSED):
                tag = type(node).__name__.lower()
                raise jinja2.TemplateSyntaxError(f"templates of recipes have no {tag}", node.lineno)
        return tree

    def compile_nodes(self, tree: nodes.Template) -> jinja2.Template:
        """The template of nodes that `read` gave."""
        _Joins().visit(tree)
        tree.set_environment(self)
        return self.from_string(tree)

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        """Carry out an operator, if the result is not too much."""
        _check_operator(operator, left, right)
        return super().call_binop(context, operator, left, right)

    def call(self, context: Any, obj: Any, *args: Any, **kwargs: Any) -> Any:
        """Call a method, if the result is not too much."""
        args = tuple(map(_settled, args))
        owner = getattr(obj, "__self__", None)
        if isinstance(owner, str):
            _check_method(owner, obj.__name__, (*args, *kwargs.values()))
        return super().call(context, obj, *args, **kwargs)

    def getattr(self, obj: Any, attribute: str) -> Any:
        """`a.b`: of a mapping the value of its key, before a method of that name."""
        if isinstance(obj, Mapping):
            try:
                return obj[attribute]
            except LookupError:
                pass
        return super().getattr(obj, attribute)

    def wrap_str_format(self, value: Any) -> Any:
        """`str.format` of the sandbox, measured."""
        safe = super().wrap_str_format(value)
        if safe is None:
            return None
        owner = value.__self__

        def measured(*args: Any, **kwargs: Any) -> Any:
            _check_format(owner, *args, *kwargs.values())
            return safe(*args, **kwargs)

        return measured

    def _tokenize(
        self, source: str, name: str | None, filename: str | None = None, state: str | None = None
    ) -> TokenStream:
        tokens = self._placed(self.lexer.tokeniter(source, name, filename, state), source)
        return TokenStream(self.lexer.wrap(tokens, name, filename), name, filename)

    @staticmethod
    def _placed(
        tokens: Iterator[tuple[int, str, str]], source: str
    ) -> Iterator[tuple[int, str, str]]:
        """The tokens with their places instead of their lines."""
        place = 0
        try:
            for _, kind, text in tokens:
                place = max(place, source.find(text, place))
                yield place + 1, kind, text
                place += len(text)
        except jinja2.TemplateSyntaxError as error:
            said = re.fullmatch(r"(unexpected char .*) at (\d+)", error.message or "", re.DOTALL)
            message = said[1] if said else str(error.message)
            found = int(said[2]) if said else min(place, max(0, len(source) - 1))
            raise jinja2.TemplateSyntaxError(message, found + 1) from None


def _printable(value: Any) -> Any:
    """What stands beside other text; a value that would make too much of it is refused."""
    return value if isinstance(value, str | jinja2.Undefined) else plain(value)
