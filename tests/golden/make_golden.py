"""Makes the golden files of this version: `python make_golden.py format_N`.

Only for a new format. The files of a format that was released are never made again: that later
versions can finish what they were made from is what they are for. Those of recipes are made by
`make_golden_recipes.py`.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]
LIBRARY = Path(__file__).resolve().parent / "library"
PROGRAM = PROJECT / "modules" / "octo_step_instance.py"
DEADLINE_S = 60.0
KEPT = ("parameters.json", "events.jsonl", "library.json")


def octo(*arguments: object) -> list[str]:
    return [sys.executable, str(PROGRAM), *map(str, arguments)]


def run(instance: Path, *options: object) -> None:
    subprocess.run(octo("run", instance, "--quiet", *options), check=False, capture_output=True)


def kill_at(instance: Path, reached: Callable[[str], bool]) -> None:
    """Run it, and kill the engine as soon as its parameter file says so."""
    command = octo("run", instance, "--quiet", "--executor", "threads")
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as engine:
        end = time.monotonic() + DEADLINE_S
        while not reached((instance / ".octo_step_engine_parameters.json").read_text()):
            if time.monotonic() > end:
                raise TimeoutError(instance.name)
            time.sleep(0.01)
        engine.kill()


def new(instance: Path) -> None:
    """Created, and never run."""


def resting(instance: Path) -> None:
    """Paused in front of the second node."""
    run(instance, "--max-steps", 1)


def killed_in_execute(instance: Path) -> None:
    """Killed while the left branch was in EXECUTE, and the right one in a back-off."""
    (instance / "hang").touch()
    (instance / "fail").touch()
    kill_at(instance, lambda text: "retry_due" in text)


def killed_in_back_off(instance: Path) -> None:
    """Killed while the right branch was in a back-off; the left one had arrived at the join."""
    (instance / "fail").touch()
    kill_at(instance, lambda text: "retry_due" in text and '"join_arrivals": {}' not in text)


def killed_before_join(instance: Path) -> None:
    """Killed when one branch had arrived at the join, and the other was in EXECUTE."""
    (instance / "hang").touch()
    kill_at(
        instance,
        lambda text: (instance / "done").exists() and '"join_arrivals": {}' not in text,
    )


def complete(instance: Path) -> None:
    """Ended with success."""
    run(instance)


def error_armed(instance: Path) -> None:
    """Ended with an error; a node could not be made safe."""
    (instance / "fail").touch()
    (instance / "stuck").touch()
    run(instance)


SITUATIONS = (
    new,
    resting,
    killed_in_execute,
    killed_in_back_off,
    killed_before_join,
    complete,
    error_armed,
)


def main(target: Path) -> None:
    """Make each situation in a temporary directory, and keep its state."""
    for situation in SITUATIONS:
        with tempfile.TemporaryDirectory() as directory:
            instance = Path(directory) / situation.__name__
            create = octo("create", instance, "--library", LIBRARY)
            subprocess.run(create, check=True, capture_output=True)
            situation(instance)
            kept = target / situation.__name__
            kept.mkdir(parents=True)
            for name in KEPT:
                file = instance / f".octo_step_engine_{name}"
                if file.exists():
                    text = file.read_text(encoding="utf-8").replace(str(LIBRARY), "/golden/library")
                    text = text.replace(str(instance), f"/golden/{situation.__name__}")
                    (kept / file.name).write_text(text, encoding="utf-8")
        print(f"{situation.__name__}: {situation.__doc__}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
