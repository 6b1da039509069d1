"""The scriptlets that are known by name: registered by a decorator, or found.

Whoever looks for them finds them in modules of a folder, and in what installed packages declare as
entry points of the group `octo_step_engine.scriptlets`:

    [project.entry-points."octo_step_engine.scriptlets"]
    count_rows = "my_package.scriptlets:CountRows"
"""

from __future__ import annotations

import inspect
import sys
import threading
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType
from typing import Any, Final, TypeVar, overload

from octo_errors import ScriptletError, did_you_mean
from octo_step_import import blame, error_text
from scriptlets.base import BaseScriptlet
from scriptlets.lifecycle import is_scriptlet
from scriptlets.parameters import Parameter, declared_parameters, name_of
from scriptlets.references import load_file

ENTRY_POINTS: Final = "octo_step_engine.scriptlets"

T = TypeVar("T", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class Entry:
    """A registered scriptlet.

    Attributes:
        target: The class or function.
        place: Where it is defined, as `file:line`.
        parameters: What it declares of its parameters; None when it declares nothing.
    """

    name: str
    target: Callable[..., Any]
    category: str
    version: str
    description: str
    place: str
    parameters: dict[str, Parameter] | None


Entries = list[Entry]
Problems = list[str]


class ScriptletRegistry:
    """Scriptlets by name. Safe to share among threads."""

    def __init__(self) -> None:
        self._entries: dict[str, Entry] = {}
        self._lock = threading.RLock()

    def __contains__(self, name: object) -> bool:
        return name in self._entries

    def register(
        self,
        target: Callable[..., Any],
        *,
        name: str | None = None,
        category: str | None = None,
        version: str | None = None,
        description: str | None = None,
    ) -> Entry:
        """Add a class with a method `run`, or a function.

        What isn't given is taken from the attributes `name`, `category` and `version` of the class,
        and the first line of its docstring. The same definition again (its module was loaded anew)
        takes the place of the old one.

        Raises:
            ScriptletError: It is no scriptlet, or the name is taken; nothing was added.
        """
        entry = Entry(
            name=name if name is not None else _text(target, "name") or name_of(target),
            target=target,
            category=category or _text(target, "category") or "general",
            version=version or _text(target, "version") or "1.0",
            description=description or _first_line(target),
            place=_place(target),
            parameters=_checked(target, name),
        )
        with self._lock:
            there = self._entries.get(entry.name)
            if there is not None and there.place != entry.place:
                raise ScriptletError(
                    f"two scriptlets are called {entry.name!r}: {there.place} and {entry.place}",
                    hint="give one another name: @register_scriptlet(name=...)",
                )
            self._entries[entry.name] = entry
        return entry

    def get(self, name: str) -> Entry:
        """The scriptlet of this name.

        Raises:
            ScriptletError: There is none.
        """
        entry = self._entries.get(name)
        if entry is None:
            hint = did_you_mean(name, self._entries) or "register it, or discover its folder"
            raise ScriptletError(f"no scriptlet is called {name!r}", hint=hint)
        return entry

    def list(self, category: str | None = None) -> Entries:
        """All scriptlets, or those of a category, by name."""
        entries = sorted(self._entries.values(), key=lambda entry: entry.name)
        return [each for each in entries if category in (None, each.category)]

    def categories(self) -> dict[str, int]:
        """The categories, and how many scriptlets are in each."""
        counts: dict[str, int] = {}
        for entry in self._entries.values():
            counts[entry.category] = counts.get(entry.category, 0) + 1
        return dict(sorted(counts.items()))

    def discover_folder(self, folder: str | Path) -> Entries:
        """Add the scriptlets in the modules of a folder and the folders below; returns them.

        That are the decorated ones, and the classes made from BaseScriptlet. Files and folders
        whose name begins with `_` or `.` are left out. The folder comes last in `sys.path` from now
        on, so that what its modules import from each other is found; not so after an error.

        Raises:
            ScriptletError: The folder, or a module in it, has problems; all of them are listed, and
                nothing was added.
        """
        folder = Path(folder).resolve()
        if not folder.is_dir():
            raise ScriptletError(f"{folder}: no such directory", hint="look at the path")
        if str(folder) in sys.path:
            return self._all_or_nothing(lambda problems: self._add_files(folder, problems))
        sys.path.append(str(folder))
        try:
            return self._all_or_nothing(lambda problems: self._add_files(folder, problems))
        except BaseException:
            sys.path.remove(str(folder))
            raise

    def discover_packages(self) -> Entries:
        """Add the scriptlets that installed packages declare; returns them.

        Raises:
            ScriptletError: Some can't be loaded; all of them are listed, and nothing was added.
        """
        return self._all_or_nothing(self._add_entry_points)

    def _add_files(self, folder: Path, problems: Problems) -> None:
        for file in _python_files(folder):
            try:
                self._add_module(load_file(file))
            except ScriptletError as error:
                problems.append(f"{file}: {error.message}")
            except (Exception, SystemExit) as error:
                place, line = blame(error, str(folder)) or (str(file), 1)
                problems.append(f"{place}:{line}: {error_text(error)}")

    def _add_entry_points(self, problems: Problems) -> None:
        for point in entry_points(group=ENTRY_POINTS):
            try:
                found = point.load()
                if isinstance(found, ModuleType):
                    self._add_module(found)
                else:
                    self.register(found, name=point.name)
            except ScriptletError as error:
                problems.append(f"entry point {point.name}: {error.message}")
            except (Exception, SystemExit) as error:
                problems.append(f"entry point {point.name}: {error_text(error)}")

    def _add_module(self, module: ModuleType) -> None:
        """Add the classes that are defined in the module and were not decorated."""
        registered = [entry.target for entry in self._entries.values()]
        for value in vars(module).values():
            own = is_scriptlet(value) and value.__module__ == module.__name__
            if own and issubclass(value, BaseScriptlet) and value not in registered:
                self.register(value)

    def _all_or_nothing(self, add: Callable[[Problems], None]) -> Entries:
        """Add what `add` registers, and what is decorated meanwhile; returns what is new.

        Raises:
            ScriptletError: `add` told problems; then nothing stays.
        """
        problems: Problems = []
        with self._lock:
            before = dict(self._entries)
            token = _current.set(self)
            try:
                add(problems)
                if problems:
                    raise ScriptletError(
                        "\n".join(problems), hint="mend them, then try again", problems=problems
                    )
            except BaseException:
                self._entries = before
                raise
            finally:
                _current.reset(token)
            return [each for each in self.list() if before.get(each.name) != each]


registry = ScriptletRegistry()
"""The registry that `register_scriptlet` adds to."""

_current: ContextVar[ScriptletRegistry] = ContextVar("registry", default=registry)


@overload
def register_scriptlet(target: T, /) -> T: ...


@overload
def register_scriptlet(
    *,
    name: str | None = None,
    category: str | None = None,
    version: str | None = None,
    description: str | None = None,
) -> Callable[[T], T]: ...


def register_scriptlet(target: Any = None, /, **details: Any) -> Any:
    """A decorator of classes and functions, with or without arguments: adds them to the registry.

    Raises:
        ScriptletError: See `ScriptletRegistry.register`.
    """
    if isinstance(target, str):
        raise ScriptletError(
            f"@register_scriptlet({target!r}) names no argument",
            hint=f"write @register_scriptlet(name={target!r})",
        )
    if target is None:
        return lambda each: register_scriptlet(each, **details)
    _current.get().register(target, **details)
    return target


def _checked(target: Any, name: str | None) -> dict[str, Parameter] | None:
    """What a scriptlet declares, if all that can be known of it now is as it must be."""
    called = name_of(target)
    if isinstance(target, type):
        run = getattr(target, "run", None)
        if not callable(run) or run is BaseScriptlet.run:
            raise ScriptletError(
                f"{called} has no method run", hint="add: def run(self, context, params)"
            )
    elif not callable(target):
        raise ScriptletError(f"{target!r} is no class and no function", hint="decorate one")
    if name is not None and (
        not isinstance(name, str) or not name.strip() or not name.isprintable()
    ):
        raise ScriptletError(f"{called}: {name!r} is no name", hint="give a text, as name='count'")
    return declared_parameters(target)


def _text(target: object, attribute: str) -> str:
    value = getattr(target, attribute, "")
    return value if isinstance(value, str) else ""


def _first_line(target: object) -> str:
    text = (getattr(target, "__doc__", None) or "").strip()
    return next(iter(text.splitlines()), "")


def _place(target: Any) -> str:
    """Where it is defined, as exactly as Python knows."""
    try:
        file = inspect.getsourcefile(target) or ""
        return f"{file}:{inspect.getsourcelines(target)[1]}"
    except (OSError, TypeError):
        return f"{getattr(target, '__module__', '?')}.{getattr(target, '__qualname__', target)}"


def _python_files(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.iterdir()):
        if path.name.startswith(("_", ".")):
            continue
        if path.is_dir():
            yield from _python_files(path)
        elif path.suffix == ".py":
            yield path
