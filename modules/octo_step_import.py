"""Imports the modules of a step library under a package name of the library's own.

Two libraries may hold files of the same name, and a file may be called like a module of Python or
of the engine: all modules of a library live in `sys.modules` below a package whose name is made
from the library's path, so nothing clashes, and nothing is hidden from the rest of the process.

Inside a library, `import helper`, `from helper import x` and `from .helper import x` all find
`helper.py` next to the module, when it is loaded and later when its hooks run. As for a script, a
file of the library goes before an installed module of the same name. This is done by an
`__import__` in the `__builtins__` of the library's modules alone; the rest of the process keeps
Python's own.

What a module prints while it is imported is kept from standard output and remembered; it finds its
standard input at the end; whatever it raises, `SystemExit` included, becomes an `ImportFailure`
that names the line in the library. Only Ctrl-C goes through.
"""

from __future__ import annotations

import builtins
import importlib
import io
import os
import sys
import threading
import time
from collections.abc import Container, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader, all_suffixes
from pathlib import Path
from types import ModuleType
from typing import Any

from octo_errors import did_you_mean

_PREFIX = "octo_step_library_"
_SECONDS_TO_CHANGE_AGAIN = 2.0
_packages: dict[str, LibraryPackage] = {}
_names: dict[str, str] = {}  # of the packages, by the paths that lead to them
_lock = threading.RLock()  # one import session at a time: it exchanges sys.stdout


class ImportFailure(Exception):
    """A module of a library can't be imported; says where in the library the reason is."""

    def __init__(self, file: str, line: int | None, message: str, hint: str) -> None:
        super().__init__(file, line, message, hint)
        self.file, self.line, self.message, self.hint = file, line, message, hint


def library_package(root: str | Path, *, fresh: bool) -> LibraryPackage:
    """The package of the library at `root`; if `fresh`, its modules will be imported anew.

    Where the links in a path lead is looked up for the first time and when it is to be fresh: in
    between, the path stands for the library that it led to then.
    """
    path = os.path.abspath(root)  # noqa: PTH100  (keeps links)
    with _lock:
        name = _names.get(path)
        if fresh or name is None:
            name = _package_name(path)
            if fresh or name not in _packages:
                _prepare_interpreter()
                _forget(name, path)
                _packages[name] = LibraryPackage(name, Path(path))
            _names[path] = name
        return _packages[name]


class LibraryPackage:
    """The modules of one library; made by `library_package`.

    Attributes:
        name: The name of the package, in `sys.modules` once a module of it is imported.
        siblings: What `import` finds in the library, as it was when the package was made.
        builtins: What its modules have as `__builtins__`.
        loaded: The modules that `load` has imported.
        prints: For each file that printed while it was imported: the line, and the text.
    """

    def __init__(self, name: str, root: Path) -> None:
        self.name = name
        self.root = root
        self.siblings = _siblings(root)
        self.builtins = _library_builtins(name, self.siblings)
        self.loaded: dict[str, ModuleType] = {}
        self.prints: dict[str, tuple[int, str]] = {}

    @contextmanager
    def importing(self) -> Iterator[None]:
        """A session in which modules are imported; what they print is remembered in `prints`."""
        with _lock:
            streams, directory = (sys.stdout, sys.stdin), _working_directory()
            output = _ImportOutput(str(self.root), self.prints)
            sys.stdout, sys.stdin = output, io.StringIO()
            try:
                yield
            finally:
                output.session_over = True
                sys.stdout, sys.stdin = streams
                if directory:
                    os.chdir(directory)

    def load(self, module: str) -> ModuleType:
        """The module called `module`, after `__init__.py` if there is one, imported if need be.

        Raises:
            ImportFailure: One of them raised something. The next time it is tried again.
        """
        try:
            self.loaded[module] = importlib.import_module(f"{self.name}.{module}")
            return self.loaded[module]
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            raise self._failure(error, str(self.root / f"{module}.py")) from error

    def _failure(self, error: BaseException, file: str) -> ImportFailure:
        place, line = blame(error, str(self.root)) or (file, 1)
        if isinstance(error, SyntaxError) and (error.filename or "").startswith(str(self.root)):
            place, line = error.filename or file, error.lineno or 1
        message = error_text(error).replace(f"{self.name}.", "").replace(self.name, self.root.name)
        return ImportFailure(place, line, message, self._hint(error))

    def _hint(self, error: BaseException) -> str:
        if isinstance(error, SystemExit):
            return "a step node module is imported, not run: put this under __name__ == '__main__'"
        if isinstance(error, SyntaxError):
            return (error.text or "").strip()
        if isinstance(error, ModuleNotFoundError) and error.name:
            name = error.name.removeprefix(f"{self.name}.")
            near = did_you_mean(name, [*_siblings(self.root), *sys.stdlib_module_names])
            install = f"install it for {sys.executable}, or add {name}.py to the library"
            return near or ("" if "." in name else install)
        return ""


def blame(error: BaseException, directory: str) -> tuple[str, int] | None:
    """File and line of the deepest call below `directory` that `error` came through, if any."""
    place = None
    trace = error.__traceback__
    while trace is not None:
        file = trace.tb_frame.f_code.co_filename
        if file.startswith(directory + os.sep):
            place = (file, trace.tb_lineno)
        trace = trace.tb_next
    return place


def error_text(error: BaseException) -> str:
    """Kind and message of an error in one line, even if it can't say its message."""
    kind = type(error).__name__
    if isinstance(error, SystemExit):
        return f"it calls sys.exit({error.code!r})"
    try:
        text = error.msg if isinstance(error, SyntaxError) else str(error)
    except Exception:
        text = "(its message can't be made)"
    first = next(iter(text.splitlines()), "")
    return f"{kind}: {first}" if first else kind


