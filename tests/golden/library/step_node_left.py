"""A branch that has something to make safe."""

# ruff: noqa: RUF012  (the dicts of a node are class attributes by contract)

from __future__ import annotations

import time
from pathlib import Path


class step_node_left:
    """Hangs while there is a file `hang`; can't be made safe while there is a file `stuck`."""

    step_node_graph_dict = {"step_node_left": {"max_retries": 0}}
    step_arrow_graph_dict = {"on": {"arrow_step_name_string": "step_node_join"}}

    def step_execute(self) -> None:
        """Do the work, or hang."""
        with Path("done").open("a") as file:
            file.write("left\n")
        while Path("hang").exists():
            time.sleep(0.01)

    def step_make_safe(self) -> None:
        """Switch off."""
        if Path("stuck").exists():
            raise RuntimeError("the switch is stuck")
        with Path("done").open("a") as file:
            file.write("safe\n")
