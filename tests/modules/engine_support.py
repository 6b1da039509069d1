"""What the tests of the engine share: nodes in a few lines, instances, and processes to kill."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from octo_step_events import read_events
from tests.support import PROJECT

INSTANCE = PROJECT / "modules" / "octo_step_instance.py"
DEADLINE_S = 60.0
"""A guard against a test that hangs, on the slowest machine; no test waits for it to pass."""


def node_text(
    name: str,
    body: str = "",
    *,
    to: dict[str, str] | None = None,
    **options: object,
) -> str:
    """The module of the node `step_node_<name>`.

    Args:
        body: The hooks, as the indented body of a class.
        to: Arrows: {key: short name of the target}.
        options: Keys of its graph dict.
    """
    arrows = {
        key: {
            "module_name_string": f"step_node_{target}",
            "arrow_step_name_string": f"step_node_{target}",
            "dg_edge_attr_dict": {},
            "active_arrow_step_bool": 1,
        }
        for key, target in (to or {}).items()
    }
    return (
        "import os, signal, subprocess, sys, threading, time\n"
        "from pathlib import Path\n"
        "from stepnode_baseclass import stepnode_baseclass\n\n"
        f"class step_node_{name}(stepnode_baseclass):\n"
        f"    step_node_graph_dict = {{'step_node_{name}': {options!r}}}\n"
        f"    step_arrow_graph_dict = {arrows!r}\n"
        f"{body}\n"
    )


def trace(hook: str, then: str = "return 0") -> str:
    """A hook that appends its name, and the state in the parameter file, to the file `trace`."""
    return (
        f"    def {hook}(self):\n"
        "        state = self.get('global_parameters', 'current_step_state')\n"
        "        with open('trace', 'a') as file:\n"
        f"            file.write(f'{{self.name}} {hook} {{state}}\\n')\n"
        f"        {then}\n"
    )


def traced(instance: Path) -> list[str]:
    """The lines of the file `trace`, without the common beginning of the nodes' names."""
    text = (instance / "trace").read_text() if (instance / "trace").exists() else ""
    return text.replace("step_node_", "").splitlines()


def stored(instance: Path) -> dict[str, Any]:
    """The parameter file, as anybody may read it at any time."""
    content: dict[str, Any] = json.loads(
        (instance / ".octo_step_engine_parameters.json").read_text()
    )
    return content


def events(instance: Path, *kinds: str) -> list[dict[str, Any]]:
    """The events of the log, of these kinds only if any are named; their numbers have no gap."""
    found = list(read_events(instance))
    assert [event["seq"] for event in found] == list(range(1, len(found) + 1))
    return [event for event in found if not kinds or event["event"] in kinds]


def wait_for(happened: Callable[[], Any], what: str) -> Any:
    """Wait until `happened()` is true, and return what it returned."""
    end = time.monotonic() + DEADLINE_S
    while time.monotonic() < end:
        if result := happened():
            return result
        time.sleep(0.01)
    raise AssertionError(f"waited {DEADLINE_S:.0f} s in vain for: {what}")


@contextmanager
def running(instance: Path, *options: object) -> Iterator[subprocess.Popen[str]]:
    """A `run` of the instance as a process of its own, which does not outlive the block."""
    process = subprocess.Popen(
        [sys.executable, str(INSTANCE), "run", str(instance), *map(str, options)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def killed_at(instance: Path, marker: str, *options: object) -> None:
    """Run the instance, and kill the engine with -9 once a hook has made the file `marker`."""
    (instance / marker).unlink(missing_ok=True)
    with running(instance, *options) as process:
        wait_for((instance / marker).exists, f"{marker} in {instance}")
        process.kill()
        assert process.wait(DEADLINE_S) == -9
