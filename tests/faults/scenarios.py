"""What children do in the laboratory, and what can be seen of it afterwards.

A scenario works in the instance `work / "instance"` and yields whenever something has been
acknowledged: a call has returned, or a command has ended with 0. The step library of an instance
and what hooks write down lie beside `work`, which holds nothing but the project's own files.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import octo_parameters_cli
import octo_spare_file
import octo_step_events
import octo_step_instance
from octo_errors import OctoError
from octo_instance_dir import InstanceDir
from octo_instance_setup import create_instance, reset_instance
from octo_parameter_store import chosen_durability
from octo_step_engine import StepEngine
from octo_step_engine_parameters import (
    LOCK_FILE_NAME,
    PARAMETER_FILE_NAME,
    octo_step_engine_parameters,
    open_parameters,
)
from octo_step_events import EventLog, read_events
from octo_step_grammar import COMMANDS
from orchestrator import runner

Scenario = Callable[[Path], Iterator[Any]]

INSTANCE = "instance"
LEDGER = "ledger"  # what hooks write down, beside the directory that is worked in
RECIPE = "recipe.yaml"  # beside the directory that is worked in
NOBODY = 65534
DESCRIPTORS = "DESCRIPTORS"  # the variable that says how many files may be opened
EXECUTOR = "EXECUTOR"  # the variable that names the executor
COMMAND = "COMMAND"  # the variable that holds a command line, as a JSON list
SAFETY_COPY = PARAMETER_FILE_NAME + ".backup"
FULL = 200  # bytes of a log, which is more than one event has, and less than two
BAD_TEXT = '{\n  "global_parameters": {\n    "parameter_rev'


LOADED = {
    "recipe": (
        "jinja2",
        "orchestrator.recipe_check",
        "orchestrator.recipe_instance",
        "orchestrator.run_report",
    )
}
"""What the project loads late, and the laboratory before such a child is made; not for all of them:
the larger a process is, the longer it takes to fork."""


def library_of(work: Path) -> Path:
    """The step library that the instance in `work` is made of."""
    return work.parent / "step_library" / "example"


def observe(work: Path) -> dict[str, Any]:
    """What anybody sees: the parameter file (its text where it is not JSON), and the events."""
    file = work / INSTANCE / PARAMETER_FILE_NAME
    try:
        text = file.read_text(encoding="utf-8")
    except FileNotFoundError:
        parameters = None
    else:
        try:
            parameters = json.loads(text)
        except ValueError:
            parameters = text
    events = [[event["seq"], event["event"]] for event in read_events(work / INSTANCE)]
    return {"parameters": parameters, "events": events}


# --- how things are before ------------------------------------------------------------------------


def nothing(work: Path) -> Iterator[Any]:
    """A directory in which there is no instance."""
    work.mkdir(exist_ok=True)
    yield


def empty(work: Path) -> Iterator[Any]:
    """A directory without any file."""
    (work / INSTANCE).mkdir(parents=True)
    yield


def parameters(work: Path) -> Iterator[Any]:
    """A parameter file with some groups, and a safety copy of it that is old."""
    (work / INSTANCE).mkdir(parents=True)
    with open_parameters(work / INSTANCE).transaction() as groups:
        for number in range(6):
            groups[f"group {number}"] = {"text": "ü" * 40, "list": [1, 2.5, None], "n": number}
    os.utime(work / INSTANCE / SAFETY_COPY, (0, 0))
    yield


def bad_parameters(work: Path) -> Iterator[Any]:
    """A parameter file that is cut off; its safety copy is whole."""
    yield from parameters(work)
    (work / INSTANCE / PARAMETER_FILE_NAME).write_text(BAD_TEXT)


def bad_parameters_alone(work: Path) -> Iterator[Any]:
    """A parameter file that is cut off, and no safety copy."""
    yield from empty(work)
    (work / INSTANCE / PARAMETER_FILE_NAME).write_text(BAD_TEXT)


def events(work: Path) -> Iterator[Any]:
    """A log of some events."""
    yield from empty(work)
    yield from _appended(work, 5)


def full_events(work: Path) -> Iterator[Any]:
    """A log that has been rotated as often as it can be without a loss."""
    _rotate_early()
    yield from events(work)


def torn_events(work: Path) -> Iterator[Any]:
    """A log whose last line is torn."""
    yield from events(work)
    with (work / INSTANCE / octo_step_events.EVENT_FILE_NAME).open("ab") as file:
        file.write(b'{"ts":"2026-01-01T00:00:0')


def instance(work: Path) -> Iterator[Any]:
    """An instance of the library, at rest."""
    work.mkdir(exist_ok=True)
    create_instance(work / INSTANCE, library_of(work))
    yield


def ended_instance(work: Path) -> Iterator[Any]:
    """An instance whose run has ended, with a log in as many files as there may be."""
    _rotate_early()
    yield from instance(work)
    StepEngine(InstanceDir(work / INSTANCE)).run()
    yield


def laden_instance(work: Path) -> Iterator[Any]:
    """An instance with 1 MB of parameters and 10,000 events."""
    yield from instance(work)
    with open_parameters(work / INSTANCE).transaction() as groups:
        for number in range(1000):
            groups[f"group {number}"] = {"text": "x" * 1000, "n": number}
    log = _log(work)
    for _ in range(100):
        log.append(*[{"event": "jump", "node": "n" * 30} for _ in range(100)])
    log.close()
    yield


# --- parameters -----------------------------------------------------------------------------------


def _parameter_calls(work: Path) -> tuple[octo_step_engine_parameters, tuple[Any, str, str]]:
    store = octo_step_engine_parameters(timeout=0.2)
    place = work / INSTANCE
    names = (str(place / PARAMETER_FILE_NAME), str(place / LOCK_FILE_NAME))
    return store, (store.get_default_param_dict(), *names)


def create(work: Path) -> Iterator[Any]:
    """The first call makes the file."""
    store, file = _parameter_calls(work)
    store.read_json_dict(*file)
    yield


def create_by_update(work: Path) -> Iterator[Any]:
    """The first call makes the file, with a change."""
    store, file = _parameter_calls(work)
    store.update_json_dict(*file, "group 0", "n", 7)
    yield


def update(work: Path) -> Iterator[Any]:
    """A value that makes the file larger, and one in a group that is new."""
    store, file = _parameter_calls(work)
    store.update_json_dict(*file, "group 3", "text", "x" * 5000)
    yield
    store.update_json_dict(*file, "group new", "n", {"a": [1]})
    yield


def increment(work: Path) -> Iterator[Any]:
    """Up, and down."""
    store, file = _parameter_calls(work)
    for up in (True, False):
        store.increment_json_dict(*file, "group 5", "n", up)
        yield


def transactions(work: Path) -> Iterator[Any]:
    """Several groups at once: made, changed, and removed."""
    file = open_parameters(work / INSTANCE, timeout=0.2)
    for turn in range(2):
        with file.transaction() as groups:
            groups[f"made {turn}"] = {"n": turn}
            groups["group 1"]["n"] += 1
            del groups[f"group {turn + 3}"]
        yield


def often(work: Path) -> Iterator[Any]:
    """One process changes the file so often that it keeps a spare."""
    for name, value in (("WORTHWHILE", 1), ("ALONE", 0)):  # sooner than else
        setattr(octo_spare_file, name, value)
    store, file = _parameter_calls(work)
    for text in ("long" * 500, "short", "longer" * 1000, "", "open by now", "both"):
        store.update_json_dict(*file, "group 5", "text", text)
        yield


def synced(work: Path) -> Iterator[Any]:
    """A change, and a safety copy of it at once."""
    file = open_parameters(work / INSTANCE, timeout=0.2)
    with file.transaction() as groups:
        groups["group 1"]["n"] += 1
    yield
    file.sync()


def repair(work: Path) -> Iterator[Any]:
    """The bad file is moved aside, and a good one is put in its place."""
    open_parameters(work / INSTANCE, timeout=0.2).repair()
    yield


def repair_from_defaults(work: Path) -> Iterator[Any]:
    """The same, and the safety copy is put aside too."""
    open_parameters(work / INSTANCE, timeout=0.2).repair(from_copy=False)
    yield


class CommandFailedError(OctoError):
    """A command ended with another code than 0; what it had to say, it has written to stderr."""


def _command(main: Callable[[list[str]], int], *arguments: object) -> None:
    code = main([str(argument) for argument in arguments])
    if code != 0:
        raise CommandFailedError(f"exit code {code}")


def command_update(work: Path) -> Iterator[Any]:
    """The command line: set a value, and add one."""
    place = work / INSTANCE
    _command(octo_parameters_cli.main, place, "group 3", "text", "new", "--timeout", 0.2)
    yield
    _command(octo_parameters_cli.main, place, "group 5", "n", "-i", "--timeout", 0.2)
    yield


def command_repair(work: Path) -> Iterator[Any]:
    """The command line: --repair."""
    _command(octo_parameters_cli.main, work / INSTANCE, "--repair", "--timeout", 0.2)
    yield


# --- the event log --------------------------------------------------------------------------------


def append(work: Path) -> Iterator[Any]:
    """A few appends of two events each."""
    yield from _appended(work, 3, 2)


def rotate(work: Path) -> Iterator[Any]:
    """Appends of which each rotates the log, so that its oldest events go."""
    _rotate_early()
    yield from _appended(work, 2)


def mend(work: Path) -> Iterator[Any]:
    """Opening the log mends it, which is an event."""
    log = _log(work)
    yield
    log.append({"event": "resume"})
    log.close()
    yield


def _log(work: Path) -> EventLog:
    return EventLog(work / INSTANCE, durability=chosen_durability(None))


def _rotate_early() -> None:
    setattr(octo_step_events, "ROTATE_AT", FULL)  # noqa: B010  # final, for all but tests


def _appended(work: Path, calls: int, events_each: int = 1) -> Iterator[Any]:
    log = _log(work)
    for _ in range(calls):
        log.append(*[{"event": "jump", "node": "n" * 30} for _ in range(events_each)])
        yield
    log.close()


# --- instances ------------------------------------------------------------------------------------


def created(work: Path) -> Iterator[Any]:
    """An instance of the library is made."""
    create_instance(work / INSTANCE, library_of(work))
    yield


def reset(work: Path) -> Iterator[Any]:
    """The old state is put away, and all begins anew."""
    made = InstanceDir(work / INSTANCE)
    with made.run_lock():
        reset_instance(made)
        yield


def run(work: Path) -> Iterator[Any]:
    """The engine runs the instance until it ends or rests."""
    executor = os.environ.get(EXECUTOR, "serial")
    yield StepEngine(InstanceDir(work / INSTANCE), executor=executor).run().engine_state


def timed_run(work: Path) -> Iterator[Any]:
    """The engine runs the instance; acknowledges the seconds of processor time that it took."""
    begun = time.process_time()
    StepEngine(InstanceDir(work / INSTANCE)).run()
    yield time.process_time() - begun


def run_fresh(work: Path) -> Iterator[Any]:
    """The engine puts away what is there, and runs the instance anew."""
    yield StepEngine(InstanceDir(work / INSTANCE)).run(fresh=True).engine_state


def command_run(work: Path) -> Iterator[Any]:
    """The command line: run."""
    _command(octo_step_instance.main, "run", work / INSTANCE)
    yield


def command(work: Path) -> Iterator[Any]:
    """A command line of instances, or (without a command in front) that of parameters."""
    words = json.loads(os.environ[COMMAND])
    main = octo_step_instance.main if words[0] in COMMANDS else octo_parameters_cli.main
    _command(main, *words)
    yield


def recipe(work: Path) -> Iterator[Any]:
    """The runner of recipes begins, or goes on with, a run of the recipe beside the instance."""
    work.mkdir(exist_ok=True)
    begun = (work / INSTANCE / PARAMETER_FILE_NAME).exists()
    words = ["--recipe", work.parent / RECIPE, "--instance", work / INSTANCE]
    words += [
        "--executor",
        os.environ.get(EXECUTOR, "serial"),
        "--set",
        f"ledger={work.parent / LEDGER}",
    ]
    _command(runner.main, *words, *(["--resume"] if begun else []))
    yield


# --- hardships that are real ---------------------------------------------------------------------


def grow(work: Path) -> Iterator[Any]:
    """A value that becomes longer and longer; acknowledges its length."""
    file = open_parameters(work / INSTANCE, timeout=0.2)
    for length in range(0, 1_000_000, 1000):
        with file.transaction() as groups:
            groups.setdefault("grown", {})["text"] = "x" * length
        yield length


def append_much(work: Path) -> Iterator[Any]:
    """Events without end; acknowledges the number of each."""
    log = _log(work)
    for _ in range(100_000):
        yield log.append({"event": "jump", "node": "n" * 200})[0]["seq"]


def limited_files(scenario: Scenario, size: int) -> Scenario:
    """A scenario in a process that may not make a file larger than this."""

    def limited(work: Path) -> Iterator[Any]:
        import resource

        resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
        yield from scenario(work)

    return limited


def few_descriptors(scenario: Scenario) -> Scenario:
    """A scenario in a process that may open as many files more as the environment says."""

    def limited(work: Path) -> Iterator[Any]:
        import resource

        _rehearse(scenario, work)
        lowest_free = os.dup(0)
        os.close(lowest_free)
        most = lowest_free + int(os.environ[DESCRIPTORS])
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
        yield from scenario(work)

    return limited


def _rehearse(scenario: Scenario, work: Path) -> None:
    """Perform the scenario elsewhere, so that all modules that it needs are loaded."""
    with tempfile.TemporaryDirectory() as place:
        shutil.copytree(library_of(work), library_of(Path(place) / "work"))
        shutil.copytree(work, Path(place) / "work")
        for _ in scenario(Path(place) / "work"):
            pass


def as_nobody(scenario: Scenario) -> Scenario:
    """A scenario in a process that is not root; the instance is read-only."""

    def unprivileged(work: Path) -> Iterator[Any]:
        _rehearse(scenario, work)
        (work / INSTANCE).chmod(0o555)
        if os.geteuid() == 0:
            os.setuid(NOBODY)
        yield from scenario(work)

    return unprivileged


# --- what comes next ------------------------------------------------------------------------------


def use_parameters(work: Path) -> Iterator[Any]:
    """An ordinary write, at a time when a new safety copy is due."""
    with suppress(FileNotFoundError):
        os.utime(work / INSTANCE / SAFETY_COPY, (0, 0))
    with open_parameters(work / INSTANCE).transaction() as groups:
        groups["used"] = {"again": True}
    yield


def use_events(work: Path) -> Iterator[Any]:
    """The next engine's first event."""
    log = _log(work)
    log.append({"event": "used"})
    log.close()
    yield


def repair_and_use(work: Path) -> Iterator[Any]:
    """Repair what needs it, then go on."""
    open_parameters(work / INSTANCE).repair()
    yield from use_parameters(work)


_NAMED = {
    function.__name__: function
    for function in (
        *(nothing, empty, parameters, bad_parameters, bad_parameters_alone),
        *(events, full_events, torn_events, instance, ended_instance, laden_instance),
        *(create, create_by_update, update, increment, transactions, often, synced),
        *(repair, repair_from_defaults, command_update, command_repair),
        *(append, rotate, mend),
        *(recipe, created, reset, run, timed_run, run_fresh, command_run, command),
        *(grow, append_much),
        *(use_parameters, use_events, repair_and_use),
    )
}
SCENARIOS: dict[str, Scenario] = {
    **_NAMED,
    **{
        f"{name} in small files": limited_files(_NAMED[name], 4096)
        for name in ("grow", "append_much")
    },
    **{
        f"{name} with few descriptors": few_descriptors(_NAMED[name])
        for name in ("update", "command_update", "append", "command_run")
    },
    **{
        f"{name} as nobody": as_nobody(_NAMED[name])
        for name in ("update", "command_update", "repair", "append", "command_run")
    },
}
