#!/usr/bin/env python3
"""The parameters of a step engine instance: the class for nodes and programs, and the command line.

All state of an instance is one JSON file, `{group: {key: value}}`. This module is its interface:
`octo_step_engine_parameters` reads and changes it from Python, `main` from a shell. How the file
is kept whole while many write to it is the business of `octo_lock_json`.
"""

# pathlib is slow to load, and the console command loads this module:
# ruff: noqa: PTH118

from __future__ import annotations

import sys

if __name__ == "__main__":  # here, because reading one value needs nothing of what follows
    from octo_parameters_cli import main

    sys.exit(main())

import os

from octo_lock_json import LockedJsonFile, Repair, speed_up
from octo_parameter_schema import (
    DEFAULT_PARAMETERS,
    GLOBAL_GROUP,
    LOCK_FILE_NAME,
    PARAMETER_FILE_NAME,
    REVISION_KEY,
)
from octo_parameter_store import (
    UNSET,
    chosen_durability,
    chosen_timeout,
    display_text,
    increment,
    parameter_file,
    require,
    same_value,
)
from octo_parameters_cli import get_parser, main

TYPE_CHECKING = False  # as in typing, which is slow to load
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    Parameters = dict[str, dict[str, Any]]

__all__ = [
    "GLOBAL_GROUP",
    "LOCK_FILE_NAME",
    "PARAMETER_FILE_NAME",
    "REVISION_KEY",
    "UNSET",
    "get_parser",
    "main",
    "octo_step_engine_parameters",
    "open_parameters",
]


def open_parameters(
    directory: str | os.PathLike[str],
    *,
    durability: str | None = None,
    timeout: float | None = None,
) -> LockedJsonFile:
    """The parameter file of an instance directory, for a program that reads or changes it often.

    Args:
        directory: The instance; must exist when the file is used.
        durability: "process" or "power"; None: what OCTO_DURABILITY says, or "process".
        timeout: Seconds to wait for the lock; None: what OCTO_LOCK_TIMEOUT says, or 30.
    """
    speed_up()
    path = os.path.join(directory, PARAMETER_FILE_NAME)
    lock_path = os.path.join(directory, LOCK_FILE_NAME)
    return parameter_file(path, lock_path, durability=durability, timeout=timeout)


class octo_step_engine_parameters:
    """Reads and changes parameter files. Costs nothing to make; safe to share among threads.

    The file and the lock file are named in each call; relative names start at the directory that
    is current then. `default_dict` fills in groups and keys that are missing and never changes a
    value; the file is made with it by the first call of whatever kind.

    All methods that touch the file raise, with a message that says what to do:
    ParameterFileError (missing directory, unreadable or unwritable file, bad content with line and
    column), and those that change it LockTimeoutError, LockFileError, and ParameterValueError (a
    value that JSON can't hold). An error leaves the file as it was.

    Args:
        durability: "process" (a change survives kill -9 of any process) or "power" (the loss of
            power too); None: what OCTO_DURABILITY says, or "process".
        timeout: Seconds to wait for the lock; None: what OCTO_LOCK_TIMEOUT says, or 30.

    Raises:
        UsageError: There is no such durability, or the time-out is no number of seconds.
    """

    def __init__(self, *, durability: str | None = None, timeout: float | None = None) -> None:
        self.durability = chosen_durability(durability)
        self.timeout = chosen_timeout(timeout)
        speed_up()

    def get_default_param_dict(self) -> Parameters:
        """The default schema, in a dict that belongs to the caller."""
        return {name: dict(group) for name, group in DEFAULT_PARAMETERS.items()}

    def get_default_param_file_name(self) -> str:
        """The name of the parameter file in an instance directory."""
        return PARAMETER_FILE_NAME

    def get_default_param_lock_file_name(self) -> str:
        """The name of its lock file."""
        return LOCK_FILE_NAME

    def read_json_dict(
        self, default_dict: Mapping[str, Any], file_name: str, lock_file_name: str
    ) -> Parameters:
        """The whole file, in a dict that belongs to the caller; takes no lock and never waits."""
        return self._file(file_name, lock_file_name).read(default_dict)

    def update_json_dict(
        self,
        default_dict: Mapping[str, Any],
        file_name: str,
        lock_file_name: str,
        main_key: str,
        sub_key: str,
        sub_value: Any,
        *,
        if_revision: int | None = None,
        if_value: Any = UNSET,
    ) -> Parameters:
        """Set one value and return the whole file as this call left it.

        Args:
            default_dict: Fills in what is missing.
            file_name: The parameter file.
            lock_file_name: Its lock file.
            main_key: The group; made when it is missing.
            sub_key: The key.
            sub_value: Anything that JSON can hold; a tuple becomes a list.
            if_revision: Only if the file has this `parameter_revision`.
            if_value: Only if the key holds this value; UNSET: whatever it holds.

        Raises:
            ConflictError: The condition does not hold; nothing is written.
        """
        transaction = self._file(file_name, lock_file_name).transaction(default_dict)
        with transaction as groups:
            require(groups, main_key, sub_key, if_revision=if_revision, if_value=if_value)
            groups.setdefault(main_key, {})[sub_key] = sub_value
        return transaction.result()

    def increment_json_dict(
        self,
        default_dict: Mapping[str, Any],
        file_name: str,
        lock_file_name: str,
        main_key: str,
        sub_key: str,
        increment_bool: bool,
    ) -> Parameters:
        """Add one to an integer, or take one away, and return the whole file as this call left it.

        A missing key starts from 0.

        Raises:
            ParameterValueError: The key holds something that is no integer.
        """
        transaction = self._file(file_name, lock_file_name).transaction(default_dict)
        with transaction as groups:
            increment(groups, main_key, sub_key, 1 if increment_bool else -1)
        return transaction.result()

    def wait_for(
        self,
        default_dict: Mapping[str, Any],
        file_name: str,
        lock_file_name: str,
        main_key: str,
        sub_key: str,
        sub_value: Any,
        *,
        timeout: float | None = None,
    ) -> Parameters:
        """Return the whole file as soon as the key holds this value; None waits for ever.

        Raises:
            WaitTimeoutError: It did not within `timeout` seconds.
        """
        self.read_json_dict(default_dict, file_name, lock_file_name)
        return self._file(file_name, lock_file_name).wait_until(
            lambda groups: same_value(groups.get(main_key, {}).get(sub_key, UNSET), sub_value),
            timeout,
        )

    def repair(
        self,
        default_dict: Mapping[str, Any],
        file_name: str,
        lock_file_name: str,
        *,
        from_copy: bool = True,
    ) -> Repair | None:
        """Move a bad file aside under a dated name and put a good one in its place.

        Args:
            default_dict: Fills in what is missing.
            file_name: The parameter file.
            lock_file_name: Its lock file.
            from_copy: Put back the safety copy, if there is a good one; otherwise the defaults.

        Returns:
            What was done; None when the file is sound.
        """
        return self._file(file_name, lock_file_name).repair(default_dict, from_copy=from_copy)

    def dictionary_display(self, param_dictionary: Mapping[str, Any]) -> None:
        """Print a parameter dictionary for people to read."""
        sys.stdout.write(display_text(param_dictionary))

    def _file(self, file_name: str, lock_file_name: str) -> LockedJsonFile:
        return parameter_file(
            file_name, lock_file_name, durability=self.durability, timeout=self.timeout
        )
