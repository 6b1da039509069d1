"""Where scenarios are run and broken: one process that forks a warm child for each experiment.

`Laboratory` is the test's side. This file, run as a program, is the other: it has the project's
modules loaded and is single-threaded, as a tracer must be, so an experiment costs milliseconds, not
the start of a Python. What a child has to say goes to a file outside of the directory that it works
in, with one `write` a line: a line that is there was written before the child was killed.
"""

from __future__ import annotations

import gc
import json
import os
import signal
import subprocess
import sys
import traceback
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

from tests.faults import system_calls
from tests.faults.system_calls import Fault
from tests.support import PROJECT

REFUSED, BUG = 1, 70
"""Return codes of a child: it ended in an error of the project's own tree, or in another one."""

PATIENCE_S = 60
"""A child that takes longer than this hangs, on the slowest machine."""


@dataclass(frozen=True, slots=True)
class Experiment:
    """A scenario, the directory that it works in, and what is to go wrong.

    Attributes:
        scenario: Its name in `scenarios.SCENARIOS`.
        traced: Whether the system calls on the directory are counted.
        fault: What happens to them; only where they are counted.
        crash_point: The number of the named crash point at which the child kills itself; 0: none.
        observe: What is acknowledged is told as `scenarios.observe` sees it then.
        environment: Variables that the child has in addition.
    """

    scenario: str
    directory: Path
    traced: bool = False
    fault: Fault | None = None
    crash_point: int = 0
    observe: bool = False
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class Outcome:
    """What came of an experiment.

    Attributes:
        code: The child's return code; -9 when it was killed.
        points: The system calls on the directory, or the names of the crash points, in order.
        acknowledged: What the scenario has acknowledged.
        error: The text of the error that ended the child.
        output: What the child wrote to stdout and stderr.
    """

    code: int
    points: list[str]
    acknowledged: list[Any]
    error: str
    output: str


class Laboratory:
    """Runs experiments in forked children of a process of its own; a context manager."""

    def __init__(self, scratch: Path) -> None:
        self._report = scratch / "report"
        self._output = scratch / "output"
        self._asked = False
        self._start()

    def __enter__(self) -> Laboratory:
        return self

    def __exit__(self, *_: object) -> None:
        self._end()

    def run(self, experiment: Experiment) -> Outcome:
        """Carry out an experiment; nothing of the child runs any more when this returns."""
        if self._asked:  # a test gave up waiting
            self._end()
            self._start()
        self._asked = True
        print(json.dumps(asdict(experiment), default=str), file=self._process.stdin, flush=True)
        code, points = self._answer()
        self._asked = False
        told = [json.loads(line) for line in self._report.read_text().splitlines()]
        return Outcome(
            code,
            points or [line["point"] for line in told if "point" in line],
            [line["acknowledged"] for line in told if "acknowledged" in line],
            "".join(line["error"] for line in told if "error" in line),
            self._output.read_text(errors="replace"),
        )

    def _start(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.faults.laboratory", self._report, self._output],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=PROJECT,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(_FOLDERS)},
            text=True,
        )
        self.can_trace = bool(self._answer())

    def _answer(self) -> Any:
        assert self._process.stdout is not None
        answer = self._process.stdout.readline()
        assert answer, "the laboratory has died"
        return json.loads(answer)

    def _end(self) -> None:
        self._process.kill()
        self._process.communicate()


_FOLDERS = [str(PROJECT), str(PROJECT / "modules"), str(PROJECT / "orchestrator" / "packages")]


# --- the laboratory's own process -----------------------------------------------------------------


def main() -> None:
    """Answer each line of standard input, which is an experiment, with a line."""
    report, output = map(Path, sys.argv[1:])
    # What is loaded here is loaded in all children; some of it the project loads when it needs it.
    import socket  # noqa: F401

    import octo_commands_run  # noqa: F401
    from tests.faults import crash_points, scenarios  # noqa: F401

    gc.freeze()
    print(json.dumps(system_calls.is_possible()), flush=True)
    for line in sys.stdin:
        request = json.loads(line)
        fault = request.pop("fault")
        request["directory"] = directory = Path(request["directory"])
        experiment = Experiment(**request)
        for module in scenarios.LOADED.get(experiment.scenario, ()):
            import_module(module)
        child = _Child(experiment, report, output, scenarios.SCENARIOS[experiment.scenario])
        if experiment.traced:
            trace = system_calls.run(child.run, directory, Fault(**fault) if fault else None)
            answer = (trace.code, trace.points)
        else:
            answer = (_forked(child.run), [])
        print(json.dumps(answer), flush=True)


def _forked(function: Callable[[], int]) -> int:
    child = os.fork()
    if child == 0:
        code = BUG
        try:
            code = function()
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


class _Child:
    """What happens in the forked child."""

    def __init__(
        self, experiment: Experiment, report: Path, output: Path, scenario: Callable[[Path], Any]
    ) -> None:
        self._experiment = experiment
        self._scenario = scenario
        self._output = output
        self._report = os.open(report, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC)
        self._passed = 0

    def run(self) -> int:
        """Perform the scenario, and tell of it; returns the exit code."""
        import octo_lock
        import octo_spare_file
        from octo_errors import OctoError
        from tests.faults import crash_points

        experiment = self._experiment
        signal.alarm(PATIENCE_S)
        setattr(octo_lock, "LOOK_INTERVAL", 0.0)  # noqa: B010  # no call depends on the time
        os.environ.update(experiment.environment)
        output = os.open(self._output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND)
        os.dup2(output, 1)
        os.dup2(output, 2)
        if experiment.crash_point:
            crash_points.install(self._pass)
        try:
            for acknowledged in self._scenario(experiment.directory):
                self._tell(acknowledged=self._observed() if experiment.observe else acknowledged)
        except OctoError as error:
            self._tell(error=str(error))
            return REFUSED
        except BaseException:
            self._tell(error=traceback.format_exc())
            return BUG
        finally:
            octo_spare_file.remove_all()  # as when a process ends by itself
        return 0

    def _observed(self) -> Any:
        from tests.faults import scenarios

        return scenarios.observe(self._experiment.directory)

    def _pass(self, point: str) -> None:
        self._passed += 1
        self._tell(point=point)
        if self._passed == self._experiment.crash_point:
            os.kill(os.getpid(), signal.SIGKILL)

    def _tell(self, **what: Any) -> None:
        os.write(self._report, json.dumps(what).encode() + b"\n")


if __name__ == "__main__":
    main()
