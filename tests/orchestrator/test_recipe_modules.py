"""Modules that recipes name: where they are found, without being run, and how they are loaded."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
import zipfile
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest

import scriptlets
from octo_errors import RecipeError
from orchestrator import recipe_modules
from orchestrator.recipe_modules import LackingError, ModulePath
from tests.support import PROJECT

Write = Callable[[Mapping[str, str]], Path]


@pytest.fixture(autouse=True)
def first_recipe_of_a_process(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Nothing of other tests is imported, and nothing of this one stays."""
    modules, folders = dict(sys.modules), list(scriptlets.__path__)
    monkeypatch.setattr(recipe_modules, "_opened", set())
    monkeypatch.setattr(recipe_modules, "_private", {})
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield
    scriptlets.__path__[:] = folders
    for name in set(sys.modules) - set(modules):
        del sys.modules[name]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Writes files, `path: text`, and returns the directory that they are below."""

    def make(files: Mapping[str, str]) -> Path:
        for name, text in files.items():
            file = tmp_path / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(textwrap.dedent(text), encoding="utf-8")
        return tmp_path

    return make


# --- where ----------------------------------------------------------------------------------------


def test_the_recipes_directory_goes_before_the_working_directory_and_that_before_python(
    write: Write,
) -> None:
    here = write(
        {
            "recipe/both.py": "def f(): return 'recipe'",
            "work/both.py": "def f(): return 'work'",
            "work/colorsys.py": "def f(): return 'work'",
        }
    )
    path = ModulePath(here / "recipe", here / "work")
    assert path.load("both", "f")() == "recipe"
    assert path.load("colorsys", "f")() == "work"
    assert path.load("json", "loads") is json.loads


def test_a_file_called_like_a_module_of_python_shadows_it_for_nobody_else(write: Write) -> None:
    here = write(
        {
            "json.py": "import helper\ndef dumps(value): return helper.WORD",
            "helper.py": "WORD = 'mine'",
        }
    )
    assert ModulePath(here, here).load("json", "dumps")(1) == "mine"
    import json as pythons

    assert pythons is json
    assert sys.modules["json"] is json


def test_modules_of_a_recipe_have_the_names_that_it_calls_them_by(write: Write) -> None:
    here = write({"package/deep/tasks.py": "def f(): ..."})
    assert ModulePath(here, here).load("package.deep.tasks", "f").__module__ == "package.deep.tasks"


def test_recipes_of_one_process_each_have_their_own_modules_and_helpers(write: Write) -> None:
    files = {"tasks.py": "import helper\ndef f(): return helper.WORD"}
    for name in ("one", "two"):
        write({f"{name}/{file}": text for file, text in files.items()})
        here = write({f"{name}/helper.py": f"WORD = {name!r}"})
    found = [ModulePath(here / name, here).load("tasks", "f")() for name in ("one", "two", "one")]
    assert found == ["one", "two", "one"]


LOADER = """\
    from scriptlets.framework import BaseScriptlet
    from scriptlets.data import words

    class Loader(BaseScriptlet):
        def run(self, context, params):
            return words.WORD
    """


def test_a_folder_scriptlets_adds_to_the_package_of_the_project(write: Write) -> None:
    for name in ("one", "two"):
        here = write(
            {
                f"{name}/scriptlets/__init__.py": "raise RuntimeError('not the package')",
                f"{name}/scriptlets/framework.py": "raise RuntimeError('not the framework')",
                f"{name}/scriptlets/data/loader.py": LOADER,
                f"{name}/scriptlets/data/words.py": f"WORD = {name!r}",
            }
        )
        if name == "two":  # under a name of its own, a package is imported as Python does it
            (here / "two/scriptlets/__init__.py").write_text("")
    for name in ("one", "two"):
        path = ModulePath(here / name, here)
        assert path.find("scriptlets.data.loader", "Loader").is_scriptlet
        loader = path.load("scriptlets.data.loader", "Loader")
        assert issubclass(loader, sys.modules["scriptlets.framework"].BaseScriptlet)
        assert loader().run(None, {}) == name


def test_directories_called_like_packages_of_the_project_dont_shadow_them(write: Write) -> None:
    here = write(
        {
            "orchestrator/__init__.py": "raise RuntimeError",
            "orchestrator/context.py": "raise RuntimeError",
            "octo_errors.py": "raise RuntimeError",
            "octo_tasks.py": "def f(): return 'mine'",
            "modules/loader.py": "def f(): return 'mine too'",
        }
    )
    path = ModulePath(here, here)
    assert path.find("orchestrator.context", "Context").is_callable
    assert path.load("octo_errors", "RecipeError") is RecipeError
    assert path.load("octo_tasks", "f")() == "mine"
    assert path.load("modules.loader", "f")() == "mine too"


def test_importing_from_many_threads_imports_once(write: Write) -> None:
    here = write({"slow.py": "import json\nLOADED = []\ndef f(): return LOADED\nLOADED.append(1)"})
    path, together = ModulePath(here, here), Barrier(8)

    def load(_: int) -> object:
        together.wait()
        return path.load("slow", "f")()

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(load, range(8)))
    assert found[0] == [1]
    assert all(each is found[0] for each in found)


def test_a_process_that_is_started_finds_them_too(write: Write) -> None:
    here = write(
        {
            "tasks.py": """\
            import multiprocessing
            def double(number): return 2 * number
            def f():
                with multiprocessing.get_context("spawn").Pool(1) as pool:
                    return pool.map(double, [1, 2])
            """
        }
    )
    program = f"""\
        import sys
        sys.path[:0] = {[str(PROJECT / each) for each in ("modules", "orchestrator/packages", ".")]}
        from pathlib import Path
        from orchestrator.recipe_modules import ModulePath
        if __name__ == "__main__":
            here = Path({str(here)!r})
            print(ModulePath(here, here).load("tasks", "f")())
        """
    write({"program/main.py": program})
    done = subprocess.run(
        [sys.executable, here / "program/main.py"], capture_output=True, text=True, check=False
    )
    assert (done.stdout, done.returncode) == ("[2, 4]\n", 0), done.stderr


# --- what is wrong --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("module", "function", "key", "message", "hint"),
    [
        ("tasks", "laod", "function", "tasks has no 'laod'", "did you mean 'load'?"),
        ("taks", "load", "module", "there is no module 'taks'", "did you mean 'tasks'?"),
        ("data.laoder", "f", "module", "no module 'data.laoder'", "did you mean 'data.loader'?"),
        ("http.servr", "f", "module", "no module 'http.servr'", "did you mean 'http.server'?"),
        ("builtins", "prnt", "function", "builtins has no 'prnt'", "did you mean 'print'?"),
        ("tasks.py", "load", "module", "'tasks.py' is no module", "as it is imported: tasks"),
        ("data/loader.py", "f", "module", "is no module", "as it is imported: data.loader"),
        ("orchestrator.mine", "f", "module", "no module 'orchestrator.mine'", "the project's"),
        ("data", "f", "module", "there is no module 'data'", "looked for in"),
        ("", "f", "module", "there is no module ''", "looked for in"),
        ("zzz_qqq", "f", "module", "there is no module 'zzz_qqq'", "looked for in"),
    ],
)
def test_what_there_is_not_is_told_with_the_nearest_name(
    write: Write, module: str, function: str, key: str, message: str, hint: str
) -> None:
    here = write({"tasks.py": "def load(): ...", "data/loader.py": "def f(): ..."})
    path = ModulePath(here, here)
    with pytest.raises(LackingError) as found:
        path.find(module, function)
    assert found.value.key == key
    with pytest.raises(RecipeError) as error:
        path.load(module, function)
    assert message in error.value.message
    assert hint in error.value.hint or hint in found.value.hint


@pytest.mark.parametrize(
    ("source", "line", "message", "hint"),
    [
        ("\n1 / 0", 2, "ZeroDivisionError: division by zero", ""),
        ("x = 1\ndef f(:", 2, "SyntaxError", ""),
        ("import pandsa_nowhere", 1, "No module named 'pandsa_nowhere'", "install it for"),
        ("import helpr", 1, "No module named 'helpr'", "did you mean 'helper'?"),
        ("import helper\nhelper.nothing", 2, "has no attribute 'nothing'", ""),
        ("import sys\nsys.exit(3)", 2, "it calls sys.exit(3)", "__main__"),
    ],
)
@pytest.mark.parametrize("private", [False, True])
def test_a_module_that_cant_be_imported_is_told_at_the_users_line(
    write: Write, source: str, line: int, message: str, hint: str, private: bool
) -> None:
    here = write({"bad.py": source, "helper.py": "", "other/good.py": "def f(): ..."})
    if private:
        ModulePath(here / "other", here / "other").load("good", "f")
    with pytest.raises(RecipeError) as error:
        ModulePath(here, here).load("bad", "f")
    assert f"module 'bad' can't be imported: {here / 'bad.py'}:{line}: " in error.value.message
    assert message in error.value.message
    assert "octo_step_library" not in str(error.value)
    assert hint in error.value.hint


def test_a_module_that_could_not_be_imported_is_tried_again(write: Write) -> None:
    here = write({"mended.py": "def f(: ..."})
    path = ModulePath(here, here)
    with pytest.raises(RecipeError):
        path.load("mended", "f")
    write({"mended.py": "def f(): return 'mended, and longer'"})
    assert path.load("mended", "f")() == "mended, and longer"


def test_what_cant_be_called_is_told(write: Write) -> None:
    here = write({"tasks.py": "LIMIT = 3\nNOTHING = None"})
    with pytest.raises(RecipeError, match="'LIMIT' of tasks is no function and no class: int"):
        ModulePath(here, here).load("tasks", "LIMIT")


def test_what_is_none_is_no_hint_for_itself(write: Write) -> None:
    with pytest.raises(LackingError, match="builtins has no 'None'") as error:
        ModulePath(write({}), Path()).find("builtins", "None")
    assert "None" not in error.value.names


def test_the_modules_of_a_place_are_listed_once_however_many_are_missing(
    write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = ModulePath(write({}), Path())
    listed = []

    def listing(folders: object = None) -> Iterator[object]:
        listed.append(folders)
        yield from ()

    monkeypatch.setattr("pkgutil.iter_modules", listing)
    for number in range(3):
        with pytest.raises(LackingError):
            path.find(f"missing_{number}", "f")
        assert len(listed) == 2  # the recipe's own directories, and those of Python


def test_looking_runs_nothing(write: Write) -> None:
    here = write(
        {
            "package/__init__.py": "raise RuntimeError('was run')",
            "package/tasks.py": "raise RuntimeError('was run')\ndef f(a, b=2): ...",
        }
    )
    before = set(sys.modules)
    target = ModulePath(here, here).find("package.tasks", "f")
    assert str(target.signature) == "(a, b=2)"
    assert ModulePath(here, here).find("wave", "open").signature is not None
    assert set(sys.modules) == before


def test_source_that_cant_be_read_is_told_at_its_line(write: Write) -> None:
    here = write({"bad.py": "x = 1\ndef f(:", "warns.py": "def f(): return '\\d'"})
    (here / "binary.py").write_bytes(b"\xff\x00")
    path = ModulePath(here, here)
    for module, line in (("bad", ":2: SyntaxError"), ("binary", ": ")):
        with pytest.raises(LackingError) as error:
            path.find(module, "f")
        assert error.value.message.startswith(f"module {module!r} can't be read: {here}")
        assert line in error.value.message
    assert path.find("warns", "f").signature is not None


def test_what_python_finds_in_an_archive_is_there(
    write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = write({"recipe/r.yaml": ""})
    with zipfile.ZipFile(here / "packed.zip", "w") as archive:
        archive.writestr("packed_tasks.py", "def f(): return 'packed'")
    monkeypatch.syspath_prepend(here / "packed.zip")
    path = ModulePath(here / "recipe", here / "recipe")
    assert path.find("packed_tasks", "f").is_callable
    assert path.load("packed_tasks", "f")() == "packed"


def test_members_of_classes_can_be_named(write: Write) -> None:
    here = write({"tasks.py": "class A:\n  @staticmethod\n  def f(): return 1"})
    path = ModulePath(here, here)
    assert path.find("tasks", "A.f").is_callable
    assert path.load("tasks", "A.f")() == 1
    with pytest.raises(RecipeError, match=r"tasks has no 'A\.g'"):
        path.load("tasks", "A.g")
