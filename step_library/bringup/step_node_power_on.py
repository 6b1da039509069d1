"""Switches the instrument on: starts the simulator as a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from .bringup_step import bringup_step
from .instrument import InstrumentError, InstrumentGoneError

SIMULATOR = Path(__file__).with_name("simulator.py")


class step_node_power_on(bringup_step):
    """Switches the instrument on, unless it is on already."""

    step_node_graph_dict = {
        "step_node_power_on": {
            "module_name_string": "step_node_power_on",
            "node_step_name_string": "step_node_power_on",
            "dg_node_attr_dict": {"label": "power on"},
            "first_node_step_bool": 1,
        },
    }
    step_arrow_graph_dict = {
        "identify": {
            "module_name_string": "step_node_identify",
            "arrow_step_name_string": "step_node_identify",
            "dg_edge_attr_dict": {},
        },
    }
    step_node_params_dict_init = {
        # Where the instrument answers. Port 0: not switched on. Pid 0: not started by this run.
        "instrument": {"host": "127.0.0.1", "port": 0, "pid": 0},
        "step_node_power_on": {"seed": 1, "cold_self_tests": 2},
    }

    def step_execute(self) -> int:
        """Start the simulator and keep its address; one that answers there is used as it is.

        It outlives the engine, as a real instrument does: after a crash the run finds it again.
        """
        try:
            self.connect().close()
        except InstrumentGoneError:
            self._start_simulator()
        print(f"the instrument answers at port {self.get('instrument', 'port')}")
        return 0

    def _start_simulator(self) -> None:
        # The engine ends what a step leaves running in its worker process, which it knows by this
        # mark in the environment; a process that is to stay must not carry it.
        environment = dict(os.environ)
        environment.pop("OCTO_STEP_WORKER", None)
        started = subprocess.run(
            [
                sys.executable,
                str(SIMULATOR),
                "--background",
                f"--port={self.get('instrument', 'port')}",
                f"--seed={self.get(self.name, 'seed')}",
                f"--cold-self-tests={self.get(self.name, 'cold_self_tests')}",
                "--log=instrument.log",
            ],
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=30,
        )
        if started.returncode != 0:
            reason = started.stderr.strip().rpartition("\n")[2]
            raise InstrumentError(f"the simulator did not start: {reason}")
        for key, value in json.loads(started.stdout).items():
            self.set("instrument", key, value)
