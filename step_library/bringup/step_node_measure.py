"""Measures a row of voltages, one at each turn of the step."""

from __future__ import annotations

import time

from .bringup_step import bringup_step
from .instrument import InstrumentError, InstrumentGoneError


class step_node_measure(bringup_step):
    """Measures one point, and comes back to itself until all points are measured."""

    step_node_graph_dict = {
        "step_node_measure": {
            "module_name_string": "step_node_measure",
            "node_step_name_string": "step_node_measure",
            "dg_node_attr_dict": {"label": "measure"},
            # A point that was cut short by a crash is measured again.
            "on_interrupt": "rerun",
        },
    }
    step_arrow_graph_dict = {
        "next_point": {
            "module_name_string": "step_node_measure",
            "arrow_step_name_string": "step_node_measure",
            "dg_edge_attr_dict": {"label": "next point"},
        },
        "all_measured": {
            "module_name_string": "step_node_judge",
            "arrow_step_name_string": "step_node_judge",
            "dg_edge_attr_dict": {"label": "all measured"},
        },
        "instrument_lost": {
            "module_name_string": "step_node_power_on",
            "arrow_step_name_string": "step_node_power_on",
            # Leads back: `constraint` keeps it from turning the picture upside down.
            "dg_edge_attr_dict": {
                "label": "instrument lost",
                "style": "dashed",
                "constraint": "false",
            },
        },
    }
    step_node_params_dict_init = {
        "step_node_measure": {
            "points": 12,
            "first_volts": 1.0,
            "last_volts": 12.0,
            "settle_seconds": 0.1,
        },
    }
    step_node_results_dict_init = {
        "step_node_measure": {"readings": [], "instrument_lost_bool": 0},
    }

    def step_execute(self) -> int:
        """Measure the first point that has no reading yet, and keep the reading.

        The readings are the progress, too: after a crash the run goes on at the point it reached.
        """
        readings, lost = self.get(self.name, "readings"), 0
        if len(readings) < self.get(self.name, "points"):
            try:
                self.set(self.name, "readings", [*readings, self._measure(len(readings))])
            except InstrumentGoneError as error:
                print(error)
                lost = 1
        self.set(self.name, "instrument_lost_bool", lost)
        return 0

    def step_advance(self) -> str:
        """Stay here until all is measured; begin anew with an instrument that has gone."""
        if self.get(self.name, "instrument_lost_bool"):
            return "instrument_lost"
        measured = len(self.get(self.name, "readings"))
        return "next_point" if measured < self.get(self.name, "points") else "all_measured"

    def step_make_safe(self) -> int:
        """Switch the output off: called when the run fails, is stopped, or was killed."""
        if self.get("instrument", "port") == 0:
            print("the instrument is off already")
            return 0
        with self.connect() as instrument:
            instrument.send("OUTP OFF")
            if instrument.ask("OUTP?") != "0":
                raise InstrumentError("the output does not switch off")
        print("output off")
        return 0

    def _measure(self, point: int) -> dict[str, float]:
        points = self.get(self.name, "points")
        first, last = self.get(self.name, "first_volts"), self.get(self.name, "last_volts")
        volts = round(first + (last - first) * point / max(points - 1, 1), 4)
        with self.connect() as instrument:
            instrument.command(f"VOLT {volts}")
            instrument.command("OUTP ON")
            time.sleep(self.get(self.name, "settle_seconds"))
            measured = float(instrument.ask("MEAS:VOLT?"))
        print(f"point {point + 1} of {points}: {volts} V set, {measured} V measured")
        return {"set_volts": volts, "measured_volts": measured}
