"""The modules that a recipe names: found without running them, and imported.

They are looked for in the recipe's directory, the working directory, the project's step_library/,
and then as Python does. What is called like a package or module of the project is the project's; a
folder `scriptlets` of the first two adds to the package `scriptlets`.

The directories of the first recipe that imports something in a process are appended to `sys.path`,
so that its modules have the names that they have in the recipe, and import each other. Nothing is
shadowed for the rest of the process: a file that is called like what Python finds elsewhere, and
what is in the directories of other recipes, is imported under a package name of its own (see
`octo_step_import`), in which files of the same directory find each other.
"""

from __future__ import annotations

import builtins
import importlib
import importlib.util
import os
import pkgutil
import sys
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib.machinery import EXTENSION_SUFFIXES, ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

import octo_errors
import scriptlets
from octo_errors import RecipeError, did_you_mean, nearest_hint
from octo_step_import import LibraryPackage, blame, error_text, library_package
from orchestrator.recipe_signatures import UNKNOWN, Outline, Target, target_of

__all__ = ["LackingError", "ModulePath"]

_STEP_LIBRARY = Path(__file__).resolve().parent.parent / "step_library"
_CORE = Path(octo_errors.__file__).parent
_SCRIPTLETS = Path(scriptlets.__file__).parent

_lock = threading.RLock()
_opened: set[Path] = set()
"""The directories that were appended to sys.path."""
_private: dict[Path, LibraryPackage] = {}


class LackingError(Exception):
    """There is no such module, or nothing of that name in it.

    Attributes:
        key: Which key of the step names it: `module` or `function`.
        word: What isn't there.
        names: What is there instead, to find the nearest name in.
        hint: What to do where no name is near.
    """

    def __init__(self, key: str, message: str, word: str, names: Iterable[str], hint: str) -> None:
        super().__init__(message)
        self.key, self.message, self.word = key, message, word
        self.names, self.hint = list(names), hint


