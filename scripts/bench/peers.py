"""Other engines, each as its documentation says for state that is kept at every step.

What each does at a step, and whether it survives the loss of power, is told at each. The clock runs
around the steps only: imports, tables and servers come before it. Those whose way of building a
graph allows both have a loop and a chain; for the others a loop in a function is both.
"""

# The peers are not installed where types are checked:
# mypy: disable-error-code="import-not-found,misc,untyped-decorator"

from __future__ import annotations

import asyncio
import json
import logging
import os
import sqlite3
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any, TypedDict

from bench.stores import expect

# --- Apache Burr: SQLitePersister; a commit a step, rollback journal, synchronous FULL ------------


def _burr(size: int, names: list[str]) -> float:
    from burr.core import ApplicationBuilder, State, action
    from burr.core.persistence import SQLitePersister

    @action(reads=["count"], writes=["count"])
    def turn(state: State) -> State:
        return state.update(count=state["count"] + 1)

    persister = SQLitePersister.from_values(db_path="burr.db", table_name="state")
    persister.initialize()
    pairs = list(zip(names, names[1:] or names, strict=False))
    app = (
        ApplicationBuilder()
        .with_actions(**dict.fromkeys(names, turn))
        .with_transitions(*pairs)
        .with_entrypoint(names[0])
        .with_state(count=0)
        .with_state_persister(persister)
        .with_identifiers(app_id="bench")
        .build()
    )
    start = perf_counter()
    for _ in range(size):
        app.step()
    seconds = perf_counter() - start
    ((rows,),) = sqlite3.connect("burr.db").execute("SELECT count(*) FROM state")
    expect((app.state["count"], rows), (size, size))
    return seconds


def burr_loop(directory: Path, size: int) -> float:
    """Burr, an action that follows itself."""
    return _burr(size, ["turn"])


def burr_chain(directory: Path, size: int) -> float:
    """Burr, actions in a row."""
    return _burr(size, [f"turn{number}" for number in range(size)])


# --- LangGraph: SqliteSaver, durability="sync"; WAL, synchronous FULL -----------------------------


class Counted(TypedDict):
    """The state of the LangGraph subjects."""

    count: int


def _turn(state: Counted) -> Counted:
    return {"count": state["count"] + 1}


def _langgraph(graph: Any, size: int) -> float:
    from langgraph.checkpoint.sqlite import SqliteSaver

    with SqliteSaver.from_conn_string("langgraph.db") as saver:
        saver.setup()
        app = graph.compile(checkpointer=saver)
        config = {"configurable": {"thread_id": "1"}, "recursion_limit": size + 10}
        start = perf_counter()
        result = app.invoke({"count": 0}, config, durability="sync")
        seconds = perf_counter() - start
        expect(result["count"], size)
        expect(app.get_state(config).values["count"], size)
    ((rows,),) = sqlite3.connect("langgraph.db").execute("SELECT count(*) FROM checkpoints")
    expect(rows >= size, True)
    return seconds


def langgraph_loop(directory: Path, size: int) -> float:
    """LangGraph, a node with a conditional edge to itself."""
    from langgraph.graph import END, START, StateGraph

    graph = StateGraph(Counted)
    graph.add_node("turn", _turn)
    graph.add_edge(START, "turn")
    graph.add_conditional_edges(
        "turn", lambda state: END if state["count"] == size else "turn", ["turn", END]
    )
    return _langgraph(graph, size)


def langgraph_chain(directory: Path, size: int) -> float:
    """LangGraph, nodes in a row."""
    from langgraph.graph import END, START, StateGraph

    graph = StateGraph(Counted)
    names = [f"turn{number}" for number in range(size)]
    for name in names:
        graph.add_node(name, _turn)
    for source, target in zip([START, *names], [*names, END], strict=True):
        graph.add_edge(source, target)
    return _langgraph(graph, size)


# --- DBOS: SQLite system database; commits at each step, rollback journal, synchronous FULL -------


def dbos_steps(directory: Path, size: int) -> float:
    """DBOS, a workflow that calls a step in a loop."""
    from dbos import DBOS

    DBOS(
        config={
            "name": "bench",
            "system_database_url": f"sqlite:///{directory}/dbos.db",
            "run_admin_server": False,
            "log_level": "ERROR",
        }
    )

    @DBOS.step()
    def turn(count: int) -> int:
        return count + 1

    @DBOS.workflow()
    def turns(size: int) -> int:
        count = 0
        for _ in range(size):
            count = turn(count)
        return count

    DBOS.launch()
    start = perf_counter()
    count = turns(size)
    seconds = perf_counter() - start
    DBOS.destroy()
    ((rows,),) = sqlite3.connect("dbos.db").execute("SELECT count(*) FROM operation_outputs")
    expect((count, rows), (size, size))
    return seconds


