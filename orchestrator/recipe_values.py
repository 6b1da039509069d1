"""The templates of recipes: rendered when a step begins, and checked before any does.

A text that is one `{{ expression }}` and nothing else gives the value of the expression, of
whatever type; any other text with templates gives text, and a text without stays as it is. What is
not defined is an error.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from typing import Any, NamedTuple, Protocol

import jinja2
from jinja2 import nodes
from jinja2.utils import missing

from octo_errors import RecipeError, did_you_mean
from orchestrator.recipe_document import is_template
from orchestrator.recipe_sandbox import (
    MOST,
    Environment,
    TooMuchError,
    UndefinedNameError,
    bounded,
    plain,
    walk,
)

__all__ = ["Names", "TemplateProblem", "check_template", "is_true", "render"]

_environment = Environment()
_RAW = "braces that are no template: {% raw %} ... {% endraw %}"
_HINTS = {
    "got '='": "to compare, write ==",
    "char '&'": "write and, or, not",
    "got '|'": "write and, or, not",
    "char '!'": "write and, or, not",
}
"""How the message of a syntax error ends, and what to do."""


# --- rendering ------------------------------------------------------------------------------------


def render(value: Any, variables: Mapping[str, Any]) -> Any:
    """A value with all templates in it replaced by what they give; the keys of mappings stay.

    What comes out is what JSON can hold, as far as the variables are.

    Raises:
        RecipeError: A template is none, names what isn't defined, fails, or makes too much.
    """
    if isinstance(value, str):
        return _rendered(value, variables) if is_template(value) else value
    if isinstance(value, dict):
        return {key: render(each, variables) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [render(each, variables) for each in value]
    return value


def is_true(text: str, variables: Mapping[str, Any]) -> bool:
    """Whether a condition holds: an expression, with or without `{{ }}`.

    Texts `true` and `false` (an input may be given as one) mean that; of other values empty ones,
    0 and null are false.

    Raises:
        RecipeError: As for `render`; or the text is more than one expression.
    """
    template = text if is_template(text) else f"{{{{ {text} }}}}"
    if _read(template).expression is None:
        why, hint = _ONE_EXPRESSION["when"]
        raise RecipeError(f"condition {_short(text)}: {why}", hint=hint)
    value = _rendered(template, variables)
    if isinstance(value, str) and value.strip().lower() in ("true", "false"):
        return value.strip().lower() == "true"
    return bool(value)


_ONE_EXPRESSION = {
    "when": (
        "text around {{ }} makes it a text, which is always true",
        "write one expression, without braces: inputs.name == 'x'",
    ),
    "foreach": (
        "text around {{ }} makes it a text, which is no list",
        'write one expression: "{{ inputs.names }}"',
    ),
}
"""Keys of a step that take nothing else: what is wrong with more, and what to do."""


def _rendered(text: str, variables: Mapping[str, Any]) -> Any:
    about = f"template {_short(text)}"
    try:
        read = _read(text)
        context = read.template.new_context(dict(variables))
        with bounded():
            pieces = read.template.root_render_func(context)
            if read.expression is None:
                return _text(pieces)
            for _ in pieces:
                pass
            return plain(context.vars["value"])
    except RecipeError:
        raise
    except UndefinedNameError as error:
        message, hint = _undefined(error, variables)
        raise RecipeError(f"{about}: {message}", hint=hint) from None
    except TooMuchError as error:
        raise RecipeError(f"{about}: {error}", hint="let a Python step make it") from None
    except RecursionError:
        raise RecipeError(f"{about}: it is nested too deeply", hint="make it simpler") from None
    except Exception as error:
        raise RecipeError(f"{about}: {str(error) or type(error).__name__}") from error


def _text(pieces: Iterable[str]) -> str:
    found, length = [], 0
    for piece in pieces:
        length += len(piece)
        if length > MOST:
            raise TooMuchError
        found.append(piece)
    return "".join(found)


class _Read(NamedTuple):
    """A template, ready to be rendered.

    Attributes:
        expression: Where the text is only that; rendered, it is the variable `value`.
    """

    template: jinja2.Template
    expression: nodes.Expr | None


@lru_cache(maxsize=2048)
def _read(text: str) -> _Read:
    try:
        tree = _environment.read(text)
        expression = _only_expression(tree)
        if expression is not None:
            target = nodes.Name("value", "store", lineno=1)
            tree = nodes.Template([nodes.Assign(target, expression, lineno=1)], lineno=1)
        return _Read(_environment.compile_nodes(tree), expression)
    except jinja2.TemplateSyntaxError as error:
        about = f"template {_short(text)}, character {error.lineno}"
        raise RecipeError(f"{about}: {_said(error)}", hint=_hint(error)) from None
    except RecursionError:
        hint = "make it simpler"
        raise RecipeError(f"template {_short(text)}: it is nested too deeply", hint=hint) from None


def _only_expression(tree: nodes.Template) -> nodes.Expr | None:
    """The expression of a template that is nothing else, but for white space around it."""
    found = None
    for output in tree.body:
        if not isinstance(output, nodes.Output):
            return None
        for node in output.nodes:
            if isinstance(node, nodes.TemplateData):
                if not node.data.isspace():
                    return None
            elif found is not None:
                return None
            else:
                found = node
    return found


def _said(error: jinja2.TemplateSyntaxError, end: str = "}}") -> str:
    """Jinja2's words, the first sentence; `end` is what the user knows the end of a template as."""
    text = (error.message or "it can't be read").partition(". The innermost")[0].rstrip(".")
    ends = "Unexpected end of template. Jinja was looking for the following tags:"
    text = text.replace(ends, "it ends, and still needs")
    return text.replace("end of print statement", end).replace("end of statement block", "%}")


