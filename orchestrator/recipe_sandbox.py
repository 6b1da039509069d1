"""The sandbox of templates: Jinja2 with a bound on what a template can make, and places in errors.

A template can't change what it is given, can't reach what isn't data, and can't make more than
MOST: what could multiply (`*`, `**`, `%`, `~`, methods of texts, filters) is measured before it
does. Nor can it work for long: turns of loops and what is measured count as work, see `bounded`.
What a recipe has no use for is left out: macros, blocks, imports, and filters for HTML.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sized
from contextlib import contextmanager
from contextvars import ContextVar
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

__all__ = ["MOST", "Environment", "TooMuchError", "UndefinedNameError", "bounded", "plain", "walk"]

MOST: Final = 2**21
"""Of characters and values, together, that a template gives, or has in between."""
_MOST_BITS: Final = 4096
"""Of a whole number."""
_MOST_WORK: Final = 2**22
"""Of turns of loops, and values that are gone through, together: some seconds."""
_CHARACTERS: Final = 256
"""So many of them are as much work as one value."""


class TooMuchError(Exception):
    """A template would make more than MOST, or works for too long."""

    def __init__(self, what: str = f"it makes more than {MOST:,} characters or values") -> None:
        super().__init__(what)


_work_left: ContextVar[list[int] | None] = ContextVar("work_left", default=None)


@contextmanager
def bounded() -> Iterator[None]:
    """What is done in this block counts as the work of one template.

    Raises:
        TooMuchError: In the block, at the latest after some seconds.
    """
    token = _work_left.set([_MOST_WORK])
    try:
        yield
    finally:
        _work_left.reset(token)


def _work(amount: int) -> None:
    left = _work_left.get()
    if left is not None:
        left[0] -= amount
        if left[0] < 0:
            raise TooMuchError(f"it goes through more than {_MOST_WORK:,} values or turns of loops")


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
    found = seen = 0
    waiting: list[Any] = [values]
    while waiting:
        value = waiting.pop()
        seen += 1
        if isinstance(value, str | bytes):
            found += len(value)
        elif isinstance(value, dict):
            found += len(value)
            if found <= MOST:
                waiting.extend((*value, *value.values()))
        elif isinstance(value, _COLLECTIONS):
            found += len(value)
            if isinstance(value, range):
                seen += len(value)
            elif found <= MOST:
                waiting.extend(value)
        if found > MOST:
            raise TooMuchError
    _work(seen + found // _CHARACTERS)
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
        raise TypeError("it is a method, not what that gives: write () behind its name")
    return value


# --- operators, methods, filters ------------------------------------------------------------------


def _refuse(size: int) -> None:
    """Do nothing if this isn't too much."""
    if size > MOST:
        raise TooMuchError
    _work(size // _CHARACTERS)


def _refuse_if(too_much: object) -> None:
    if too_much:
        raise TooMuchError


def _check_operator(operator: str, left: Any, right: Any) -> None:
    if isinstance(left, int) and isinstance(right, int):
        bits = {"*": left.bit_length() + right.bit_length(), "**": left.bit_length() * right}
        _refuse_if(bits.get(operator, 0) > _MOST_BITS)
    elif operator == "*":
        for many, times in ((left, right), (right, left)):
            if isinstance(times, int):
                _refuse(measure(many) * times)
    elif operator == "+":
        measure(left, right)
    elif operator == "%" and isinstance(left, str):
        _check_percent(left, right)


_WIDE_PERCENT = re.compile(r"%(\([^)]*\))?[-#0 +]*(\*|\d{4}|\d*\.(\*|\d{4}))")
_WIDE_BRACES = re.compile(r"\{[^{}]*:[^{}]*(\d{4}|\{)")


def _check_percent(text: str, *values: Any) -> None:
    """`text % values`: widths are small, and stand in the text."""
    _refuse_if(_WIDE_PERCENT.search(text))
    _refuse(len(text) + text.count("%") * (1000 + measure(*values)))


def _check_braces(text: str, *values: Any) -> None:
    """`text.format(values)` likewise."""
    _refuse_if(_WIDE_BRACES.search(text))
    _refuse(len(text) + text.count("{") * (1000 + measure(*values)))


def _check_join(separator: Any, values: Any) -> None:
    count = len(values) if isinstance(values, Sized) else 0
    _refuse(measure(values) + len(str(separator)) * count)


def _check_replace(text: Any, old: Any = "", new: Any = "", *_: Any) -> None:
    growth = max(0, len(str(new)) - len(str(old)))
    _refuse(len(str(text)) + str(text).count(str(old)) * growth)


def _check_width(text: str, *widths: Any) -> None:
    _refuse(len(text) + sum(each for each in widths if isinstance(each, int)))


def _check_tabs(text: str, width: int = 8) -> None:
    _refuse(len(text) + text.count("\t") * width)


def _check_translate(text: str, table: Any) -> None:
    _refuse(len(text) * (1 + measure(table)))


_METHODS: dict[str, Callable[..., None]] = {
    **dict.fromkeys(("center", "ljust", "rjust", "zfill"), _check_width),
    **dict.fromkeys(("format", "format_map"), _check_braces),
    "expandtabs": _check_tabs,
    "join": _check_join,
    "replace": _check_replace,
    "translate": _check_translate,
}
"""The methods of texts whose result may be much more than what they are given."""


def _check_indent(text: Any, width: Any = 4, *_: Any) -> None:
    times = len(width) if isinstance(width, str) else width
    _refuse(len(str(text)) + (1 + str(text).count("\n")) * times)


def _check_round(_: Any, precision: int = 0, *__: Any) -> None:
    _refuse_if(abs(precision) > 1000)


_FILTERS: dict[str, Callable[..., None]] = {
    "batch": lambda values, size, *_: _refuse(measure(values) + size),
    "center": lambda text, width=80: _check_width(str(text), width),
    "format": lambda text, *values: _check_percent(str(text), *values),
    "indent": _check_indent,
    "join": lambda values, separator="", *_: _check_join(separator, values),
    "replace": _check_replace,
    "round": _check_round,
}
"""The same of filters."""
_KEPT = (
    "abs batch capitalize center count d default dictsort filesizeformat first float format"
    " groupby indent int items join last length list lower map max min reject rejectattr replace"
    " reverse round select selectattr sort string sum title trim truncate unique upper urlencode"
    " wordcount wordwrap"
)


def _bounded(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """A filter that measures what it is given before it is carried out."""
    passed = 1 if hasattr(function, "jinja_pass_arg") else 0

    @wraps(function)
    def measured(*arguments: Any, **keywords: Any) -> Any:
        settled = [*arguments[:passed], *map(_settled, arguments[passed:])]
        measure(settled[passed:], keywords)
        if check := _FILTERS.get(name):
            check(*settled[passed:], *keywords.values())
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


class _Hooks(NodeTransformer):
    """Puts filters where Jinja2 has no hooks: for each `~`, comparison, and turn of a loop."""

    def visit_Concat(self, node: nodes.Concat) -> nodes.Node:
        self.generic_visit(node)
        return _filter(nodes.List(node.nodes, lineno=node.lineno), _JOINED)

    def visit_Compare(self, node: nodes.Compare) -> nodes.Node:
        self.generic_visit(node)
        node.expr = _filter(node.expr, _MEASURED)
        for operand in node.ops:
            operand.expr = _filter(operand.expr, _MEASURED)
        return node

    def visit_For(self, node: nodes.For) -> nodes.Node:
        self.generic_visit(node)
        turn = _filter(nodes.Const(True, lineno=node.lineno), _TURN)
        node.body.insert(0, nodes.ExprStmt(turn, lineno=node.lineno))
        if node.test is not None:
            node.test = nodes.And(turn, node.test, lineno=node.lineno)
        return node


def _filter(value: nodes.Expr, name: str) -> nodes.Filter:
    return nodes.Filter(value, name, [], [], None, None, lineno=value.lineno)


def _measured(value: Any) -> Any:
    """A value that is compared: in lists of lists of lists ... that would take for ever."""
    measure(value)
    return value


@jinja2.pass_context  # else it would be carried out once, when the template is compiled
def _turn(_: object, value: Any) -> Any:
    _work(1)
    return value


_JOINED, _MEASURED, _TURN = "~", "==", "for"
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
        self.filters |= {_MEASURED: _measured, _TURN: _turn}
        tests: dict[str, Any] = self.tests
        self.tests = {name: _bounded("", test) for name, test in tests.items()}
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
        _Hooks().visit(tree)
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
            _METHODS.get(obj.__name__, measure)(owner, *args, *kwargs.values())
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
            _check_braces(owner, *args, *kwargs.values())
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
