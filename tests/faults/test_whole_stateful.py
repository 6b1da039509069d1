"""An instance and all that may happen to it, over real processes, against a small model.

Rules change parameters, run, step, pause, jump and reset, by the API and by the command lines, and
kill what runs at any of its system calls and crash points, or from outside in the middle of a hook.
After each rule everything is looked at: the parameter file, its revision, the event log, the
states, and what the hooks have written down themselves.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from octo_errors import ConflictError
from octo_step_engine_parameters import (
    LOCK_FILE_NAME,
    PARAMETER_FILE_NAME,
    octo_step_engine_parameters,
)
from octo_step_events import read_events
from octo_step_moves import ENGINE_STATES, STEP_STATES
from tests.faults.bench import KILLED, strays
from tests.faults.conftest import MEMORY
from tests.faults.laboratory import REFUSED, Experiment, Laboratory
from tests.faults.runs import HOOK_OF, ledger, write_library
from tests.faults.scenarios import INSTANCE, LEDGER, library_of
from tests.faults.system_calls import Fault
from tests.faults.visits import FIRST, NODES, WORK, Stand, Token, library, replay
from tests.modules.engine_support import DEADLINE_S, stored, wait_for
from tests.support import PROJECT

EXIT_OF = {"COMPLETE_SUCCESS": 0, "COMPLETE_ERROR": 1, "INACTIVE": 3}
USAGE, BUSY = 2, 4
LIBRARY = library()
USER = "user"  # the group that only the rules write

keys = st.sampled_from(["a", "b"])
numbers = st.integers(-3, 3)
nodes = st.sampled_from(NODES)


def command(script: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    """A command line of the project, as a process of its own."""
    return subprocess.run(
        [sys.executable, PROJECT / "modules" / script, *map(str, arguments)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )


class WholeInstance(RuleBasedStateMachine):
    """`user` is what the group of the rules must hold; `stand` is how the run stood at last."""

    laboratory: Laboratory
    landed: Counter[bool]
    """How many kills between two acts and before system calls have landed, and have not."""

    @initialize()
    def begin(self) -> None:
        memory = str(MEMORY) if os.access(MEMORY, os.W_OK) else None
        self.place = Path(tempfile.mkdtemp(prefix="octo-", dir=memory))
        self.work = self.place / "work"
        self.instance = self.work / INSTANCE
        self.work.mkdir()
        write_library(self.work, LIBRARY)
        self.must(0, "create", self.instance, "--library", library_of(self.work))
        self.user: dict[str, int] = {}
        self.calls: Counter[str] = Counter()  # of step_execute, begun and done
        self.done: Counter[str] = Counter()
        self.revision = 0
        self.engine: subprocess.Popen[bytes] | None = None
        self.stand = Stand.of(self.data())

    def teardown(self) -> None:
        """However it stands, it can be brought to its end, and then nothing lies about."""
        try:
            if getattr(self, "sound", False):
                if self.engine is not None:
                    self.the_engine_is_killed_from_outside()
                for _ in range(5):
                    if self.data()["global_parameters"]["step_engine_state"][:8] == "COMPLETE":
                        break
                    self.run_it()
                    self.everything_is_sound()
                else:
                    raise AssertionError("the run doesn't come to its end")
                self.update_by_api("a", 77)
                self.must(0, "reset", self.instance)
                self.forget_the_run()
                self.run_it()
                assert not strays(self.work)
        finally:
            if hasattr(self, "place"):
                shutil.rmtree(self.place)

    # --- parameters -------------------------------------------------------------------------------

    @rule(key=keys, value=numbers)
    def update_by_api(self, key: str, value: int) -> None:
        self.user[key] = value
        store, file = self.store()
        assert store.update_json_dict(*file, USER, key, value)[USER] == self.user

    @rule(key=keys, value=numbers)
    def update_by_command(self, key: str, value: int) -> None:
        self.user[key] = value
        self.parameters_command(0, USER, key, value)

    @rule(key=keys, up=st.booleans())
    def increment_by_api(self, key: str, up: bool) -> None:
        self.user[key] = self.user.get(key, 0) + (1 if up else -1)
        store, file = self.store()
        assert store.increment_json_dict(*file, USER, key, up)[USER] == self.user

    @rule(key=keys, up=st.booleans())
    def increment_by_command(self, key: str, up: bool) -> None:
        self.user[key] = self.user.get(key, 0) + (1 if up else -1)
        said = self.parameters_command(0, USER, key, "-i" if up else "-d")
        assert said == str(self.user[key])

    @rule(key=keys, old=numbers, new=numbers, by_command=st.booleans())
    def compare_and_set(self, key: str, old: int, new: int, by_command: bool) -> None:
        holds = self.user.get(key) == old
        if holds:
            self.user[key] = new
        if by_command:
            self.parameters_command(0 if holds else 1, USER, key, new, f"--if-value={old}")
            return
        store, file = self.store()
        try:
            store.update_json_dict(*file, USER, key, new, if_value=old)
        except ConflictError:
            assert not holds
        else:
            assert holds

    @rule(value=numbers, behind=st.integers(0, 1))
    def update_on_a_revision(self, value: int, behind: int) -> None:
        if self.engine is not None:  # between two hooks nothing is written, but it may be there yet
            behind = 1
        if not behind:
            self.user["a"] = value
        store, file = self.store()
        revision = self.data()["global_parameters"]["parameter_revision"] - behind
        try:
            store.update_json_dict(*file, USER, "a", value, if_revision=revision)
        except ConflictError:
            assert behind
        else:
            assert not behind

    # --- runs at rest -----------------------------------------------------------------------------

    @precondition(lambda self: self.engine is None)
    @rule(steps=st.sampled_from([None, 1, 2, 5]))
    def run_it(self, steps: int | None = None) -> None:
        self.session("run", *(["--max-steps", steps] if steps else []))

    @precondition(lambda self: self.engine is None)
    @rule(command=st.sampled_from(["step", "advance"]))
    def perform_half_a_step(self, command: str) -> None:
        self.session(command)

    @precondition(lambda self: self.engine is None)
    @rule(number=st.integers(1, 60))
    def the_engine_is_killed_between_two_acts(self, number: int) -> None:
        self.experiment(crash_point=number)

    @precondition(lambda self: self.engine is None and self.laboratory.can_trace)
    @rule(number=st.integers(1, 600))
    def the_engine_is_killed_before_a_system_call(self, number: int) -> None:
        self.experiment(traced=True, fault=Fault(number))

    @precondition(lambda self: self.engine is None)
    @rule(node=nodes)
    def jump_at_rest(self, node: str) -> None:
        self.must(0, "jump", self.instance, node)
        self.stand = Stand.of(self.data())
        assert self.stand == Stand({node: self.stand.tokens[node]})
        assert self.stand.tokens[node].state == "ENTER"

    @precondition(lambda self: self.engine is None)
    @rule(command=st.sampled_from(["reset", "run --fresh"]))
    def begin_anew(self, command: str) -> None:
        if command == "reset":
            self.must(0, "reset", self.instance)
            self.forget_the_run()
        else:
            self.session("run", "--fresh", "--max-steps", 1, fresh=True)

    # --- runs that are in the middle of a hook ----------------------------------------------------

    @precondition(lambda self: self.engine is None)
    @rule(node=nodes, hook=st.sampled_from(list(HOOK_OF.values())))
    def the_engine_comes_to_a_hook_that_takes_long(self, node: str, hook: str) -> None:
        self.gate = self.place / f"gate.{node}.{hook}"
        os.mkfifo(self.gate)
        self.engine = subprocess.Popen(
            [sys.executable, PROJECT / "modules/octo_step_instance.py", "run", self.instance],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self.asked = ""
        wait_for(lambda: self.engine_waits() or self.engine_is_gone(), f"{node}.{hook}")
        if self.engine_is_gone():
            self.the_engine_has_ended()

    def engine_waits(self) -> bool:
        """Whether the engine is in the hook with the gate, which is open for us then."""
        try:
            self.key = os.open(self.gate, os.O_WRONLY | os.O_NONBLOCK)
        except OSError:
            return False
        return True

    def engine_is_gone(self) -> bool:
        assert self.engine is not None
        return self.engine.poll() is not None

    @precondition(lambda self: self.engine is not None)
    @rule()
    def another_engine_is_refused(self) -> None:
        assert self.engine is not None
        for arguments in (["run"], ["reset"], ["step"]):
            said = self.must(BUSY, *arguments, self.instance)
            assert f"pid {self.engine.pid} " in said.stderr

    @precondition(lambda self: self.engine is not None and not self.asked)
    @rule(request=st.sampled_from(["pause", "stop", "jump"]), node=nodes)
    def somebody_asks_for(self, request: str, node: str) -> None:
        target = [node] if request == "jump" else []
        self.must(0, request, self.instance, *target, "--no-wait")
        self.asked = request
        if request == "jump":
            with (self.place / LEDGER).open("a") as file:
                file.write(f"jump {node}\n")

    @precondition(lambda self: self.engine is not None)
    @rule()
    def the_hook_ends(self) -> None:
        assert self.engine is not None
        self.gate.unlink()
        os.close(self.key)
        self.engine.wait(DEADLINE_S)
        self.the_engine_has_ended()

    def the_engine_has_ended(self) -> None:
        assert self.engine is not None
        code, self.engine = self.engine.returncode, None
        self.gate.unlink(missing_ok=True)
        self.settle(code)
        state = self.data()["global_parameters"]["step_engine_state"]
        wanted = {"pause": "INACTIVE", "stop": "COMPLETE_ERROR"}
        assert state == wanted.get(self.asked, state)

    @precondition(lambda self: self.engine is not None)
    @rule()
    def the_engine_is_killed_from_outside(self) -> None:
        assert self.engine is not None
        self.engine.kill()
        self.engine.wait(DEADLINE_S)
        assert self.engine.returncode == KILLED
        self.engine = None
        os.close(self.key)
        self.gate.unlink()
        self.settle(KILLED)

    # --- what must hold after each of them --------------------------------------------------------

    @invariant()
    def everything_is_sound(self) -> None:
        data = self.data()
        shared = data["global_parameters"]
        assert shared["parameter_revision"] >= self.revision, "the revision has gone back"
        self.revision = shared["parameter_revision"]
        assert data.get(USER, {}) == self.user
        assert shared["step_engine_state"] in ENGINE_STATES
        assert shared["current_step_state"] in STEP_STATES
        assert all(each["state"] in STEP_STATES for each in data.get("active_steps", {}).values())
        found = [event["seq"] for event in read_events(self.instance)]
        assert found == list(range(1, len(found) + 1))
        counted = Counter(data.get(WORK, {}))
        if self.engine is None:
            assert self.done <= counted <= self.calls
        self.sound = True

    def settle(self, code: int) -> None:
        """After a session of the engine: what its hooks have done is what was owed, and no more."""
        self.sound = False  # until everything has been looked at
        lines = ledger(self.work)
        data = self.data()
        for line in lines:
            word, name, *rest = line.split()
            self.calls[name] += word == "begin" and rest[0] == "step_execute"
            self.done[name] += word == "end" and rest[0] == "step_execute"
        possible, now = replay(self.stand, lines), Stand.of(data)
        engine_state = data["global_parameters"]["step_engine_state"]
        if code != KILLED:
            single = data["global_parameters"].get("pause_reason") == "single step"
            assert code == (0 if single else EXIT_OF[engine_state]), engine_state
            assert lines[-1:] == [] or not lines[-1].startswith("begin")
            possible = possible[-1:]
        if engine_state == "COMPLETE_SUCCESS":
            assert any(not each.tokens and not each.arrivals for each in possible), (
                possible,
                lines,
            )
        elif engine_state != "COMPLETE_ERROR":
            assert now in possible, (now, possible, lines)
        self.stand = now

    # --- helpers ----------------------------------------------------------------------------------

    def data(self) -> dict[str, Any]:
        return stored(self.instance)

    def store(self) -> tuple[octo_step_engine_parameters, tuple[Any, str, str]]:
        store = octo_step_engine_parameters()
        names = (str(self.instance / PARAMETER_FILE_NAME), str(self.instance / LOCK_FILE_NAME))
        return store, (store.get_default_param_dict(), *names)

    def parameters_command(self, code: int, *words: object) -> str:
        done = command("octo_step_engine_parameters.py", self.instance, *words)
        self.sound = done.returncode == code
        assert self.sound, (words, done)
        assert "Traceback" not in done.stderr
        return done.stdout.strip()

    def must(self, code: int, *words: object) -> subprocess.CompletedProcess[str]:
        done = command("octo_step_instance.py", *words)
        self.sound = done.returncode == code
        assert self.sound, (words, done)
        assert "Traceback" not in done.stderr
        return done

    def session(self, *words: object, fresh: bool = False) -> None:
        """A command that lets an engine call hooks, until it ends by itself."""
        name, *options = words
        before = self.data()
        done = command("octo_step_instance.py", name, self.instance, *options)
        assert "Traceback" not in done.stderr, done
        if fresh:
            self.forget_the_run()
            self.stand = Stand({FIRST: Token()})
        if name in ("step", "advance") and done.returncode == USAGE:  # it is not the time for it
            assert self.data() == before
            return
        self.settle(done.returncode)

    def experiment(self, **how: Any) -> None:
        """A run with a kill at a certain moment, if it comes that far."""
        outcome = self.laboratory.run(Experiment("command_run", self.work, **how))
        assert outcome.code in (0, REFUSED, KILLED), outcome
        code = outcome.code
        self.landed[code == KILLED] += 1
        if code == REFUSED:
            code = EXIT_OF[self.data()["global_parameters"]["step_engine_state"]]
            assert outcome.error == f"exit code {code}", outcome
        self.settle(code)

    def forget_the_run(self) -> None:
        """The state has been put away: groups of rules and nodes are gone, too."""
        self.user = {}
        self.calls.clear()
        self.done.clear()
        self.stand = Stand.of(self.data())


@pytest.mark.parametrize(
    "examples",
    [
        pytest.param(8, marks=[pytest.mark.slow, pytest.mark.timeout(600)]),
        pytest.param(200, marks=[pytest.mark.exhaustive, pytest.mark.timeout(7200)]),
    ],
)
def test_whatever_happens_to_an_instance_nothing_is_lost_repeated_or_left_out(
    laboratory: Laboratory, examples: int
) -> None:
    WholeInstance.laboratory, WholeInstance.landed = laboratory, Counter()
    run_state_machine_as_test(
        WholeInstance,
        settings=settings(
            max_examples=examples,
            stateful_step_count=25,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            phases=(Phase.reuse, Phase.generate),  # not to shrink: each try takes seconds
        ),
    )
    assert WholeInstance.landed[True] > WholeInstance.landed[False] / 4
