"""Branch 1 of 3: sums up each sensor."""

from __future__ import annotations

from collections import defaultdict
from statistics import fmean, pstdev

from stepnode_baseclass import stepnode_baseclass

from .instance_files import read_table, write_table


class step_node_statistics(stepnode_baseclass):
    """Sums up each sensor: count, mean, lowest, highest, and standard deviation."""

    step_node_graph_dict = {
        "step_node_statistics": {
            "module_name_string": "step_node_statistics",
            "node_step_name_string": "step_node_statistics",
            "dg_node_attr_dict": {"label": "statistics"},
        },
    }
    step_arrow_graph_dict = {
        "report": {
            "module_name_string": "step_node_report",
            "arrow_step_name_string": "step_node_report",
            "dg_edge_attr_dict": {},
        },
    }
    step_node_results_dict_init = {"step_node_statistics": {"sensors": 0}}

    def step_execute(self) -> int:
        """Write `statistics.csv`, one row for each sensor."""
        series = defaultdict(list)
        for row in read_table("accepted.csv"):
            series[row["sensor"]].append(float(row["celsius"]))
        rows = [
            {
                "sensor": sensor,
                "readings": len(celsius),
                "mean": f"{fmean(celsius):.2f}",
                "lowest": min(celsius),
                "highest": max(celsius),
                "deviation": f"{pstdev(celsius):.2f}",
            }
            for sensor, celsius in sorted(series.items())
        ]
        columns = ["sensor", "readings", "mean", "lowest", "highest", "deviation"]
        write_table("statistics.csv", columns, rows)
        self.set(self.name, "sensors", len(rows))
        print(f"{len(rows)} sensors")
        return 0
