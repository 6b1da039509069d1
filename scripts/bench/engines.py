"""Subjects that take steps: our engine, a loop written by hand, a state machine in memory.

The loop is one node that jumps to itself, the chain a library of `size` nodes. A step of the
`counting` ones adds one to a value of its own in the parameter file, as the steps of the peers do
to theirs; the `bare` ones have hooks that do nothing. The library is made and the instance created
before the clock runs; loading the library in `run` is part of the time.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from time import perf_counter
from typing import Any

from bench.harness import WorkNotDone
from bench.stores import GLOBAL, STATE, expect

NODE = """\
from stepnode_baseclass import stepnode_baseclass

class step_node_{name}(stepnode_baseclass):
    turns = 0
    step_arrow_graph_dict = {arrows}
    def step_execute(self):
        self.turns += 1
        {work}
"""
COUNTING = 'self.increment("mine", "count")'
BARE = "return 0"
ADVANCE = """\
    def step_advance(self):
        if self.turns == {turns}:
            return "COMPLETE"
        return "step_arrow_graph_list_key_step_node_turn"
"""


def loop_library(directory: Path, turns: int, work: str) -> Path:
    """A library of one node that jumps to itself until it had its turns."""
    library = directory / "library"
    library.mkdir()
    text = NODE.format(name="turn", arrows={}, work=work) + ADVANCE.format(turns=turns)
    (library / "step_node_turn.py").write_text(text)
    return library


def chain_library(directory: Path, length: int, work: str) -> Path:
    """A library of nodes in a row, a module each."""
    library = directory / "library"
    library.mkdir()
    for number in range(length):
        last = number == length - 1
        arrows = {} if last else {"on": {"arrow_step_name_string": f"step_node_{number + 1:05}"}}
        text = NODE.format(name=f"{number:05}", arrows=arrows, work=work)
        (library / f"step_node_{number:05}.py").write_text(text)
    return library


def compiled_chain(directory: Path, size: int, work: str) -> Path:
    """A chain whose modules have been compiled, as after the first use."""
    import compileall

    library = chain_library(directory, size, work)
    if not compileall.compile_dir(library, quiet=1):
        raise WorkNotDone("the library can't be compiled")
    return library


def _run(directory: Path, library: Path, size: int, durability: str = "process") -> float:
    from octo_instance_dir import InstanceDir
    from octo_instance_setup import create_instance
    from octo_step_engine import StepEngine

    create_instance(directory / "instance", library)
    engine = StepEngine(InstanceDir(directory / "instance", durability=durability))
    start = perf_counter()
    outcome = engine.run()
    seconds = perf_counter() - start
    expect(outcome.engine_state, "COMPLETE_SUCCESS")
    state = json.loads((directory / "instance" / STATE).read_bytes())
    expect(state[GLOBAL]["engine_step_count"], size)
    expect(state.get("mine", {}).get("count", size), size)
    return seconds


def loop(directory: Path, size: int) -> float:
    """Self-loop, counting, `process`."""
    return _run(directory, loop_library(directory, size, COUNTING), size)


def chain(directory: Path, size: int) -> float:
    """Chain, counting, `process`."""
    return _run(directory, compiled_chain(directory, size, COUNTING), size)


def loop_power(directory: Path, size: int) -> float:
    """Self-loop, counting, `power`."""
    os.environ["OCTO_DURABILITY"] = "power"  # for what the node writes
    return _run(directory, loop_library(directory, size, COUNTING), size, "power")


def chain_power(directory: Path, size: int) -> float:
    """Chain, counting, `power`."""
    os.environ["OCTO_DURABILITY"] = "power"
    return _run(directory, compiled_chain(directory, size, COUNTING), size, "power")


def loop_bare(directory: Path, size: int) -> float:
    """Self-loop whose hooks do nothing, `process`."""
    return _run(directory, loop_library(directory, size, BARE), size)


def loop_by_hand(directory: Path, size: int) -> float:
    """No engine: five updates of the parameter file a turn, as the specification's nodes do."""
    from octo_step_engine_parameters import octo_step_engine_parameters

    store = octo_step_engine_parameters(durability="process")
    file = (store.get_default_param_dict(), STATE, STATE + ".lock")
    start = perf_counter()
    for turn in range(size):
        for state in ("ENTER", "EXECUTE", "ADVANCE", "EXIT", "JUMP"):
            store.update_json_dict(*file, GLOBAL, "current_step_state", f"{state} {turn}")
    seconds = perf_counter() - start
    expect(json.loads(Path(STATE).read_bytes())[GLOBAL]["parameter_revision"], 5 * size)
    return seconds


