"""Where the way forks."""

# ruff: noqa: RUF012  (the dicts of a node are class attributes by contract)

from __future__ import annotations


class step_node_begin:
    """Starts both branches."""

    step_node_graph_dict = {"step_node_begin": {"first_node_step_bool": 1}}
    step_arrow_graph_dict = {
        "to_left": {"arrow_step_name_string": "step_node_left"},
        "to_right": {"arrow_step_name_string": "step_node_right"},
    }
    step_node_params_dict_init = {"step_node_begin": {"voltage": 3.3, "unit": "V — volt"}}

    def step_advance(self) -> list[str]:
        """Follow both arrows."""
        return ["to_left", "to_right"]
