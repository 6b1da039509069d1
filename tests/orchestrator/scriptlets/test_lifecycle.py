from __future__ import annotations

import sys
from typing import Any

import pytest

from octo_errors import ScriptletError
from orchestrator.context import Context
from scriptlets.framework import BaseScriptlet, Parameter, ScriptletFailed, run_scriptlet
from scriptlets.lifecycle import NUMBER_IS_CODE

calls: list[str] = []


class Recorder(BaseScriptlet):
    """Notes each hook; raises in that which `fails` names."""

    fails = ""

    def note(self, hook: str) -> None:
        calls.append(hook)
        if hook in self.fails.split():
            raise RuntimeError(f"{hook} failed")

    def validate(self, context: Context, params: dict[str, Any]) -> None:
        assert isinstance(context, Context) and params == {"a": 1}
        self.note("validate")

    def setup(self) -> None:
        self.note("setup")

    def run(self, context: Context, params: dict[str, Any]) -> object:
        self.note("run")
        return params["a"] if "exit code" in self.fails else "result"

    def on_success(self, result: object) -> None:
        assert result == "result"
        self.note("on_success")

    def on_error(self, what: BaseException) -> None:
        calls.append(f"on_error: {what}")
        self.note("on_error")

    def teardown(self) -> None:
        self.note("teardown")


@pytest.mark.parametrize(
    ("fails", "expected", "error"),
    [
        ("", "validate setup run on_success teardown", None),
        ("validate", "validate", "validate failed"),
        ("setup", "validate setup on_error: setup failed,on_error teardown", "setup failed"),
        ("run", "validate setup run on_error: run failed,on_error teardown", "run failed"),
        ("exit code", "validate setup run on_error: exit code 1,on_error teardown", "exit code 1"),
        (
            "on_success",
            "validate setup run on_success on_error: on_success failed,on_error teardown",
            "on_success failed",
        ),
        ("teardown", "validate setup run on_success teardown", "teardown failed"),
        (
            "run on_error teardown",
            "validate setup run on_error: run failed,on_error teardown",
            "run failed",
        ),
    ],
)
def test_the_hooks_are_called_in_their_order(fails: str, expected: str, error: str | None) -> None:
    calls.clear()
    target = type("Case", (Recorder,), {"fails": fails})
    if error is None:
        assert run_scriptlet(target, Context(), {"a": 1}) == "result"
    else:
        with pytest.raises((RuntimeError, ScriptletFailed), match=error):
            run_scriptlet(target, Context(), {"a": 1})
    made = ",".join(calls).replace(NUMBER_IS_CODE, "")
    assert made == expected.replace(" ", ",").replace(":,", ": ").replace(
        ",failed", " failed"
    ).replace("exit,code,1", "exit code 1")


def running(result: object) -> type:
    return type("Case", (), {"run": lambda self: result})


@pytest.mark.parametrize("result", [None, 0, True, "text", {"status": "done"}, {}, [1], 0.5])
def test_results_of_success(result: object) -> None:
    assert run_scriptlet(running(result), None, {}) == result


@pytest.mark.parametrize(
    ("result", "text"),
    [
        (3, f"exit code 3{NUMBER_IS_CODE}"),
        (-1, f"exit code -1{NUMBER_IS_CODE}"),
        (False, "returned False"),
        ({"status": "Error", "message": "no rows"}, "status Error: no rows"),
        ({"status": "failed"}, "status failed"),
        ({"status": "failure", "error": "e", "message": "m"}, "status failure: e"),
    ],
)
def test_results_of_failure(result: object, text: str) -> None:
    with pytest.raises(ScriptletFailed) as failure:
        run_scriptlet(running(result), None, {})
    assert str(failure.value) == text


def test_a_validation_that_returns_false_fails_before_anything_is_done() -> None:
    class Case:
        def validate(self, ctx: object, params: dict[str, Any]) -> bool:
            return bool(params["good"])

        def run(self) -> None:
            calls.append("run")

    calls.clear()
    with pytest.raises(ScriptletFailed, match="validate returned False"):
        run_scriptlet(Case, None, {"good": 0})
    assert calls == []


def test_an_async_run_runs_to_its_end() -> None:
    class Case:
        async def run(self, params: dict[str, Any]) -> dict[str, Any]:
            return params

    assert run_scriptlet(Case, None, {"a": 1}) == {"a": 1}


def test_a_generator_is_refused_since_nothing_of_it_has_run() -> None:
    class Case:
        def run(self) -> Any:
            yield 1

    with pytest.raises(ScriptletFailed, match="nothing of it has run"):
        run_scriptlet(Case, None, {})


@pytest.mark.parametrize(
    ("code", "text"), [(0, ""), (None, ""), (2, "exit code 2"), ("bad", "bad")]
)
def test_sys_exit_is_an_exit_code(code: object, text: str) -> None:
    class Case:
        def run(self) -> None:
            sys.exit(code)  # type: ignore[arg-type]

    if text:
        with pytest.raises(ScriptletFailed, match=text):
            run_scriptlet(Case, None, {})
    else:
        assert run_scriptlet(Case, None, {}) is None


def test_parameters_that_run_asks_for_and_does_not_get_are_named_all_at_once() -> None:
    made = []

    class Case:
        def __init__(self, folder: str) -> None:
            made.append(folder)

        def run(self, context: Context, source: str, limit: int = 3) -> None: ...

    with pytest.raises(ScriptletError) as failure:
        run_scriptlet(Case, None, {"sourse": "x"})
    assert failure.value.details["problems"] == [
        "parameter 'folder' is missing",
        "parameter 'source' is missing",
        "there is no parameter 'sourse'",
    ]
    assert failure.value.hint == "did you mean 'source'?"
    assert made == []


def test_declared_parameters_are_checked_before_anything_runs_and_get_their_defaults() -> None:
    class Case:
        parameters = {  # noqa: RUF012
            "source": str,
            "limit": Parameter(int, default=10, choices=(10, 100)),
        }

        def __init__(self, **kwargs: Any) -> None:
            calls.append("init")

        def run(self, params: dict[str, Any]) -> dict[str, Any]:
            return params

    calls.clear()
    with pytest.raises(ScriptletError) as failure:
        run_scriptlet(Case, None, {"limit": "10", "sorce": 1})
    assert len(failure.value.details["problems"]) == 3
    assert calls == []
    assert run_scriptlet(Case, None, {"source": "x"}) == {"source": "x", "limit": 10}
