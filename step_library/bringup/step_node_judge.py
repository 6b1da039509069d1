"""Holds the readings against the limit."""

from __future__ import annotations

from .bringup_step import bringup_step


class step_node_judge(bringup_step):
    """Decides whether the instrument is good enough: the way forks here."""

    step_node_graph_dict = {
        "step_node_judge": {
            "module_name_string": "step_node_judge",
            "node_step_name_string": "step_node_judge",
            "dg_node_attr_dict": {
                "label": "judge",
                "shape": "diamond",
                "fillcolor": "lightyellow",
            },
        },
    }
    step_arrow_graph_dict = {
        "within_limits": {
            "module_name_string": "step_node_report",
            "arrow_step_name_string": "step_node_report",
            "dg_edge_attr_dict": {"label": "within limits", "color": "forestgreen"},
        },
        "out_of_limits": {
            "module_name_string": "step_node_diagnose",
            "arrow_step_name_string": "step_node_diagnose",
            "dg_edge_attr_dict": {"label": "out of limits", "color": "firebrick"},
        },
    }
    step_node_params_dict_init = {"step_node_judge": {"tolerance_volts": 0.02}}
    step_node_results_dict_init = {
        "step_node_judge": {"worst_error_volts": 0.0},
        # What came of the whole bring-up: PASS or FAIL.
        "bringup": {"verdict": ""},
    }

    def step_execute(self) -> int:
        """Find the reading that is farthest from what was set."""
        readings = self.get("step_node_measure", "readings")
        if not readings:
            raise ValueError("nothing was measured: step_node_measure points must be 1 or more")
        worst = max(abs(point["measured_volts"] - point["set_volts"]) for point in readings)
        tolerance = self.get(self.name, "tolerance_volts")
        verdict = "PASS" if worst <= tolerance else "FAIL"
        self.set(self.name, "worst_error_volts", round(worst, 4))
        self.set("bringup", "verdict", verdict)
        print(f"{verdict}: off by {worst:.4f} V at worst, {tolerance} V allowed")
        return 0

    def step_advance(self) -> str:
        """Go straight on, or by way of the diagnosis."""
        passed = self.get("bringup", "verdict") == "PASS"
        return "within_limits" if passed else "out_of_limits"
