"""Many writers and readers of one parameter file at once (D2, D3 of docs/guarantees.md).

Writers are processes, threads in them, forked children, and several objects for one file; some do
what has dropped locks elsewhere. None of it loses an increment, and no reader sees half a file.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from octo_errors import LockTimeoutError
from octo_step_engine_parameters import (
    LOCK_FILE_NAME,
    PARAMETER_FILE_NAME,
    octo_step_engine_parameters,
    open_parameters,
)
from tests.modules.engine_support import node_text, running, wait_for
from tests.modules.parameter_support import Python, needs_posix
from tests.support import Command, MakeLibrary

PARAMETERS = "modules/octo_step_engine_parameters.py"
INSTANCES = "modules/octo_step_instance.py"
PROCESSES, INCREMENTS = 100, 20

START = f"""
    import gc, json, os, threading
    from octo_step_engine_parameters import octo_step_engine_parameters, open_parameters
    FILES = ({PARAMETER_FILE_NAME!r}, {LOCK_FILE_NAME!r})
    def add(times):
        store = octo_step_engine_parameters(timeout=100)
        for _ in range(times):
            store.increment_json_dict(store.get_default_param_dict(), *FILES, "work", "n", True)
    def together(*functions):
        threads = [threading.Thread(target=each) for each in functions]
        for each in threads: each.start()
        for each in threads: each.join()
    print("ready", flush=True)
    input()
"""
WRITER = f"{START}    add(int(sys.argv[1]))"
THREADS = f"{START}    together(*[lambda: add(int(sys.argv[1]) // 4)] * 4)"
OPENS_AND_CLOSES = f"""{START}
    done = threading.Event()
    def open_and_close():
        while not done.is_set():
            for name in FILES:
                os.close(os.open(name, os.O_RDWR))
    def work():
        add(int(sys.argv[1]))
        done.set()
    together(work, open_and_close)
