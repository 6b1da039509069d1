"""Writes what the bring-up found, for people and for programs."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

from .bringup_step import bringup_step


class step_node_report(bringup_step):
    """Writes `report.json` and `readings.csv` into the instance's directory."""

    step_node_graph_dict = {
        "step_node_report": {
            "module_name_string": "step_node_report",
            "node_step_name_string": "step_node_report",
            "dg_node_attr_dict": {"label": "report", "shape": "note", "fillcolor": "aliceblue"},
        },
    }
    step_arrow_graph_dict = {
        "power_off": {
            "module_name_string": "step_node_power_off",
            "arrow_step_name_string": "step_node_power_off",
            "dg_edge_attr_dict": {},
        },
    }
    step_node_params_dict_init = {"step_node_report": {"directory": "."}}

    def step_execute(self) -> int:
        """Write both files; written again after a crash, they are simply replaced."""
        readings = self.get("step_node_measure", "readings")
        verdict = self.get("bringup", "verdict")
        report = {
            "verdict": verdict,
            "instrument": self.get("step_node_identify", "identity"),
            "reported_at": datetime.now(UTC).isoformat(timespec="seconds"),
            "tolerance_volts": self.get("step_node_judge", "tolerance_volts"),
            "worst_error_volts": self.get("step_node_judge", "worst_error_volts"),
            "findings": self.get("step_node_diagnose", "findings") if verdict == "FAIL" else [],
            "readings": readings,
        }
        rows = [f"{point['set_volts']},{point['measured_volts']}\n" for point in readings]
        directory = Path(self.get(self.name, "directory"))
        replace_file(directory / "readings.csv", "set_volts,measured_volts\n" + "".join(rows))
        replace_file(directory / "report.json", json.dumps(report, indent=2) + "\n")
        print(f"{verdict}: see {directory / 'report.json'}")
        return 0


def replace_file(path: Path, text: str) -> None:
    """Write a file so that a reader, or a crash, finds the old one or the new one, never a part."""
    fresh = path.with_name(f".{path.name}.tmp")
    fresh.write_text(text, encoding="utf-8")
    fresh.replace(path)