def _package_name(root: str) -> str:
    import hashlib

    real = os.path.realpath(root).encode(errors="surrogateescape")
    return _PREFIX + hashlib.sha256(real).hexdigest()[:12]


def _prepare_interpreter() -> None:
    if _LibraryFinder not in sys.meta_path:
        sys.meta_path.insert(0, _LibraryFinder)
    modules = str(Path(__file__).resolve().parent)
    if modules not in sys.path:  # so that nodes can import octo_step_engine_parameters
        sys.path.append(modules)


def _forget(package: str, root: str) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == package]:
        del sys.modules[name]
    # Python's listing of a folder overlooks a file made in the instant of the listing
    listed = sys.path_importer_cache
    for folder in [path for path in listed if path == root or path.startswith(root + os.sep)]:
        del listed[folder]


def _siblings(root: Path) -> dict[str, str]:
    """The names that `import` finds in a library: its files, and its folders that hold Python.

    Each with the path of its file, if it is one file of Python source and nothing else; or "".
    """
    suffixes = tuple(all_suffixes())
    found: dict[str, str] = {}
    with os.scandir(root) as entries:
        for entry in entries:
            if entry.name.endswith(suffixes):
                name, _, suffix = entry.name.partition(".")
                found[name] = entry.path if suffix == "py" and name not in found else ""
            elif entry.name != "__pycache__" and entry.is_dir() and any(Path(entry).glob("*.py")):
                found[entry.name] = ""
    return found


def _library_builtins(package: str, siblings: Container[str]) -> dict[str, Any]:
    def import_sibling_first(
        name: str,
        globals: Mapping[str, Any] | None = None,
        locals: Mapping[str, Any] | None = None,
        fromlist: Sequence[str] | None = (),
        level: int = 0,
    ) -> ModuleType:
        head = name.partition(".")[0]
        if level or head not in siblings:
            return builtins.__import__(name, globals, locals, fromlist or (), level)
        module = builtins.__import__(f"{package}.{name}", globals, locals, fromlist or ())
        # without a from-list, the statement binds the first part of the dotted name
        return module if fromlist else sys.modules[f"{package}.{head}"]

    return {**vars(builtins), "__import__": import_sibling_first}


class _LibraryLoader(SourceFileLoader):
    """Runs a module of a library with the `__builtins__` of its package."""

    def exec_module(self, module: ModuleType) -> None:
        package = _packages[module.__name__.partition(".")[0]]
        module.__dict__["__builtins__"] = package.builtins
        super().exec_module(module)

    def set_data(self, path: str, data: Any, *, _mode: int = 0o666) -> None:
        """Keep compiled code, but of no file that was just changed.

        Python knows a file by its size and the second of its last change, and would not see that it
        is changed again within that.
        """
        if time.time() - os.stat(self.path).st_mtime > _SECONDS_TO_CHANGE_AGAIN:  # noqa: PTH116
            super().set_data(path, data, _mode=_mode)


class _LibraryFinder:
    """Finds the packages of libraries and their files; all else below them as Python does."""

    @staticmethod
    def find_spec(
        name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        package, _, module = name.partition(".")
        library = _packages.get(package)
        if library is None:
            return None
        if not module:
            return _package_spec(name, library.root)
        file = library.siblings.get(module)
        if file and os.path.isfile(file):  # noqa: PTH113
            return _file_spec(name, file)  # nearly all: spares to look at the folder once more
        spec = PathFinder.find_spec(name, path, target)
        if spec is not None and isinstance(spec.loader, SourceFileLoader):
            spec.loader = _LibraryLoader(name, spec.loader.path)
        return spec


def _package_spec(name: str, root: Path) -> ModuleSpec:
    init = root / "__init__.py"
    loader = _LibraryLoader(name, str(init)) if init.is_file() else None
    spec = ModuleSpec(name, loader, origin=str(init) if loader else None, is_package=True)
    spec.has_location = loader is not None
    spec.submodule_search_locations = [str(root)]
    return spec


def _file_spec(name: str, file: str) -> ModuleSpec:
    spec = ModuleSpec(name, _LibraryLoader(name, file), origin=file)
    spec.has_location = True
    return spec


class _ImportOutput:
    """Stands in for `sys.stdout` while a library is imported: notes who prints, and drops it.

    A logging handler made by a module may keep this object for good. So whatever is written after
    the session, or by a thread that has nothing to do with the library, goes to standard output.
    """

    def __init__(self, root: str, prints: dict[str, tuple[int, str]]) -> None:
        self._root = root + os.sep
        self._prints = prints
        self._stdout = sys.stdout
        self.session_over = False

    def __getattr__(self, name: str) -> Any:
        restored = self.session_over and sys.stdout is not self
        return getattr(sys.stdout if restored else self._stdout, name)

    def write(self, text: str) -> int:
        frame = None if self.session_over else sys._getframe(1)
        while frame is not None and not frame.f_code.co_filename.startswith(self._root):
            frame = frame.f_back
        if frame is None:
            return int(self.__getattr__("write")(text))
        file = frame.f_code.co_filename
        line, before = self._prints.get(file, (frame.f_lineno, ""))
        self._prints[file] = (line, (before + text)[:200])
        return len(text)

    def writelines(self, lines: Sequence[str]) -> None:
        for line in lines:
            self.write(line)


def _working_directory() -> str:
    try:
        return os.getcwd()  # noqa: PTH109
    except FileNotFoundError:
        return ""
