"""The context against a dict: any order of calls by several users, mishaps in between."""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from octo_errors import ParameterValueError
from octo_parameter_store import same_value
from octo_step_engine_parameters import PARAMETER_FILE_NAME, open_parameters
from orchestrator.context import Context
from orchestrator.context_history import HISTORY_FILE_NAME
from tests.modules.parameter_support import values

keys = st.sampled_from(["a", "a.b", "", "é\n", "step x"])
users = st.sampled_from(["one", "two"])
MISSING = object()


class ContextModel(RuleBasedStateMachine):
    """`model` is what the context must hold, `changes` what its history must tell."""

    def __init__(self) -> None:
        super().__init__()
        self.directory = Path(tempfile.mkdtemp(prefix="octo-"))
        open_parameters(self.directory).read()
        self.users = {name: Context(self.directory, who=name) for name in ("one", "two")}
        self.memory = Context(who="one")
        self.model: dict[str, Any] = {}
        self.changes: list[tuple[str, str, Any, Any]] = []
        self.told: list[tuple[str, Any]] = []
        self.end = self.users["one"].subscribe("*", lambda *news: self.told.append(news[:2]))

    def teardown(self) -> None:
        self.end()
        shutil.rmtree(self.directory)

    def expect(self, user: str, key: str, value: Any) -> None:
        before = self.model.get(key, MISSING)
        if value is MISSING:
            self.model.pop(key, None)
        else:
            self.model[key] = value
        if not (before is value or (MISSING not in (before, value) and same_value(before, value))):
            self.changes.append((user, key, before, value))

    # --- calls ---

    @rule(user=users, key=keys, value=values)
    def set(self, user: str, key: str, value: Any) -> None:
        self.expect(user, key, value)
        self.users[user].set(key, value)
        self.memory.set(key, value, user)

    @rule(user=users, key=keys)
    def delete(self, user: str, key: str) -> None:
        there = key in self.model
        self.expect(user, key, MISSING)
        assert self.users[user].delete(key) is there
        assert self.memory.delete(key, user) is there

    @rule(user=users, key=keys, by=st.integers(-3, 3) | st.sampled_from([0.5, True]))
    def increment(self, user: str, key: str, by: float) -> None:
        now = self.model.get(key, 0)
        total = now + by if {type(now), type(by)} <= {int, float} else MISSING
        if total is MISSING or (type(total) is int and not -(2**63) <= total < 2**64):
            for context in (self.users[user], self.memory):
                with pytest.raises(ParameterValueError):
                    context.increment(key, by)
            return
        self.expect(user, key, total)
        assert self.users[user].increment(key, by) == total
        assert self.memory.increment(key, by, user) == total

    @rule(user=users, data=st.dictionaries(keys, values, max_size=3))
    def take_over_json(self, user: str, data: dict[str, Any]) -> None:
        for key, value in data.items():
            self.expect(user, key, value)
        self.users[user].from_json(json.dumps(data))
        self.memory.from_dict(data, user)

    @rule(user=users, key=keys, value=values)
    def update(self, user: str, key: str, value: Any) -> None:
        wanted = [self.model.get(key), value]
        self.expect(user, key, wanted)
        assert self.users[user].update(key, lambda now: (now, value)) == wanted
        self.memory.update(key, lambda now: [now, value], user)

    @rule(user=users, key=keys, value=st.sampled_from([float("inf"), {1}, "\udfff"]))
    def set_what_json_cannot_hold(self, user: str, key: str, value: Any) -> None:
        for context in (self.users[user], self.memory):
            with pytest.raises(ParameterValueError):
                context.set(key, value)

    @rule(user=users, key=keys)
    def give_up_an_update(self, user: str, key: str) -> None:
        with pytest.raises(ZeroDivisionError):
            self.users[user].update(key, lambda now: 1 / 0)

    # --- mishaps ---

    @rule(text=st.sampled_from(["{", "{}\n", '{"ts":"t","seq":99999,"key":"x"}\n', "\n\n"]))
    def a_kill_leaves_something_behind_the_last_line(self, text: str) -> None:
        with (self.directory / HISTORY_FILE_NAME).open("a") as file:
            file.write(text)
        self.expect("two", "mend", len(self.changes))
        self.users["two"].set("mend", self.model["mend"])
        self.memory.set("mend", self.model["mend"], "two")

    @rule(user=users)
    def begin_with_a_new_object(self, user: str) -> None:
        if user == "two":
            self.users[user] = Context(self.directory, who=user)

    # --- what must hold ---

    @invariant()
    def all_see_the_same(self) -> None:
        for context in (*self.users.values(), self.memory):
            assert same_value(context.to_dict(), self.model)
            assert context.keys() == list(self.model)
        stored = json.loads((self.directory / PARAMETER_FILE_NAME).read_bytes())
        assert same_value(stored.get("context", {}), self.model)

    @invariant()
    def the_history_tells_each_change(self) -> None:
        for context in (*self.users.values(), self.memory):
            told = [
                (each["who"], each["key"], each["before"], each.get("after", MISSING))
                for each in context.history()
            ]
            assert told == [
                (who, key, None if before is MISSING else before, after)
                for who, key, before, after in self.changes
            ]

    @invariant()
    def the_subscriber_was_told_of_the_newest_values(self) -> None:
        self.users["one"].poll()
        known: dict[str, Any] = {}
        for key, value in self.told:
            known[key] = value
        for key in known.keys() | self.model.keys():
            assert same_value(known.get(key), self.model.get(key))


TestContext = ContextModel.TestCase
