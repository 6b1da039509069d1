"""Subjects that read and change one value of a state file: ours, the specification's way, others.

The file is a new instance's, or one of GROUPS groups of KEYS keys. "The specification's way" is
fasteners' inter-process lock around `json.load` and `json.dump` in place, in each call.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import sqlite3
from collections.abc import Callable
from pathlib import Path
from time import perf_counter
from typing import Any

from bench.harness import WorkNotDone

GLOBAL = "global_parameters"
COUNT = "run_step_count"
STATE, LOCK = ".octo_step_engine_parameters.json", ".octo_step_engine_parameters.lock"
PROCESSES = 4
GROUPS, KEYS = 1000, 5


def timed(count: int, work: Callable[[], object]) -> float:
    """Seconds for `count` calls, after one that opens what has to be opened."""
    work()
    start = perf_counter()
    for _ in range(count):
        work()
    return perf_counter() - start


def expect(found: object, wanted: object) -> None:
    """Raise unless the work has left what it should."""
    if found != wanted:
        raise WorkNotDone(f"left {found!r} instead of {wanted!r}")


# --- ours -----------------------------------------------------------------------------------------


def _ours(durability: str = "process") -> tuple[Any, tuple[dict[str, Any], str, str]]:
    from octo_step_engine_parameters import octo_step_engine_parameters

    store = octo_step_engine_parameters(durability=durability)
    defaults = store.get_default_param_dict()
    defaults[GLOBAL][COUNT] = 0
    file = (defaults, STATE, LOCK)
    store.read_json_dict(*file)  # makes it
    return store, file


def read_ours(directory: Path, size: int) -> float:
    """The class of the specification, `read_json_dict`."""
    store, file = _ours()
    seconds = timed(size, lambda: store.read_json_dict(*file))
    expect(store.read_json_dict(*file)[GLOBAL][COUNT], 0)
    return seconds


def _increment_ours(size: int, durability: str) -> float:
    store, file = _ours(durability)
    before = json.loads(Path(STATE).read_bytes())[GLOBAL].get(COUNT, 0)
    seconds = timed(size, lambda: store.increment_json_dict(*file, GLOBAL, COUNT, True))
    expect(json.loads(Path(STATE).read_bytes())[GLOBAL][COUNT], before + size + 1)
    return seconds


def increment_ours(directory: Path, size: int) -> float:
    """`increment_json_dict`, durability `process`."""
    return _increment_ours(size, "process")


def increment_ours_power(directory: Path, size: int) -> float:
    """`increment_json_dict`, durability `power`."""
    return _increment_ours(size, "power")


def many_groups_ours(directory: Path, size: int) -> float:
    """`increment_json_dict` in a file of GROUPS groups."""
    _write_many_groups()
    return _increment_ours(size, "process")


# --- the specification's way ----------------------------------------------------------------------


def _step_spec() -> Callable[[], object]:
    import fasteners

    def step() -> object:
        with fasteners.InterProcessLock(LOCK):
            groups = json.loads(Path(STATE).read_text())
            groups[GLOBAL][COUNT] += 1
            with Path(STATE).open("w") as file:
                json.dump(groups, file, indent=4)
            return groups

    return step


def increment_spec(directory: Path, size: int) -> float:
    """The specification's way."""
    _ours()
    return _increment_by(size, _step_spec())


def many_groups_spec(directory: Path, size: int) -> float:
    """The specification's way, in a file of GROUPS groups."""
    _write_many_groups()
    return increment_spec(directory, size)


def _increment_by(size: int, step: Callable[[], object]) -> float:
    before = json.loads(Path(STATE).read_bytes())[GLOBAL].get(COUNT, 0)
    seconds = timed(size, step)
    expect(json.loads(Path(STATE).read_bytes())[GLOBAL][COUNT], before + size + 1)
    return seconds


# --- bare files -----------------------------------------------------------------------------------


def read_bare(directory: Path, size: int) -> float:
    """`open`, `read`, `orjson.loads`: no lock, no defaults."""
    import orjson

    _ours()

    def read() -> object:
        with open(STATE, "rb") as file:  # noqa: PTH123  (the barest way is what is measured)
            return orjson.loads(file.read())

    return timed(size, read)


