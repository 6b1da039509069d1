"""What a parameter file is called and what it begins with; states are listed in the reference."""

from __future__ import annotations

TYPE_CHECKING = False  # as in typing, whose import would double the time to read a value
if TYPE_CHECKING:
    from typing import Any

PARAMETER_FILE_NAME = ".octo_step_engine_parameters.json"
LOCK_FILE_NAME = ".octo_step_engine_parameters.lock"

GLOBAL_GROUP = "global_parameters"
REVISION_KEY = "parameter_revision"

FORMAT_KEY = "instance_format"
FORMAT = 1
"""The format of all files of an instance that this version makes; a missing number means 1."""

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
