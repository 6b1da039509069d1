"""What a parameter file is called and begins with, and the names that the engine uses in it."""

from __future__ import annotations

TYPE_CHECKING = False  # as in typing, whose import would double the time to read a value
if TYPE_CHECKING:
    from typing import Any

PARAMETER_FILE_NAME = ".octo_step_engine_parameters.json"
LOCK_FILE_NAME = ".octo_step_engine_parameters.lock"

DURABILITIES = ("process", "power")
"""What a change of the parameter file may be asked to survive: see `octo_lock_json`."""

GLOBAL_GROUP = "global_parameters"
REVISION_KEY = "parameter_revision"

ACTIVE_GROUP, ARRIVALS_GROUP = "active_steps", "join_arrivals"
PROGRESS_GROUP = "run_progress"
"""Which nodes are done, in a run whose graph is one of dependencies."""
ARMED_KEY = "make_safe"
END_PENDING, JUMP_PENDING = "end_pending", "jump_pending"  # in the file only while they are true
STATUS_KEY = "step_results_key_last_status"
"""In the group of a node: how its last step went."""
RESULT_KEY, ITEMS_KEY, ITEM_RESULTS_KEY = "result", "items", "item_results"
"""There too: what it returned; for which items it is being performed, and what those returned."""

FORMAT_KEY = "instance_format"
FORMAT = 1
"""The format of all files of an instance that this version makes; a missing number means 1."""

PROGRAM_KEY = "step_engine_program"
"""What kind of program an instance runs; a missing key means a step library."""

DEFAULT_PARAMETERS: dict[str, dict[str, Any]] = {
    GLOBAL_GROUP: {
        "step_engine_library_path": "",
        "step_engine_instance_path": "",
        "step_engine_state": "INACTIVE",
        "current_step_module": "",
        "current_step_node": "",
        "current_step_state": "INACTIVE",
        "first_step_module": "",
        "first_step_node": "",
        "run_step_count": 1,
    }
}
