"""What the command lines of recipes share: how they write documents."""

from __future__ import annotations

TYPE_CHECKING = False  # as in typing, which is slow to load
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any, TextIO


def stdout_for_document() -> TextIO:
    """What stdout leads to, for a document that is to stand there alone.

    All else that is written to stdout goes to stderr, from now on till the process ends: steps may
    leave threads behind, which print when the document is written already.
    """
    import os
    import sys

    sys.stdout.flush()
    alone = os.fdopen(os.dup(1), "w", encoding=sys.stdout.encoding, errors=sys.stdout.errors)
    os.dup2(2, 1)
    return alone


def as_json(value: Mapping[str, Any]) -> str:
    """The text of a JSON document for people and programs to read."""
    import json

    return json.dumps(value, ensure_ascii=False, indent=2) + "\n"
