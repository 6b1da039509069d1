from __future__ import annotations

import importlib.metadata
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import scriptlets
from octo_errors import ScriptletError
from scriptlets import registry as registry_module
from scriptlets.framework import BaseScriptlet, ScriptletRegistry, register_scriptlet, registry


@pytest.fixture
def names() -> Iterator[None]:
    before = dict(registry._entries)
    yield
    registry._entries = before


class Load(BaseScriptlet):
    """Loads.

    And more.
    """

    category = "data"
    parameters = {"source": str}  # noqa: RUF012

    def run(self) -> None: ...


def save(path: str) -> None:
    """Saves."""


def test_what_is_not_given_is_taken_from_the_class() -> None:
    mine = ScriptletRegistry()
    entry = mine.register(Load)
    assert (entry.name, entry.category, entry.version) == ("Load", "data", "1.0")
    assert entry.description == "Loads."
    assert entry.place.startswith(f"{__file__}:")
    assert entry.parameters is not None and list(entry.parameters) == ["source"]
    other = mine.register(save, name="store", category="data", version="2", description="Stores.")
    assert (other.name, other.version, other.description) == ("store", "2", "Stores.")
    mine.register(save)
    assert mine.categories() == {"data": 2, "general": 1}
    assert [each.name for each in mine.list("data")] == ["Load", "store"]
    assert [each.name for each in mine.list()] == ["Load", "save", "store"]
    assert mine.get("store").target is save
    assert "store" in mine and "x" not in mine


@pytest.mark.usefixtures("names")
def test_the_decorator_works_bare_and_with_arguments() -> None:
    @register_scriptlet
    class Bare(BaseScriptlet):
        def run(self) -> None: ...

    @register_scriptlet(name="with arguments", category="x")
    class Other(BaseScriptlet):
        def run(self) -> None: ...

    assert registry.get("Bare").target is Bare
    assert registry.get("with arguments").category == "x"
    with pytest.raises(ScriptletError, match=r"write @register_scriptlet\(name='x'\)"):
        register_scriptlet("x")  # type: ignore[call-overload]


def test_a_name_that_is_not_known_is_told_with_the_nearest() -> None:
    mine = ScriptletRegistry()
    with pytest.raises(ScriptletError, match="discover its folder"):
        mine.get("Lod")
    mine.register(Load)
    with pytest.raises(ScriptletError, match="did you mean 'Load'"):
        mine.get("Lod")


def test_two_of_one_name_are_refused_with_both_places() -> None:
    mine = ScriptletRegistry()
    mine.register(Load)
    mine.register(Load)
    with pytest.raises(ScriptletError) as failure:
        mine.register(save, name="Load")
    assert failure.value.message.count(__file__) == 2
    assert mine.get("Load").target is Load


@pytest.mark.parametrize(
    ("target", "details", "text"),
    [
        (type("Idle", (), {}), {}, "Idle has no method run"),
        (type("Idle", (BaseScriptlet,), {}), {}, "Idle has no method run"),
        (5, {}, "no class and no function"),
        (save, {"name": " "}, "' ' is no name"),
        (save, {"name": 3}, "3 is no name"),
        (type("Wrong", (Load,), {"parameters": [1]}), {}, "parameters must be a dict"),
    ],
)
def test_what_is_wrong_is_refused_before_anything_is_added(
    target: Any, details: dict[str, Any], text: str
) -> None:
    mine = ScriptletRegistry()
    with pytest.raises(ScriptletError, match=text):
        mine.register(target, **details)
    assert mine.list() == []


def write(folder: Path, **files: str) -> None:
    for name, text in files.items():
        path = folder / f"{name.replace('__', '/')}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text))


PLAIN = """
    from scriptlets.framework import BaseScriptlet, register_scriptlet
    class {name}(BaseScriptlet):
        def run(self): pass
"""


