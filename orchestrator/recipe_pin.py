"""What a run is made of, kept in its instance: it doesn't change when the recipe's file does.

.octo_step_engine_recipe.<hash>.json    the compiled recipe, those that it nests, and the text of
                                        each file that they were read from
.octo_step_engine_code.json             a hash of each file with code that the steps name

The first is called by the hash of its content, and the parameter file says which one counts: so the
run changes from one to another in a single write of the parameter file.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from octo_atomic_file import replace_file
from octo_errors import InstanceError, OctoError, RecipeError
from octo_library_pin import library_hashes
from octo_pin_file import FORMAT, read_pin_file
from orchestrator.recipe_modules import ModulePath

if TYPE_CHECKING:
    from orchestrator.recipe_check import CheckedRecipe

PIN_FILES: Final = ".octo_step_engine_recipe.*.json"
CODE_FILE_NAME: Final = ".octo_step_engine_code.json"

_ANEW: Final = "put it back, or begin a new run of the recipe"


@dataclass(frozen=True)
class PinnedRecipe:
    """A compiled recipe with all that it was made from.

    Attributes:
        compiled: What `compile_recipe` returned.
        nested: The compiled recipes that it nests, directly or not, by the paths of their files.
        texts: The text of each of these files, by its path.
        kept_as: The name of the file that it was read from; empty if it was just compiled.
    """

    compiled: Mapping[str, Any]
    nested: Mapping[str, Mapping[str, Any]]
    texts: Mapping[str, str]
    kept_as: str = field(default="", compare=False)

    def of_step(self, step: str) -> PinnedRecipe:
        """The recipe that a step nests."""
        path = self.compiled["steps"][step]["recipe"]
        return PinnedRecipe(self.nested[path], self.nested, self.texts)

    @cached_property
    def file_name(self) -> str:
        """The name of the file that `keep` writes; one that was read keeps the name that it had."""
        if self.kept_as:  # another version may write the same recipe otherwise
            return self.kept_as
        return PIN_FILES.replace("*", hashlib.sha256(self._content).hexdigest()[:16])

    def keep(self, instance: Path) -> None:
        """Write it into the directory of an instance."""
        replace_file(str(instance / self.file_name), self._content, None, sync=False)

    @cached_property
    def _content(self) -> bytes:
        pin = {
            "format": FORMAT,
            "compiled": self.compiled,
            "nested": self.nested,
            "texts": self.texts,
        }
        return json.dumps(pin, ensure_ascii=False).encode()

    def changed_sources(self) -> list[str]:
        """The recipe files whose bytes are others now, or that are gone."""
        return [path for path, text in self.texts.items() if _bytes_of(path) != text.encode()]

    def difference(self, other: PinnedRecipe) -> str:
        """What is different in the texts of another one, as a unified diff."""
        import difflib  # only a change pays for it

        lines: list[str] = []
        first = (self.compiled["source"], other.compiled["source"])  # it may have been moved
        nested = dict.fromkeys([*self.nested, *other.nested])
        for old, new in (first, *((path, path) for path in nested)):
            before, after = (self.texts.get(old, ""), other.texts.get(new, ""))
            lines += difflib.unified_diff(
                before.splitlines(),
                after.splitlines(),
                f"{old} (of this run)",
                f"{new} (now)",
                lineterm="",
            )
        return "\n".join(lines)

    def keep_code(self, instance: Path, working_directory: Path) -> None:
        """Write into the directory of an instance what the code of the steps is now."""
        pin = {"format": FORMAT, "files": self._code(working_directory)}
        data = json.dumps(pin, indent=1).encode()
        replace_file(str(instance / CODE_FILE_NAME), data, None, sync=False)

    def changed_code(self, instance: Path, working_directory: Path) -> list[str]:
        """The files with code of the steps that are not as they were when they were kept.

        Raises:
            InstanceError: What was kept can't be read.
        """
        try:
            pin = read_pin_file(instance / CODE_FILE_NAME, {"files": dict}, hint=_ANEW)
        except FileNotFoundError:
            return []
        kept, now = pin["files"], self._code(working_directory)
        return sorted(path for path in kept | now if kept.get(path) != now.get(path))

    def _code(self, working_directory: Path) -> dict[str, str]:
        """Path -> hash of the files with the modules and step libraries that are named."""
        found: dict[str, str] = {}
        for compiled in (self.compiled, *self.nested.values()):
            tasks = compiled["steps"].values()
            modules = ModulePath(Path(compiled["source"]).parent, working_directory)
            for module in {task["module"] for task in tasks if task["type"] == "python"}:
                found |= _hash_of(modules.file(module))
            for library in {task["library"] for task in tasks if task["type"] == "step_node"}:
                found |= _hashes_below(library)
        return dict(sorted(found.items()))


def pin_recipe(path: str | Path, working_directory: Path) -> PinnedRecipe:
    """Compile a recipe, with all that it nests.

    Raises:
        RecipeError: Something is wrong with it; tells all of it, with places. Or a path is no text,
            as the files of an instance hold it.
    """
    # An instance that is looked at, or goes on with what it has, needs no compiler.
    from orchestrator.recipe_check import check_recipe
    from orchestrator.recipe_compiler import compile_checked
    from orchestrator.recipe_document import recipe_error

    checked = check_recipe(path, working_directory)
    if checked.problems:
        raise recipe_error(checked.problems)
    nested = {str(each.source.path): compile_checked(each) for each in _nested_in(checked)}
    texts = {path: each.content.decode() for path, each in checked.sources().items()}
    for each in (*texts, str(working_directory)):
        _require_text(each)
    return PinnedRecipe(compile_checked(checked), nested, texts)


def read_pin(instance: Path, name: str) -> PinnedRecipe:
    """The recipe that `keep` has written.

    Raises:
        InstanceError: It can't be read, or a newer version wrote it.
    """
    kinds = {"compiled": dict, "nested": dict, "texts": dict}
    try:
        pin = read_pin_file(instance / name, kinds, hint=_ANEW)
    except FileNotFoundError:
        raise InstanceError(f"{instance / name}: is gone", hint=_ANEW) from None
    return PinnedRecipe(pin["compiled"], pin["nested"], pin["texts"], name)


def _require_text(path: str) -> None:
    try:
        path.encode()
    except UnicodeEncodeError:
        raise RecipeError(
            f"{path}: this path is no UTF-8, and the files of a run can't hold it",
            hint="rename what is called so, or make a link to it with another name",
        ) from None


def _nested_in(checked: CheckedRecipe) -> Iterable[CheckedRecipe]:
    for each in checked.nested.values():
        yield each
        yield from _nested_in(each)


def _bytes_of(path: str) -> bytes | None:
    try:
        return Path(path).read_bytes()
    except OSError:
        return None


def _hash_of(file: Path | None) -> dict[str, str]:
    data = None if file is None else _bytes_of(str(file))
    return {} if data is None else {str(file): hashlib.sha256(data).hexdigest()}


def _hashes_below(library: str) -> dict[str, str]:
    try:
        found = library_hashes(library)
    except OctoError:  # gone: all of its files have changed
        return {}
    return {f"{library}/{name}": digest for name, digest in found.items()}
