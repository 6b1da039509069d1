"""Draws the pictures of the documentation: `.venv/bin/python scripts/draw_diagrams.py [DIRECTORY]`.

The state machines come from the tables in octo_step_moves; the graphs are drawn by the command
`graph`, from within a run of a shipped library at the moment that RUNS names, so that the picture
doesn't depend on how fast the machine is. `tests/test_documentation.py` says when to draw anew.
"""

import argparse
import contextlib
import io
import tempfile
from pathlib import Path
from typing import Any

import octo_step_instance
from octo_graph_steps import draw_machine_dot, render
from octo_instance_setup import create_instance
from octo_step_engine import StepEngine
from octo_step_moves import ENGINE_MOVES, ENGINE_STATES, STEP_MOVES, STEP_STATES

PROJECT = Path(__file__).resolve().parent.parent
IMAGES = PROJECT / "docs" / "images"
MACHINES = {
    "engine_states.svg": (ENGINE_STATES, ENGINE_MOVES),
    "step_states.svg": (STEP_STATES, STEP_MOVES),
}
RUNS = {  # file -> library, executor, and the node at whose nth entry the picture is drawn
    "bringup.svg": ("bringup", "serial", "step_node_measure", 4),
    "dataprocess.svg": ("dataprocess", "threads", "step_node_outliers", 1),
}


def draw_machine(file: Path) -> None:
    """Draw the state machine that belongs to the file's name."""
    states, moves = MACHINES[file.name]
    arrows = [(source, target, trigger) for trigger, source, target in moves]
    file.write_bytes(render(draw_machine_dot(states, arrows), "svg"))


def draw_run(file: Path) -> None:
    """Draw the graph of a library in the middle of a run, and let the run end."""
    library, executor, node, visits = RUNS[file.name]
    left = visits

    def observe(event: dict[str, Any]) -> None:
        nonlocal left
        if (event["event"], event.get("node"), event.get("state")) == ("state", node, "ENTER"):
            left -= 1
            if left == 0:
                octo_step_instance.main(["graph", str(instance.path), "-o", str(file)])

    with tempfile.TemporaryDirectory() as directory:
        instance, _ = create_instance(Path(directory, library), PROJECT / "step_library" / library)
        StepEngine(instance, executor=executor, observer=observe).run()


def draw_all(directory: Path) -> None:
    """Draw all pictures into a directory, which is made if missing."""
    directory = directory.absolute()
    directory.mkdir(parents=True, exist_ok=True)
    with contextlib.redirect_stdout(io.StringIO()):
        for name in MACHINES:
            draw_machine(directory / name)
        for name in RUNS:
            draw_run(directory / name)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Draw the pictures of the documentation.")
    parser.add_argument("directory", nargs="?", type=Path, default=IMAGES, metavar="DIRECTORY")
    draw_all(parser.parse_args().directory)
