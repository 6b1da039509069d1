"""What came of the code of users: a result as it can be kept, a failure as it is told."""

from __future__ import annotations

import traceback
from types import TracebackType
from typing import Any, Final

from octo_errors import OctoError
from octo_json_strict import JsonValueError, dump_value
from scriptlets.lifecycle import ScriptletFailed

RESULT_LIMIT: Final = 1024 * 1024
"""Characters of JSON that a result may have, to be kept."""

_OURS: Final = {"orchestrator"} | {
    f"scriptlets.{name}" for name in ("base", "calls", "lifecycle", "parameters", "steps")
}
_BETWEEN: Final = {"asyncio", "importlib", "jinja2"}
"""Modules and packages that are between the engine and the code of users."""


def why_not_kept(value: Any) -> str:
    """Why a result can't be kept in the parameter file; empty when it can."""
    kind = type(value).__name__
    try:
        length = len(dump_value(value))
    except JsonValueError as error:
        nested = isinstance(value, dict | list | tuple)
        return f"{kind}: {error.reason}" if nested else kind
    except RecursionError:
        return f"{kind}: nested too deeply"
    return "" if length <= RESULT_LIMIT else f"{kind}: {length} characters"


def error_text(error: BaseException) -> str:
    """What a failure says, in a line or a few."""
    try:
        text = str(error)
    except Exception:
        text = "(its message can't be made)"
    if isinstance(error, OctoError | ScriptletFailed):
        return text
    return f"{type(error).__name__}: {text}".removesuffix(": ")


def users_traceback(error: BaseException, trace: TracebackType | None) -> str:
    """The traceback from the first frame on that is the user's; empty where that tells nothing."""
    while trace is not None and _is_ours(str(trace.tb_frame.f_globals.get("__name__", ""))):
        trace = trace.tb_next
    if trace is None or isinstance(error, ScriptletFailed):
        return ""
    return "".join(traceback.TracebackException(type(error), error, trace).format())


def _is_ours(module: str) -> bool:
    package = module.partition(".")[0]
    return bool({module, package} & (_OURS | _BETWEEN)) or package.startswith("octo_")
