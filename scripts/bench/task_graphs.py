"""Subjects that perform a graph of tasks: other programs, a bound, loops written by hand.

`naps`: tasks that sleep, and one that waits for all of them and does nothing. `nothings`: the same,
with tasks that do nothing. WORKERS tasks at once. What each keeps of what is done, and when, is
told at each. The clock runs around the tasks only: imports, clusters and servers come before it.
"""

# The peers are not installed where types are checked:
# mypy: disable-error-code="import-not-found,misc,untyped-decorator"

from __future__ import annotations

import heapq
import json
import logging
import os
import random
import subprocess
import time
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from graphlib import TopologicalSorter
from pathlib import Path
from time import perf_counter
from typing import Any

from bench.stores import expect

WORKERS = 8
NAP_S = 0.01
WORKFLOW_VARIABLE = "OCTO_BENCH_WORKFLOW"
"""In the environment, the path of a workflow in WfFormat, in place of the generated one."""
WORKFLOW_S = 16.0
"""What all tasks of a workflow take together."""
STAGES = {"filter": 1.0, "convert": 0.4, "pack": 0.3, "map": 10.0}
"""What happens to each part of a generated workflow, and how long that usually takes."""

Tasks = dict[str, tuple[float, tuple[str, ...]]]
"""Name -> the seconds that the task takes, and the names of those before it."""


def nap() -> None:
    """The work of a task that sleeps."""
    time.sleep(NAP_S)


def nothing() -> None:
    """The work of a task that does nothing."""


# --- a workflow -----------------------------------------------------------------------------------


def work_of_workflow() -> Tasks:
    """The tasks of a workflow, scaled to WORKFLOW_S: of a file, or else generated."""
    path = os.environ.get(WORKFLOW_VARIABLE)
    tasks = _of_file(Path(path)) if path else generated_workflow(1)
    scale = WORKFLOW_S / sum(seconds for seconds, _ in tasks.values())
    return {name: (seconds * scale, parents) for name, (seconds, parents) in tasks.items()}


def _of_file(path: Path) -> Tasks:
    from wfinstance_to_recipe import read_workflow, step_names

    workflow = read_workflow(path)
    names = step_names(task.id for task in workflow.tasks)
    return {
        names[task.id]: (task.runtime, tuple(names[each] for each in task.parents))
        for task in workflow.tasks
    }


def generated_workflow(seed: int) -> Tasks:
    """Like a workflow of genomics: lanes are split, each part takes four stages, all is merged.

    How many parts a lane has, and how long a task takes (log-normal, some stages ten times as long
    as others) are drawn with the seed.
    """
    draw = random.Random(seed)

    def seconds(of_stage: float) -> float:
        return of_stage * draw.lognormvariate(0.0, 0.5)

    tasks: Tasks = {}
    merges = []
    for lane in range(6):
        tasks[f"split_{lane}"] = (seconds(3.0), ())
        ends = []
        for part in range(draw.randint(4, 12)):
            before = f"split_{lane}"
            for stage, usual in STAGES.items():
                name = f"{stage}_{lane}_{part}"
                tasks[name] = (seconds(usual), (before,))
                before = name
            ends.append(before)
        merges.append(f"merge_{lane}")
        tasks[merges[-1]] = (seconds(2.0), tuple(ends))
    tasks["merge"] = (seconds(2.0), tuple(merges))
    tasks["index"] = (seconds(1.0), ("merge",))
    tasks["pileup"] = (seconds(4.0), ("index",))
    return tasks


def list_schedule(tasks: Tasks, workers: int) -> float:
    """When the last task ends, if whoever is free at once takes the first one that is ready.

    No scheduler that doesn't know the future is asked for less; nothing is lost between two tasks.
    """
    order = {name: place for place, name in enumerate(tasks)}
    sorter = TopologicalSorter({name: parents for name, (_, parents) in tasks.items()})
    sorter.prepare()
    ready = [(order[name], name) for name in sorter.get_ready()]
    heapq.heapify(ready)
    running: list[tuple[float, str]] = []
    now = 0.0
    while ready or running:
        while ready and len(running) < workers:
            _, name = heapq.heappop(ready)
            heapq.heappush(running, (now + tasks[name][0], name))
        now, name = heapq.heappop(running)
        sorter.done(name)
        for each in sorter.get_ready():
            heapq.heappush(ready, (order[each], each))
    return now


def workflow_ideal(directory: Path, size: int) -> float:
    """What greedy list scheduling comes to: computed, not measured."""
    return list_schedule(work_of_workflow(), WORKERS)


def naps_bound(directory: Path, size: int) -> float:
    """Tasks times time, divided by workers: computed, not measured."""
    return size * NAP_S / WORKERS


# --- nothing but the standard library -------------------------------------------------------------


def naps_futures(directory: Path, size: int) -> float:
    """`concurrent.futures`, and no state."""
    start = perf_counter()
    with ThreadPoolExecutor(WORKERS) as pool:
        done = [future.result() for future in [pool.submit(nap) for _ in range(size)]]
    seconds = perf_counter() - start
    expect(len(done), size)
    return seconds


def nothings_by_hand(directory: Path, size: int) -> float:
    """`graphlib`, a pool, and the state as JSON at every step: temporary file, rename; no sync."""
    import orjson

    names = [f"task{number}" for number in range(size)]
    sorter = TopologicalSorter({"join": names})
    state: dict[str, list[str]] = {"done": []}
    start = perf_counter()
    sorter.prepare()
    with ThreadPoolExecutor(WORKERS) as pool:
        running: dict[Any, str] = {}
        while sorter.is_active():
            running |= {pool.submit(nothing): name for name in sorter.get_ready()}
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                name = running.pop(future)
                state["done"].append(name)
                Path("state.new").write_bytes(orjson.dumps(state))
                Path("state.new").replace("state.json")
                sorter.done(name)
    seconds = perf_counter() - start
    expect(len(json.loads(Path("state.json").read_bytes())["done"]), size + 1)
    return seconds


