"""Branch 2 of 3: the mean of each sensor in each hour."""

from __future__ import annotations

from collections import defaultdict
from statistics import fmean

from stepnode_baseclass import stepnode_baseclass

from .instance_files import read_table, write_table


class step_node_hourly(stepnode_baseclass):
    """Condenses the readings to one mean per sensor and hour."""

    step_node_graph_dict = {
        "step_node_hourly": {
            "module_name_string": "step_node_hourly",
            "node_step_name_string": "step_node_hourly",
            "dg_node_attr_dict": {"label": "hourly means"},
        },
    }
    step_arrow_graph_dict = {
        "report": {
            "module_name_string": "step_node_report",
            "arrow_step_name_string": "step_node_report",
            "dg_edge_attr_dict": {},
        },
    }
    step_node_results_dict_init = {"step_node_hourly": {"hours": 0}}

    def step_execute(self) -> int:
        """Write `hourly.csv`: one row for each hour, one column for each sensor."""
        readings = defaultdict(list)
        for row in read_table("accepted.csv"):
            hour = row["time"][: len("2025-03-03T00")]
            readings[hour, row["sensor"]].append(float(row["celsius"]))
        rows: dict[str, dict[str, str]] = {}
        for (hour, sensor), celsius in sorted(readings.items()):
            rows.setdefault(hour, {"hour": hour})[sensor] = f"{fmean(celsius):.2f}"
        sensors = sorted({sensor for _, sensor in readings})
        write_table("hourly.csv", ["hour", *sensors], rows.values())
        self.set(self.name, "hours", len(rows))
        print(f"{len(rows)} hours")
        return 0