class ModulePath:
    """Where the modules of a recipe are. Safe to share among threads.

    Args:
        recipe_directory: The directory of the recipe's file.
        working_directory: Where its run was started.
    """

    def __init__(self, recipe_directory: Path, working_directory: Path) -> None:
        given = (recipe_directory, working_directory, _STEP_LIBRARY)
        paths = (Path(os.path.abspath(each)) for each in given)  # noqa: PTH100
        self.directories = list(dict.fromkeys(paths))
        self._outlines: dict[str, Outline | ModuleType | LackingError | None] = {}
        self._targets: dict[tuple[str, str], Target | LackingError] = {}
        self._names: dict[str, list[str]] = {}

    # --- looking ---

    def find(self, module: str, function: str) -> Target:
        """What a step calls, without importing anything.

        Raises:
            LackingError: There is no such thing, or its source is no Python.
        """
        found = self._targets.get((module, function))
        if found is None:
            try:
                found = self._target(module, function)
            except LackingError as error:  # to look for the nearest names takes long
                found = error
            self._targets[module, function] = found
        if isinstance(found, LackingError):
            raise found.with_traceback(None)
        return found

    def _target(self, module: str, function: str) -> Target:
        outline = self._outline(module)
        if outline is None:
            return UNKNOWN
        if isinstance(outline, Outline):
            target, names = outline.target(function), outline.names()
        else:
            value = _attribute(outline, function)
            target, names = None if value is None else target_of(value), dir(outline)
        if target is None:
            raise _no_function(module, function, names)
        return target

    def file(self, module: str) -> Path | None:
        """The file of a module that is in one of the directories; None: it is in none."""
        place = self._place(module)
        return None if place is None else place[1]

    def _outline(self, module: str) -> Outline | ModuleType | None:
        """What is known of a module; None: only that there is one."""
        if module not in self._outlines:
            try:
                self._outlines[module] = self._looked_up(module)
            except LackingError as error:
                self._outlines[module] = error
        outline = self._outlines[module]
        if isinstance(outline, LackingError):
            raise outline.with_traceback(None)
        return outline

    def _looked_up(self, module: str) -> Outline | ModuleType | None:
        if not all(part.isidentifier() for part in module.split(".")):
            raise self._no_module(module)
        place = self._place(module)
        if place is not None:
            return _outline_of(module, place[1])
        if module in sys.modules:
            return sys.modules[module]
        spec = _python_spec(module)
        if spec is None or (spec.loader is None and not spec.has_location):
            raise self._no_module(module)
        file = Path(spec.origin or "")  # it may be in an archive, or in none at all
        return _outline_of(module, file) if spec.has_location and file.is_file() else None

    def _place(self, module: str) -> tuple[Path, Path] | None:
        """The directory of the recipe that a module is in, and its file; None: it is in none."""
        parts = module.split(".")
        if _is_project(parts):
            return None
        for directory in self.directories:
            base = directory.joinpath(*parts)
            suffixes = (".py", *EXTENSION_SUFFIXES)
            for file in (base / "__init__.py", *(base.with_name(base.name + s) for s in suffixes)):
                if file.is_file():
                    return directory, file
        return None

    def _no_module(self, module: str) -> LackingError:
        bare = module.removesuffix(".py").replace(os.sep, ".").strip(".")
        if bare != module and all(each.isidentifier() for each in bare.split(".")):
            hint = f"a module is named as it is imported: {bare}"
            return LackingError("module", f"{module!r} is no module", module, (), hint)
        parent, _, _ = module.rpartition(".")
        if parent not in self._names:  # to look through all directories takes long
            self._names[parent] = self._names_in(parent)
        names = [f"{parent}.{name}" if parent else name for name in self._names[parent]]
        looked_in = ", ".join(str(each) for each in self.directories[:2])
        hint = f"looked for in {looked_in}, and where {sys.executable} has its packages"
        if _is_project(module.split(".")):
            hint = f"{module.partition('.')[0]} is the project's; give yours another name"
        return LackingError("module", f"there is no module {module!r}", module, names, hint)

    def _names_in(self, package: str) -> list[str]:
        """The modules of a package; of "", all that can be imported."""
        parts = package.split(".") if package else []
        folders = [str(each.joinpath(*parts)) for each in self.directories]
        if parts:
            spec = _python_spec(package)
            folders += _locations(spec) if spec is not None else []
        found = [each.name for each in pkgutil.iter_modules(folders)]
        found += [] if parts else [each.name for each in pkgutil.iter_modules()]
        found += [] if parts else sys.stdlib_module_names
        return [name for name in dict.fromkeys(found) if not name.startswith("_")]

    # --- importing ---

    def load(self, module: str, function: str) -> Any:
        """What a step calls. Its module is imported if it hasn't been.

        Raises:
            RecipeError: There is no such thing, it can't be called, or its module can't be
                imported; says where in the user's code the reason is.
        """
        try:
            loaded = self._imported(module)
            value = _attribute(loaded, function)
            if value is None:
                raise _no_function(module, function, dir(loaded))
        except LackingError as error:
            hint = did_you_mean(error.word, error.names) or error.hint
            raise RecipeError(error.message, hint=hint) from None
        if not callable(value):
            message = (
                f"{function!r} of {module} is no function and no class: {type(value).__name__}"
            )
            raise RecipeError(message, hint="name what is to be called")
        return value

    def _imported(self, module: str) -> ModuleType:
        if not all(part.isidentifier() for part in module.split(".")):
            raise self._no_module(module)
        place = self._place(module)
        name = module if place is None else self._importable(module, place[0])
        try:
            return importlib.import_module(name)
        except ModuleNotFoundError as error:
            if place is None and f"{module}.".startswith(f"{error.name}."):
                raise self._no_module(module) from None
            raise self._failure(module, error) from error
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            raise self._failure(module, error) from error

    def _importable(self, module: str, directory: Path) -> str:
        """The name to import a module of one of the directories by."""
        with _lock:
            if not _opened:
                self._open()
            head = module.partition(".")[0]
            if directory in _opened and _is_found_in(head, directory):
                return module
            if directory not in _private:
                _private[directory] = _private_package(directory)
            return f"{_private[directory].name}.{module}"

    def _open(self) -> None:
        for directory in self.directories:
            _opened.add(directory)
            if str(directory) not in sys.path:
                sys.path.append(str(directory))
            own = str(directory / "scriptlets")
            if os.path.isdir(own) and own not in scriptlets.__path__:  # noqa: PTH112
                scriptlets.__path__.append(own)
        importlib.invalidate_caches()

    def _failure(self, module: str, error: BaseException) -> RecipeError:
        """The error of a module that can't be imported, at the user's line."""
        known = (blame(error, str(each)) for each in self.directories)
        place = next(filter(None, known), None)
        if isinstance(error, SyntaxError) and error.filename:
            place = (error.filename, error.lineno or 1)
        where = f"{place[0]}:{place[1]}: " if place else ""
        text = error_text(error)
        for package in _private.values():
            text = text.replace(f"{package.name}.", "")
        hint = ""
        if isinstance(error, ModuleNotFoundError) and error.name:
            names = self._names_in(error.name.rpartition(".")[0])
            hint = nearest_hint(error.name, names) or f"install it for {sys.executable}"
        elif isinstance(error, SystemExit):
            hint = "it is imported, not run: put this under if __name__ == '__main__':"
        message = f"module {module!r} can't be imported: {where}{text}"
        return RecipeError(message, hint=hint)


