"""Problems of a step library or a recipe: what is wrong, in which file and line, and what to do.

The source is parsed only when there is a problem to place, so a good library never pays for it.
"""

from __future__ import annotations

import ast
import functools
import os
import reprlib
from dataclasses import dataclass
from pathlib import Path
from typing import Literal


class _ShortRepr(reprlib.Repr):
    def repr_int(self, value: int, level: int) -> str:
        try:
            return super().repr_int(value, level)
        except ValueError:  # Python refuses to write thousands of digits
            return f"about {'-' if value < 0 else ''}2**{value.bit_length()}"


_short_repr = _ShortRepr()
_short_repr.maxstring = _short_repr.maxother = 80


@dataclass(frozen=True, slots=True)
class Problem:
    """Something wrong in a library or a recipe. An error keeps it from running, a warning does not.

    Attributes:
        file: The file, or the directory of a library.
        line: None where no line is to blame.
        column: None where the line says it all.
    """

    file: str
    line: int | None
    message: str
    hint: str = ""
    severity: Literal["error", "warning"] = "error"
    column: int | None = None

    def __str__(self) -> str:
        kind = "warning: " if self.severity == "warning" else ""
        return "\n  ".join([f"{self.place}: {kind}{self.message}", *self.hint.splitlines()])

    @property
    def place(self) -> str:
        """`file:line:column`, as editors and terminals understand it."""
        known = [str(each) for each in (self.line, self.column) if each is not None]
        return ":".join([self.file, *known])


class Reporter:
    """Adds problems to `problems` that are in `file`, in or below what is called `inside`."""

    def __init__(self, problems: list[Problem], file: str | Path, *inside: object) -> None:
        self._problems, self._file, self._inside = problems, file, inside

    def error(self, message: str, *names: object, hint: str = "") -> None:
        """Add an error at the line of the nested names `names`; see `locate`."""
        self._problems.append(Problem(str(self._file), self._line(names), message, hint))

    def warning(self, message: str, *names: object, hint: str = "") -> None:
        """Add a warning likewise."""
        self._problems.append(Problem(str(self._file), self._line(names), message, hint, "warning"))

    def _line(self, names: tuple[object, ...]) -> int | None:
        return locate(self._file, *self._inside, *names)


def shown(value: object) -> str:
    """A value as it appears in a message: its repr, cut short, even if the repr itself fails."""
    return _short_repr.repr(value)


def locate(file: str | Path, *names: object) -> int | None:
    """The line of nested names in a Python file: a class, in it a member, in it a key, ...

    A name that is not found is passed over, so the line is that of the deepest one found; None if
    there is none, or if the file is no Python source.
    """
    try:
        stat = os.stat(file)  # noqa: PTH116
    except OSError:
        return None
    scope = _parsed(str(file), stat.st_mtime_ns, stat.st_size)
    line = None
    for name in names:
        for node in ast.walk(scope):
            if found := _called(node, name):
                scope, line = found
                break
    return line


@functools.lru_cache(maxsize=4)  # problems come file by file
def _parsed(file: str, _mtime_ns: int, _size: int) -> ast.AST:
    try:
        return ast.parse(Path(file).read_bytes())
    except (OSError, SyntaxError, ValueError, RecursionError):
        return ast.Module([], [])


def _called(node: ast.AST, name: object) -> tuple[ast.AST, int] | None:
    """What `node` gives the name `name`, and the line of the name; None if nothing."""
    match node:
        case ast.ClassDef() | ast.FunctionDef() | ast.AsyncFunctionDef():
            if node.name == name:
                return node, node.lineno
        case ast.Assign(value=value, targets=targets):
            if any(isinstance(target, ast.Name) and target.id == name for target in targets):
                return value, node.lineno
        case ast.AnnAssign(value=ast.expr() as value, target=ast.Name(id=target)):
            if target == name:
                return value, node.lineno
        case ast.Dict():
            for key, value in zip(node.keys, node.values, strict=True):
                if isinstance(key, ast.Constant) and key.value == name:
                    return value, key.lineno
        case ast.keyword() | ast.Constant():
            if name == (node.arg if isinstance(node, ast.keyword) else node.value):
                return node, node.lineno
    return None
