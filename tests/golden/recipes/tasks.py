"""What the steps of the golden recipes and of the golden program do."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any


def work(context: Any, word: str) -> str:
    """Hang while there is a file `hang_WORD`; fail if there is `fail_WORD`; then note the word."""
    Path(f"begun_{word}").touch()
    while Path(f"hang_{word}").exists():
        time.sleep(0.01)
    if Path(f"fail_{word}").exists():
        raise RuntimeError("no contact")
    context.increment("count")
    with Path("done").open("a", encoding="utf-8") as file:
        file.write(f"{word}\n")
    return word
