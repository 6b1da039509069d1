"""Step libraries: finds them, loads their node classes, and reports every problem at once.

A library is a directory of modules `step_node_*.py`; each holds one or more step node classes.
Nothing here raises for a mistake in a library: it becomes a `Problem` with file and line. Classes
are checked by `octo_step_declaration`, nodes and arrows by `octo_graph_checks`.
"""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

from octo_errors import LibraryError, did_you_mean
from octo_step_declaration import (
    PARAMS_INIT,
    RESULTS_INIT,
    NodeDeclaration,
    declare,
    member_of,
    name_of,
)
from octo_step_import import ImportFailure, LibraryPackage, blame, error_text, library_package
from octo_step_problem import Problem, Reporter, shown

__all__ = [
    "NodeDeclaration",
    "Problem",
    "StepLibrary",
    "find_libraries",
    "library_search_path",
    "load_library",
    "load_node",
    "make_node",
    "resolve_library",
]

_CLASS_LIST = "step_node_class_list"


@dataclass(slots=True)
class StepLibrary:
    """What `load_library` found: the nodes that could be loaded, and everything that is wrong.

    Attributes:
        nodes: Name -> declaration, in the order of file names and of classes in a file.
        broken: Names of the modules that could not be imported; their nodes are unknown.
    """

    path: Path
    name: str
    nodes: dict[str, NodeDeclaration] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    broken: frozenset[str] = frozenset()


# --- finding --------------------------------------------------------------------------------------


def library_search_path(extra: Iterable[str | Path] = ()) -> list[Path]:
    """The directories in which libraries are looked up by name, in order.

    They are `extra`, those in `$OCTO_STEP_LIBRARY_PATH`, `./step_library`, and the `step_library`
    that comes with the project: beside `modules/` in a checkout, beside this file when installed.
    """
    named = os.environ.get("OCTO_STEP_LIBRARY_PATH", "").split(os.pathsep)
    here = Path(__file__).resolve().parent
    shipped = (base / "step_library" for base in (here.parent, here))
    return [Path(p) for p in [*extra, *filter(None, named), "step_library", *shipped]]


def find_libraries(search_path: Iterable[str | Path]) -> dict[str, Path]:
    """The libraries in the directories of `search_path`, name -> absolute path.

    Of two with the same name, the one in the earlier directory is found. A directory of the search
    path that is itself a library is found, too. What can't be read is passed over.
    """
    found: dict[str, Path] = {}
    for directory in map(_absolute, search_path):
        with suppress(OSError):
            for path in [directory, *sorted(directory.iterdir())]:
                hidden = path.name.startswith(".")
                if not hidden and path.name not in found and _is_library(path):
                    found[path.name] = path
    return found


def resolve_library(name_or_path: str | Path, extra: Iterable[str | Path] = ()) -> Path:
    """The absolute path of a library, given by its name or by a path to it.

    What has a separator in it, or is `.` or `..`, is a path; anything else is looked up in
    `library_search_path(extra)` first, then in the working directory.

    Raises:
        LibraryError: There is no such library; says the nearest names and where was looked.
    """
    text = os.path.expanduser(name_or_path)  # noqa: PTH111
    path = _absolute(text)
    if Path(text).name != text or text in (".", ".."):
        if path.is_dir():
            return path
        why, hint = _no_directory(path)
        raise LibraryError(f"no step library at {path}: {why}", hint=hint)
    searched = library_search_path(extra)
    known = find_libraries(searched)
    if text in known:
        return known[text]
    if text and _is_library(path):
        return path
    empty = [str(folder / text) for folder in searched if text and (folder / text).is_dir()]
    looked_in = ", ".join(str(folder) for folder in searched if folder.is_dir()) or "no directory"
    near = f"{empty[0]} has no step_node_*.py" if empty else did_you_mean(text, known)
    raise LibraryError(
        f"no step library is called {text!r}",
        hint=f"{near}\nlooked in: {looked_in}".strip(),
        searched=searched,
    )


def _absolute(path: str | Path) -> Path:
    return Path(os.path.abspath(path))  # noqa: PTH100  (keeps symlinks, as the user wrote them)


def _is_library(path: Path) -> bool:
    return any(path.glob("step_node_*.py"))


def _no_directory(path: Path) -> tuple[str, str]:
    """What is wrong with a path that is no directory, and what was meant perhaps."""
    if path.exists():
        return "it is a file, not a directory", f"give its directory, {path.parent}"
    return "there is no such directory", did_you_mean(path.name, find_libraries([path.parent]))


