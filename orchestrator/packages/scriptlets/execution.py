"""Scriptlets and functions as steps of a Python program: with dependencies, in parallel, durable.

    with ExecutionContext("runs/one", workers=4) as run:
        rows = run.add("load", LoadScriptlet, {"source": "a.csv"}, retries=2)
        run.add("count", count_rows, {"rows": rows})
        results = run.execute()

They are run by the engine, in an instance: `octo_step_instance.py` shows, pauses and draws the run
as it does any other. When the program was killed, or a step has failed, the same program goes on
where it stopped: steps that are done aren't repeated, and their results come from the instance.
"""

from __future__ import annotations

import codecs
import shutil
import sys
import tempfile
import weakref
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from os import PathLike
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Literal, Self

from octo_errors import InstanceError, ScriptletError
from octo_instance_dir import InstanceDir, is_instance
from octo_instance_setup import make_instance, reset_instance
from octo_parameter_schema import GLOBAL_GROUP, PROGRAM_KEY, STATUS_KEY
from octo_step_console import Stream
from octo_step_engine import StepEngine
from octo_step_outcome import Outcome
from octo_step_states import RunState
from orchestrator.context import Context
from scriptlets.plan import (
    ResultOf,
    Step,
    check_added,
    check_steps,
    dependencies_of,
    kept_plan,
    make_step,
    refuse,
)
from scriptlets.registry import registry
from scriptlets.steps import (
    PROGRAM,
    LiveSteps,
    Returned,
    ScriptletProgram,
    ScriptletStep,
    read_program,
)

Sink = Callable[[str, bytes], None]

_FACTS: Final = ("wall_s", "cpu_s", "peak_memory_bytes")


class Results(Mapping[str, Any]):
    """What the steps returned, by name; of those that are done.

    The result of a step that this process performed is what it returned, else it is what JSON kept
    of that (a tuple comes back as a list). One that JSON could not keep raises ScriptletError.

    Attributes:
        errors: What went wrong, by step, in those that failed.
        usage: Of the steps that `execute` performed: `wall_s`, `cpu_s`, `peak_memory_bytes`.
    """

    def __init__(
        self,
        done: Iterable[str],
        by: Callable[[str], Any],
        errors: dict[str, str],
        usage: dict[str, dict[str, float]],
    ) -> None:
        self.errors = errors
        self.usage = usage
        self._values: dict[str, Any] = {}
        self._lost: dict[str, ScriptletError] = {}
        for step in done:
            self._values[step] = None
            try:
                self._values[step] = by(step)
            except ScriptletError as error:
                self._lost[step] = error

    def __getitem__(self, step: str) -> Any:
        if step in self._lost:
            raise self._lost[step]
        return self._values[step]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __repr__(self) -> str:
        return f"Results({self._values!r}, errors={self.errors!r})"


