"""The parameter store against a dict: any order of calls by several users, mishaps in between."""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

import octo_spare_file
from octo_errors import ConflictError, ParameterFileError, ParameterValueError
from octo_lock_json import LockedJsonFile
from octo_parameter_store import parameter_file, same_value
from octo_parameters_cli import main
from octo_step_engine_parameters import (
    GLOBAL_GROUP,
    LOCK_FILE_NAME,
    PARAMETER_FILE_NAME,
    REVISION_KEY,
    UNSET,
    octo_step_engine_parameters,
    open_parameters,
)
from tests.modules.parameter_support import values

names = st.sampled_from(["a", "b", "", "é\n", 'quote"'])
users = st.sampled_from(["one", "two", "engine"])


class ParameterStore(RuleBasedStateMachine):
    """`model` is what the file must hold, but for the revision."""

    def __init__(self) -> None:
        super().__init__()
        self.patch = pytest.MonkeyPatch()
        for name in ("WORTHWHILE", "ALONE"):  # spares are kept, and left open, from the first write
            self.patch.setattr(octo_spare_file, name, 0)
        self.directory = Path(tempfile.mkdtemp(prefix="octo-"))
        self.path = self.directory / PARAMETER_FILE_NAME
        self.names = (str(self.path), str(self.directory / LOCK_FILE_NAME))
        self.params = octo_step_engine_parameters()
        self.defaults = self.params.get_default_param_dict()
        self.files: dict[str, LockedJsonFile] = {
            "one": open_parameters(self.directory),
            "two": open_parameters(self.directory, durability="power"),
            "engine": parameter_file(*self.names),
        }
        self.model: dict[str, dict[str, Any]] = self.params.get_default_param_dict()
        self.revision = self.params.read_json_dict(self.defaults, *self.names)[GLOBAL_GROUP][
            REVISION_KEY
        ]

    def teardown(self) -> None:
        shutil.rmtree(self.directory)
        self.patch.undo()

    def written(self, before: str) -> None:
        """The revision counts a write, and only a write."""
        self.revision += before != self.model_text()

    def model_text(self) -> str:
        return json.dumps(self.model)

    # --- calls ---

    @rule(group=names, key=names, value=values)
    def update(self, group: str, key: str, value: Any) -> None:
        before = self.model_text()
        self.model.setdefault(group, {})[key] = value
        self.written(before)
        state = self.params.update_json_dict(self.defaults, *self.names, group, key, value)
        self.compare(state)

    @rule(group=names, key=names, value=st.sampled_from([float("nan"), {1}, 2**64, "\ud800"]))
    def update_with_what_json_cannot_hold(self, group: str, key: str, value: Any) -> None:
        with pytest.raises(ParameterValueError):
            self.params.update_json_dict(self.defaults, *self.names, group, key, value)

    @rule(group=names, key=names, up=st.booleans())
    def increment(self, group: str, key: str, up: bool) -> None:
        value = self.model.get(group, {}).get(key, 0)
        call = (self.defaults, *self.names, group, key, up)
        new = value + (1 if up else -1) if type(value) is int else None
        if new is None or not -(2**63) <= new < 2**64:
            with pytest.raises(ParameterValueError):
                self.params.increment_json_dict(*call)
            return
        self.model.setdefault(group, {})[key] = new
        self.revision += 1
        self.compare(self.params.increment_json_dict(*call))

    @rule(group=names, key=names, old=values, new=values, holds=st.booleans())
    def compare_and_set(self, group: str, key: str, old: Any, new: Any, holds: bool) -> None:
        now = self.model.get(group, {}).get(key, UNSET)
        old = now if holds and now is not UNSET else old
        call = (self.defaults, *self.names, group, key, new)
        if now is UNSET or not same_value(now, old):
            with pytest.raises(ConflictError):
                self.params.update_json_dict(*call, if_value=old)
            return
        before = self.model_text()
        self.model[group][key] = new
        revision = self.revision
        self.written(before)
        self.params.update_json_dict(*call, if_value=old, if_revision=revision)

    @rule(value=values)
    def update_on_an_old_revision(self, value: Any) -> None:
        with pytest.raises(ConflictError):
            self.params.update_json_dict(
                self.defaults, *self.names, "a", "b", value, if_revision=self.revision - 1
            )

    @rule(group=names, key=names, word=st.integers(-5, 5))
    def update_from_a_shell(self, group: str, key: str, word: int) -> None:
        before = self.model_text()
        now = self.model.setdefault(group, {}).get(key)
        self.model[group][key] = str(word) if isinstance(now, str) else word
        self.written(before)
        assert main([str(self.directory), group, key, str(word)]) == 0

    @rule(user=users, group=names, values=st.dictionaries(names, values, max_size=3))
    def change_several_keys(self, user: str, group: str, values: dict[str, Any]) -> None:
        before = self.model_text()
        self.model.setdefault(group, {}).update(values)
        self.written(before)
        with self.files[user].transaction() as groups:
            groups.setdefault(group, {}).update(values)

    @rule(user=users, group=names)
    def delete_a_group(self, user: str, group: str) -> None:
        before = self.model_text()
        self.model.pop(group, None)
        self.written(before)
        with self.files[user].transaction() as groups:
            groups.pop(group, None)

    @rule(user=users, group=names, key=names, value=values)
    def give_up_a_transaction(self, user: str, group: str, key: str, value: Any) -> None:
        with pytest.raises(ZeroDivisionError), self.files[user].transaction() as groups:
            groups.setdefault(group, {})[key] = value
            groups.pop(GLOBAL_GROUP)
            raise ZeroDivisionError

    # --- mishaps ---

    @rule(indent=st.sampled_from([None, 1, 4]), bump=st.booleans(), value=values)
    def an_editor_writes_it_in_another_layout(
        self, indent: int | None, bump: bool, value: Any
    ) -> None:
        state = json.loads(self.path.read_bytes())
        if bump:
            state.setdefault("b", {})["edited"] = value
            self.model.setdefault("b", {})["edited"] = value
        self.path.write_text(json.dumps(state, indent=indent), encoding="utf-8")

    @rule(suffix=st.sampled_from([".tmp", ".backup.tmp"]), rest=st.binary(max_size=5))
    def a_killed_writer_leaves_its_temporary_file(self, suffix: str, rest: bytes) -> None:
        self.path.with_name(self.path.name + suffix).write_bytes(rest)

    @rule()
    def the_lock_file_is_removed(self) -> None:
        Path(self.names[1]).unlink(missing_ok=True)

    @rule(user=users, length=st.integers(0, 40))
    def the_file_is_cut_off_and_repaired(self, user: str, length: int) -> None:
        self.files[user].sync()
        Path(self.files[user].safety_copy).write_bytes(self.path.read_bytes())
        cut = self.path.read_bytes()[:length]
        self.path.write_bytes(cut)
        with pytest.raises(ParameterFileError):
            self.params.read_json_dict(self.defaults, *self.names)
        with pytest.raises(ParameterFileError):
            self.params.update_json_dict(self.defaults, *self.names, "a", "b", 1)
        assert self.path.read_bytes() == cut
        done = self.files[user].repair()
        assert done is not None
        assert done.moved_to is not None
        assert Path(done.moved_to).read_bytes() == cut
        Path(done.moved_to).unlink()
        self.revision += 1

    # --- what must hold after each of them ---

    def compare(self, state: dict[str, Any]) -> None:
        state = json.loads(json.dumps(state))
        assert state[GLOBAL_GROUP].pop(REVISION_KEY) == self.revision
        assert json.dumps(state, sort_keys=True) == json.dumps(self.model, sort_keys=True)

    @invariant()
    def the_file_holds_the_model_for_everyone(self) -> None:
        self.compare(json.loads(self.path.read_bytes()))
        self.compare(self.params.read_json_dict(self.defaults, *self.names))
        for file in self.files.values():
            self.compare(file.read())

    @precondition(lambda self: not self.path.with_name(self.path.name + ".tmp").exists())
    @invariant()
    def nothing_lies_about(self) -> None:
        allowed = {*map(Path, self.names), Path(self.files["one"].safety_copy)}
        allowed |= {self.path.with_name(self.path.name + end) for end in (".backup.tmp", ".spare")}
        assert set(self.directory.iterdir()) <= allowed


ParameterStore.TestCase.settings = settings(max_examples=25, stateful_step_count=25)
TestParameterStore = ParameterStore.TestCase
