"""What the steps of this library share: the parameter file, and the way to the instrument."""

from __future__ import annotations

from typing import Any

from octo_step_engine_parameters import octo_step_engine_parameters

from stepnode_baseclass import stepnode_baseclass

from .instrument import Instrument


class bringup_step(stepnode_baseclass):
    """A step that keeps everything it knows in the parameter file, and nothing in memory."""

    def __init__(self, name: str, verbose_flag: bool = False) -> None:
        super().__init__(name, verbose_flag)
        self.params_obj = octo_step_engine_parameters()
        self.default_dict = self.params_obj.get_default_param_dict()
        self.param_file = self.params_obj.get_default_param_file_name()
        self.lock_file = self.params_obj.get_default_param_lock_file_name()

    def read(self, group: str) -> dict[str, Any]:
        """A group of the parameter file as it is now; empty if there is none of this name."""
        groups: dict[str, dict[str, Any]] = self.params_obj.read_json_dict(
            self.default_dict, self.param_file, self.lock_file
        )
        return groups.get(group, {})

    def write(self, group: str, key: str, value: object) -> None:
        """Change one value of the parameter file; it is safe there when this returns."""
        self.params_obj.update_json_dict(
            self.default_dict, self.param_file, self.lock_file, group, key, value
        )

    def connect(self) -> Instrument:
        """Connect to the instrument at the address in the parameter file."""
        address = self.read("instrument")
        return Instrument(address["host"], address["port"])