# --- pydantic-graph: FileStatePersistence; the whole history read and written at each step, no sync


def pydantic_graph_loop(directory: Path, size: int) -> float:
    """pydantic-graph, a node that returns itself."""
    import warnings

    warnings.simplefilter("ignore")
    from pydantic_graph import BaseNode, End, Graph, GraphRunContext
    from pydantic_graph.persistence.file import FileStatePersistence

    @dataclass
    class Count:
        count: int = 0

    @dataclass
    class Turn(BaseNode[Count, None, int]):
        async def run(self, ctx: GraphRunContext[Count]) -> Turn | End[int]:
            ctx.state.count += 1
            return End(ctx.state.count) if ctx.state.count == size else Turn()

    globals().update(Turn=Turn, Count=Count, End=End, GraphRunContext=GraphRunContext)
    graph = Graph(nodes=[Turn])
    persistence = FileStatePersistence(directory / "history.json")

    async def run() -> float:
        start = perf_counter()
        result = await graph.run(Turn(), state=Count(), persistence=persistence)
        expect(result.output, size)
        return perf_counter() - start

    seconds = asyncio.run(run())
    expect(len(json.loads((directory / "history.json").read_bytes())), size + 1)
    return seconds


# --- luigi: a target file a task, put in place by rename, no sync; local scheduler ----------------


def luigi_chain(directory: Path, size: int) -> float:
    """luigi, tasks in a row."""
    import luigi

    class Turn(luigi.Task):
        number = luigi.IntParameter()

        def requires(self) -> Any:
            return Turn(self.number - 1) if self.number > 1 else []

        def output(self) -> Any:
            return luigi.LocalTarget(f"count{self.number}")

        def run(self) -> None:
            count = int(self.input().open().read()) if self.number > 1 else 0
            with self.output().open("w") as file:
                file.write(str(count + 1))

    logging.disable(logging.CRITICAL)
    start = perf_counter()
    done = luigi.build([Turn(size)], local_scheduler=True, log_level="CRITICAL")
    seconds = perf_counter() - start
    expect((done, Path(f"count{size}").read_text()), (True, str(size)))
    return seconds


# --- pypyr: the context written as JSON after each step, in place, no sync ------------------------

PYPYR = """\
steps:
  - name: pypyr.steps.call
    in: {call: turn}
    while: {max: SIZE}
turn:
  - name: pypyr.steps.set
    in: {set: {count: !py count + 1}}
  - name: pypyr.steps.filewritejson
    in: {fileWriteJson: {path: state.json, payload: {count: '{count}'}}}
"""


def pypyr_loop(directory: Path, size: int) -> float:
    """pypyr, a group of steps called in a loop."""
    from pypyr import pipelinerunner

    Path("bench.yaml").write_text(PYPYR.replace("SIZE", str(size)))
    start = perf_counter()
    pipelinerunner.run("bench", dict_in={"count": 0})
    seconds = perf_counter() - start
    expect(json.loads(Path("state.json").read_bytes())["count"], size)
    return seconds


# --- Prefect: a task run a step, its state in the server's SQLite, its result in a file -----------


def prefect_environment(directory: Path) -> None:
    """Let Prefect start a server of its own, in the directory; to be called before its import."""
    os.environ.update(
        PREFECT_HOME=str(directory),
        PREFECT_SERVER_ALLOW_EPHEMERAL_MODE="true",
        PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS="120",
        PREFECT_LOGGING_LEVEL="CRITICAL",
        PREFECT_SERVER_LOGGING_LEVEL="CRITICAL",
    )


def prefect_steps(directory: Path, size: int) -> float:
    """Prefect, a flow that calls a task in a loop, against its own temporary server."""
    prefect_environment(directory)
    from prefect import flow, task

    @task(persist_result=True)
    def turn(count: int) -> int:
        return count + 1

    taken: list[float] = []

    @flow
    def turns() -> int:
        count = turn(0)
        start = perf_counter()
        for _ in range(size):
            count = turn(count)
        taken.append(perf_counter() - start)
        return int(count)

    expect(turns(), size + 1)
    expect(len(list((directory / "storage").iterdir())), size + 1)
    return taken[0]
