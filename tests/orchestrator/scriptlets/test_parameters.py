from __future__ import annotations

from typing import Any, Literal, Optional

import pytest

from octo_errors import ScriptletError
from scriptlets.parameters import Parameter, check_parameters


def declaring(**parameters: Any) -> type:
    return type("Load", (), {"parameters": parameters})


@pytest.mark.parametrize(
    ("kind", "good", "bad"),
    [
        (int, [0, -5], [True, 1.0, "1", None]),
        (float, [1, 1.5], [True, "1"]),
        (bool, [True, False], [0, 1, "yes"]),
        (str, ["", "x"], [1, None]),
        (list[int], [[], ["unchecked"]], [(), {}]),
        (int | None, [1, None], ["x", False]),
        (Optional[str], ["x", None], [1]),  # noqa: UP045
        ((int, str), [1, "x"], [1.5, None]),
        (Literal["a", "b"], ["a"], ["c", 1]),
        (Any, [None, 1, {}], []),
        (object, [None, 1, {}], []),
        (Parameter(int, default=None), [None, 3], ["x"]),
        (Parameter(str, choices=("a", "b")), ["a"], ["c"]),
    ],
)
def test_a_value_must_be_of_the_type(kind: Any, good: list[Any], bad: list[Any]) -> None:
    for value in good:
        assert check_parameters(declaring(p=kind), {"p": value}) == {"p": value}
    for value in bad:
        with pytest.raises(ScriptletError, match="Load: parameter 'p' must be"):
            check_parameters(declaring(p=kind), {"p": value})


def test_all_problems_are_told_at_once() -> None:
    target = declaring(source=str, limit=Parameter(int, default=1))
    with pytest.raises(ScriptletError) as failure:
        check_parameters(target, {"limit": "many", "sorce": "x"})
    assert failure.value.message == (
        "Load: parameter 'limit' must be int, not str: 'many'; parameter 'source' (str) is missing;"
        " there is no parameter 'sorce'"
    )
    assert failure.value.hint == "did you mean 'source'?"


def test_what_declares_nothing_takes_anything() -> None:
    assert check_parameters(object, {"a": object}) == {"a": object}


@pytest.mark.parametrize("wrong", [[("a", int)], {"a": 5}, {"a": ()}, {3: int}])
def test_a_declaration_that_is_none_is_refused(wrong: object) -> None:
    with pytest.raises(ScriptletError, match="Load: parameters"):
        check_parameters(type("Load", (), {"parameters": wrong}), {})
