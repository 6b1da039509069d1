"""Where the branches meet, and the run ends."""

# ruff: noqa: RUF012  (the dicts of a node are class attributes by contract)

from __future__ import annotations

from pathlib import Path


class step_node_join:
    """Waits for both branches."""

    step_node_graph_dict = {"step_node_join": {"join_all_bool": 1}}

    def step_execute(self) -> None:
        """Do the work."""
        with Path("done").open("a") as file:
            file.write("join\n")
