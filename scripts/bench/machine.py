"""What the figures depend on: the machine and the versions."""

from __future__ import annotations

import os
import platform
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

PACKAGES = (
    "transitions",
    "fasteners",
    "orjson",
    "pydantic",
    "PyYAML",
    "apache-burr",
    "langgraph",
    "langgraph-checkpoint-sqlite",
    "dbos",
    "pydantic-graph",
    "luigi",
    "pypyr",
    "prefect",
    "diskcache",
    "sqlitedict",
    "tinydb",
    "crudini",
    "dask",
    "distributed",
    "doit",
)


def facts() -> dict[str, str]:
    """The machine and the versions of all that takes part, for the head of the results."""
    installed = {}
    for name in PACKAGES:
        try:
            installed[name] = version(name)
        except PackageNotFoundError:
            installed[name] = "not installed"
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg()) if os.name == "posix" else "?"
    return {
        "machine": f"{_processor()}, {os.cpu_count()} cores, {_memory()}",
        "system": platform.platform(),
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "packages": ", ".join(f"{name} {number}" for name, number in installed.items()),
        "load": load,
        "command": "python " + " ".join(sys.argv),
    }


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _memory() -> str:
    try:
        return f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.0f} GiB"
    except (AttributeError, ValueError, OSError):
        return "? GiB"
