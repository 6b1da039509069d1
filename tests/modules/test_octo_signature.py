"""The signature of a function whose annotations can't all be evaluated."""

from __future__ import annotations

import inspect
import sys
from typing import Any

import pytest

from octo_signature import signature_of

LATE = """
def count(rows: int, context: Missing, by=1): ...
"""


def test_it_is_that_of_inspect() -> None:
    assert signature_of(inspect.getdoc) == inspect.signature(inspect.getdoc)
    with pytest.raises(TypeError):
        signature_of(1)


@pytest.mark.skipif(sys.version_info < (3, 14), reason="annotations are evaluated at once")
def test_an_annotation_that_is_not_there_is_told_by_its_name() -> None:
    names: dict[str, Any] = {}
    exec(compile(LATE, "late", "exec", dont_inherit=True), names)
    parameters = signature_of(names["count"]).parameters
    assert [*parameters] == ["rows", "context", "by"]
    assert parameters["rows"].annotation is int
    assert parameters["context"].annotation.__forward_arg__ == "Missing"
