"""A branch that is tried again."""

# ruff: noqa: RUF012  (the dicts of a node are class attributes by contract)

from __future__ import annotations

from pathlib import Path


class step_node_right:
    """Fails while there is a file `fail`."""

    step_node_graph_dict = {"step_node_right": {"max_retries": 1, "retry_delay_seconds": 2.0}}
    step_arrow_graph_dict = {"on": {"arrow_step_name_string": "step_node_join"}}

    def step_execute(self) -> None:
        """Do the work, or fail."""
        if Path("fail").exists():
            raise RuntimeError("no contact")
        with Path("done").open("a") as file:
            file.write("right\n")
