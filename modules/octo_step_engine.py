"""The engine: carries out what the machine decides, and keeps the state in the parameter file.

One loop in one thread. What happened (results of hooks, back-offs that are over, requests in the
parameter file) goes to `StepMachine`; what it decides is written to the event log, then to the
parameter file in one transaction, and only then are the next hooks called. So a kill at any
instant leaves a file from which the next run goes on: a hook that was running, or about to, is
performed again as its node's `on_interrupt` says; a hook that had finished, and whose next state
is in the file, is not.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from octo_errors import InstanceError, LibraryError, UsageError, did_you_mean
from octo_instance_dir import JUMP_REQUEST, PAUSE_REQUEST, REQUESTS, STOP_REQUEST, InstanceDir
from octo_instance_setup import reset_instance
from octo_lock_json import Groups, speed_up
from octo_parameter_schema import ARMED_KEY, GLOBAL_GROUP
from octo_step_dependencies import DependencyMachine
from octo_step_events import EventLog
from octo_step_executors import Executor, HookResult, make_executor
from octo_step_graph import StepGraph
from octo_step_machine import HALVES, Limits, StepMachine
from octo_step_messages import (
    Event,
    Finish,
    HookCall,
    Instruction,
    JumpRequested,
    PauseRequested,
    Record,
    Rest,
    RetryDue,
    SetItems,
    SetResult,
    Started,
    StopRequested,
    Tick,
)
from octo_step_outcome import Outcome
from octo_step_output import StepOutput
from octo_step_processes import marked, outlived
from octo_step_program import Program, load_program
from octo_step_results import as_event, facts_of, keep_items, keep_result
from octo_step_states import RunState
from octo_typed_commands import parameters_command

POLL_SECONDS = 0.25
STOPPED = "stopped by request"
"""Why a run has ended that somebody ended."""

_PASSED_ON = {PauseRequested: PAUSE_REQUEST, StopRequested: STOP_REQUEST}

_log = logging.getLogger(__name__)


class StepEngine:
    """Runs one instance.

    Args:
        instance: The instance's directory.
        program: What it runs; None loads what its parameter file says, at each call.
        executor: Where hooks run: `serial`, `threads` or `processes`; None: as the program wishes.
        workers: How many hooks may run at once; None: as the program wishes.
        verbose: Passed to the nodes as `verbose_flag`.
        strict: Refuse to go on with a library that has changed since the run began.
        keep_going: In a graph by dependency, a node that fails doesn't keep those from running
            that don't depend on it.
        observer: Called with each event once it is in the log. Its mistakes are logged, no more.
        sink: Called with (node, bytes) for what a hook writes to its stdout and stderr.

    Every method that drives hooks takes the run lock, and raises EngineBusyError when another
    engine has it, LibraryError when the library has errors, and LockTimeoutError,
    ParameterFileError or EventLogError when state can't be kept; the state on disk is then the one
    before the call that failed.
    """

    def __init__(
        self,
        instance: InstanceDir,
        *,
        program: Program | None = None,
        executor: str | None = None,
        workers: int | None = None,
        verbose: bool = False,
        strict: bool = False,
        keep_going: bool = False,
        observer: Callable[[dict[str, Any]], None] | None = None,
        sink: Callable[[str, bytes], None] | None = None,
    ) -> None:
        self.instance = instance
        self._program = program
        self._keep_going = keep_going
        self._executor_kind, self._workers = executor, workers
        self._verbose = verbose
        self._strict = strict
        self._observer = observer
        self._sink = sink
        self._executor: Executor | None = None
        self._asked_to_pause = ""
        self._interrupted = False
        speed_up()

    # --- what a user asks for ---

    def run(
        self,
        *,
        max_steps: int | None = None,
        until: str | None = None,
        fresh: bool = False,
        retry_failed: bool = False,
    ) -> Outcome:
        """Start, or go on, until the run ends or is to rest.

        Args:
            max_steps: Rest when so many nodes were left.
            until: Rest before this node is entered.
            fresh: Put an old run away first.
            retry_failed: What failed is tried again, whether the run has ended by that or not.
        """
        with self.instance.run_lock():
            if fresh:
                if until is not None:  # before anything is put away
                    _known(until, self._load_program().graph)
                self._put_away()
            with self._session(Limits(max_steps=max_steps, until=until)) as session:
                if retry_failed and session.run.has_failed:
                    session.reopen()
                if until is not None:
                    _known(until, session.graph)
                if not session.run.finished:
                    session.program.require_ready()
                return session.drive([Started()])

    def _put_away(self) -> None:
        """Make safe what is armed, and archive the run there was."""
        if self.instance.parameters.read()[GLOBAL_GROUP].get(ARMED_KEY):
            with self._session(Limits()) as session:
                session.make_safe()
        reset_instance(self.instance)

    def step(self) -> Outcome:
        """Perform ENTER and EXECUTE of the active nodes that stand there.

        In a graph by dependency, one node is made active where none is.
        """
        return self._half("ENTER", "ADVANCE", other="advance")

    def advance(self) -> Outcome:
        """Perform ADVANCE, EXIT and JUMP of the active nodes that stand there."""
        return self._half("ADVANCE", "ENTER", other="step")

    def _half(self, begins_at: str, rests_at: str, *, other: str) -> Outcome:
        with self.instance.run_lock(), self._session(Limits(at_state=rests_at)) as session:
            stand = {} if session.run.finished else dict(session.machine.ahead())
            if stand and HALVES[begins_at].isdisjoint(stand.values()):
                where = ", ".join(f"{node} stands at {state}" for node, state in stand.items())
                raise UsageError(where, hint=f"the next command is `{other}`")
            return session.drive([Started()])

    def stop(self, reason: str = STOPPED) -> Outcome:
        """End a run that rests, without success; the armed nodes make safe."""
        with self.instance.run_lock(), self._session(Limits()) as session:
            return session.drive([StopRequested(reason), Started()])

    def make_safe(self) -> Outcome:
        """Run `step_make_safe` of the armed nodes, newest first."""
        with self.instance.run_lock(), self._session(Limits()) as session:
            session.make_safe()
            return session.outcome()

    def jump(self, node: str) -> None:
        """Let a run that rests, or has ended, go on at `node` when it is started next."""
        with self.instance.run_lock(), self._session(Limits()) as session:
            session.jump(_known(node, session.graph))

    # --- what may be called while it runs, from signal handlers and other threads ---

    def request_pause(self, reason: str) -> None:
        """Rest as soon as the hooks in flight are done."""
        self._asked_to_pause = reason
        if (executor := self._executor) is not None:  # another thread may end it now
            executor.wake()

    def interrupt(self) -> None:
        """Break the hooks in flight off, and rest."""
        self._interrupted = True
        self.request_pause("interrupted")
        if (executor := self._executor) is not None:
            executor.interrupt()

    # --- a session: everything that is open while hooks may be called ---

    def _load_program(self) -> Program:
        return self._program or load_program(self.instance, verbose=self._verbose)

    @contextmanager
    def _session(self, limits: Limits) -> Iterator[_Session]:
        program = self._load_program()
        parameters = self.instance.parameters
        run_id = parameters.read()[GLOBAL_GROUP].get("run_id", "")
        log = EventLog(self.instance.path, durability=parameters.durability, run_id=run_id)
        output = StepOutput(self.instance.path, self._sink)
        try:
            if log.mended:
                self._observe([log.mended])
            executor = self._executor = make_executor(
                self._executor_kind or program.executor,
                program.source,
                program.directory,
                program.workers if self._workers is None else self._workers,
                output,
            )
            at_once = 1 if limits.at_state else executor.workers
            limits = replace(limits, at_once=at_once, keep_going=self._keep_going)
            try:
                with marked(self.instance.path):
                    yield _Session(self, program, limits, log, executor)
            finally:
                if left := executor.close():
                    self._observe(log.append({"event": "left_running", "what": left}))
        finally:
            self._executor = None
            output.close()
            log.close()

    def _observe(self, events: list[dict[str, Any]]) -> None:
        if self._observer is None:
            return
        for event in events:
            try:
                self._observer(event)
            except Exception:
                _log.exception("an observer failed at the event %s", event.get("event"))


class _Session:
    """One stretch of driving an instance, from one start to the next rest or the end."""

    def __init__(
        self,
        engine: StepEngine,
        program: Program,
        limits: Limits,
        log: EventLog,
        executor: Executor,
    ) -> None:
        self.engine = engine
        self.program = program
        self.graph = program.graph
        self.parameters = engine.instance.parameters
        self.run = RunState.load(self.parameters.read(), self.graph)
        machine = DependencyMachine if self.graph.by_dependency else StepMachine
        self.machine = machine(self.graph, self.run, limits)
        self._log = log
        self._executor = executor
        self._ending: Rest | Finish | None = None
        self._repeated: set[str] | None = None  # hooks with which the run went on, in flight still
        self._reason = ""
        self._request = ""  # what nodes at work are asked for, too

    def outcome(self) -> Outcome:
        """How the run stands."""
        return Outcome(
            self.run.state,
            self._reason,
            tuple(self.run.armed),
            self.engine._interrupted,
            () if self.run.finished else tuple(self.machine.ahead()),
        )

    def drive(self, events: list[Event]) -> Outcome:
        """Feed the machine, and do as it says, until the run ends or rests."""
        if self.run.finished:
            self._reason = self.parameters.read()[GLOBAL_GROUP].get("end_reason", "")
            self.make_safe()
            return self.outcome()
        self._begin()
        while self._ending is None:
            self._take(events)
            if self._ending is None:
                events = self._wait()
        if isinstance(self._ending, Finish):
            self.make_safe()
        self.parameters.sync()
        return self.outcome()

    def jump(self, node: str) -> None:
        """Stand at the entry of `node`, whatever was active."""
        self._log.run_id = self._log.run_id or _new_run_id()
        left = self.run.jump(node, self.graph)
        self._stand({"event": "jump", "node": node, "left": left}, f"jump to {node}")

    def reopen(self) -> None:
        """Let a run that has failed stand where it can be tried again."""
        self.run.reopen(self.graph)
        self._stand({"event": "reopened"}, "opened again")

    def _stand(self, event: dict[str, Any], reason: str) -> None:
        self.write_events([event])
        with self.parameters.transaction() as data:
            self.run.store(data, self.graph, time.time())
            data[GLOBAL_GROUP].update(run_id=self._log.run_id, pause_reason=reason, end_reason="")

    def make_safe(self) -> None:
        """Run the make-safe hooks that are owed, newest first; one that fails stays owed."""
        for node in reversed(list(self.run.armed)):
            found = self.graph.node(node)
            call = HookCall(node, "step_make_safe", found.timeout_s, found.own_process)
            result = self._call_and_wait(call)
            event = {"event": "make_safe", "node": node, **facts_of(result)}
            if result.error is None and not result.interrupted:
                self.run.armed.remove(node)
            else:
                event["error"] = result.error or "interrupted"
            self.write_events([event])
            with self.parameters.transaction() as data:
                self.run.store(data, self.graph, time.time())

    # --- beginning ---

    def _begin(self) -> None:
        """Say in the log and in the file that the run starts or goes on; make safe after a kill."""
        goes_on = self.run.begun
        changed = self.program.changes(self.engine.instance.path) if goes_on else []
        if changed and self.engine._strict:
            raise LibraryError(
                f"the library has changed since this run began: {', '.join(changed)}",
                hint="undo the changes, run without --strict, or begin anew with `run --fresh`",
            )
        if not goes_on:
            self.program.pin(self.engine.instance.path)
        if not (goes_on and self._log.run_id):
            self._log.run_id = _new_run_id()
        kind = "resume" if goes_on else "run_start"
        crash = {"crashed": True} if self.run.crashed else {}
        executor = self.engine._executor_kind or self.program.executor
        events = [{"event": kind, "executor": executor, **crash}]
        if changed:
            events.append({"event": "library_changed", "files": changed})
        if self.run.crashed and (left := outlived(self.engine.instance.path)):
            events.append({"event": "left_running", "what": left})
        self.write_events(events)
        with self.parameters.transaction() as data:
            self.program.add_missing(data)
            data[GLOBAL_GROUP].update(
                run_id=self._log.run_id,
                step_engine_instance_path=str(self.engine.instance.path),
                resumed_bool=goes_on,
                pause_reason="",
                end_reason="",
            )
        if self.run.crashed:
            self.make_safe()

    # --- the loop ---

    def _take(self, events: list[Event]) -> None:
        """Let the machine decide, keep what it decided, then call the hooks it wants called."""
        with self.parameters.transaction() as data:
            self._check_record(data)
            asked = self._requests(data)
            if not asked and not events:
                return
            now = time.time()
            instructions: list[Instruction] = []
            for event in [*asked, *events]:
                instructions += self.machine.handle(event, now)
            self._note_repeats(data)
            records = self._keep(instructions, data)
            self.run.store(data, self.graph, now)
            logged = self._log.append(*records)
        self.engine._observe(logged)
        for each in asked:
            self._request = _PASSED_ON.get(type(each), self._request)
        for instruction in instructions:
            if isinstance(instruction, HookCall):
                self._executor.submit(instruction)

    def _check_record(self, data: Groups) -> None:
        """What `_begin` wrote must be there: the state of the nodes is gone with it.

        Raises:
            InstanceError: Somebody has removed the file, or put another one there.
        """
        if data[GLOBAL_GROUP].keys().isdisjoint(("run_id", "resumed_bool")):
            repair = parameters_command(self.engine.instance.path, "--repair")
            raise InstanceError(
                f"{self.parameters.path}: was removed or replaced while the run was at work,"
                " whose state was there",
                hint="put it back; or remove what is there now, and put back the safety copy:"
                f" {repair}",
            )

    def _keep(self, instructions: list[Instruction], data: Groups) -> list[dict[str, Any]]:
        """Put results and endings into `data`; return the events for the log."""
        records = []
        for instruction in instructions:
            match instruction:
                case Record(event):
                    records.append(event)
                case SetResult():
                    keep_result(instruction, data, self.graph)
                case SetItems():
                    keep_items(instruction, data)
                case Rest(reason):
                    self._ending, self._reason = instruction, reason
                    data[GLOBAL_GROUP]["pause_reason"] = reason
                    records.append({"event": "pause", "reason": reason, "armed": self.run.armed})
                case Finish(success, reason):
                    self._ending, self._reason = instruction, reason
                    if success:
                        self.run.armed.clear()
                    data[GLOBAL_GROUP]["end_reason"] = reason
                    end = {"event": "run_end", "engine_state": self.run.state, "reason": reason}
                    records.append(end)
        return records

    def _note_repeats(self, data: Groups) -> None:
        """`resumed_bool` is true while the hooks are performed with which a run went on."""
        shared = data[GLOBAL_GROUP]
        if shared.get("resumed_bool"):
            if self._repeated is None:
                self._repeated = set(self.machine.in_flight)
            self._repeated &= self.machine.in_flight
            shared["resumed_bool"] = bool(self._repeated)

    def _requests(self, data: Groups) -> list[Event]:
        """Take the requests out of the file, and the one that a signal handler left."""
        shared = data[GLOBAL_GROUP]
        events: list[Event] = []
        if self.engine._asked_to_pause:
            events.append(PauseRequested(self.engine._asked_to_pause))
            self.engine._asked_to_pause = ""
        if not shared.keys().isdisjoint(REQUESTS):
            jump = shared.pop(JUMP_REQUEST, None)
            pause = shared.pop(PAUSE_REQUEST, None)
            if shared.pop(STOP_REQUEST, None):  # which outranks a pause
                events.insert(0, StopRequested(STOPPED))
            elif pause:
                events.append(PauseRequested("pause requested"))
            if jump in self.graph.nodes:
                events.append(JumpRequested(jump))
            elif jump:
                events.append(PauseRequested(f"asked to jump to an unknown node {jump!r}"))
        return events

    def _wait(self) -> list[Event]:
        """Block until something has happened, or until it is time to look at the file again."""
        due, at_work = self.machine.retries_due(), self.machine.in_flight
        looks = not at_work or self.program.heed_requests(at_work)
        if at_work and looks:
            self._pass_on()
        timeout = POLL_SECONDS if looks else None
        if self.machine.ready:
            timeout = 0.0
        elif due:
            wait = max(0.0, due[0][0] - time.time())
            timeout = wait if timeout is None else min(timeout, wait)
        events = [as_event(result) for result in self._executor.wait(timeout)]
        now = time.time()
        events += [RetryDue(node) for when, node in due if when <= now]
        return [Tick(), *events] if self.machine.ready else events

    def _pass_on(self) -> None:
        """Ask the nodes at work for what the run was asked for; final ones are not to be ended."""
        nodes = self.machine.in_flight
        if self._request == STOP_REQUEST:
            nodes = {name for name in nodes if not self.graph.node(name).is_final}
        if self._request:
            self.program.pass_on(self._request, nodes)

    def _call_and_wait(self, call: HookCall) -> HookResult:
        self._executor.submit(call)
        while True:
            for result in self._executor.wait(None):
                return result

    def write_events(self, events: list[dict[str, Any]]) -> None:
        """Append to the log, and tell the observer."""
        self.engine._observe(self._log.append(*events))


def _known(node: str, graph: StepGraph) -> str:
    if node not in graph.nodes:
        raise UsageError(f"there is no node {node!r}", hint=did_you_mean(node, graph.nodes))
    return node


def _new_run_id() -> str:
    return f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{os.urandom(3).hex()}"
