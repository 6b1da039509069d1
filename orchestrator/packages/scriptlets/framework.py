"""What a scriptlet is made with.

    from scriptlets.framework import BaseScriptlet, register_scriptlet

    @register_scriptlet
    class CountRows(BaseScriptlet):
        parameters = {"source": str}

        def run(self, context, params):
            self.logger.info("counting %s", params["source"])
            context.set("rows", sum(1 for _ in open(params["source"])))
            return {"seconds": self.get_execution_time()}

A recipe's step with `function: CountRows` runs it. Neither the base class nor the registration is
required for that: any class with a method `run` will do.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from scriptlets.base import BaseScriptlet
from scriptlets.lifecycle import ScriptletFailed, run_scriptlet
from scriptlets.parameters import REQUIRED, Parameter
from scriptlets.registry import ScriptletRegistry, register_scriptlet, registry

if TYPE_CHECKING:
    from scriptlets.execution import ExecutionContext

__all__ = [
    "REQUIRED",
    "BaseScriptlet",
    "ExecutionContext",
    "Parameter",
    "ScriptletFailed",
    "ScriptletRegistry",
    "register_scriptlet",
    "registry",
    "run_scriptlet",
]


def __getattr__(name: str) -> Any:  # who defines a scriptlet doesn't wait for the engine to load
    if name == "ExecutionContext":
        from scriptlets.execution import ExecutionContext

        return ExecutionContext
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