# --- what there is --------------------------------------------------------------------------------


def _is_project(parts: Sequence[str]) -> bool:
    """Is a module one of the project's own, whatever else is called so?"""
    head = parts[0]
    if head == "scriptlets":
        return len(parts) == 1 or (_SCRIPTLETS / f"{parts[1]}.py").is_file()
    is_core = head.startswith("octo_") or head == "stepnode_baseclass"
    return head == "orchestrator" or (is_core and (_CORE / f"{head}.py").is_file())


def _outline_of(module: str, file: Path) -> Outline | None:
    if file.suffix != ".py":
        return None
    try:
        return Outline(file.read_bytes(), str(file))
    except SyntaxError as error:
        why = f"{file}:{error.lineno or 1}: {error_text(error)}"
        hint = (error.text or "").strip()
    except (OSError, ValueError, RecursionError) as error:
        why, hint = f"{file}: {error_text(error)}", ""
    raise LackingError("module", f"module {module!r} can't be read: {why}", "", (), hint)


def _attribute(module: ModuleType, function: str) -> Any:
    value: Any = module
    for name in function.split("."):
        value = getattr(value, name, None)
    return value


def _no_function(module: str, function: str, names: Iterable[str]) -> LackingError:
    # What is None is there, too, and no help.
    public = [name for name in names if not name.startswith("_") and name != function]
    hint = f"{module} has none that can be called" if not public else ""
    return LackingError("function", f"{module} has no {function!r}", function, public, hint)


def _python_spec(module: str) -> ModuleSpec | None:
    """What Python finds under a name, without importing anything; None where it finds nothing."""
    if module in sys.modules:
        return getattr(sys.modules[module], "__spec__", None)
    parent, _, _ = module.rpartition(".")
    path = None
    if parent:
        above = _python_spec(parent)
        path = _locations(above) if above is not None else []
        if not path:
            return None
    for finder in sys.meta_path:
        spec = finder.find_spec(module, path, None)
        if spec is not None:
            return spec
    return None


def _locations(spec: ModuleSpec) -> list[str]:
    """The folders of a package."""
    try:
        return list(spec.submodule_search_locations or ())
    except KeyError:  # Python asks the package above for the folders of one without __init__.py
        parent, _, name = spec.name.rpartition(".")
        above = _python_spec(parent)
        folders = (Path(each) / name for each in (_locations(above) if above else ()))
        return [str(folder) for folder in folders if folder.is_dir()]


# --- names of their own ---------------------------------------------------------------------------


def _is_found_in(head: str, directory: Path) -> bool:
    """Is what Python finds under a name the one in this directory?"""
    spec = _python_spec(head)
    if spec is None:
        return False
    wanted = {os.path.realpath(directory / head), os.path.realpath(directory / f"{head}.py")}
    found = [*_locations(spec), *([spec.origin] if spec.origin else [])]
    return any(os.path.realpath(each) in wanted for each in found)


def _private_package(directory: Path) -> LibraryPackage:
    package = library_package(directory, fresh=False)
    package.builtins["__import__"] = _project_first(package.name, package.builtins["__import__"])
    return package


def _project_first(package: str, siblings_first: Callable[..., ModuleType]) -> Any:
    """The `__import__` of a directory that may have a folder called like one of our packages."""

    def import_project_first(
        name: str,
        globals: Mapping[str, Any] | None = None,
        locals: Mapping[str, Any] | None = None,
        fromlist: Sequence[str] | None = (),
        level: int = 0,
    ) -> ModuleType:
        parts = name.split(".")
        if level == 0 and _is_project(parts):
            return builtins.__import__(name, globals, locals, fromlist or ())
        if level == 0 and parts[0] == "scriptlets":
            module = builtins.__import__(f"{package}.{name}", globals, locals, fromlist or ())
            return module if fromlist else sys.modules[f"{package}.scriptlets"]
        return siblings_first(name, globals, locals, fromlist, level)

    return import_project_first
