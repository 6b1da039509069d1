"""What a worker process of the engine performs the steps of a recipe with."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from octo_step_hooks import StepResult
from orchestrator.recipe_environment import RunEnvironment
from orchestrator.recipe_pin import read_pin
from orchestrator.recipe_program import RecipeSource
from orchestrator.run_logging import show_log


def worker_source(
    *,
    instance: str,
    compiled: str,
    working_directory: str,
    inputs: dict[str, Any],
    hidden: list[Any],
    verbose: bool,
    log_level: int,
) -> RecipeSource:
    """The source that `RecipeSource.description` describes."""
    if log_level < logging.WARNING:
        show_log(log_level)
    environment = RunEnvironment(
        Path(instance),
        Path(working_directory),
        read_pin(Path(instance), compiled),
        inputs,
        hidden,
        own_process=True,
        verbose=verbose,
        nest=_Nest(),
    )
    return RecipeSource(environment)


class _Nest:
    """Loads what runs nested recipes when there is one: it needs an engine."""

    def begin(self, outer: RunEnvironment, node: str) -> None:
        from orchestrator.recipe_nested import begin_nested

        begin_nested(outer, node)

    def run(self, outer: RunEnvironment, node: str, args: Mapping[str, Any]) -> StepResult:
        from orchestrator.recipe_nested import run_nested

        return run_nested(outer, node, args)

    def make_safe(self, outer: RunEnvironment, node: str) -> None:
        from orchestrator.recipe_nested import make_safe_nested

        make_safe_nested(outer, node)