class ExecutionContext:
    """Steps that call scriptlets and functions, and the run of them. For one thread.

    Args:
        instance: The directory that keeps the run, made where there is none; None: a temporary one,
            which `close` removes.
        executor: Where steps run: `serial`, `threads`, or `processes`.
        workers: How many may run at once; None leaves it to the executor.
        keep_going: A failed step doesn't keep those from running that don't depend on it.
        fresh: Put what `instance` has of an old run into its archive, the context too.

    Raises:
        InstanceError: `instance` is one of something else, or can't be made.
    """

    def __init__(
        self,
        instance: str | PathLike[str] | None = None,
        *,
        executor: str = "threads",
        workers: int | None = None,
        keep_going: bool = False,
        fresh: bool = False,
    ) -> None:
        self._executor = executor
        self._workers = workers
        self._keep_going = keep_going
        self._steps: dict[str, Step] = {}
        self._remove: Callable[[], object] | None = None
        if instance is None:
            instance = tempfile.mkdtemp(prefix="octo_steps_")
            self._remove = weakref.finalize(self, shutil.rmtree, instance, ignore_errors=True)
        self._instance = _open_instance(Path(instance), fresh)
        self._returned = Returned(self._instance)
        self.context = Context(self._instance.path)
        """The data that the steps share."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Remove the directory, if it is a temporary one."""
        if self._remove is not None:
            self._instance.parameters.close()
            self._remove()

    # --- the steps ---

    def add(
        self,
        name: str,
        target: Any,
        params: Mapping[str, Any] | None = None,
        *,
        depends_on: Iterable[str | ResultOf] = (),
        retries: int = 0,
        retry_delay: float = 0.0,
        retry_backoff: float = 1.0,
        timeout: float | None = None,
        on_error: Literal["fail", "continue"] = "fail",
    ) -> ResultOf:
        """Add a step; nothing is run yet.

        Args:
            target: A scriptlet class, a function, or the name of a registered scriptlet. A function
                gets `params` by name, and the context if it has a parameter `context`.
            params: By name; what `add` returned for another step stands for the result of that.
            depends_on: The steps that must be done first, by name (they may be added later) or as
                what `add` returned for them.
            retries: How often a step that fails is tried again.
            retry_delay: Seconds before it is tried again.
            retry_backoff: The factor from one delay to the next.
            timeout: Seconds after which it is ended and has failed. Such a step runs in a worker
                process, so its target must be importable, and JSON must hold its parameters.
            on_error: With `continue`, a last failure counts as done; its result is None then.

        Raises:
            ScriptletError: The step can't be added like this; all problems at once.
        """
        target = registry.get(target).target if isinstance(target, str) else target
        policy = {
            "retries": retries,
            "retry_delay": retry_delay,
            "retry_backoff": retry_backoff,
            "timeout": timeout,
            "on_error": on_error,
        }
        problems = [*check_added(name, target, params, depends_on, policy, self._steps)]
        if problems:
            refuse([f"step {name!r}: {each}" for each in problems])
        self._steps[name] = make_step(target, params or {}, depends_on, policy)
        return ResultOf(name)

    # --- the run ---

    def execute(self) -> Results:
        """Run the steps that are not done yet; returns the results of all.

        In a run that has failed before, what failed is tried again.

        Raises:
            ScriptletError: The steps can't be run as they were added, which is found out before any
                of them runs; or a step failed, or the run was paused: then `details` has `failures`
                (step -> error) and `results`, of those that are done.
            EngineBusyError: Another process runs this instance.
            UsageError: There is no such executor, or number of workers.
        """
        if not self._instance.path.is_dir():
            refuse(["this ExecutionContext is closed"], "make another one")
        check_steps(self._steps, in_processes=self._executor == "processes")
        program = self._program()
        with self._instance.run_lock():
            self._pin(program)
        self._returned.raised.clear()
        usage: dict[str, dict[str, float]] = {}

        def observe(event: dict[str, Any]) -> None:
            if "wall_s" in event:
                usage[event["node"]] = {fact: event[fact] for fact in _FACTS}

        with _shown() as sink:
            outcome = StepEngine(
                self._instance,
                program=program,
                executor=self._executor,
                workers=self._workers,
                keep_going=self._keep_going,
                observer=observe,
                sink=sink,
            ).run(retry_failed=True)
        return self._ended(outcome, program, usage)

    def _program(self) -> ScriptletProgram:
        """The steps as they were added, for the engine."""
        steps = {
            name: ScriptletStep(name, step.call, self.context, self._returned)
            for name, step in self._steps.items()
        }
        kept = kept_plan(self._steps, str(Path.cwd()))
        return ScriptletProgram(kept, LiveSteps(steps, self._instance.path))

    def _pin(self, program: ScriptletProgram) -> None:
        """Have the instance keep the program, if a run that has begun can go on with it."""
        begun = self._instance.parameters.read()[GLOBAL_GROUP].get("run_id")
        if begun and (what := self._other(program)):
            refuse(
                [f"the run in {self._instance.path} has begun, and since then {what}"],
                "begin anew with ExecutionContext(..., fresh=True), or undo the changes",
            )
        program.pin(self._instance.path)

    def _other(self, program: ScriptletProgram) -> str:
        """Why the run that has begun is that of another program; empty when it isn't."""
        path = self._instance.path
        if dependencies_of(read_program(path)) != dependencies_of(program.kept):
            return "the steps or their dependencies are others"
        done = self._done(program)
        changed = [name for name in program.changes(path) if name in done]
        return f"steps that are done call something else: {', '.join(changed)}" if changed else ""

    def _done(self, program: ScriptletProgram) -> list[str]:
        run = RunState.load(self._instance.parameters.read(), program.graph)
        return program.graph.named(run.done)

    def _ended(
        self, outcome: Outcome, program: ScriptletProgram, usage: dict[str, dict[str, float]]
    ) -> Results:
        data = self._instance.parameters.read()
        errors = {
            name: str(data[name]["last_error"])
            for name in program.graph.nodes
            if data.get(name, {}).get(STATUS_KEY) == "ERROR"
        }
        results = Results(self._done(program), self._returned.by, errors, usage)
        if outcome.engine_state == "COMPLETE_SUCCESS":
            return results
        raised = self._returned.raised
        if any(isinstance(error, KeyboardInterrupt) for error in raised.values()):
            raise KeyboardInterrupt
        failures = {name: text for name, text in errors.items() if not self._steps[name].goes_on}
        causes = [raised[name] for name in failures if name in raised]
        raise self._failure(outcome, failures, results) from _one_of(causes)

    def _failure(
        self, outcome: Outcome, failures: dict[str, str], results: Results
    ) -> ScriptletError:
        told = [f"step {name!r} failed: {text}" for name, text in failures.items()]
        hint = "the next execute() tries again what failed, and repeats nothing that is done"
        if outcome.engine_state != "COMPLETE_ERROR":
            told, hint = [f"the run rests: {outcome.reason}"], "the next execute() goes on"
        message = "\n".join(told) or f"the run has ended: {outcome.reason}"
        hint = hint if self._remove is None else ""  # a temporary instance will be gone
        return ScriptletError(message, hint=hint, failures=failures, results=results)


