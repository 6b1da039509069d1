"""An optional base class of step nodes: every hook has a default, and parameters are a call away.

    from stepnode_baseclass import stepnode_baseclass

    class step_node_hello(stepnode_baseclass):
        def step_execute(self):
            times = self.increment(self.name, "times")
            print(f"Hello for the {times}. time")
            return 0

The engine works out what is to happen where a node has no hook of its own, and never calls the
defaults here: a node that is made from this class costs no more than one that is not. They are for
`super()` and for calling a node by hand.
"""

from __future__ import annotations

from typing import Any

from octo_lock_json import LockedJsonFile, speed_up
from octo_parameter_schema import DEFAULT_PARAMETERS, LOCK_FILE_NAME, PARAMETER_FILE_NAME
from octo_parameter_store import increment, parameter_file


class stepnode_baseclass:
    """Hooks that do nothing, and the parameters of the instance that the node runs in.

    Parameters are those of the working directory, which is the instance's while a hook runs. Each
    call is atomic: safe among processes and threads, and there is no lock to hold or release.
    """

    def __init__(self, name: str, verbose_flag: bool = False) -> None:
        """Keep the name of the node, and whether it is to say more than it must."""
        self.name = name
        self.verbose_flag = verbose_flag

    # --- hooks ---

    def step_entry(self) -> int | None:
        """Prepare the step. 0 (or None) means success, in every hook."""
        return 0

    def step_execute(self) -> int | None:
        """Do the work."""
        return 0

    def step_advance(self) -> str | list[str]:
        """The key of the arrow to follow, a list of keys to follow several, or `"COMPLETE"`.

        Raises:
            NotImplementedError: Several arrows are active: a node has to choose for itself.
        """
        arrows = getattr(self, "step_arrow_graph_dict", {})
        active = [key for key, arrow in arrows.items() if arrow.get("active_arrow_step_bool", 1)]
        if len(active) > 1:
            raise NotImplementedError(f"{self.name}: write step_advance to choose from {active}")
        return active[0] if active else "COMPLETE"

    def step_exit(self) -> int | None:
        """Clean up, keep results."""
        return 0

    def step_probe(self) -> str:
        """After a crash, with `on_interrupt` `"probe"`: `"done"`, or `"rerun"` to do it again."""
        return "rerun"

    def step_make_safe(self) -> int | None:
        """Bring what this node controls into a safe state, when a run ends without success."""
        return 0

    # --- parameters ---

    def get(self, group: str, key: str, default: Any = None) -> Any:
        """The value of a parameter, `default` if there is none. The node's own group: `self.name`.

        Raises:
            ParameterFileError: The parameter file can't be read.
        """
        known = DEFAULT_PARAMETERS.get(group, {}).get(key, default)
        return _parameters().look().get(group, {}).get(key, known)

    def set(self, group: str, key: str, value: Any) -> None:
        """Give a parameter a value, which may be whatever JSON can hold. It is kept from then on.

        Raises:
            ParameterError: The value is none for JSON, or the file can't be changed.
            LockTimeoutError: Another process held the file for too long.
        """
        with _parameters().transaction() as groups:
            groups.setdefault(group, {})[key] = value

    def increment(self, group: str, key: str, up: bool = True) -> int:
        """Count a parameter up or down by one, from 0 if there is none; returns the new value.

        Raises:
            ParameterError: The value is no integer, or the file can't be changed.
            LockTimeoutError: Another process held the file for too long.
        """
        with _parameters().transaction() as groups:
            return increment(groups, group, key, 1 if up else -1)


def _parameters() -> LockedJsonFile:
    speed_up()
    return parameter_file(PARAMETER_FILE_NAME, LOCK_FILE_NAME)