def test_a_folder_is_searched_with_those_below(tmp_path: Path) -> None:
    write(
        tmp_path,
        one=PLAIN.format(name="One") + "\n    class NoScriptlet:\n        def run(self): pass\n",
        sub__two=PLAIN.format(name="Two")
        + "\n    @register_scriptlet(name='fn')\n    def f(): pass",
        _private="1 / 0",
    )
    mine = ScriptletRegistry()
    assert [each.name for each in mine.discover_folder(tmp_path)] == ["One", "Two", "fn"]
    assert mine.get("Two").place == f"{tmp_path}/sub/two.py:3"
    assert "One" not in registry
    mine.discover_folder(tmp_path)
    assert len(mine.list()) == 3


def test_the_modules_of_a_folder_find_each_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "path", sys.path.copy())
    write(
        tmp_path,
        uses="from scriptlets.framework import register_scriptlet\nfrom _shared_words import word\n"
        "@register_scriptlet\ndef tell(): return word",
        _shared_words="word = 'hello'",
    )
    mine = ScriptletRegistry()
    mine.discover_folder(tmp_path)
    assert mine.get("tell").target() == "hello"
    del sys.modules["_shared_words"]


def test_a_folder_called_scriptlets_belongs_to_the_package_as_in_recipes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "path", sys.path.copy())
    monkeypatch.setattr(scriptlets, "__path__", [*scriptlets.__path__])
    write(
        tmp_path / "scriptlets",
        tests_share="from scriptlets.framework import register_scriptlet\n"
        "word = 'hello'\n@register_scriptlet\ndef share(): return word",
        tests_use="from scriptlets.framework import register_scriptlet\n"
        "from scriptlets.tests_share import word\n@register_scriptlet\ndef use(): return word",
    )
    write(
        tmp_path / "scriptlets" / "below",
        tests_use_too="from scriptlets.framework import register_scriptlet\n"
        "from ..tests_share import word\n@register_scriptlet\ndef use_too(): return word",
    )
    for folder in (tmp_path / "scriptlets", tmp_path):
        mine = ScriptletRegistry()
        mine.discover_folder(folder)
        assert [each.name for each in mine.list()] == ["share", "use", "use_too"]
        assert mine.get("use").target() == mine.get("use_too").target() == "hello"
    del sys.modules["scriptlets.tests_share"]


def test_a_folder_with_problems_adds_nothing_and_tells_them_all(tmp_path: Path) -> None:
    write(
        tmp_path,
        a=PLAIN.format(name="Same"),
        b=PLAIN.format(name="Same"),
        c="x = 1\n1 / 0",
        d="def f(:",
        e="import not_there_at_all",
        f="import sys\nsys.exit('usage: f FILE')",
    )
    mine, before = ScriptletRegistry(), sys.path.copy()
    with pytest.raises(ScriptletError) as failure:
        mine.discover_folder(tmp_path)
    assert sys.path == before
    assert len(failure.value.details["problems"]) == 5
    assert f"{tmp_path}/c.py:2: ZeroDivisionError" in failure.value.message
    assert f"{tmp_path}/f.py:2: it calls sys.exit('usage: f FILE')" in failure.value.message
    assert "two scriptlets are called 'Same'" in failure.value.message
    assert mine.list() == []
    loaded = [name for name in sys.modules if name.startswith("scriptlets_in_")]
    assert not [name for name in loaded if name.endswith(("_c", "_d", "_e"))]
    with pytest.raises(ScriptletError, match="no such directory"):
        mine.discover_folder(tmp_path / "x")


def test_packages_declare_scriptlets_as_entry_points(monkeypatch: pytest.MonkeyPatch) -> None:
    def points(*values: str) -> None:
        made = [
            importlib.metadata.EntryPoint(f"point{n}", value, registry_module.ENTRY_POINTS)
            for n, value in enumerate(values)
        ]
        monkeypatch.setattr(registry_module, "entry_points", lambda group: made)

    mine = ScriptletRegistry()
    points("shutil:rmtree", "scriptlets.base:BaseScriptlet.get_execution_time")
    assert [each.name for each in mine.discover_packages()] == ["point0", "point1"]
    points("shutil:rmtree", "not_there_at_all:x", "shutil:nothing")
    with pytest.raises(ScriptletError) as failure:
        mine.discover_packages()
    assert len(failure.value.details["problems"]) == 2
    assert failure.value.message.startswith("entry point point1: ModuleNotFoundError")
    assert len(mine.list()) == 2