def _hint(error: jinja2.TemplateSyntaxError, otherwise: str = _RAW) -> str:
    said = error.message or ""
    return next((hint for end, hint in _HINTS.items() if said.endswith(end)), otherwise)


def _short(text: str) -> str:
    return repr(text if len(text) <= 80 else f"{text[:77]}...")


def _undefined(error: UndefinedNameError, variables: Mapping[str, Any]) -> tuple[str, str]:
    """What isn't defined, in words, and the nearest names."""
    name = str(error.name)
    if error.of is missing:
        return f"{name!r} is not defined", _near_variable(name, variables)
    owner = next((key for key, value in variables.items() if value is error.of), "")
    if isinstance(error.of, Mapping):
        there = (str(key) for key in islice(error.of, 1000))  # to compare more takes long
        return f"{owner or 'a mapping'} has no {name!r}", did_you_mean(name, there)
    if error.of is None:
        hint = (
            "the value before it is null: a step that returned nothing, or was left out, has that"
        )
        return f"null has no {name!r}", hint
    return f"{owner or type(error.of).__name__} has no {name!r}", ""


def _near_variable(name: str, variables: Mapping[str, Any]) -> str:
    for group in ("inputs", "results"):
        if name in variables.get(group, ()):
            return f"did you mean '{_path(group, name)}'?"
    return did_you_mean(name, variables)


def _path(group: str, name: str) -> str:
    return f"{group}.{name}" if name.isidentifier() else f"{group}[{name!r}]"


# --- checking -------------------------------------------------------------------------------------


class _Known(Protocol):
    """Names that can be looked up and listed."""

    def __contains__(self, name: object, /) -> bool: ...

    def __iter__(self) -> Iterator[str]: ...


@dataclass(frozen=True)
class Names:
    """What a template can name.

    Attributes:
        inputs: The inputs of the recipe.
        results: The steps that are done before.
        all_steps: All steps of the recipe.
        has_item: Whether there is an `item`, and its `index`.
        remedy: What to do for a step that is not in `results`.
        looked_up: Gives the hint that a function finds, or none: to find one takes long.
    """

    inputs: _Known
    results: _Known
    all_steps: Collection[str]
    has_item: bool = False
    remedy: Callable[[str], str] = "add it to depends_on: {}".format
    looked_up: Callable[[Callable[[], str]], str] = lambda find: find()

    def variables(self) -> list[str]:
        """The names that stand for themselves."""
        found = ["inputs", "results", "context", "env", "recipe"]
        return [*found, "item", "index"] if self.has_item else found


class TemplateProblem(NamedTuple):
    """Something wrong in a template.

    Attributes:
        line_offset: In which line of the text, from 0.
        column: At which character of that line, from 1.
    """

    line_offset: int
    column: int
    message: str
    hint: str = ""


def check_template(text: str, names: Names, *, key: str = "") -> list[TemplateProblem]:
    """What is wrong with a template, without rendering it: it is none, or names what isn't there.

    Args:
        key: The key of the step that it is for: some take a single expression.
    """
    is_condition = key == "when"
    wrong = "is no condition" if is_condition else "is no template"
    try:
        tree = _environment.read(text)
        found = [*_Walk(text, names, [*walk(tree)]).problems()]
    except jinja2.TemplateSyntaxError as error:
        said = _said(error, end="end" if is_condition else "}}")  # it may be without braces
        hint = _hint(error, _ONE_EXPRESSION["when"][1] if is_condition else _RAW)
        return [_problem(text, error.lineno, f"{wrong}: {said}", hint)]
    except RecursionError:
        return [TemplateProblem(0, 1, f"{wrong}: it is nested too deeply")]
    if key in _ONE_EXPRESSION and _only_expression(tree) is None:
        found.append(TemplateProblem(0, 1, *_ONE_EXPRESSION[key]))
    return sorted(found)


