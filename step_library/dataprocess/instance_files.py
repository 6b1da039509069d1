"""What the steps of this library share: the parameter file and tables in the instance's directory.

Bulk data goes from step to step in CSV files, the figures that matter are in the parameter file.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from octo_step_engine_parameters import octo_step_engine_parameters

COLUMNS = ["time", "sensor", "celsius"]

_params_obj = octo_step_engine_parameters()
_parameter_file = (
    _params_obj.get_default_param_dict(),
    _params_obj.get_default_param_file_name(),
    _params_obj.get_default_param_lock_file_name(),
)


def read_parameters(group: str) -> dict[str, Any]:
    """A group of the parameter file as it is now."""
    groups: dict[str, dict[str, Any]] = _params_obj.read_json_dict(*_parameter_file)
    return groups[group]


def write_parameter(group: str, key: str, value: object) -> None:
    """Change one value of the parameter file."""
    _params_obj.update_json_dict(*_parameter_file, group, key, value)


def read_table(name: str) -> list[dict[str, str]]:
    """The rows of a CSV file that an earlier step wrote."""
    with Path(name).open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def write_table(name: str, columns: Sequence[str], rows: Iterable[Mapping[str, object]]) -> None:
    """Write a CSV file, whole or not at all."""
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    replace_file(name, text.getvalue())


def replace_file(name: str, text: str) -> None:
    """Write a file so that a reader, or a crash, finds the old one or the new one, never a part."""
    fresh = Path(f".{name}.tmp")
    fresh.write_text(text, encoding="utf-8", newline="\n")
    fresh.replace(name)
