"""The mutations of the protection fit the code, and one that no test notices is told."""

from __future__ import annotations

import shutil
import sys
from dataclasses import replace
from pathlib import Path

import pytest

import mutate_protection
import project_environment
from mutate_protection import MUTATIONS, Mutation, Result, main, mutate, table
from tests.support import PROJECT

PYTHON = Path(sys.executable)
BY_NAME = {mutation.protection: mutation for mutation in MUTATIONS}
REVISION = BY_NAME["check of the revision"]


@pytest.mark.parametrize("mutation", MUTATIONS, ids=BY_NAME)
def test_each_patch_fits_one_place_and_leaves_a_program(mutation: Mutation, tmp_path: Path) -> None:
    target = tmp_path / mutation.file
    target.parent.mkdir(parents=True)
    shutil.copy(PROJECT / mutation.file, target)
    assert mutation.apply(tmp_path) == ""
    text = target.read_text()
    assert text != (PROJECT / mutation.file).read_text()
    compile(text, target, "exec")


@pytest.mark.parametrize("mutation", MUTATIONS, ids=BY_NAME)
def test_each_test_that_is_to_fail_is_there(mutation: Mutation) -> None:
    assert mutation.tests
    for test in mutation.tests:
        file, *names = test.split("::")
        text = (PROJECT / file).read_text()
        assert f"def {names[-1]}(" in text
        assert all(f"class {name}:" in text for name in names[:-1])


def only(mutation: Mutation) -> Result:
    [result] = mutate([mutation], PYTHON)
    return result


@pytest.mark.exhaustive
def test_a_protection_that_is_taken_away_is_noticed_and_the_project_left_alone() -> None:
    before = (PROJECT / REVISION.file).read_bytes()
    result = only(REVISION)
    assert result.is_killed
    assert result.killed_by == REVISION.tests
    assert (PROJECT / REVISION.file).read_bytes() == before


@pytest.mark.exhaustive
def test_what_no_test_notices_has_survived() -> None:
    result = only(replace(REVISION, new=REVISION.old))
    assert not result.is_killed
    assert "**survived**" in "\n".join(table([result]))


@pytest.mark.exhaustive
@pytest.mark.parametrize(
    ("mutation", "problem"),
    [
        (replace(REVISION, old="\n"), "places of modules/octo_parameter_store.py, not 1"),
        (replace(REVISION, tests=(f"{REVISION.tests[0]}_x",)), "don't pass without it"),
    ],
    ids=["a patch that does not fit", "a test that is not there"],
)
def test_what_proves_nothing_is_a_problem(mutation: Mutation, problem: str) -> None:
    result = only(mutation)
    assert not result.is_killed
    assert problem in result.problem


@pytest.mark.parametrize(
    ("killed_by", "code"), [(REVISION.tests, 0), ((), 1)], ids=["killed", "survived"]
)
def test_the_exit_code_tells_whether_all_are_noticed(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    killed_by: tuple[str, ...],
    code: int,
) -> None:
    monkeypatch.setattr(project_environment, "prepare", lambda extras: PYTHON)
    monkeypatch.setattr(
        mutate_protection,
        "mutate",
        lambda chosen, _: [Result(mutation, killed_by) for mutation in chosen],
    )
    assert main([REVISION.protection]) == code
    assert capsys.readouterr().out.count("\n") == 3


def test_a_name_that_is_none_is_answered_with_the_names(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["gravity"]) == 2
    assert REVISION.protection in capsys.readouterr().out
