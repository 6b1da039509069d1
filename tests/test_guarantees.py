"""docs/guarantees.md names tests that there are, and each protection that is taken away."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from mutate_protection import MUTATIONS
from tests.support import PROJECT

PAGE = (PROJECT / "docs" / "guarantees.md").read_text(encoding="utf-8")
NAMED = re.compile(r"`((?:[\w.]+/)*test_\w+\.py)?((?:::\w+)*)`")


def named_tests() -> Iterator[tuple[str, str]]:
    """File and name of each test on the page; a name without a file is in the one before it."""
    file = "modules/test_octo_doctor.py"  # of the last table, as the page says
    for line in PAGE.splitlines():
        for found in NAMED.finditer(line):
            file = found[1] or file
            yield file.removeprefix("tests/"), found[2]
        for name in re.findall(r"`(test_\w+)`", line):
            yield "modules/test_octo_doctor.py", f"::{name}"


@pytest.mark.parametrize(("file", "name"), sorted({*named_tests()}), ids="".join)
def test_each_test_that_is_named_is_there(file: str, name: str) -> None:
    paths = list((PROJECT / "tests").rglob(file))
    assert len(paths) == 1
    text = paths[0].read_text(encoding="utf-8")
    for part in filter(None, name.split("::")):
        assert f"def {part}(" in text or f"class {part}:" in text or f"class {part}(" in text


def test_the_table_has_each_protection_that_is_taken_away() -> None:
    table = PAGE.partition("| protection taken away |")[2].partition("\n\n")[0]
    rows = [row.split(" | ") for row in table.splitlines()[2:]]
    assert [row[0].removeprefix("| ") for row in rows] == [each.protection for each in MUTATIONS]
    for row, mutation in zip(rows, MUTATIONS, strict=True):
        assert row[2].count("::test_") == len(mutation.tests)
        assert row[3].startswith("killed by ")