# --- make: a process or two a target; the files are its state -------------------------------------


def _make(size: int, command: str) -> float:
    names = " ".join(f"task{number}" for number in range(size))
    Path("Makefile").write_text(f"join: {names}\n\t: > $@\n{names}:\n\t{command}\n")
    start = perf_counter()
    subprocess.run(["make", "-s", f"-j{WORKERS}", "join"], capture_output=True, check=True)
    seconds = perf_counter() - start
    expect(len(list(Path().glob("task*"))), size)
    expect(Path("join").exists(), True)
    return seconds


def naps_make(directory: Path, size: int) -> float:
    """make -j8, `sleep`, then a shell that makes the target's file."""
    return _make(size, f"sleep {NAP_S}; : > $@")


def nothings_make(directory: Path, size: int) -> float:
    """make -j8, a shell that makes the target's file."""
    return _make(size, ": > $@")


# --- doit: processes that it forks; a JSON file at the end of the run -----------------------------


def _doit(size: int, work: Callable[[], None]) -> float:
    from doit.cmd_base import ModuleTaskLoader
    from doit.doit_cmd import DoitMain

    def act() -> dict[str, int]:
        work()
        return {"done": 1}

    def join() -> dict[str, int]:
        return {"done": 1}

    names = [f"task{number}" for number in range(size)]
    dodo = {
        "DOIT_CONFIG": {"dep_file": "doit.json", "backend": "json", "reporter": "zero"},
        "task_each": lambda: ({"basename": name, "actions": [act]} for name in names),
        "task_join": lambda: {"actions": [join], "task_dep": names},
    }
    start = perf_counter()
    code = DoitMain(ModuleTaskLoader(dodo)).run(["run", "-n", str(WORKERS), "join"])
    seconds = perf_counter() - start
    expect((code, len(json.loads(Path("doit.json").read_bytes()))), (0, size + 1))
    return seconds


def naps_doit(directory: Path, size: int) -> float:
    """doit -n 8, tasks that sleep."""
    return _doit(size, nap)


def nothings_doit(directory: Path, size: int) -> float:
    """doit -n 8, tasks that do nothing."""
    return _doit(size, nothing)


# --- dask: threads of this process; no state ------------------------------------------------------


def naps_dask(directory: Path, size: int) -> float:
    """dask's threaded scheduler."""
    from dask.threaded import get

    graph: dict[str, Any] = {f"task{number}": (nap,) for number in range(size)}
    graph["join"] = (len, list(graph))
    start = perf_counter()
    found = get(graph, "join", num_workers=WORKERS)
    seconds = perf_counter() - start
    expect(found, size)
    return seconds


def _distributed(size: int, work: Callable[[], None]) -> float:
    from distributed import Client, LocalCluster

    cluster = LocalCluster(
        n_workers=1, threads_per_worker=WORKERS, processes=False, dashboard_address=None
    )
    with cluster, Client(cluster) as client:
        client.submit(nothing).result()
        start = perf_counter()
        tasks = [client.submit(work, pure=False) for _ in range(size)]
        found = client.submit(len, tasks).result()
        seconds = perf_counter() - start
    expect(found, size)
    return seconds


def naps_distributed(directory: Path, size: int) -> float:
    """dask.distributed, a local cluster of one worker with 8 threads."""
    return _distributed(size, nap)


def nothings_distributed(directory: Path, size: int) -> float:
    """The same, tasks that do nothing."""
    return _distributed(size, nothing)


# --- luigi: processes that it forks; a file a task ------------------------------------------------


def _luigi(size: int, work: Callable[[], None]) -> float:
    import luigi

    class Each(luigi.Task):
        number = luigi.IntParameter()

        def output(self) -> Any:
            return luigi.LocalTarget(f"task{self.number}")

        def run(self) -> None:
            work()
            with self.output().open("w") as file:
                file.write("done")

    class Join(luigi.Task):
        def requires(self) -> Any:
            return [Each(number) for number in range(size)]

        def output(self) -> Any:
            return luigi.LocalTarget("join")

        def run(self) -> None:
            with self.output().open("w") as file:
                file.write(str(len(self.input())))

    logging.disable(logging.CRITICAL)
    start = perf_counter()
    done = luigi.build([Join()], workers=WORKERS, local_scheduler=True, log_level="CRITICAL")
    seconds = perf_counter() - start
    expect((done, Path("join").read_text()), (True, str(size)))
    return seconds


def naps_luigi(directory: Path, size: int) -> float:
    """luigi, 8 workers, tasks that sleep."""
    return _luigi(size, nap)


def nothings_luigi(directory: Path, size: int) -> float:
    """luigi, 8 workers, tasks that do nothing else."""
    return _luigi(size, nothing)


# --- Prefect: threads of this process; its server's SQLite ----------------------------------------


def naps_prefect(directory: Path, size: int) -> float:
    """Prefect, a task runner with 8 threads, against its own temporary server."""
    from bench.peers import prefect_environment

    prefect_environment(directory)
    from prefect import flow, task
    from prefect.task_runners import ThreadPoolTaskRunner

    each, join = task(nap), task(lambda results: len(results))
    taken: list[float] = []

    @flow(task_runner=ThreadPoolTaskRunner(max_workers=WORKERS))
    def naps() -> int:
        each.submit().wait()
        start = perf_counter()
        found = join.submit([each.submit() for _ in range(size)]).result()
        taken.append(perf_counter() - start)
        return int(found)

    expect(naps(), size)
    return taken[0]