# --- loading --------------------------------------------------------------------------------------


def load_library(path: str | Path) -> StepLibrary:
    """Import every `step_node_*.py` of a library, and read the step node classes in them.

    The files are imported afresh, as they are now. Never raises for what is in the library, or for
    a path that is none: `problems` holds all that is wrong.
    """
    root = _absolute(path)
    library = StepLibrary(root, root.name)
    with _no_garbage_collection():
        files = _node_files(library)
        modules = _import_modules(library, files) if files else {}
        library.broken = frozenset(files).difference(modules)
        for module, imported in modules.items():
            for node_class in _classes_of(imported, files[module], library.problems):
                _add(library, declare(node_class, module, files[module], library.problems))
        _compare_initial_values(library)
    return library


@contextmanager
def _no_garbage_collection() -> Iterator[None]:
    """Nearly all that an import makes stays: to look for garbage costs a third more.

    To freeze and unfreeze it counts it as old, so that none of it is looked at right afterwards.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            if not gc.get_freeze_count():  # else somebody's own frozen objects would be unfrozen
                gc.freeze()
                gc.unfreeze()
            gc.enable()


def load_node(path: str | Path, module: str, name: str) -> type:
    """The class of the node `name`, importing only the module that holds it, once per process.

    Raises:
        LibraryError: The module can't be imported, or has no such node.
    """
    file = os.path.join(os.path.abspath(path), f"{module}.py")  # noqa: PTH100, PTH118
    if not os.path.isfile(file):  # noqa: PTH113
        raise LibraryError(f"{file}: there is no such file", hint="was the library moved?")
    package = library_package(path, fresh=False)
    imported = package.loaded.get(module) or _import_module(package, module)
    classes = {name_of(found): found for found in _classes_of(imported, file, [])}
    if name not in classes:
        raise LibraryError(f"{file}: has no node {name!r}", hint=did_you_mean(name, classes))
    return classes[name]


def _import_module(package: LibraryPackage, module: str) -> ModuleType:
    try:
        with package.importing():
            return package.load(module)
    except ImportFailure as failure:
        raise LibraryError(str(_import_problem(failure, ()))) from failure


def make_node(node_class: type, name: str, verbose: bool) -> object:
    """Make the object whose hooks are called: `node_class(name, verbose)`.

    A class without `__init__` gets `name` and `verbose_flag` as attributes.

    Raises:
        LibraryError: Its `__init__` raised something; says in which file and line.
    """
    try:
        if member_of(node_class, "__init__") or member_of(node_class, "__new__"):
            return node_class(name, verbose)
        node: Any = node_class()
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        file = getattr(sys.modules.get(node_class.__module__), "__file__", None) or "?"
        place, line = blame(error, os.path.dirname(file)) or (file, None)  # noqa: PTH120
        message = f"node {name!r} can't be made: {error_text(error)}"
        hint = "see its __init__(self, name, verbose_flag=False)"
        raise LibraryError(str(Problem(place, line, message)), hint=hint) from error
    with suppress(AttributeError):  # a class with __slots__ has no room for them
        node.name, node.verbose_flag = name, verbose
    return node


def _node_files(library: StepLibrary) -> dict[str, str]:
    """The node modules of a library, module name -> file, sorted; reports what is none."""
    root, problems = library.path, library.problems
    try:
        with os.scandir(root) as entries:
            found = sorted((e.name, e.path, e.is_file()) for e in entries if _is_node_file(e.name))
    except OSError as error:
        why, hint = f"can't be read: {error.strerror}", ""
        if not root.is_dir():
            why, hint = _no_directory(root)
        problems.append(Problem(str(root), None, why, hint))
        return {}
    if not found:
        inner = ", ".join(map(str, find_libraries([root]).values()))
        hint = f"libraries below it: {inner}" if inner else "a library needs at least one node"
        problems.append(Problem(str(root), None, "has no step node file, step_node_*.py", hint))
    files = {}
    for name, file, is_file in found:
        module = name.removesuffix(".py")
        if is_file and "." not in module:
            files[module] = file
        else:
            why = "is no file" if not is_file else "has a dot too many in its name"
            problems.append(Problem(file, None, why, "a step node file is step_node_NAME.py"))
    return files


def _is_node_file(name: str) -> bool:
    return name.startswith("step_node_") and name.endswith(".py")


def _import_modules(library: StepLibrary, files: Iterable[str]) -> dict[str, ModuleType]:
    """Import the modules; a failure in a file that several of them import is one problem."""
    modules: dict[str, ModuleType] = {}
    failures: dict[tuple[str, int | None, str], tuple[ImportFailure, list[str]]] = {}
    package = library_package(library.path, fresh=True)
    with package.importing():
        for module in files:
            try:
                modules[module] = package.load(module)
            except ImportFailure as failure:
                key = (failure.file, failure.line, failure.message)
                failures.setdefault(key, (failure, []))[1].append(module)
    library.problems.extend(_import_problem(*found) for found in failures.values())
    for file, (line, text) in package.prints.items():
        message = f"prints while it is imported: {text.strip()!r}"
        hint = "print in a hook instead; an import is to do nothing but define"
        library.problems.append(Problem(file, line, message, hint, "warning"))
    return modules


def _import_problem(failure: ImportFailure, modules: Iterable[str]) -> Problem:
    others = [f"{module}.py" for module in modules if Path(failure.file).stem != module]
    if len(others) > 4:
        others[3:] = [f"{len(others) - 3} more"]
    needed = f" (imported by {', '.join(others)})" if others else ""
    message = f"can't be imported: {failure.message}{needed}"
    return Problem(failure.file, failure.line, message, failure.hint)


def _classes_of(module: ModuleType, file: str, problems: list[Problem]) -> list[type]:
    """The step node classes of a module: those it lists, or those called `step_node_...`."""
    defined = {
        value.__name__: value
        for value in vars(module).values()
        if isinstance(value, type) and value.__module__ == module.__name__
    }
    listed = vars(module).get(_CLASS_LIST)
    if listed is not None:
        report = Reporter(problems, file, _CLASS_LIST)
        return list(dict.fromkeys(_listed_classes(module, listed, defined, report)))
    found = [value for name, value in defined.items() if name.startswith("step_node_")]
    if not found:
        others = f" (there is: {', '.join(defined)})" if defined else ""
        hint = f"call a class step_node_..., or name it in {_CLASS_LIST}"
        problems.append(Problem(file, 1, f"has no step node class{others}", hint))
    return found


def _listed_classes(
    module: ModuleType, listed: object, defined: Iterable[str], report: Reporter
) -> Iterator[type]:
    if not isinstance(listed, (list, tuple)) or not listed:
        report.error(
            f"{_CLASS_LIST} must be a list of classes or their names, and is {shown(listed)}"
        )
        return
    for entry in listed:
        found = getattr(module, entry, None) if isinstance(entry, str) else entry
        if isinstance(found, type):
            yield found
        else:
            message = f"{_CLASS_LIST} has {shown(entry)}, which is no class of this module"
            report.error(message, entry, hint=did_you_mean(str(entry), defined))


def _add(library: StepLibrary, declared: NodeDeclaration) -> None:
    """Add a node to the library, unless there is one of its name."""
    twin = library.nodes.setdefault(declared.name, declared)
    if twin is declared:
        return
    report = declared.reporter(library.problems)
    node_class = declared.node_class or object
    inherited = "name" not in vars(node_class) and declared.name != node_class.__name__
    report.error(
        f"there is a node {declared.name!r} already, in {twin.place()}",
        hint="this class inherits its name: give it one of its own" if inherited else "",
    )


def _compare_initial_values(library: StepLibrary) -> None:
    """Warn of a key that is given two different initial values: the first one wins."""
    winners: dict[tuple[str, str], tuple[object, NodeDeclaration, str]] = {}
    for declared, member, group, key, value in _initial_values(library):
        first, winner, place = winners.setdefault((group, key), (value, declared, member))
        if first != value:
            where = winner.place(place, group, key)
            message = f"initial value {shown(value)} of {group} {key}, but {shown(first)} in "
            message += f"{where}, which comes first and wins"
            declared.reporter(library.problems).warning(message, member, group, key)


def _initial_values(
    library: StepLibrary,
) -> Iterator[tuple[NodeDeclaration, str, str, str, object]]:
    for declared in library.nodes.values():
        inits = {PARAMS_INIT: declared.params_init, RESULTS_INIT: declared.results_init}
        for member, groups in inits.items():
            for group, values in groups.items():
                for key, value in values.items():
                    yield declared, member, group, key, value