def _open_instance(path: Path, fresh: bool) -> InstanceDir:
    """The instance at `path`, which is made where there is none."""
    empty = ScriptletProgram(kept_plan({}, str(Path.cwd())), LiveSteps({}, path))
    if not is_instance(path):
        return make_instance(path, empty)
    instance = InstanceDir(path)
    kind = instance.parameters.read()[GLOBAL_GROUP].get(PROGRAM_KEY, "library")
    if kind != PROGRAM:
        raise InstanceError(
            f"{instance.path} is an instance of a {kind}", hint="choose another directory"
        )
    if fresh:
        with instance.run_lock():
            reset_instance(instance, empty)
    return instance


def _one_of(causes: list[BaseException]) -> BaseException | None:
    if len(causes) > 1:
        return BaseExceptionGroup("these steps failed", causes)
    return causes[0] if causes else None


@contextmanager
def _shown() -> Iterator[Sink]:
    """What shows the output of steps where this program's own goes."""
    stream = sys.stdout
    if _descriptor(stream) == 1:  # it belongs to the steps while they run
        out = Stream(1)
        try:
            yield lambda node, data: out.write(data)
        finally:
            out.close()
        return
    utf_8 = codecs.getincrementaldecoder("utf-8")
    decoders = defaultdict[str, Any](lambda: utf_8("backslashreplace"))  # output is cut anywhere

    def show(node: str, data: bytes) -> None:
        if stream is not None:  # as in a process without a console
            stream.write(decoders[node].decode(data))

    yield show


def _descriptor(stream: Any) -> int | None:
    """The file descriptor of a stream; None for one that is no file, as in a notebook."""
    try:
        return int(stream.fileno())
    except (AttributeError, OSError, ValueError):
        return None
