"""How a scriptlet class is run: one object, checked first, its hooks around `run`.

In this order, each with what its parameters ask for (see `calls`); only `run` must be there:

    parameters are checked        against the class attribute `parameters`, all problems at once
    __init__                      gets `context`, `params`, or single parameters, if it wants them
    validate(context, params)     raises, or returns False: nothing has been done yet
    setup()
    run(context, params)          its result is judged, see `judge`
    on_success(result)            or on_error(error); what on_error raises is logged
    teardown()                    always, once setup was tried
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable, Mapping
from types import CoroutineType, GeneratorType
from typing import Any, Final

from octo_errors import ScriptletError
from octo_signature import signature_of
from scriptlets.base import BaseScriptlet
from scriptlets.calls import Arguments, arguments_for, refuse_call, wants_context
from scriptlets.parameters import check_parameters, name_of

FAILED_STATUS: Final = {"error", "failed", "failure"}

NUMBER_IS_CODE: Final = " (a whole number that run returns is one; a result goes into a dict)"

_log = logging.getLogger(__name__)


class ScriptletFailed(Exception):
    """A scriptlet says, by what it returned, that it failed."""


def is_scriptlet(target: object) -> bool:
    """Whether this is a class with a method `run`."""
    return isinstance(target, type) and callable(getattr(target, "run", None))


def run_scriptlet(target: type, context: Any, params: Mapping[str, Any]) -> Any:
    """Run a scriptlet class once; returns the result of its `run`.

    Raises:
        ScriptletError: The parameters are not as the class or its methods ask; nothing was done.
        ScriptletFailed: It returned that it failed.
        BaseException: What a method raised.
    """
    params = check_parameters(target, params)
    roles = {"context": context, "params": params}
    scriptlet = _make(target, roles, params)
    if _call_hook(scriptlet, "validate", roles, first="params") is False:
        raise ScriptletFailed("validate returned False")
    if isinstance(scriptlet, BaseScriptlet):
        scriptlet._begin()
    try:
        result = _perform(scriptlet, roles, params)
    except BaseException as error:
        _after_failure(scriptlet, roles, error)
        raise
    _call_hook(scriptlet, "teardown", roles)
    return result


def call_target(target: Any, context: Any, args: Mapping[str, Any] | list[Any] | None) -> Any:
    """Run a scriptlet class, or call anything else that can be called; returns its result.

    What is no scriptlet is called with the arguments as they are, and with the context where it has
    a parameter for that (`calls.wants_context`).

    Raises:
        ScriptletError: As `run_scriptlet`, or the arguments of a scriptlet are a list.
        ScriptletFailed: As `run_scriptlet` and `outcome`.
        BaseException: What it raised.
    """
    if is_scriptlet(target):
        if isinstance(args, list):
            raise ScriptletError(
                f"{name_of(target)} is a scriptlet: its args are a mapping, not a list",
                hint="name each: args: {name: value}",
            )
        return run_scriptlet(target, context, args or {})
    positional, keywords = (args, {}) if isinstance(args, list) else ([], dict(args or {}))
    if "context" not in keywords and wants_context(target):
        keywords["context"] = context
    return outcome(target, positional, keywords)


def check_call(target: Any, args: Mapping[str, Any]) -> None:
    """Do nothing if `call_target` could call it with these, as far as that can be known before.

    Of a value that is not known yet, UNKNOWN in its place, the name is checked.

    Raises:
        ScriptletError: It could not; all problems at once.
    """
    if is_scriptlet(target):
        params = check_parameters(target, args)
        _for_init(target, {"context": None, "params": params}, params)
        return
    try:
        signature_of(target)
    except (ValueError, TypeError):  # a built-in that doesn't say
        return
    made = arguments_for(target, {"context": None} if wants_context(target) else {}, args)
    unknown = [] if made.takes_all else [name for name in args if name not in made.used]
    refuse_call(name_of(target), made.missing, unknown, [*made.missing, *made.used])


def judge(result: Any) -> Any:
    """The result, if it is one of success.

    A whole number is an exit code, `False` a failure, and so is a dict whose `status` is `error`,
    `failed` or `failure`. Anything else is a success.

    Raises:
        ScriptletFailed: It is a failure.
    """
    if result is False:
        raise ScriptletFailed("returned False")
    if isinstance(result, int) and result != 0 and result is not True:
        raise ScriptletFailed(f"exit code {int(result)}{NUMBER_IS_CODE}")
    if isinstance(result, dict):
        status = result.get("status")
        if isinstance(status, str) and status.lower() in FAILED_STATUS:
            said = (result.get(key) for key in ("error", "message", "reason"))
            reason = next((str(each) for each in said if each), "")
            raise ScriptletFailed(f"status {status}{': ' + reason if reason else ''}")
    return result


def outcome(function: Callable[..., Any], positional: Any, keywords: Mapping[str, Any]) -> Any:
    """What a call returns; of an `async def`, what it returned when it was run to its end.

    Raises:
        ScriptletFailed: It called `sys.exit` with anything but success, or returned a generator,
            of which nothing has run.
        BaseException: What it raised.
    """
    try:
        value = function(*positional, **keywords)
        if isinstance(value, CoroutineType):
            import asyncio  # few functions are coroutines, and it is slow to load

            value = asyncio.run(value)
    except SystemExit as exit:
        if exit.code in (None, 0):
            return None
        text = f"exit code {exit.code}" if isinstance(exit.code, int) else str(exit.code)
        raise ScriptletFailed(text) from exit
    if isinstance(value, GeneratorType):
        raise ScriptletFailed("returned a generator, so nothing of it has run: return a list")
    return value


def _make(target: type, roles: Mapping[str, Any], params: Mapping[str, Any]) -> Any:
    for_init = _for_init(target, roles, params)
    scriptlet = target(*for_init.positional, **for_init.keywords)
    if isinstance(scriptlet, BaseScriptlet):  # whose __init__ need not be told
        scriptlet.context, scriptlet.params = roles["context"], roles["params"]
    return scriptlet


def _for_init(target: type, roles: Mapping[str, Any], params: Mapping[str, Any]) -> Arguments:
    """What the object is made with, if it and its `run` have all that they need."""
    run = inspect.getattr_static(target, "run")
    bare = run.__func__ if isinstance(run, classmethod | staticmethod) else run
    for_init = arguments_for(target, roles, params)
    for_run = arguments_for(bare, roles, params, skip=0 if isinstance(run, staticmethod) else 1)
    takes_all = for_init.takes_all or for_run.takes_all or _hooks_take_all(target)
    takes_all = takes_all or issubclass(target, BaseScriptlet)
    used = for_init.used | for_run.used
    unknown = [] if takes_all else [name for name in params if name not in used]
    known = [*for_init.missing, *for_run.missing, *used]
    missing = list(dict.fromkeys(for_init.missing + for_run.missing))
    refuse_call(name_of(target), missing, unknown, known)
    return for_init


def _hooks_take_all(target: type) -> bool:
    """Whether a hook gets the dict of all parameters, so that none is too many."""
    hooks = (getattr(target, hook, None) for hook in ("validate", "setup"))
    return any(
        arguments_for(each, {"params": {}}, {}).takes_all for each in hooks if callable(each)
    )


def _perform(scriptlet: Any, roles: Mapping[str, Any], params: Mapping[str, Any]) -> Any:
    _call_hook(scriptlet, "setup", roles)
    call = arguments_for(scriptlet.run, roles, params)
    result = judge(outcome(scriptlet.run, call.positional, call.keywords))
    _call_hook(scriptlet, "on_success", {**roles, "result": result}, first="result")
    return result


def _after_failure(scriptlet: Any, roles: Mapping[str, Any], error: BaseException) -> None:
    """The hooks after a failure; theirs must not hide it."""
    for hook, more, first in (("on_error", {"error": error}, "error"), ("teardown", {}, "")):
        try:
            _call_hook(scriptlet, hook, {**roles, **more}, first=first)
        except Exception:
            _log.exception("%s of %s failed", hook, name_of(type(scriptlet)))


def _call_hook(scriptlet: Any, hook: str, roles: Mapping[str, Any], first: str = "") -> Any:
    method: Callable[..., Any] | None = getattr(scriptlet, hook, None)
    if not callable(method):
        return None
    call = arguments_for(method, roles, {}, first=first)
    refuse_call(f"{name_of(type(scriptlet))}.{hook}", call.missing, [], [])
    return outcome(method, call.positional, call.keywords)
