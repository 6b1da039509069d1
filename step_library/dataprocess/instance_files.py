"""What the steps of this library share: tables in the instance's directory.

Bulk data goes from step to step in CSV files, the figures that matter are in the parameter file.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

COLUMNS = ["time", "sensor", "celsius"]


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
