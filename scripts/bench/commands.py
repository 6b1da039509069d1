"""Subjects that are started from a shell: the seconds of one start, from fork to exit."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from time import perf_counter

from bench.engines import BARE, loop_library
from bench.harness import PROJECT, WorkNotDone
from bench.stores import GLOBAL, STATE, expect

MODULES = PROJECT / "modules"
COUNT = "engine_step_count"


def starts(size: int, command: list[str], wanted: str | None = None) -> float:
    """Seconds for `size` starts, after one that fills caches and whose output is checked."""
    first = subprocess.run(command, capture_output=True, text=True, check=False)
    if first.returncode:
        raise WorkNotDone(f"{command}: {first.stderr}")
    if wanted is not None:
        expect(first.stdout.strip(), wanted)
    start = perf_counter()
    for _ in range(size):
        subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
    return perf_counter() - start


def _instance(directory: Path) -> Path:
    from octo_instance_setup import create_instance

    create_instance(directory / "instance", loop_library(directory, 1, BARE))
    return directory / "instance"


def _parameters(*arguments: str) -> list[str]:
    return [sys.executable, str(MODULES / "octo_step_engine_parameters.py"), *arguments]


def _engine(*arguments: str) -> list[str]:
    return [sys.executable, str(MODULES / "octo_step_instance.py"), *arguments]


def read_ours(directory: Path, size: int) -> float:
    """`octo_step_engine_parameters.py PATH GROUP KEY`."""
    path = _instance(directory)
    return starts(size, _parameters(str(path), GLOBAL, "first_step_node"), "step_node_turn")


def update_ours(directory: Path, size: int) -> float:
    """`octo_step_engine_parameters.py PATH GROUP KEY VALUE`."""
    path = _instance(directory)
    seconds = starts(size, _parameters(str(path), GLOBAL, "step_engine_state", "STARTUP"))
    expect(json.loads((path / STATE).read_bytes())[GLOBAL]["step_engine_state"], "STARTUP")
    return seconds


def increment_ours(directory: Path, size: int) -> float:
    """`octo_step_engine_parameters.py PATH GROUP KEY -i`."""
    path = _instance(directory)
    seconds = starts(size, _parameters(str(path), "mine", "count", "-i"))
    expect(json.loads((path / STATE).read_bytes())["mine"]["count"], size + 1)
    return seconds


def status(directory: Path, size: int) -> float:
    """`octo_step_instance.py status`."""
    return starts(size, _engine("status", str(_instance(directory))))


def help_text(directory: Path, size: int) -> float:
    """`octo_step_instance.py --help`."""
    return starts(size, _engine("--help"))


def bare(directory: Path, size: int) -> float:
    """`python -c pass`, the same interpreter."""
    return starts(size, [sys.executable, "-c", "pass"], "")


def bare_transitions(directory: Path, size: int) -> float:
    """`python -c 'import transitions'`, the same interpreter."""
    return starts(size, [sys.executable, "-c", "import transitions"], "")


def jq(directory: Path, size: int) -> float:
    """jq reads the same key of the same file."""
    path = _instance(directory)
    command = ["jq", "-r", f".{GLOBAL}.first_step_node", str(path / STATE)]
    return starts(size, command, "step_node_turn")


def crudini(directory: Path, size: int) -> float:
    """crudini reads a key of an INI file."""
    Path("state.ini").write_text(f"[{GLOBAL}]\nfirst_step_node = step_node_turn\n")
    beside = Path(sys.executable).with_name("crudini")  # the environment need not be active
    program = str(beside) if beside.exists() else "crudini"
    command = [program, "--get", "state.ini", GLOBAL, "first_step_node"]
    return starts(size, command, "step_node_turn")
