"""Branch 3 of 3: readings that are possible, but hard to believe."""

from __future__ import annotations

from collections import defaultdict
from statistics import median

from stepnode_baseclass import stepnode_baseclass

from .instance_files import COLUMNS, read_table, write_table


class step_node_outliers(stepnode_baseclass):
    """Searches for readings that are far from what their sensor usually shows."""

    step_node_graph_dict = {
        "step_node_outliers": {
            "module_name_string": "step_node_outliers",
            "node_step_name_string": "step_node_outliers",
            "dg_node_attr_dict": {"label": "outliers"},
        },
    }
    step_arrow_graph_dict = {
        "report": {
            "module_name_string": "step_node_report",
            "arrow_step_name_string": "step_node_report",
            "dg_edge_attr_dict": {},
        },
    }
    step_node_params_dict_init = {"step_node_outliers": {"threshold": 3.5}}
    step_node_results_dict_init = {"step_node_outliers": {"outliers": 0}}

    def step_execute(self) -> int:
        """Write `outliers.csv`: the accepted rows, if any, that are beyond the threshold.

        The measure is the modified z-score: the distance from the sensor's median, in units of its
        median absolute deviation, scaled by 0.6745. Unlike mean and standard deviation, the two
        medians are not moved by the outliers themselves.
        """
        threshold = self.get(self.name, "threshold")
        rows_of = defaultdict(list)
        for row in read_table("accepted.csv"):
            rows_of[row["sensor"]].append(row)
        outliers = []
        for rows in rows_of.values():
            middle = median(float(row["celsius"]) for row in rows)
            spread = median(abs(float(row["celsius"]) - middle) for row in rows)
            outliers += [
                row
                for row in rows
                if 0.6745 * abs(float(row["celsius"]) - middle) > threshold * spread
            ]
        write_table("outliers.csv", COLUMNS, outliers)
        self.set(self.name, "outliers", len(outliers))
        print(f"{len(outliers)} outliers")
        return 0
