"""Switches the instrument off and ends the run."""

from __future__ import annotations

from .bringup_step import bringup_step
from .instrument import InstrumentGoneError


class step_node_power_off(bringup_step):
    """Switches the instrument off, if this run has switched it on."""

    step_node_graph_dict = {
        "step_node_power_off": {
            "module_name_string": "step_node_power_off",
            "node_step_name_string": "step_node_power_off",
            "dg_node_attr_dict": {"label": "power off"},
        },
    }

    def step_execute(self) -> int:
        """End the simulator's process; of an instrument that was there before, only the output."""
        started_here = self.get("instrument", "pid") != 0
        try:
            with self.connect() as instrument:
                instrument.send("SYST:SHUT" if started_here else "OUTP OFF")
        except InstrumentGoneError:
            print("the instrument was off already")
        if started_here:
            self.set("instrument", "port", 0)
            self.set("instrument", "pid", 0)
        return 0

    def step_advance(self) -> str:
        """End the run as the bring-up ended."""
        return "COMPLETE" if self.get("bringup", "verdict") == "PASS" else "COMPLETE_ERROR"
