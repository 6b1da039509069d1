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
)
