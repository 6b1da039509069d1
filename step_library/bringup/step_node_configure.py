"""Brings the instrument into a known state."""

from __future__ import annotations

from .bringup_step import bringup_step


class step_node_configure(bringup_step):
    """Brings the instrument into a known state, and protects what is connected to it."""

    step_node_graph_dict = {
        "step_node_configure": {
            "module_name_string": "step_node_configure",
            "node_step_name_string": "step_node_configure",
            "dg_node_attr_dict": {"label": "configure"},
            "error_arrow_key": "failed",
        },
    }
    step_arrow_graph_dict = {
        "self_test": {
            "module_name_string": "step_node_self_test",
            "arrow_step_name_string": "step_node_self_test",
            "dg_edge_attr_dict": {},
        },
        "failed": {
            "module_name_string": "step_node_diagnose",
            "arrow_step_name_string": "step_node_diagnose",
            "dg_edge_attr_dict": {"label": "failed"},
        },
    }
    step_node_params_dict_init = {"step_node_configure": {"protection_volts": 15.0}}

    def step_execute(self) -> int:
        """Reset, forget old errors, and set the voltage that must never be exceeded."""
        protection = self.get(self.name, "protection_volts")
        with self.connect() as instrument:
            instrument.send("*RST")
            instrument.send("*CLS")
            instrument.command(f"VOLT:PROT {protection}")
        print(f"the instrument will refuse more than {protection} V")
        return 0