def loop_transitions(directory: Path, size: int) -> float:
    """`transitions` alone, in memory: five triggers a turn."""
    from transitions import Machine

    states = ["ENTER", "EXECUTE", "ADVANCE", "EXIT", "JUMP"]
    moves = [["go", one, states[(i + 1) % 5]] for i, one in enumerate(states)]
    machine: Any = Machine(states=states, transitions=moves, initial="ENTER")
    start = perf_counter()
    for _ in range(5 * size):
        machine.go()
    seconds = perf_counter() - start
    expect(machine.state, "ENTER")
    return seconds


def _memory_after(directory: Path, turns: int) -> float:
    """Resident bytes at the end of a run of so many turns."""
    import psutil

    _run(directory, loop_library(directory, turns, BARE), turns)
    return float(psutil.Process().memory_info().rss)


def memory_1000(directory: Path, size: int) -> float:
    """Resident bytes after 1,000 turns."""
    return _memory_after(directory, 1_000)


def memory_100000(directory: Path, size: int) -> float:
    """Resident bytes after 100,000 turns."""
    return _memory_after(directory, 100_000)


# --- a library of many nodes ----------------------------------------------------------------------


def import_bare(directory: Path, size: int) -> float:
    """`import` of the modules, no more."""
    import importlib
    import sys

    library = compiled_chain(directory, size, BARE)
    import stepnode_baseclass  # noqa: F401

    sys.path.insert(0, str(library))
    start = perf_counter()
    modules = [importlib.import_module(f"step_node_{number:05}") for number in range(size)]
    seconds = perf_counter() - start
    expect(len(set(modules)), size)
    return seconds


def library_create(directory: Path, size: int) -> float:
    """`create` of an instance: loads, checks, hashes, writes."""
    from octo_instance_setup import create_instance

    library = compiled_chain(directory, size, BARE)
    start = perf_counter()
    create_instance(directory / "instance", library)
    seconds = perf_counter() - start
    expect((directory / "instance" / STATE).exists(), True)
    return seconds


def library_validate(directory: Path, size: int) -> float:
    """Loading and checking the library."""
    from octo_graph_checks import load_graph

    library = compiled_chain(directory, size, BARE)
    start = perf_counter()
    graph = load_graph(library)
    seconds = perf_counter() - start
    expect(len(graph.nodes), size)
    return seconds


def library_first_step(directory: Path, size: int) -> float:
    """`step`: the first hooks of an instance, in a new process."""
    import subprocess
    import sys

    from octo_instance_dir import InstanceDir
    from octo_step_engine import StepEngine

    library = compiled_chain(directory, size, BARE)
    make = "import sys; from octo_instance_setup import *; create_instance(*sys.argv[1:])"
    modules = str(Path(sys.modules[StepEngine.__module__].__file__ or "").parent)
    subprocess.run(
        [sys.executable, "-c", make, str(directory / "instance"), str(library)],
        env={**os.environ, "PYTHONPATH": modules},
        check=True,
    )
    start = perf_counter()
    StepEngine(InstanceDir(directory / "instance")).step()
    seconds = perf_counter() - start
    state = json.loads((directory / "instance" / STATE).read_bytes())
    expect(state[GLOBAL]["current_step_state"], "ADVANCE")
    return seconds