"""
FORKS_INSIDE = f"""{START}
    file = open_parameters(".", timeout=100)
    for _ in range(int(sys.argv[1]) // 2):
        with file.transaction() as groups:
            child = os.fork()
            if child == 0:
                gc.collect()
                add(1)
                os._exit(0)
            groups["work"]["n"] += 1
        assert os.waitpid(child, 0)[1] == 0
"""
SECOND_OBJECT = f"""{START}
    files = [open_parameters(".", timeout=100) for _ in range(3)]
    for number in range(int(sys.argv[1])):
        with files[number % 3].transaction() as groups:
            open_parameters(".").read()
            del files[(number + 1) % 3]
            files.append(open_parameters(".", timeout=100))
            groups["work"]["n"] += 1
"""
READER = f"""{START}
    revision = reads = n = 0
    file = open_parameters(".")
    while n < int(sys.argv[1]):
        for state in (json.loads(open(FILES[0], "rb").read()), file.read()):
            n = state["work"]["n"]
            assert state["global_parameters"]["parameter_revision"] >= revision
            revision = state["global_parameters"]["parameter_revision"]
            assert n == revision - 2
            reads += 1
    print(reads)
"""
HOLDER = f"""{START}
    with open_parameters(".").transaction() as groups:
        groups["work"]["held"] = 1
        print("held", flush=True)
        input()
"""


@pytest.fixture
def here(tmp_path: Path) -> Path:
    """A directory with a parameter file; its revision is ahead of the count by two."""
    with open_parameters(tmp_path).transaction() as groups:
        groups["work"] = {"n": -1}
    increment(tmp_path)
    assert n_and_revision(tmp_path) == (0, 2)
    return tmp_path


def increment(here: Path, timeout: float = 30) -> None:
    names = (str(here / PARAMETER_FILE_NAME), str(here / LOCK_FILE_NAME))
    store = octo_step_engine_parameters(timeout=timeout)
    store.increment_json_dict(store.get_default_param_dict(), *names, "work", "n", True)


def n_and_revision(here: Path) -> tuple[int, int]:
    state = json.loads((here / PARAMETER_FILE_NAME).read_bytes())
    return state["work"]["n"], state["global_parameters"]["parameter_revision"]


def at_once(here: Path, codes: list[str], *arguments: object) -> Iterator[str]:
    """Start all of these processes, let them go at once, and give what each one prints."""
    with ExitStack() as stack:
        others = [stack.enter_context(Python(code, *arguments, cwd=here)) for code in codes]
        assert {other.line() for other in others} == {"ready"}
        for other in others:
            other.go_on()
        for other in others:
            yield other.output()


@pytest.mark.slow
@pytest.mark.parametrize("writer", [WRITER, THREADS], ids=["processes", "and threads in them"])
def test_a_hundred_processes_lose_no_increment_and_readers_see_whole_files_in_order(
    here: Path, writer: str
) -> None:
    total = PROCESSES * INCREMENTS
    with ExitStack() as stack:
        readers = [stack.enter_context(Python(READER, total, cwd=here)) for _ in range(2)]
        for reader in readers:
            assert reader.line() == "ready"
            reader.go_on()
        list(at_once(here, [writer] * PROCESSES, INCREMENTS))
        reads = [int(reader.output()) for reader in readers]
    assert n_and_revision(here) == (total, total + 2)
    assert min(reads) > 1


@needs_posix
@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a close drops the lock, as is said")
@pytest.mark.parametrize(
    "mischief",
    [OPENS_AND_CLOSES, FORKS_INSIDE, SECOND_OBJECT],
    ids=["opens and closes the files", "forks while it holds the lock", "drops other objects"],
)
def test_what_drops_locks_elsewhere_loses_no_increment(here: Path, mischief: str) -> None:
    list(at_once(here, [mischief, WRITER, mischief, THREADS], 40))
    assert n_and_revision(here) == (160, 162)


@needs_posix
def test_a_stopped_holder_is_named_by_all_who_wait_and_keeps_no_reader_waiting(
    here: Path, command: Command
) -> None:
    with Python(HOLDER, cwd=here) as holder:
        assert holder.line() == "ready"
        holder.go_on()
        assert holder.line() == "held"
        os.kill(holder.pid, signal.SIGSTOP)
        with pytest.raises(LockTimeoutError, match=f"pid {holder.pid} "):
            increment(here, timeout=0.05)
        for option in ("-i", "7"):
            said = command(PARAMETERS, here, "work", "n", option, "--timeout", 0.05)
            assert (said.returncode, said.stdout) == (1, "")
            assert f"pid {holder.pid} " in said.stderr and LOCK_FILE_NAME in said.stderr
        assert command(PARAMETERS, here, "work", "n").stdout == "0\n"
        os.kill(holder.pid, signal.SIGCONT)
        holder.go_on()
        holder.output()
    increment(here)
    assert n_and_revision(here) == (1, 4)
    assert open_parameters(here).read()["work"]["held"] == 1


@needs_posix
def test_a_stopped_engine_is_named_by_all_who_want_to_run_its_instance(
    make_library: MakeLibrary, tmp_path: Path, command: Command
) -> None:
    body = "    def step_execute(self):\n        os.mkfifo('in'); open('in').read()\n"
    instance = tmp_path / "instance"
    library = make_library({"a": node_text("a", body)})
    assert command(INSTANCES, "create", instance, "--library", library).returncode == 0
    with running(instance) as engine:
        wait_for((instance / "in").exists, "the hook")
        engine.send_signal(signal.SIGSTOP)
        for name in ("run", "reset", "step"):
            said = command(INSTANCES, name, instance)
            assert said.returncode == 4, said
            assert f"pid {engine.pid} " in said.stderr
        assert "EXECUTE" in command(INSTANCES, "status", instance).stdout
        engine.send_signal(signal.SIGCONT)
