"""Files in which an instance keeps what its run is made of: JSON objects with a format number."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from octo_atomic_file import read_file
from octo_errors import InstanceError

FORMAT = 1
"""Of all these files."""


def read_pin_file(path: Path, kinds: Mapping[str, type], *, hint: str) -> dict[str, Any]:
    """What a file keeps.

    Args:
        kinds: The keys that it must have, and what each holds.
        hint: What to do with one that can't be read.

    Raises:
        FileNotFoundError: There is none.
        InstanceError: It can't be read, or a newer version made it.
    """
    try:
        pin = json.loads(read_file(str(path))[0])
    except FileNotFoundError:
        raise
    except (OSError, ValueError, RecursionError) as error:
        raise InstanceError(f"{path}: can't be read: {error}", hint=hint) from error
    if not isinstance(pin, dict):
        raise InstanceError(f"{path}: can't be read: it is no JSON object", hint=hint)
    number = pin.get("format", FORMAT)
    if type(number) is not int or number > FORMAT:
        raise InstanceError(
            f"{path}: made by a newer version: format {number!r}, and this version knows {FORMAT}",
            hint="upgrade the Octo Step Engine",
        )
    wrong = [key for key, kind in kinds.items() if not isinstance(pin.get(key), kind)]
    if wrong:
        raise InstanceError(f"{path}: {wrong[0]!r} is missing or wrong in it", hint=hint)
    return pin
