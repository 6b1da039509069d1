"""Asks the instrument who it is."""

from __future__ import annotations

from .bringup_step import bringup_step
from .instrument import InstrumentError


class step_node_identify(bringup_step):
    """Makes sure that the instrument on the bench is the one this run was written for."""

    step_node_graph_dict = {
        "step_node_identify": {
            "module_name_string": "step_node_identify",
            "node_step_name_string": "step_node_identify",
            "dg_node_attr_dict": {"label": "identify"},
            "error_arrow_key": "failed",
        },
    }
    step_arrow_graph_dict = {
        "configure": {
            "module_name_string": "step_node_configure",
            "arrow_step_name_string": "step_node_configure",
            "dg_edge_attr_dict": {},
        },
        "failed": {
            "module_name_string": "step_node_diagnose",
            "arrow_step_name_string": "step_node_diagnose",
            "dg_edge_attr_dict": {"label": "failed"},
        },
    }
    step_node_params_dict_init = {"step_node_identify": {"expected_model": "PS-3005"}}
    step_node_results_dict_init = {"step_node_identify": {"identity": ""}}

    def step_execute(self) -> int:
        """Ask for the identity (maker, model, serial number, firmware) and check the model."""
        expected = self.get(self.name, "expected_model")
        with self.connect() as instrument:
            identity = instrument.ask("*IDN?")
        self.set(self.name, "identity", identity)
        print(identity)
        if expected not in identity.split(","):
            raise InstrumentError(f"expected model {expected!r}, but found {identity!r}")
        return 0
