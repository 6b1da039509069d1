from __future__ import annotations

import functools
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from octo_errors import ScriptletError
from scriptlets.base import BaseScriptlet
from scriptlets.references import load_file, load_target, reference_to, why_only_here


class Holder:
    class Inner:
        def run(self) -> None: ...


def replaced() -> str:
    return "the first"


first = replaced


def replaced() -> str:  # type: ignore[no-redef]
    return "the second"


@pytest.mark.parametrize("target", [print, os.walk, BaseScriptlet, Holder.Inner, Path.cwd])
def test_what_can_be_imported_is_found_again(target: Any) -> None:
    assert why_only_here(target) == ""
    assert load_target(reference_to(target)) == target


@pytest.mark.parametrize(
    ("target", "reason"),
    [
        (lambda: 1, "it is defined inside a function"),
        (functools.partial(print), "it is partial, not a class or function of a module"),
        (dict.fromkeys, "it is builtin_function_or_method, not a class or function of a module"),
        (Holder.Inner().run, "Holder.Inner.run is something else"),
        (first, "replaced is something else"),
    ],
)
def test_why_something_can_not_be_imported(target: Any, reason: str) -> None:
    assert why_only_here(target).endswith(reason)


def test_what_is_in_the_started_script_can_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(first, "__module__", "__main__")
    assert "in the script that was started" in why_only_here(first)


def test_what_was_loaded_from_a_file_is_found_by_the_file(tmp_path: Path) -> None:
    file = tmp_path / "tools.py"
    file.write_text("def work(): return 5\n")
    module = load_file(file)
    assert why_only_here(module.work) == ""
    reference = reference_to(module.work)
    assert load_target(reference) is module.work
    del sys.modules[module.__name__]  # as in another process
    assert load_target(reference)() == 5
    del sys.modules[module.__name__]


def test_what_is_gone_is_told() -> None:
    with pytest.raises(ScriptletError, match="has no gone") as failure:
        load_target({"module": "os", "name": "gone"})
    assert failure.value.hint == "was it renamed?"
