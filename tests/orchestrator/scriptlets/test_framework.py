"""Classes as users have them: the one of the specification, and other habits."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest

from orchestrator.context import Context
from scriptlets.framework import BaseScriptlet, ScriptletRegistry, run_scriptlet
from tests.recipes import SPEC_SCRIPTLET


def test_the_class_of_the_specification_runs_as_it_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "processors.py").write_text(SPEC_SCRIPTLET)
    registry = ScriptletRegistry()
    registry.discover_folder(tmp_path)
    entry = registry.get("CustomProcessorScriptlet")
    assert entry.description.startswith("Custom data processing")
    assert isinstance(entry.target, type)
    context = Context()
    context.set("input_data", [1, -2, 3])
    result = run_scriptlet(entry.target, context, {})
    assert context.get("processed_data") == [2, 6]
    assert context.get("custom_processor.completed") is True
    assert result["status"] == "success"
    assert result["records_processed"] == 2
    assert 0 < result["execution_time"] < 10
    assert "INFO scriptlets.custom_processor: Starting custom processing" in capsys.readouterr().err


class WithContextInInit(BaseScriptlet):
    def __init__(self, context=None, **kwargs):  # type: ignore[no-untyped-def]
        super().__init__(context, **kwargs)
        self.at_first = (self.context, self.params)

    def run(self, context, args, **kwargs) -> int:  # type: ignore[no-untyped-def]
        assert self.at_first == (context, args)
        assert kwargs == {}
        context.set("numbers.count", len(args["src"]), who="compute_numbers")
        return 0


class WithParamsInInit(BaseScriptlet):
    def __init__(self, context: Context, params: dict[str, Any]) -> None:
        super().__init__(context, params)

    def run(self) -> None:
        self.context.set("src", self.params["src"], who=self.name)


class WithOneParameter(BaseScriptlet):
    def run(self, src: Any = None, more: int = 1) -> Any:
        self.context.set("src", src, who=self.name)
        return {"status": "success", "more": more}


class WithKeywords(BaseScriptlet):
    def run(self, **kwargs: Any) -> dict[str, Any]:
        return kwargs


class WithoutABase:
    def __init__(self, src: str) -> None:
        self.src = src

    def run(self, ctx: Context) -> list[str]:
        ctx.set("src", self.src)
        return [self.src]


def test_other_habits_of_making_and_calling_work() -> None:
    params = {"src": "abc"}
    for target, expected in (
        (WithContextInInit, 0),
        (WithParamsInInit, None),
        (WithOneParameter, {"status": "success", "more": 1}),
        (WithKeywords, {"src": "abc"}),
        (WithoutABase, ["abc"]),
    ):
        context = Context()
        assert run_scriptlet(target, context, params) == expected
        if target is WithContextInInit:
            assert [(each["key"], each["who"]) for each in context.history()] == [
                ("numbers.count", "compute_numbers")
            ]
        elif target is not WithKeywords:
            assert context.get("src") == "abc"


def test_a_scriptlet_may_be_used_by_hand() -> None:
    context = Context()
    scriptlet = WithOneParameter(context=context)
    assert scriptlet.run("x", more=2) == {"status": "success", "more": 2}
    assert context.history()[0]["who"] == "WithOneParameter"
    assert scriptlet.get_execution_time() == 0.0


def test_a_name_may_be_given_in_the_class() -> None:
    class Named(BaseScriptlet):
        name = "named"

    class Below(Named):
        pass

    assert (Named().name, Below().name, BaseScriptlet().name) == ("named", "Below", "BaseScriptlet")


def test_a_scriptlet_may_have_its_own_logger() -> None:
    class Own(BaseScriptlet):
        def __init__(self) -> None:
            super().__init__()
            self.logger = logging.getLogger("mine")

    assert Own().logger.name == "mine"


def test_a_base_scriptlet_has_no_work() -> None:
    with pytest.raises(NotImplementedError, match="BaseScriptlet has no method run"):
        run_scriptlet(BaseScriptlet, Context(), {})
