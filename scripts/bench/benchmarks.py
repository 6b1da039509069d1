"""What is measured against what, and the ratios to reach: one entry for each kind of work."""

from __future__ import annotations

from bench.harness import Benchmark, Peer, Subject

SPEC = "the specification's way"

BURR = ("burr",)
LANGGRAPH = ("langgraph",)


def _engines(of: str, at_most: float, at_most_tmpfs: float | None) -> tuple[Peer, ...]:
    """The other engines that can do `of`, in the sizes that they can be asked for."""
    size = 300  # a step costs them the same, or more, in a longer run
    subjects = [
        Subject("Apache Burr, SQLite (syncs)", f"peers:burr_{of}", size, BURR),
        Subject("LangGraph, SqliteSaver, sync (syncs)", f"peers:langgraph_{of}", size, LANGGRAPH),
        Subject("DBOS, SQLite (syncs)", "peers:dbos_steps", size, ("dbos",)),
        Subject("pypyr, writes JSON (no sync)", "peers:pypyr_loop", size, ("pypyr",)),
        Subject("Prefect, 100 steps (server's SQLite)", "peers:prefect_steps", 100, ("prefect",)),
    ]
    if of == "chain":
        name = "luigi, a file a task (no sync)"
        subjects.append(Subject(name, "peers:luigi_chain", size, ("luigi",)))
    else:
        name = "pydantic-graph, file, 100 steps (no sync)"
        subjects.append(Subject(name, "peers:pydantic_graph_loop", 100, ("pydantic_graph",)))
    return tuple(Peer(subject, at_most, at_most_tmpfs) for subject in subjects)


def _synced(of: str) -> tuple[Peer, ...]:
    """The other engines that sync at each step."""
    return tuple(peer for peer in _engines(of, 1 / 1.5, None) if "(syncs)" in peer.subject.name)


_NAPS = (
    Subject("concurrent.futures, no state", "task_graphs:naps_futures", 200),
    Subject("dask threaded, no state", "task_graphs:naps_dask", 200, ("dask",)),
    Subject("doit -n 8", "task_graphs:naps_doit", 200, ("doit",)),
    Subject("make -j8", "task_graphs:naps_make", 200, ("make",)),
    Subject("dask.distributed, no state", "task_graphs:naps_distributed", 200, ("distributed",)),
    Subject("luigi, 8 workers", "task_graphs:naps_luigi", 200, ("luigi",)),
    Subject("Prefect, 8 threads", "task_graphs:naps_prefect", 200, ("prefect",)),
)
_RECIPES = (
    Benchmark(
        "recipe-naps",
        Subject("200 steps of 10 ms and a join, 8 threads", "recipes:naps", 200),
        (
            Peer(Subject("the bound: tasks x time / workers", "task_graphs:naps_bound", 200), 1.1),
            *(Peer(subject) for subject in _NAPS),
        ),
    ),
    Benchmark(
        "recipe-makespan",
        Subject("a workflow like those of WfInstances, 8 threads", "recipes:workflow", 1),
        (Peer(Subject("greedy list scheduling", "task_graphs:workflow_ideal", 1), 1.1),),
    ),
    Benchmark(
        "recipe-nothings",
        Subject("2,000 steps and a join, 8 threads, process", "recipes:nothings", 2000),
        (
            Peer(Subject("doit -n 8", "task_graphs:nothings_doit", 2000, ("doit",)), 1.0),
            Peer(Subject("make -j8", "task_graphs:nothings_make", 2000, ("make",)), 1.0),
            Peer(Subject("graphlib, JSON at each step", "task_graphs:nothings_by_hand", 2000)),
            Peer(
                Subject(
                    "dask.distributed, no state",
                    "task_graphs:nothings_distributed",
                    2000,
                    ("distributed",),
                )
            ),
            Peer(Subject("luigi, 8 workers", "task_graphs:nothings_luigi", 500, ("luigi",))),
        ),
        most_rounds=5,
    ),
    Benchmark(
        "recipe-length",
        Subject("10,000 steps and a join, 8 threads", "recipes:nothings", 10_000),
        (Peer(Subject("the same, 100 steps", "recipes:nothings", 100), 1.2),),
    ),
    Benchmark(
        "recipe-validate",
        Subject("validate, 5,000 steps, never read before", "recipes:validate_5000", 1),
        at_most=2.0,
    ),
    Benchmark(
        "command-validate",
        Subject("validate, 3 steps", "recipes:validate_small", 10),
        (
            Peer(
                Subject("python with yaml, pydantic.BaseModel", "recipes:import_yaml_pydantic", 10),
                2.0,
            ),
        ),
    ),
)

