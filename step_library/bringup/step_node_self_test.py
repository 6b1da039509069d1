"""Has the instrument test itself, again and again while it warms up."""

from __future__ import annotations

from .bringup_step import bringup_step
from .instrument import InstrumentError


class step_node_self_test(bringup_step):
    """Has the instrument test itself; a cold one fails at first, so the engine tries again."""

    step_node_graph_dict = {
        "step_node_self_test": {
            "module_name_string": "step_node_self_test",
            "node_step_name_string": "step_node_self_test",
            "dg_node_attr_dict": {"label": "self-test"},
            # Up to four attempts, after 0.2, 0.4 and 0.8 seconds.
            "max_retries": 3,
            "retry_delay_seconds": 0.2,
            "retry_backoff_factor": 2.0,
            "error_arrow_key": "failed",
        },
    }
    step_arrow_graph_dict = {
        "measure": {
            "module_name_string": "step_node_measure",
            "arrow_step_name_string": "step_node_measure",
            "dg_edge_attr_dict": {},
        },
        "failed": {
            "module_name_string": "step_node_diagnose",
            "arrow_step_name_string": "step_node_diagnose",
            "dg_edge_attr_dict": {"label": "failed"},
        },
    }

    def step_execute(self) -> int:
        """Run the self-test once: the engine repeats it as the graph dict says."""
        with self.connect() as instrument:
            if instrument.ask("*TST?") != "0":
                raise InstrumentError(f"self-test failed: {'; '.join(instrument.errors())}")
        print("self-test passed")
        return 0
