"""Recipe files, read: from a cache where the same bytes have been read before.

The cache is a convenience. Its entries are called by the hash of a file's bytes, so a changed file
is never found there; whatever is wrong with an entry or its directory, the file is read anew and
nobody is told. Entries are written whole or not at all, by any number of processes at once; the
oldest ones go when there are too many. Nothing is taken from a directory that belongs to another
user.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import stat
import sys
import tempfile
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from octo_errors import RecipeError, near_names
from orchestrator.recipe_document import Document, Problem, recipe_error

__all__ = ["MAX_BYTES", "Source", "cache_directory", "read_content", "read_source"]

MAX_BYTES = 16 * 2**20
"""Of a recipe's file."""
FORMAT = 2
"""Of the entries; to be raised when the same bytes would lead to another document."""
MOST_ENTRIES = 200
MOST_BYTES = 64 * 2**20
"""Of all entries together."""


@dataclass(frozen=True)
class Source:
    """A recipe's file as it was read.

    Attributes:
        path: Absolute; symbolic links as the user wrote them.
        sha256: Of its bytes, in hexadecimal.
        content: These bytes.
    """

    path: Path
    sha256: str
    content: bytes = field(repr=False)
    document: Document


def read_source(path: str | Path, shown: str | None = None) -> Source:
    """Read a YAML file.

    Args:
        shown: Its name in problems; default: `path` as given.

    Raises:
        RecipeError: It can't be read, or is no YAML that a recipe could be; `load_yaml` says what.
    """
    name = os.fspath(path) if shown is None else shown
    content = read_content(os.fspath(path), name)
    digest = hashlib.sha256(content).hexdigest()
    entry = cache_directory() / f"{digest}.json"
    document = _cached(entry, name)
    if document is None:
        from orchestrator.recipe_yaml import load_yaml  # what was read before, starts without YAML

        document = load_yaml(content, name)
        if not document.problems:
            _keep(entry, document)
    return Source(Path(os.path.abspath(path)), digest, content, document)  # noqa: PTH100


def cache_directory() -> Path:
    """Where entries are kept: below `$XDG_CACHE_HOME`, or where the system keeps caches."""
    if given := os.environ.get("XDG_CACHE_HOME"):
        base = Path(given)
    elif sys.platform == "darwin":
        base = Path("~/Library/Caches").expanduser()
    elif os.name == "nt":
        base = Path(os.environ.get("LOCALAPPDATA") or tempfile.gettempdir())
    else:
        base = Path("~/.cache").expanduser()
    return base / "octo-step-engine" / f"recipes-{FORMAT}"


# --- the file -------------------------------------------------------------------------------------

_SUFFIXES = (".yaml", ".yml")
_WHY = {
    errno.ENOENT: "there is no such file",
    errno.ENOTDIR: "there is no such file",
    errno.EACCES: "it can't be read: permission denied",
    errno.ELOOP: "its symbolic links go round in a circle",
    errno.ENAMETOOLONG: "its name is too long",
}


def read_content(path: str, name: str, *, of_recipe: bool = True) -> bytes:
    """The bytes of a file.

    Args:
        name: What it is called in problems.
        of_recipe: It is to be a regular file, since it is read more than once; any other may be a
            pipe, as `<(command)` is for a shell.

    Raises:
        RecipeError: It can't be read, is no file, or has more than MAX_BYTES.
    """
    try:
        kind = os.stat(path).st_mode  # noqa: PTH116
        if not stat.S_ISREG(kind) and (of_recipe or not stat.S_ISFIFO(kind)):
            found = "a directory" if stat.S_ISDIR(kind) else "no regular file"
            wanted = "a recipe is a YAML file" if of_recipe else "inputs are in a YAML file"
            raise _unreadable(name, f"is {found}; {wanted}")
        with open(path, "rb") as file:  # noqa: PTH123
            text = file.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        number = error.errno if isinstance(error, OSError) else None
        hint = _near_file(path) if number == errno.ENOENT else ""
        raise _unreadable(name, _WHY.get(number or 0, str(error)), hint) from None
    if len(text) > MAX_BYTES:
        raise _unreadable(name, f"has more than {MAX_BYTES >> 20} MiB, which is too much")
    return text


def _near_file(path: str) -> str:
    """The hint for a file that isn't there: a YAML file beside it that is called much like it."""
    wanted = Path(path)
    try:
        there = {each.stem: each for each in wanted.parent.iterdir() if each.suffix in _SUFFIXES}
    except OSError:
        return ""
    near = near_names(wanted.stem, there)
    return f"did you mean {str(there[near[0]])!r}?" if near else ""


def _unreadable(name: str, why: str, hint: str = "") -> RecipeError:
    return recipe_error([Problem(name, None, why, hint)])


# --- entries --------------------------------------------------------------------------------------


def _cached(entry: Path, name: str) -> Document | None:
    """The document of an entry; None where there is none, or one that is damaged or not ours."""
    try:
        with entry.open("rb") as file:
            if not _is_ours(os.fstat(file.fileno())):
                return None
            seal, _, body = file.read().partition(b"\n")
        if hashlib.sha256(body).hexdigest().encode() != seal:
            return None
        value, node = json.loads(body)
        with suppress(OSError):
            os.utime(entry)  # the ones that are used, stay
    except (OSError, ValueError, RecursionError):
        return None
    return Document(name, value, [], node)


def _is_ours(status: os.stat_result) -> bool:
    return not hasattr(os, "getuid") or status.st_uid == os.getuid()


def _keep(entry: Path, document: Document) -> None:
    """Write an entry, where that is possible."""
    body = json.dumps([document.value, document.node], separators=(",", ":")).encode()
    if len(body) > MOST_BYTES // 4:
        return
    seal = hashlib.sha256(body).hexdigest().encode()
    temporary = None
    try:
        entry.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor, temporary = tempfile.mkstemp(dir=entry.parent, suffix=".tmp")
        with open(descriptor, "wb") as file:  # noqa: PTH123
            file.write(seal + b"\n" + body)
        os.replace(temporary, entry)  # noqa: PTH105
        _tidy(entry.parent)
    except OSError:
        if temporary is not None:
            with suppress(OSError):
                os.unlink(temporary)  # noqa: PTH108


def _tidy(directory: Path) -> None:
    """Delete the entries that were not used for longest, until the rest is within the limits."""
    found: list[tuple[float, int, Path]] = []
    for path in directory.iterdir():
        with suppress(OSError):
            status = path.stat()
            found.append((status.st_mtime, status.st_size, path))
    size = 0
    for place, (_, length, path) in enumerate(sorted(found, reverse=True)):
        size += length
        if place and (place >= MOST_ENTRIES or size > MOST_BYTES):
            path.unlink(missing_ok=True)
