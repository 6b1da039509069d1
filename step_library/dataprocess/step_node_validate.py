"""Reads the measured data and sorts out the rows that can't be right."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

from stepnode_baseclass import stepnode_baseclass

from .instance_files import COLUMNS, write_table


class step_node_validate(stepnode_baseclass):
    """Sorts the rows of the input file into good ones and rejects, then starts three branches."""

    step_node_graph_dict = {
        "step_node_validate": {
            "module_name_string": "step_node_validate",
            "node_step_name_string": "step_node_validate",
            "dg_node_attr_dict": {"label": "validate"},
            "first_node_step_bool": 1,
        },
    }
    step_arrow_graph_dict = {
        "statistics": {
            "module_name_string": "step_node_statistics",
            "arrow_step_name_string": "step_node_statistics",
            "dg_edge_attr_dict": {},
        },
        "hourly": {
            "module_name_string": "step_node_hourly",
            "arrow_step_name_string": "step_node_hourly",
            "dg_edge_attr_dict": {},
        },
        "outliers": {
            "module_name_string": "step_node_outliers",
            "arrow_step_name_string": "step_node_outliers",
            "dg_edge_attr_dict": {},
        },
    }
    step_node_params_dict_init = {
        "step_node_validate": {
            "input_file": str(Path(__file__).with_name("sensor_readings.csv")),
            "lowest_celsius": -50.0,
            "highest_celsius": 120.0,
            "max_rejected_percent": 10.0,
        },
    }
    step_node_results_dict_init = {
        "step_node_validate": {"rows_accepted": 0, "rows_rejected": 0},
    }

    def step_execute(self) -> int:
        """Write `accepted.csv`, and `rejects.csv` with the reason for each row."""
        lowest = self.get(self.name, "lowest_celsius")
        highest = self.get(self.name, "highest_celsius")
        accepted, rejected = [], []
        for line, values in _read_input(Path(self.get(self.name, "input_file"))):
            try:
                accepted.append(_clean(values, lowest, highest))
            except ValueError as reason:
                rejected.append({"line": line, "reason": reason, "row": ",".join(values)})
        write_table("accepted.csv", COLUMNS, accepted)
        write_table("rejects.csv", ["line", "reason", "row"], rejected)
        self.set(self.name, "rows_accepted", len(accepted))
        self.set(self.name, "rows_rejected", len(rejected))
        print(f"{len(accepted)} rows accepted, {len(rejected)} rejected (see rejects.csv)")
        if not accepted:
            raise ValueError("no row was accepted")
        percent = 100 * len(rejected) / (len(accepted) + len(rejected))
        if percent > self.get(self.name, "max_rejected_percent"):
            raise ValueError(f"{percent:.1f}% of the rows were rejected: see rejects.csv")
        return 0

    def step_advance(self) -> list[str]:
        """Return several arrows, a fork: the three branches run side by side."""
        return ["statistics", "hourly", "outliers"]


def _read_input(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Each row below the header, with its line number."""
    if not path.is_file():
        raise FileNotFoundError(
            f"there is no input file {path}; choose one with "
            f"./octo_step_engine_parameters.py . step_node_validate input_file FILE"
        )
    with path.open(newline="", encoding="utf-8-sig") as file:
        rows = csv.reader(file)
        header = next(rows, [])
        if header != COLUMNS:
            raise ValueError(f"{path}: the first line must be {COLUMNS}, but is {header}")
        for row in rows:
            yield rows.line_num, row


def _clean(values: list[str], lowest: float, highest: float) -> dict[str, str]:
    """The row of these values; raises ValueError with the reason when they make no sense."""
    if len(values) != len(COLUMNS):
        raise ValueError(f"{len(values)} columns instead of {len(COLUMNS)}")
    time, sensor, celsius = values
    if not sensor:
        raise ValueError("no sensor")
    try:
        temperature = float(celsius)
    except ValueError:
        raise ValueError(f"{celsius!r} is no temperature") from None
    if not lowest <= temperature <= highest:
        raise ValueError(f"{celsius} is out of range")
    return {"time": datetime.fromisoformat(time).isoformat(), "sensor": sensor, "celsius": celsius}
