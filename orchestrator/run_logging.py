"""What is logged, shown where the rest of a step's output is."""

from __future__ import annotations

import logging
import sys
from typing import Any


class StepHandler(logging.StreamHandler[Any]):
    """Writes to whatever `sys.stderr` is: while a step runs, to the output of that step."""

    def __init__(self, form: str) -> None:
        logging.Handler.__init__(self)
        self.setFormatter(logging.Formatter(form))

    @property
    def stream(self) -> Any:
        """That of the moment."""
        return sys.stderr


def show_log(level: int) -> None:
    """Show the records of a level and above, in this process."""
    handler = StepHandler("%(levelname)s %(name)s: %(message)s")
    logging.basicConfig(level=level, handlers=[handler])
