"""The error path: makes the instrument safe and collects what is known about the fault."""

from __future__ import annotations

from .bringup_step import bringup_step
from .instrument import InstrumentGoneError


class step_node_diagnose(bringup_step):
    """Collects what the steps and the instrument have to say about a fault."""

    step_node_graph_dict = {
        "step_node_diagnose": {
            "module_name_string": "step_node_diagnose",
            "node_step_name_string": "step_node_diagnose",
            "dg_node_attr_dict": {
                "label": "diagnose",
                "shape": "octagon",
                "color": "firebrick",
                "fillcolor": "mistyrose",
            },
        },
    }
    step_arrow_graph_dict = {
        "report": {
            "module_name_string": "step_node_report",
            "arrow_step_name_string": "step_node_report",
            "dg_edge_attr_dict": {},
        },
    }

    def step_execute(self) -> int:
        """Note what failed, switch the output off, and empty the instrument's error queue."""
        findings = []
        for step in ("step_node_identify", "step_node_configure", "step_node_self_test"):
            if self.get(step, "step_results_key_last_status") == "ERROR":
                findings.append(f"{step}: {self.get(step, 'last_error')}")
        try:
            with self.connect() as instrument:
                instrument.send("OUTP OFF")
                findings += [f"instrument: {error}" for error in instrument.errors()]
        except InstrumentGoneError as error:
            findings.append(str(error))
        self.set(self.name, "findings", findings)
        self.set("bringup", "verdict", "FAIL")
        print("\n".join(findings) or "the instrument has no complaints")
        return 0
