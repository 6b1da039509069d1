"""Subjects that perform a recipe: ours, with the display and the state that users have, too.

The recipe is compiled and its instance made before the clock runs.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from time import perf_counter

from bench.commands import starts
from bench.harness import PROJECT
from bench.stores import expect
from bench.task_graphs import NAP_S, WORKERS, work_of_workflow

NOTHING = "def nothing():\n    pass\n"
PARSER = str(PROJECT / "orchestrator" / "enhanced_recipe_parser.py")
VALIDATE = [sys.executable, PARSER, "validate", "recipe.yaml"]


def _step(name: str, call: str, after: tuple[str, ...] = ()) -> str:
    """A step of a recipe; `call` is a module, a function of it, and perhaps an argument."""
    module, _, rest = call.partition(".")
    function, _, argument = rest.partition(" ")
    lines = [f"- name: {json.dumps(name)}", f"  module: {module}", f"  function: {function}"]
    lines += [f"  args: [{argument}]"] if argument else []
    lines += [f"  depends_on: {json.dumps(after)}"] if after else []
    return "\n".join(f"  {line}" for line in lines)


def _fan(size: int, call: str) -> str:
    """A recipe of `size` steps that call something, and one that waits for all of them."""
    names = tuple(f"step{number}" for number in range(size))
    steps = [*(_step(name, call) for name in names), _step("join", "work.nothing", names)]
    return "steps:\n" + "\n".join(steps) + "\n"


def _run(directory: Path, recipe: str, steps: int) -> float:
    """Seconds of a run under `threads`, WORKERS steps at once."""
    from octo_parameter_schema import PARAMETER_FILE_NAME, PROGRESS_GROUP
    from octo_step_engine import StepEngine
    from orchestrator.recipe_choices import Choices
    from orchestrator.recipe_instance import begin_run
    from orchestrator.recipe_pin import pin_recipe
    from orchestrator.recipe_program import Inputs, RecipeProgram
    from orchestrator.run_report import RunReport

    (directory / "work.py").write_text(NOTHING)
    (directory / "recipe.yaml").write_text(recipe)
    os.environ["XDG_CACHE_HOME"] = str(directory)
    place = directory / "instance"
    pinned = pin_recipe(directory / "recipe.yaml", directory)
    program = RecipeProgram(
        pinned, Inputs(), Choices(), instance=place, working_directory=directory
    )
    with (
        begin_run(program, place) as instance,
        RunReport(program.compiled, json_output=False, quiet=True, instance=place) as report,
    ):
        engine = StepEngine(
            instance,
            program=program,
            executor="threads",
            workers=WORKERS,
            observer=report.event,
            sink=report.output,
        )
        start = perf_counter()
        outcome = engine.run()
        seconds = perf_counter() - start
        expect(report.result(outcome)["completed_steps"], steps)
    expect(outcome.engine_state, "COMPLETE_SUCCESS")
    state = json.loads((place / PARAMETER_FILE_NAME).read_bytes())
    expect(state[PROGRESS_GROUP]["steps_done"], steps)
    return seconds


def naps(directory: Path, size: int) -> float:
    """Steps that sleep, and a join."""
    return _run(directory, _fan(size, f"time.sleep {NAP_S}"), size + 1)


def nothings(directory: Path, size: int) -> float:
    """Steps that do nothing, and a join."""
    return _run(directory, _fan(size, "work.nothing"), size + 1)


def workflow(directory: Path, size: int) -> float:
    """A workflow like those of WfInstances: see `work_of_workflow`."""
    work = work_of_workflow()
    steps = [
        _step(name, f"time.sleep {seconds:.6f}", parents)
        for name, (seconds, parents) in work.items()
    ]
    return _run(directory, "steps:\n" + "\n".join(steps) + "\n", len(work))


# --- validate -------------------------------------------------------------------------------------


def validate_5000(directory: Path, size: int) -> float:
    """`validate` of a recipe of 5,000 steps that was not read before, in a new process."""
    (directory / "work.py").write_text(NOTHING)
    (directory / "recipe.yaml").write_text(_fan(4999, "work.nothing"))
    environment = {**os.environ, "XDG_CACHE_HOME": str(directory)}
    start = perf_counter()
    done = subprocess.run(
        VALIDATE, capture_output=True, text=True, env=environment, cwd=directory, check=False
    )
    seconds = perf_counter() - start
    expect((done.returncode, done.stdout), (0, "recipe.yaml is valid: 5000 steps\n"))
    return seconds


def validate_small(directory: Path, size: int) -> float:
    """`validate` of a recipe of three steps."""
    os.environ["XDG_CACHE_HOME"] = str(directory)
    (directory / "work.py").write_text(NOTHING)
    (directory / "recipe.yaml").write_text(_fan(2, "work.nothing"))
    return starts(size, VALIDATE, "recipe.yaml is valid: 3 steps")


def import_yaml_pydantic(directory: Path, size: int) -> float:
    """Python, the same interpreter, with what a recipe's format is read and modelled with."""
    # `import pydantic` alone loads next to nothing of it.
    code = "import yaml; from pydantic import BaseModel"
    return starts(size, [sys.executable, "-c", code], "")