def _problem(text: str, place: int, message: str, hint: str = "") -> TemplateProblem:
    before = text[: place - 1]
    return TemplateProblem(before.count("\n"), place - 1 - before.rfind("\n"), message, hint)


_RECIPE = ("name", "directory")
_METHODS = {"get", "items", "keys", "values"}
_LACKING = {
    "inputs": "there is no input {}",
    "results": "there is no step {}",
    "recipe": "recipe has no {}",
}


class _Walk:
    """Looks at what a template names.

    What the template itself gives a name to, is taken to have that name all over it.
    """

    def __init__(self, text: str, names: Names, tree: list[nodes.Node]) -> None:
        self.text, self.names, self.tree = text, names, tree
        self.told: set[tuple[str, str]] = set()
        self.bound = set(_environment.globals)
        if any(isinstance(each, nodes.For) for each in tree):
            self.bound.add("loop")
        self.bound.update(
            each.name for each in tree if isinstance(each, nodes.Name) and each.ctx != "load"
        )

    def problems(self) -> Iterator[TemplateProblem]:
        """All problems; each name is told once."""
        known = {*self.bound, *self.names.variables()}
        self.tree.sort(key=lambda node: node.lineno or 0)  # operands of comparisons have none
        for node in self.tree:
            owner = getattr(node, "node", None)
            if isinstance(node, nodes.Name) and node.name not in known:
                yield from self._variable(node)
            elif isinstance(node, nodes.Filter):
                yield from self._word(node, node.name, "filter", _environment.filters)
            elif isinstance(node, nodes.Test):
                yield from self._word(node, node.name, "test", _environment.tests)
            elif isinstance(owner, nodes.Name) and owner.name not in self.bound:
                yield from self._member(node, owner.name)

    def _word(
        self, node: nodes.Node, name: str, kind: str, known: Mapping[str, Any]
    ) -> Iterator[TemplateProblem]:
        if name not in known:
            words = (each for each in known if each.isidentifier())
            hint = self.names.looked_up(lambda: did_you_mean(name, words))
            yield _problem(self.text, node.lineno, f"there is no {kind} {name!r}", hint)

    def _variable(self, node: nodes.Name) -> Iterator[TemplateProblem]:
        if ("", node.name) in self.told:
            return
        self.told.add(("", node.name))
        if node.name in ("item", "index"):
            hint = "only a step with foreach has one, and the foreach itself has none"
        else:
            known = {"inputs": self.names.inputs, "results": self.names.all_steps}
            variables = dict.fromkeys(self.names.variables(), ()) | known
            hint = self.names.looked_up(lambda: _near_variable(node.name, variables))
        yield self._at(node, f"{node.name!r} is not defined", hint)

    def _member(self, node: nodes.Node, group: str) -> Iterator[TemplateProblem]:
        name: Any = getattr(node, "attr", None)
        if isinstance(node, nodes.Getitem) and isinstance(node.arg, nodes.Const):
            name = node.arg.value
        known = {"inputs": self.names.inputs, "results": self.names.results, "recipe": _RECIPE}
        if group not in known or not isinstance(name, str) or (group, name) in self.told:
            return
        if name in known[group] or (isinstance(node, nodes.Getattr) and name in _METHODS):
            return
        self.told.add((group, name))
        message = _LACKING[group].format(repr(name))
        if group == "results" and name in self.names.all_steps:
            message = f"step {name!r} may not be done before this one"
        yield self._at(node, message, self.names.looked_up(lambda: self._way_out(group, name)))

    def _way_out(self, group: str, name: str) -> str:
        if group == "results":
            is_step = name in self.names.all_steps
            return self.names.remedy(name) if is_step else _near_step(name, self.names.all_steps)
        if group == "inputs":
            return did_you_mean(name, self.names.inputs) or "the recipe has no inputs"
        return did_you_mean(name, _RECIPE)

    def _at(self, node: nodes.Node, message: str, hint: str) -> TemplateProblem:
        place = node.lineno
        if isinstance(node, nodes.Getattr | nodes.Getitem):  # that of the dot or bracket
            rest = self.text[place - 1 :]
            place += len(rest) - len(rest.lstrip(".[ \t\n"))
        return _problem(self.text, place, message, hint)


def _near_step(name: str, steps: Collection[str]) -> str:
    for step in steps:
        if not step.isidentifier() and step.startswith(name):
            return f"did you mean {_path('results', step)}?"
    return did_you_mean(name, steps)