BENCHMARKS = (
    Benchmark(
        "read",
        Subject("read_json_dict, small file", "stores:read_ours", 5000),
        (
            Peer(Subject("open, read, orjson.loads", "stores:read_bare", 5000), 1.5),
            Peer(Subject("sqlite3 WAL, SELECT", "stores:read_sqlite", 5000), 0.5),
        ),
    ),
    Benchmark(
        "increment-process",
        Subject("increment_json_dict, process", "stores:increment_ours", 2000),
        (
            Peer(Subject(SPEC, "stores:increment_spec", 500), 0.1),
            Peer(Subject("diskcache", "stores:increment_diskcache", 2000, ("diskcache",)), 1 / 1.5),
            Peer(Subject("sqlite3 WAL NORMAL", "stores:increment_sqlite", 2000), 2.5),
            Peer(Subject("its system calls alone", "stores:increment_calls", 2000, ("fcntl",))),
        ),
    ),
    Benchmark(
        "increment-power",
        Subject("increment_json_dict, power", "stores:increment_ours_power", 100),
        (
            Peer(Subject("temp, fsync, rename, fsync: bare", "stores:power_bare", 100), 1.3),
            Peer(Subject("sqlitedict", "stores:power_sqlitedict", 100, ("sqlitedict",)), 1.0),
            Peer(Subject("TinyDB", "stores:power_tinydb", 100, ("tinydb",)), 1.0),
        ),
    ),
    Benchmark(
        "contention",
        Subject("4 processes, 2,000 increments each", "stores:contention_ours", 8000),
        (Peer(Subject(SPEC, "stores:contention_spec", 8000), 0.2),),
    ),
    Benchmark(
        "contention-slowest",
        Subject("the slowest of these calls", "stores:slowest_ours", 1),
        (Peer(Subject(SPEC, "stores:slowest_spec", 1)),),
        at_most=0.1,
    ),
    Benchmark(
        "groups",
        Subject("increment in a file of 1,000 groups", "stores:many_groups_ours", 200),
        (
            Peer(Subject(SPEC, "stores:many_groups_spec", 50), 0.1),
            Peer(Subject("orjson load + dump, in memory", "stores:many_groups_parse", 200)),
            Peer(Subject("orjson load + dump of the file", "stores:many_groups_bare", 200), 1.3),
        ),
    ),
    Benchmark(
        "loop-parts",
        Subject("self-loop of 5,000, idle hooks, process", "engines:loop_bare", 5000),
        (
            Peer(Subject("5 locked updates a step, by hand", "engines:loop_by_hand", 5000), 3.0),
            Peer(Subject("transitions, 5 triggers a step", "engines:loop_transitions", 5000), 3.0),
            Peer(Subject("the same loop, 100 turns", "engines:loop_bare", 100), 1.2),
        ),
    ),
    Benchmark(
        "chain",
        Subject("chain of 1,000, process", "engines:chain", 1000),
        _engines("chain", 0.2, 1.0),
    ),
    Benchmark(
        "loop",
        Subject("self-loop of 5,000, process", "engines:loop", 5000),
        _engines("loop", 0.2, 1.0),
    ),
    Benchmark(
        "chain-power",
        Subject("chain of 1,000, power", "engines:chain_power", 1000),
        _synced("chain"),
    ),
    Benchmark(
        "loop-power",
        Subject("self-loop of 1,000, power", "engines:loop_power", 1000),
        _synced("loop"),
    ),
    Benchmark(
        "library-create",
        Subject("create, 2,000 nodes", "engines:library_create", 2000),
        (Peer(Subject("import of the 2,000 modules", "engines:import_bare", 2000), 1.5),),
    ),
    Benchmark(
        "library-validate",
        Subject("load and check, 2,000 nodes", "engines:library_validate", 2000),
        (Peer(Subject("import of the 2,000 modules", "engines:import_bare", 2000), 1.5),),
    ),
    Benchmark(
        "library-step",
        Subject("first step, 2,000 nodes", "engines:library_first_step", 2000),
        (Peer(Subject("import of the 2,000 modules", "engines:import_bare", 2000), 1.5),),
    ),
    Benchmark(
        "command-read",
        Subject("octo_step_engine_parameters PATH GROUP KEY", "commands:read_ours", 20),
        (
            Peer(Subject("python -c pass", "commands:bare", 20), 1.6),
            Peer(Subject("jq", "commands:jq", 20, ("jq",)), 1.0),
            Peer(Subject("crudini", "commands:crudini", 20, ("crudini",)), 1.0),
        ),
    ),
    Benchmark(
        "command-update",
        Subject("octo_step_engine_parameters ... VALUE", "commands:update_ours", 20),
        (Peer(Subject("python -c pass", "commands:bare", 20), 3.0),),
    ),
    Benchmark(
        "command-increment",
        Subject("octo_step_engine_parameters ... -i", "commands:increment_ours", 20),
        (Peer(Subject("python -c pass", "commands:bare", 20), 3.0),),
    ),
    Benchmark(
        "command-status",
        Subject("octo_step_instance status", "commands:status", 20),
        (Peer(Subject("python -c 'import transitions'", "commands:bare_transitions", 20), 1.5),),
    ),
    Benchmark(
        "command-help",
        Subject("octo_step_instance --help", "commands:help_text", 20),
        (Peer(Subject("python -c 'import transitions'", "commands:bare_transitions", 20), 1.5),),
    ),
    Benchmark(
        "memory",
        Subject("memory after 100,000 turns", "engines:memory_100000", 1),
        (Peer(Subject("after 1,000 turns", "engines:memory_1000", 1), 1.05),),
        unit="bytes",
        most_rounds=1,
    ),
    *_RECIPES,
)
