"""How another process finds a class or a function: by its module, or by the file of that module."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Mapping
from hashlib import sha256
from importlib import import_module
from operator import attrgetter
from pathlib import Path
from types import ModuleType
from typing import Any, Final

import scriptlets
from octo_errors import ScriptletError

_LOADED: Final = "scriptlets_in_"
"""In the names of modules that were loaded from a file, and can't be imported by name; before it is
the package that the module's relative imports start from, if it is in one."""


def load_file(file: Path) -> ModuleType:
    """The module in a file, loaded anew under a name of its own.

    A folder called `scriptlets` that the file is in belongs to the package of that name from now
    on, as that of a recipe does: its modules may import each other as `scriptlets.x`, or `.x`.
    """
    name = f"{_LOADED}{sha256(str(file).encode()).hexdigest()[:12]}_{file.stem}"
    own = next((each for each in file.parents if each.name == scriptlets.__name__), None)
    if own is not None:
        if str(own) not in scriptlets.__path__:
            scriptlets.__path__.append(str(own))
        name = ".".join([scriptlets.__name__, *file.parent.relative_to(own).parts, name])
    spec = importlib.util.spec_from_file_location(name, file)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def reference_to(target: Any) -> dict[str, str]:
    """The keys `module` and `name`, and `file` where the module can't be imported by its name.

    Whether another process finds the target with that is told by `why_only_here`.
    """
    module = str(getattr(target, "__module__", "") or "")
    found = {"module": module, "name": str(getattr(target, "__qualname__", type(target).__name__))}
    if _LOADED in module:
        found["file"] = str(getattr(sys.modules.get(module), "__file__", ""))
    return found


def why_only_here(target: Any) -> str:
    """Why no other process finds the target; empty when one does."""
    if not (hasattr(target, "__qualname__") and target.__module__):
        return f"it is {type(target).__name__}, not a class or function of a module"
    if "<" in target.__qualname__:
        return "it is defined inside a function"
    if target.__module__ == "__main__":
        return "it is defined in the script that was started, which can't be imported"
    try:
        if attrgetter(target.__qualname__)(sys.modules[target.__module__]) == target:
            return ""
    except (KeyError, AttributeError):
        pass
    return f"{target.__module__}.{target.__qualname__} is something else"


def load_target(reference: Mapping[str, str]) -> Any:
    """What `reference_to` told of, in this process.

    Raises:
        ScriptletError: The module has no such thing any more.
        Exception: What loading the module raises.
    """
    name = reference["module"]
    module = sys.modules.get(name)
    if module is None:
        file = reference.get("file")
        module = load_file(Path(file)) if file else import_module(name)
    try:
        return attrgetter(reference["name"])(module)
    except AttributeError:
        raise ScriptletError(
            f"{module.__name__} ({getattr(module, '__file__', 'built in')}) has no"
            f" {reference['name']}",
            hint="was it renamed?",
        ) from None
