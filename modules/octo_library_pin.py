"""The pin of an instance: a hash of each file of its library, as it was when the run began."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import NoReturn

from octo_atomic_file import replace_file
from octo_errors import LibraryError
from octo_pin_file import FORMAT, read_pin_file

PIN_FILE_NAME = ".octo_step_engine_library.json"


def pin_library(instance: Path, library: Path) -> None:
    """Remember in the directory `instance` the library's files as they are now."""
    pin = {"format": FORMAT, "library": str(library), "files": library_hashes(library)}
    replace_file(
        str(instance / PIN_FILE_NAME), json.dumps(pin, indent=2).encode(), None, sync=False
    )


def changed_files(instance: Path, library: Path) -> list[str]:
    """Files of the library that are not as they were when they were pinned.

    Raises:
        InstanceError: The pin can't be read.
        LibraryError: A file of the library can't be read.
    """
    try:
        pin = read_pin_file(
            instance / PIN_FILE_NAME,
            {"files": dict},
            hint="remove it to go on with the library as it is now",
        )
    except FileNotFoundError:
        return []
    pinned, now = pin["files"], library_hashes(library)
    return sorted(name for name in pinned | now if pinned.get(name) != now.get(name))


def library_hashes(path: str | Path) -> dict[str, str]:
    """The sha256 of each `.py` file below a library, relative name with `/` -> hex digest, sorted.

    Raises:
        LibraryError: A file can't be read.
    """
    root = str(path)
    hashes = {}
    for folder, folders, names in os.walk(root, onerror=_refuse_unreadable):
        folders[:] = [name for name in folders if not name.startswith(".")]
        inside = folder[len(root) :].strip(os.sep).replace(os.sep, "/")
        for name in names:
            if name.endswith(".py"):
                relative = f"{inside}/{name}" if inside else name
                hashes[relative] = _sha256(f"{folder}{os.sep}{name}")
    return dict(sorted(hashes.items()))


def _sha256(file: str) -> str:
    digest = hashlib.sha256()
    try:
        # `open` asks the system for twice as much, and this is most of what a pin costs.
        descriptor = os.open(file, os.O_RDONLY | getattr(os, "O_BINARY", 0))
        try:
            while chunk := os.read(descriptor, 1 << 16):
                digest.update(chunk)
        finally:
            os.close(descriptor)
    except OSError as error:
        error.filename = file  # which a failing read doesn't tell
        _refuse_unreadable(error)
    return digest.hexdigest()


def _refuse_unreadable(error: OSError) -> NoReturn:
    raise LibraryError(f"{error.filename}: can't be read: {error.strerror}") from error
