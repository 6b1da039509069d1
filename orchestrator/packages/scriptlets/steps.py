"""Steps that call scriptlets, as a program of the engine.

The graph, and what each step calls as far as JSON can hold it, is kept in the instance: worker
processes make their steps from that, and so does a command line that looks at the instance.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Collection, Mapping, MutableMapping
from pathlib import Path
from typing import Any, Final

from octo_atomic_file import replace_file
from octo_errors import InstanceError, ScriptletError
from octo_graph_checks import dependency_graph
from octo_instance_dir import InstanceDir
from octo_parameter_schema import GLOBAL_GROUP, PROGRAM_KEY, RESULT_KEY
from octo_pin_file import read_pin_file
from octo_step_graph import StepGraph
from octo_step_hooks import NodeSource, StepFailure, StepResult
from octo_step_lib import Problem
from orchestrator.context import Context
from scriptlets.lifecycle import call_target
from scriptlets.outcomes import error_text, users_traceback, why_not_kept
from scriptlets.plan import NOT_KEPT, Call
from scriptlets.references import load_target
from scriptlets.resources import Usage

PROGRAM: Final = "scriptlets"
"""What the parameter file calls this kind of program."""

PROGRAM_FILE_NAME: Final = ".octo_step_engine_scriptlets.json"


class Returned:
    """What the steps of an instance returned.

    Attributes:
        here: The objects themselves, of the steps that this process has performed.
        raised: What those that have failed here raised last.
    """

    def __init__(self, instance: InstanceDir) -> None:
        self.here: dict[str, Any] = {}
        self.raised: dict[str, BaseException] = {}
        self._parameters = instance.parameters

    def by(self, step: str) -> Any:
        """The result of a step; None for one that has none.

        Raises:
            ScriptletError: Another process performed the step, and the result could not be kept.
        """
        if step in self.here:
            return self.here[step]
        kept = self._parameters.look().get(step, {}).get(RESULT_KEY)
        if isinstance(kept, dict) and kept.keys() == {NOT_KEPT}:
            raise ScriptletError(
                f"the result of step {step!r} was not kept ({kept[NOT_KEPT]}), and was made in"
                " another process",
                hint="let the step return what JSON can hold, as the name of a file that it wrote",
            )
        return kept


class ScriptletStep:
    """Performs one step; made by a source, called by the engine.

    Args:
        own_process: It has this process for itself while it runs.
    """

    def __init__(
        self,
        name: str,
        call: Call,
        context: Context,
        returned: Returned,
        *,
        own_process: bool = False,
    ) -> None:
        self.name = name
        self._call = call
        self._context = context.named(name)
        self._returned = returned
        self._own_process = own_process

    def step_execute(self) -> StepResult:
        """Call what the step calls.

        Raises:
            StepFailure: It failed.
        """
        usage = Usage(self._own_process)
        try:
            given = {name: self._returned.by(step) for name, step in self._call.results.items()}
            value = call_target(self._call.target, self._context, {**self._call.params, **given})
        except BaseException as error:
            self._returned.raised[self.name] = error
            if isinstance(error, KeyboardInterrupt):
                raise
            told = users_traceback(error, error.__traceback__)
            raise StepFailure(error_text(error), told, usage.facts()) from None
        self._returned.here[self.name] = value
        reason = why_not_kept(value)
        return StepResult({NOT_KEPT: reason} if reason else value, facts=usage.facts())


class LiveSteps:
    """Steps that call objects of this process; a source of the engine.

    Args:
        steps: By name.
        instance: The directory from which worker processes make theirs.
    """

    def __init__(self, steps: Mapping[str, ScriptletStep], instance: Path) -> None:
        self._steps = steps
        self._instance = instance

    def make(self, node: str) -> ScriptletStep:  # noqa: D102  (told by NodeSource)
        return self._steps[node]

    def directory(self, node: str) -> Path | None:  # noqa: D102
        return None

    def description(self) -> dict[str, Any]:  # noqa: D102
        return description_of(self._instance)

    def require_ready(self) -> None:
        """Do nothing: the objects are here."""


class KeptSteps:
    """Makes steps from what the instance keeps; a source of the engine.

    Args:
        own_process: This is a worker process of the engine, which performs one step at a time.
    """

    def __init__(self, instance: str, own_process: bool = False) -> None:
        self._instance = InstanceDir(instance)
        self._calls = read_program(self._instance.path)["calls"]
        self._context = Context(instance)
        self._own_process = own_process

    def make(self, node: str) -> ScriptletStep:  # noqa: D102
        kept = self._calls[node]
        call = Call(load_target(kept["target"]), kept["params"], kept["results"])
        # Not one for all steps: another worker may have performed a step anew since this one did.
        returned = Returned(self._instance)
        return ScriptletStep(node, call, self._context, returned, own_process=self._own_process)

    def directory(self, node: str) -> Path | None:  # noqa: D102
        return None

    def description(self) -> dict[str, Any]:  # noqa: D102
        return description_of(self._instance.path)

    def require_ready(self) -> None:
        """Do nothing if all steps can be made here.

        Raises:
            InstanceError: Some only by the program that added them.
        """
        missing = [name for name, call in self._calls.items() if call["only_here"]]
        if missing:
            raise InstanceError(
                f"{self._instance.path}: only the program that added them can run the steps"
                f" {', '.join(missing)}",
                hint="start that program again: the run goes on there",
            )


def description_of(instance: Path) -> dict[str, Any]:
    """How a worker process makes the steps of an instance; see `NodeSource.description`."""
    return {
        "module": __name__,
        "class": KeptSteps.__name__,
        "arguments": {"instance": str(instance), "own_process": True},
        "path": [os.path.abspath(folder) for folder in sys.path],  # noqa: PTH100  ("" is here)
    }


class ScriptletProgram:
    """A graph of steps, and where their objects come from; a program of the engine.

    Args:
        kept: What the instance is to keep of it, as `plan.kept_plan` makes it.
    """

    executor = "threads"
    workers: int | None = None

    def __init__(self, kept: dict[str, Any], source: LiveSteps | KeptSteps) -> None:
        nodes, arrows = kept["step_node_graph_dict"], kept["step_arrow_graph_dict"]
        self.kept = kept
        self.graph: StepGraph = dependency_graph(nodes, arrows, {}, Path(PROGRAM_FILE_NAME))
        self.source: NodeSource = source
        self._steps = source
        self.directory = Path(kept["directory"])
        self.warnings: list[Problem] = []

    def identify(self, data: MutableMapping[str, Any]) -> None:  # noqa: D102  (told by Program)
        data[GLOBAL_GROUP][PROGRAM_KEY] = PROGRAM

    def add_missing(self, data: MutableMapping[str, Any]) -> None:  # noqa: D102
        pass

    def pin(self, instance: Path) -> None:  # noqa: D102
        text = json.dumps(self.kept, ensure_ascii=False, indent=2)
        replace_file(str(instance / PROGRAM_FILE_NAME), text.encode(), None, sync=False)

    def require_ready(self) -> None:  # noqa: D102
        self._steps.require_ready()

    def heed_requests(self, nodes: Collection[str]) -> bool:  # noqa: D102
        return False

    def pass_on(self, request: str, nodes: Collection[str]) -> None:  # noqa: D102
        pass

    def changes(self, instance: Path) -> list[str]:
        """The steps that are not as they were when they were pinned."""
        before, now = read_program(instance)["calls"], self.kept["calls"]
        return sorted(name for name in before.keys() | now if before.get(name) != now.get(name))


def load_program(instance: InstanceDir, *, verbose: bool = False) -> ScriptletProgram:
    """The program that an instance keeps.

    Raises:
        InstanceError: It can't be read.
    """
    return ScriptletProgram(read_program(instance.path), KeptSteps(str(instance.path)))


def read_program(instance: Path) -> dict[str, Any]:
    """What an instance keeps of its program, as `plan.kept_plan` made it.

    Raises:
        InstanceError: It can't be read.
    """
    path = instance / PROGRAM_FILE_NAME
    hint = "start the program that made the instance with ExecutionContext(..., fresh=True)"
    kinds = {
        "directory": str,
        "step_node_graph_dict": dict,
        "step_arrow_graph_dict": dict,
        "calls": dict,
    }
    try:
        return read_pin_file(path, kinds, hint=hint)
    except FileNotFoundError:
        raise InstanceError(f"{path}: is gone", hint=hint) from None
