"""The base class of scriptlets: a context, parameters, a logger, a clock."""

from __future__ import annotations

import logging
import os
import time
from functools import cached_property
from typing import Any

from orchestrator.run_logging import StepHandler


class BaseScriptlet:
    """What scriptlets share: a context, parameters, a logger, a clock. All hooks are optional.

    The order in which hooks are called, and what they may take and return, is told in
    `scriptlets.lifecycle`. The object is made anew for each attempt of a step.

    Attributes:
        context: The data that the steps share.
        params: The parameters, by name.
        name: The name of the class, unless the scriptlet says otherwise.
        logger: Writes to the output of the step: from INFO on, with DEBUG=1 in the environment all.
    """

    name: str = "BaseScriptlet"
    version: str = "1.0"
    context: Any = None
    params: dict[str, Any] = {}  # noqa: RUF012  (replaced, never changed)
    _began: float | None = None

    def __init__(self, context: Any = None, params: Any = None, **kwargs: Any) -> None:
        """Keep the context and the parameters; scriptlets may leave both out."""
        self.context = context
        self.params = {**(params or {}), **kwargs}

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "name" not in cls.__dict__:
            cls.name = cls.__name__

    @cached_property
    def logger(self) -> logging.Logger:
        """A logger of this name, below the logger `scriptlets`."""
        return _logger(str(self.name))

    def get_execution_time(self) -> float:
        """Seconds since this scriptlet was started (before `setup`); 0.0 when it was not."""
        return 0.0 if self._began is None else time.perf_counter() - self._began

    def run(self, *args: Any, **kwargs: Any) -> Any:
        """Do the work. May take `context` and `params`, either, neither, or single parameters."""
        raise NotImplementedError(f"{type(self).__name__} has no method run")

    def _begin(self) -> None:
        self._began = time.perf_counter()


def _logger(name: str) -> logging.Logger:
    parent = logging.getLogger("scriptlets")
    if not any(isinstance(handler, StepHandler) for handler in parent.handlers):
        parent.addHandler(StepHandler("%(asctime)s %(levelname)s %(name)s: %(message)s"))
        parent.propagate = False  # the step's output is the place for it, whoever else listens
        debug = os.environ.get("DEBUG", "") not in ("", "0")
        parent.setLevel(logging.DEBUG if debug else logging.INFO)
    return parent.getChild(name)
