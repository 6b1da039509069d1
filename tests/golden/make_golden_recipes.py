"""Makes the golden files of recipes and of Python programs with steps, as this version keeps them.

    python -m tests.golden.make_golden_recipes tests/golden/recipe_format_N

Only for a new format, as `make_golden.py`; nor is what is in `recipes/` ever changed.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.golden.places import ENVIRONMENT, KEPT, RECIPES, UNIT, kept, state_of
from tests.support import PROJECT

DEADLINE_S = 20.0
RECIPE = ("orchestrator/runner.py", RECIPES / "golden.yaml", "--set", f"unit={UNIT}", "--instance")
PROGRAM = (RECIPES / "program.py",)


@dataclass(frozen=True)
class Run:
    """A run that is brought into a situation, in the working directory `work`."""

    work: Path
    instance: Path

    def start(self, command: tuple[object, ...], *options: object) -> subprocess.Popen[bytes]:
        words = [*command[1:], self.instance, *options]
        return subprocess.Popen(
            [sys.executable, PROJECT / str(command[0]), *map(str, words)],
            cwd=self.work,
            env=ENVIRONMENT,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    @contextmanager
    def stuck(
        self, *words: str, command: tuple[object, ...] = RECIPE, options: tuple[object, ...] = ()
    ) -> Iterator[subprocess.Popen[bytes]]:
        """A run whose steps with these words hang, while the block lasts or until they are let."""
        self.put("hang", *words)
        with self.start(command, *options) as process:
            try:
                self.wait(lambda _: all((self.work / f"begun_{word}").exists() for word in words))
                yield process
            finally:
                process.kill()

    def put(self, what: str, *words: str) -> None:
        for word in words:
            (self.work / f"{what}_{word}").touch()

    def let(self, *words: str) -> None:
        for word in words:
            (self.work / f"hang_{word}").unlink()

    def wait(self, reached: Callable[[dict[str, Any]], object], nested: str = "") -> None:
        """Wait until the parameter file says so."""
        end = time.monotonic() + DEADLINE_S
        while not reached(state_of(self.instance / nested)):
            if time.monotonic() > end:
                raise TimeoutError(self.instance.name)
            time.sleep(0.01)

    def wait_for_done(self, count: int, nested: str = "") -> None:
        self.wait(lambda data: data.get("run_progress", {}).get("steps_done") == count, nested)


def paused(run: Run) -> None:
    """Rests in the middle of a foreach: one item is done."""
    words = ("left", "right", "each_0")
    with run.stuck(*words) as process:
        run.start(("modules/octo_step_instance.py", "pause", "--no-wait")).wait()
        run.let(*words)
        process.wait()


def killed_in_two_steps(run: Run) -> None:
    """Killed while `left` and `right` were in EXECUTE; `first` and `each` were done."""
    with run.stuck("left", "right"):
        run.wait_for_done(2)


def killed_in_back_off(run: Run) -> None:
    """Killed while `right` waited for its second attempt; all beside it was done."""
    run.put("fail", "right")
    with run.stuck():
        run.wait(lambda data: "retry_due" in data.get("active_steps", {}).get("right", {}))
        run.wait_for_done(3)


def killed_in_foreach(run: Run) -> None:
    """Killed in the second item of three; all beside it was done."""
    with run.stuck("each_1"):
        run.wait_for_done(3)


def killed_in_nested(run: Run) -> None:
    """Killed in the second step of the nested recipe."""
    with run.stuck(f"inner_end_{UNIT}"):
        run.wait_for_done(1, "nested/inner")


def failed(run: Run) -> None:
    """Ended since `right` had failed; `left` and an item were done."""
    run.put("fail", "right")
    with run.stuck("left", "right", "each_0", options=("--max-retries", 0)) as process:
        run.let("right")
        run.wait(lambda data: "end_pending" in data["global_parameters"])
        run.let("left", "each_0")
        process.wait()


def complete(run: Run) -> None:
    """Ended with success."""
    run.start(RECIPE).wait()


def program_killed(run: Run) -> None:
    """Of a Python program: killed in the second step of three."""
    with run.stuck("middle", command=PROGRAM):
        run.wait_for_done(1)


def program_failed(run: Run) -> None:
    """Of a Python program: ended since the second step of three had failed."""
    run.put("fail", "middle")
    run.start(PROGRAM).wait()


SITUATIONS = (
    paused,
    killed_in_two_steps,
    killed_in_back_off,
    killed_in_foreach,
    killed_in_nested,
    failed,
    complete,
    program_killed,
    program_failed,
)


def keep(file: Path, place: Path, work: Path) -> None:
    if file.suffix in (".json", ".jsonl"):
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(kept(file.read_text("utf-8"), work), encoding="utf-8")


def main(target: Path) -> None:
    """Make each situation in a temporary directory, and keep its state."""
    for situation in SITUATIONS:
        with tempfile.TemporaryDirectory() as directory:
            work = Path(directory).resolve()
            instance = work / situation.__name__
            situation(Run(work, instance))
            for name in KEPT:
                for file in instance.rglob(f".octo_step_engine_{name}.json*"):
                    keep(file, target / file.relative_to(work), work)
        print(f"{situation.__name__}: {situation.__doc__}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