def many_groups_bare(directory: Path, size: int) -> float:
    """`orjson` load and dump of the same file, replaced, without a lock."""
    import orjson

    _write_many_groups()

    def step() -> None:
        groups = orjson.loads(Path(STATE).read_bytes())
        groups[GLOBAL][COUNT] += 1
        Path("new").write_bytes(orjson.dumps(groups, option=orjson.OPT_INDENT_2))
        os.replace("new", STATE)  # noqa: PTH105

    return _increment_by(size, step)


def many_groups_parse(directory: Path, size: int) -> float:
    """`orjson` load and dump of the same file's text, in memory."""
    import orjson

    _write_many_groups()
    text = Path(STATE).read_bytes()
    return timed(size, lambda: orjson.dumps(orjson.loads(text), option=orjson.OPT_INDENT_2))


def power_bare(directory: Path, size: int) -> float:
    """A temporary file, fsync, rename, fsync of the directory; no lock, content ready made."""
    _ours()
    text = Path(STATE).read_bytes()

    def step() -> None:
        file = os.open("new", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.write(file, text)
        os.fsync(file)
        os.close(file)
        os.replace("new", STATE)  # noqa: PTH105
        here = os.open(".", os.O_RDONLY)
        os.fsync(here)
        os.close(here)

    return timed(size, step)


def increment_calls(directory: Path, size: int) -> float:
    """The system calls of `increment_ours` (Linux), with content ready made: less can't be done."""
    import ctypes
    import fcntl
    import signal
    import struct

    if not hasattr(fcntl, "F_OFD_SETLK"):
        raise WorkNotDone("this system lacks the locks and leases of Linux")
    exchange = ctypes.CDLL(None).renameat2
    exchange.argtypes = ctypes.c_int, ctypes.c_char_p, ctypes.c_int, ctypes.c_char_p, ctypes.c_uint
    here, exchange_flag, set_signal = -100, 2, 10  # AT_FDCWD, RENAME_EXCHANGE, F_SETSIG
    _ours()
    state, spare, lock_file = (str(Path(name).absolute()) for name in (STATE, "spare", LOCK))
    text = Path(state).read_bytes()
    for path in (spare, lock_file):
        Path(path).write_bytes(text)
    lock, one, other = (os.open(path, os.O_RDWR) for path in (lock_file, state, spare))
    names = here, spare.encode(), here, state.encode(), exchange_flag
    take, leave = (
        struct.pack("hhqqi4x", kind, 0, 0, 1, 0) for kind in (fcntl.F_WRLCK, fcntl.F_UNLCK)
    )

    def step() -> None:
        nonlocal one, other
        fcntl.fcntl(lock, fcntl.F_OFD_SETLK, take)
        os.lstat(lock_file)
        os.lstat(state)
        os.pread(one, len(text) + 1, 0)
        os.lstat(spare)
        fcntl.fcntl(other, set_signal, signal.SIGURG)
        fcntl.fcntl(other, fcntl.F_SETLEASE, fcntl.F_WRLCK)
        os.pwrite(other, text, 0)
        fcntl.fcntl(other, fcntl.F_SETLEASE, fcntl.F_UNLCK)
        expect(exchange(*names), 0)
        one, other = other, one
        fcntl.fcntl(lock, fcntl.F_OFD_SETLK, leave)

    return timed(size, step)


def _write_many_groups() -> None:
    group = {f"key{number}": "a value of usual length" for number in range(KEYS)}
    groups = {f"group{number:04}": group for number in range(GROUPS)}
    _ours()
    state = json.loads(Path(STATE).read_bytes())
    Path(STATE).write_text(json.dumps({**state, **groups}, indent=2))


# --- databases ------------------------------------------------------------------------------------


def _sqlite() -> sqlite3.Connection:
    """WAL, synchronous NORMAL: survives a kill of any process, not the loss of power."""
    database = sqlite3.connect("state.db", isolation_level=None)
    database.execute("PRAGMA journal_mode=WAL")
    database.execute("PRAGMA synchronous=NORMAL")
    database.execute("CREATE TABLE state (name TEXT PRIMARY KEY, value TEXT)")
    database.executemany(
        "INSERT INTO state VALUES (?, ?)", [(COUNT, "0"), *((f"key{n}", "text") for n in range(10))]
    )
    return database


def read_sqlite(directory: Path, size: int) -> float:
    """sqlite3: a dict of all rows of a small table."""
    database = _sqlite()
    return timed(size, lambda: dict(database.execute("SELECT name, value FROM state").fetchall()))


def increment_sqlite(directory: Path, size: int) -> float:
    """sqlite3: one UPDATE, committed."""
    database = _sqlite()
    update = "UPDATE state SET value = value + 1 WHERE name = ?"
    seconds = timed(size, lambda: database.execute(update, (COUNT,)))
    ((value,),) = sqlite3.connect("state.db").execute(
        "SELECT value FROM state WHERE name = ?", (COUNT,)
    )
    expect(int(value), size + 1)
    return seconds


def increment_diskcache(directory: Path, size: int) -> float:
    """diskcache: `incr` (WAL, synchronous NORMAL)."""
    from diskcache import Cache  # type: ignore[import-not-found]

    cache = Cache(str(directory))
    seconds = timed(size, lambda: cache.incr(COUNT))
    expect(Cache(str(directory))[COUNT], size + 1)
    return seconds


def power_sqlitedict(directory: Path, size: int) -> float:
    """sqlitedict: set and commit, blocking (rollback journal, synchronous FULL)."""
    from sqlitedict import SqliteDict  # type: ignore[import-not-found]

    state = SqliteDict("state.db", journal_mode="DELETE")
    state[COUNT] = 0

    def step() -> None:
        state[COUNT] += 1
        state.commit(blocking=True)

    seconds = timed(size, step)
    expect(SqliteDict("state.db")[COUNT], size + 1)
    return seconds


def power_tinydb(directory: Path, size: int) -> float:
    """TinyDB: update (fsync, in place: a crash can tear the file)."""
    from tinydb import TinyDB  # type: ignore[import-not-found]
    from tinydb.operations import increment  # type: ignore[import-not-found]

    state = TinyDB("state.json")
    state.insert({COUNT: 0})
    seconds = timed(size, lambda: state.update(increment(COUNT)))
    expect(TinyDB("state.json").all()[0][COUNT], size + 1)
    return seconds


# --- contention -----------------------------------------------------------------------------------


def _increment_together(step_maker: str, size: int) -> tuple[float, float]:
    """Seconds for PROCESSES processes that share `size` increments, and the slowest single call."""
    _ours()
    context = multiprocessing.get_context("spawn")
    barrier, slowest = context.Barrier(PROCESSES + 1), context.Queue()
    arguments = (step_maker, size // PROCESSES, barrier, slowest)
    processes = [context.Process(target=_contend, args=arguments) for _ in range(PROCESSES)]
    for process in processes:
        process.start()
    barrier.wait()
    start = perf_counter()
    calls = [slowest.get() for _ in processes]
    seconds = perf_counter() - start
    for process in processes:
        process.join()
    expect(json.loads(Path(STATE).read_bytes())[GLOBAL][COUNT], size)
    return seconds, max(calls)


def _contend(step_maker: str, count: int, barrier: Any, slowest: Any) -> None:
    step = globals()[step_maker]()
    barrier.wait()
    longest = 0.0
    for _ in range(count):
        start = perf_counter()
        step()
        longest = max(longest, perf_counter() - start)
    slowest.put(longest)


def _step_ours() -> Callable[[], object]:
    store, file = _ours()
    return lambda: store.increment_json_dict(*file, GLOBAL, COUNT, True)


def contention_ours(directory: Path, size: int) -> float:
    """Ours, several processes."""
    return _increment_together("_step_ours", size)[0]


def contention_spec(directory: Path, size: int) -> float:
    """The specification's way, several processes."""
    return _increment_together("_step_spec", size)[0]


def slowest_ours(directory: Path, size: int) -> float:
    """Ours: the slowest call of all, of PROCESSES x 2,000."""
    return _increment_together("_step_ours", PROCESSES * 2000)[1]


def slowest_spec(directory: Path, size: int) -> float:
    """The specification's way: the slowest call of all, of PROCESSES x 2,000."""
    return _increment_together("_step_spec", PROCESSES * 2000)[1]
