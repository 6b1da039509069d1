from __future__ import annotations

import ssl
from collections.abc import Callable
from typing import Any, ForwardRef

import pytest

from orchestrator.context import Context
from scriptlets.calls import arguments_for, wants_context
from scriptlets.parameters import type_name

ROLES = {"context": "C", "params": {"a": 1, "b": 2}}


def called(function: Callable[..., Any], params: dict[str, Any] | None = None) -> Any:
    roles = {"context": "C", "params": {"a": 1, "b": 2} if params is None else params}
    made = arguments_for(function, roles, roles["params"])  # type: ignore[arg-type]
    assert not made.missing
    return function(*made.positional, **made.keywords)


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (lambda context, params: (context, params), ("C", {"a": 1, "b": 2})),
        (lambda ctx, args, **more: (ctx, args, more), ("C", {"a": 1, "b": 2}, {})),
        (lambda params, /, *, context: (params, context), ({"a": 1, "b": 2}, "C")),
        (lambda a, **rest: (a, rest), (1, {"b": 2})),
        (lambda b, /, c=3: (b, c), (2, 3)),
        (lambda *all, a: (all, a), ((), 1)),
        (lambda: None, None),
    ],
)
def test_each_parameter_gets_what_its_name_asks_for(
    function: Callable[..., Any], expected: object
) -> None:
    assert called(function) == expected


def test_a_parameter_of_the_users_own_goes_before_the_role_of_that_name() -> None:
    assert called(lambda args: args, {"args": ["-l"]}) == ["-l"]
    assert called(lambda params: params, {"params": 1}) == {"params": 1}


def test_an_annotation_tells_the_context() -> None:
    def function(c: Context, d: "Context | None" = None) -> Any:  # noqa: UP037
        return c, d

    assert called(function) == ("C", "C")


def test_an_annotation_that_only_type_checkers_can_evaluate_tells_the_context() -> None:
    def function(c: Any, d: Any = None) -> Any:
        return c, d

    function.__annotations__ = {"c": ForwardRef("Context"), "d": ForwardRef("Context | None")}
    assert called(function) == ("C", "C")
    assert type_name(ForwardRef("Context")) == "Context"


def test_what_is_missing_is_named() -> None:
    assert arguments_for(lambda x, y=1, *, z: None, ROLES, {}).missing == ["x", "z"]
    assert arguments_for(lambda x: None, {"error": 1}, {}, first="error").keywords == {"x": 1}


def test_a_context_of_another_kind_is_left_alone() -> None:
    def fetch(url: str, context: ssl.SSLContext | None = None) -> None: ...
    def ours(url: str, context: Context | None = None) -> None: ...
    def plain(context) -> None: ...  # type: ignore[no-untyped-def]
    def with_default(context=None) -> None: ...  # type: ignore[no-untyped-def]

    assert [wants_context(each) for each in (fetch, ours, plain, with_default, print, dict)] == [
        *(False, True, True, False, False, False)
    ]
