"""Whether args fit what they are given to, compared with what Python says when it calls that."""

from __future__ import annotations

import inspect
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from octo_errors import ScriptletError
from orchestrator.context import Context
from orchestrator.recipe_check_python import call_mistakes
from orchestrator.recipe_signatures import Outline, Target
from scriptlets.framework import BaseScriptlet, Parameter
from scriptlets.lifecycle import check_call

P = inspect.Parameter
NAMES = "abcdef"


@st.composite
def signatures(draw: st.DrawFn) -> inspect.Signature:
    """What any `def` can have."""
    names = iter(draw(st.permutations(NAMES)))
    parameters = []
    has_default = False
    for kind in (P.POSITIONAL_ONLY, P.POSITIONAL_OR_KEYWORD):
        for _ in range(draw(st.integers(0, 2))):
            has_default = has_default or draw(st.booleans())
            parameters.append(P(next(names), kind, default=1 if has_default else P.empty))
    if draw(st.booleans()):
        parameters.append(P("rest", P.VAR_POSITIONAL))
    for _ in range(draw(st.integers(0, 2))):
        default = draw(st.sampled_from([1, P.empty]))
        parameters.append(P(next(names), P.KEYWORD_ONLY, default=default))
    if draw(st.booleans()):
        parameters.append(P("more", P.VAR_KEYWORD))
    return inspect.Signature(parameters)


args = (
    st.none()
    | st.lists(st.just(0), max_size=6)
    | st.dictionaries(st.sampled_from([*NAMES, "rest", "more", "x"]), st.just(0), max_size=5)
)


def only_by_place(a: int, /, **more: int) -> None: ...


@given(signatures(), args)
@example(inspect.signature(only_by_place), {"a": 0})
def test_args_have_a_mistake_if_and_only_if_python_cant_call_with_them(
    signature: inspect.Signature, args: Any
) -> None:
    found = list(call_mistakes(Target(signature=signature), "f", args))
    made: dict[str, Any] = {}
    exec(f"def called{signature}: pass", made)  # Signature.bind of Python 3.11 refuses too much
    try:
        made["called"](
            *(args if isinstance(args, list) else ()), **(args if isinstance(args, dict) else {})
        )
    except TypeError as error:
        assert found, error
    else:
        assert found == []


@pytest.mark.parametrize("annotation", [P.empty, "Context", "orchestrator.context.Context | None"])
def test_what_the_engine_gives_need_not_be_given(annotation: Any) -> None:
    context = P("context", P.POSITIONAL_OR_KEYWORD, annotation=annotation)
    other = P("a", P.POSITIONAL_OR_KEYWORD)
    target = Target(signature=inspect.Signature([other, context]))
    assert list(call_mistakes(target, "f", {"a": 1})) == []
    assert list(call_mistakes(target, "f", [1])) == []
    (mistake,) = call_mistakes(target, "f", [1, 2])
    assert "gets its context from the engine" in mistake.message


def test_what_is_not_known_is_right() -> None:
    for args in (None, [1], {"a": 1}):
        assert list(call_mistakes(Target(), "f", args)) == []
    assert list(call_mistakes(Target(is_scriptlet=True), "f", {"a": 1})) == []


SCRIPTLETS = {
    "single": "class S:\n  def run(self, a, b=1): ...",
    "by_name": "class S:\n  def run(self, *, a, context): ...",
    "own_init": "class S:\n  def __init__(self, a): ...\n  def run(self): ...",
    "both": "class S:\n  def __init__(self, b): ...\n  async def run(self, ctx, a): ...",
    "all": "class S:\n  def run(self, context, params): ...",
    "all_and_one": "class S:\n  def run(self, params, a): ...",
    "more": "class S:\n  def run(self, a, **more): ...",
    "any_init": "class S:\n  def __init__(self, **more): ...\n  def run(self, a): ...",
    "checked": "class S:\n  def validate(self, params): ...\n  def run(self, a): ...",
    "based": "class S(BaseScriptlet):\n  def run(self, a): ...",
    "own_role": "class S:\n  def run(self, args, parameters=1): ...",
    "annotated": "class S:\n  def run(self, store: Context, a): ...",
    "declared": "class S:\n  parameters = {'a': int, 'b': Parameter(int, 1)}\n"
    "  def run(self, params): ...",
    "of_types": "class S:\n  parameters = {'a': int | None, 'b': (str, bool)}\n"
    "  def run(self, **more): ...",
    "of_choices": "class S:\n  parameters = {'a': Parameter(type=str, default=None),\n"
    "    'b': Parameter(int, 2, choices=(1, 2)), 'c': Parameter()}\n  def run(self, args): ...",
    "nothing": "class S:\n  def run(self): ...",
}


@pytest.mark.parametrize("kind", SCRIPTLETS)
@given(
    st.dictionaries(
        st.sampled_from(["a", "b", "c", "args", "context", "store"]),
        st.sampled_from([1, "x", None, True]),
    )
)
def test_a_scriptlets_args_have_a_mistake_if_and_only_if_it_cant_be_run_with_them(
    kind: str, args: dict[str, Any]
) -> None:
    names: dict[str, Any] = {
        "BaseScriptlet": BaseScriptlet,
        "Context": Context,
        "Parameter": Parameter,
    }
    exec(SCRIPTLETS[kind], names)
    target = Outline(SCRIPTLETS[kind].encode(), "s.py").target("S")
    assert target is not None and target.is_scriptlet
    try:
        check_call(names["S"], args)
        is_right = True
    except ScriptletError:
        is_right = False
    assert (list(call_mistakes(target, "S", args)) == []) == is_right


@pytest.mark.parametrize(
    "declared",
    ["MINE", "Parameter(int, default=MINE)", "make(int)", "Path", "list[int]", "Literal['a']"],
)
def test_of_values_that_only_running_the_module_would_tell_nothing_is_said(declared: str) -> None:
    source = f"class S:\n  parameters = {{'a': {declared}}}\n  def run(self, params): ..."
    target = Outline(source.encode(), "s.py").target("S")
    assert target is not None
    assert list(call_mistakes(target, "S", {"a": "x"})) == []


def test_a_template_may_become_any_value() -> None:
    source = "class S:\n  parameters = {'a': int, 'b': list}\n  def run(self, params): ..."
    target = Outline(source.encode(), "s.py").target("S")
    assert target is not None
    assert list(call_mistakes(target, "S", {"a": "{{ item }}", "b": ["{{ item }}"]})) == []
