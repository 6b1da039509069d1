"""The class that nodes use: the seven methods as the specification has them, and what was added."""

from __future__ import annotations

import json
import os
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

from octo_errors import (
    ConflictError,
    LockTimeoutError,
    OctoError,
    ParameterFileError,
    ParameterValueError,
    UsageError,
    WaitTimeoutError,
)
from octo_json_strict import dump_value
from octo_lock import FileLock
from octo_step_engine_parameters import (
    GLOBAL_GROUP,
    LOCK_FILE_NAME,
    PARAMETER_FILE_NAME,
    UNSET,
    octo_step_engine_parameters,
    open_parameters,
)
from tests.modules.parameter_support import Python, groups, texts, values

PARAMS = octo_step_engine_parameters()
DEFAULTS = PARAMS.get_default_param_dict()
NAMES = (PARAMETER_FILE_NAME, LOCK_FILE_NAME)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def content(directory: Path) -> Any:
    return json.loads((directory / PARAMETER_FILE_NAME).read_bytes())


def update(group: str, key: str, value: Any, **conditions: Any) -> dict[str, Any]:
    return PARAMS.update_json_dict(DEFAULTS, *NAMES, group, key, value, **conditions)


def increment(group: str, key: str, up: bool = True) -> Any:
    return PARAMS.increment_json_dict(DEFAULTS, *NAMES, group, key, up)[group][key]


# --- the seven methods ---


def test_the_default_schema_is_that_of_the_specification() -> None:
    assert PARAMS.get_default_param_dict() == {
        "global_parameters": {
            "step_engine_library_path": "",
            "step_engine_instance_path": "",
            "step_engine_state": "INACTIVE",
            "current_step_module": "",
            "current_step_node": "",
            "current_step_state": "INACTIVE",
            "first_step_module": "",
            "first_step_node": "",
            "run_step_count": 1,
        }
    }
    assert PARAMS.get_default_param_file_name() == ".octo_step_engine_parameters.json"
    assert PARAMS.get_default_param_lock_file_name() == ".octo_step_engine_parameters.lock"


def test_the_default_dict_belongs_to_the_caller() -> None:
    PARAMS.get_default_param_dict()[GLOBAL_GROUP]["run_step_count"] = 99
    assert PARAMS.get_default_param_dict()[GLOBAL_GROUP]["run_step_count"] == 1


@pytest.mark.parametrize("first", ["read", "update", "increment"])
def test_whichever_call_comes_first_creates_the_file(first: str, here: Path) -> None:
    if first == "read":
        PARAMS.read_json_dict(DEFAULTS, *NAMES)
    elif first == "update":
        update("mine", "k", "v")
    else:
        increment("mine", "n")
    expected = {**DEFAULTS[GLOBAL_GROUP], "parameter_revision": 1}
    assert content(here)[GLOBAL_GROUP] == expected


def test_an_update_returns_the_whole_file_as_it_left_it(here: Path) -> None:
    returned = update("mine", "k", {"list": [1, None], "text": "é"})
    assert returned == content(here)
    assert returned["mine"]["k"] == {"list": [1, None], "text": "é"}
    returned["mine"]["k"]["list"].append(2)
    assert PARAMS.read_json_dict(DEFAULTS, *NAMES)["mine"]["k"]["list"] == [1, None]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50)
@given(texts, texts, values)
def test_any_json_value_reads_back_as_it_was_set(
    here: Path, group: str, key: str, value: Any
) -> None:
    assert update(group, key, value)[group][key] == value
    assert PARAMS.read_json_dict(DEFAULTS, *NAMES)[group][key] == value


def test_increment_and_decrement_count_from_zero_where_nothing_is(here: Path) -> None:
    assert [increment(GLOBAL_GROUP, "run_step_count") for _ in range(3)] == [2, 3, 4]
    assert increment(GLOBAL_GROUP, "run_step_count", False) == 3
    assert increment("new", "up") == 1
    assert increment("new", "down", False) == -1


@pytest.mark.parametrize("value", ["1", 1.0, True, None, [], {}])
def test_an_increment_of_what_is_no_integer_names_group_key_and_value(
    value: Any, here: Path
) -> None:
    update("mine", "k", value)
    before = (here / PARAMETER_FILE_NAME).read_bytes()
    with pytest.raises(ParameterValueError) as caught:
        increment("mine", "k")
    for part in ("'mine'", "'k'", json.dumps(value)):
        assert part in str(caught.value)
    assert (here / PARAMETER_FILE_NAME).read_bytes() == before


def test_an_increment_beyond_64_bits_is_refused(here: Path) -> None:
    update("mine", "n", 2**64 - 1)
    with pytest.raises(ParameterValueError, match="64 bits"):
        increment("mine", "n")
    assert content(here)["mine"]["n"] == 2**64 - 1


def test_dictionary_display_shows_every_group_key_and_value(
    capsys: pytest.CaptureFixture[str],
) -> None:
    PARAMS.dictionary_display(
        {"first": {"text": "x", "long_name": [1, {"a": None}]}, "odd\n": {}, "no group": {1}}
    )
    assert capsys.readouterr().out == (
        'first\n  text       "x"\n  long_name  [1,{"a":null}]\n\n"odd\\n"\n\nno group  {1}\n'
    )


@pytest.mark.parametrize("value", [float("nan"), {1}, b"x", 2**70, {1: 2}, "\ud800", object()])
def test_what_json_cannot_hold_is_an_error_and_nothing_is_written(value: Any, here: Path) -> None:
    update("mine", "k", 1)
    before = (here / PARAMETER_FILE_NAME).read_bytes()
    with pytest.raises(ParameterValueError, match="group 'mine', key 'k'"):
        update("mine", "k", value)
    assert (here / PARAMETER_FILE_NAME).read_bytes() == before


# --- defaults ---


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30)
@given(groups, groups)
def test_defaults_fill_in_what_is_missing_and_never_overwrite(
    tmp_path_factory: pytest.TempPathFactory, state: dict[str, Any], defaults: dict[str, Any]
) -> None:
    directory = tmp_path_factory.mktemp("instance")
    names = (str(directory / "p.json"), str(directory / "p.lock"))
    (directory / "p.json").write_text(json.dumps(state))
    read = PARAMS.read_json_dict(defaults, *names)
    written = PARAMS.update_json_dict(defaults, *names, "a group of its own", "k", 1)
    for name, group in defaults.items():
        for key, value in group.items():
            expected = state.get(name, {}).get(key, value)
            assert read[name][key] == written[name][key] == expected
    for name, group in state.items():
        assert read[name] == {**defaults.get(name, {}), **group}
    assert PARAMS.read_json_dict({}, *names) == written


def test_an_update_writes_the_defaults_into_the_file_too(here: Path) -> None:
    (here / PARAMETER_FILE_NAME).write_text('{"mine": {"k": 1}}')
    update("mine", "k", 2)
    assert content(here)[GLOBAL_GROUP]["step_engine_state"] == "INACTIVE"
    assert list(content(here)) == ["mine", GLOBAL_GROUP]


# --- where the file is ---


def test_relative_names_start_at_the_directory_that_is_current_in_each_call(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("one", "two"):
        (here / name).mkdir()
        monkeypatch.chdir(here / name)
        update("mine", "name", name)
    monkeypatch.chdir(here / "one")
    assert PARAMS.read_json_dict(DEFAULTS, *NAMES)["mine"]["name"] == "one"
    assert content(here / "two")["mine"]["name"] == "two"


def test_a_directory_made_anew_under_the_same_name_is_another_instance(here: Path) -> None:
    path, lock = here / "i" / "p.json", here / "i" / "p.lock"
    for number in range(3):
        path.parent.mkdir()
        state = PARAMS.increment_json_dict({}, str(path), str(lock), "a", "n", True)
        assert state["a"]["n"] == 1, number
        path.parent.rename(here / f"old{number}")


@pytest.mark.skipif(sys.platform != "linux", reason="a current directory can be removed there")
def test_a_current_directory_that_is_gone_is_a_clear_error(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (here / "gone").mkdir()
    monkeypatch.chdir(here / "gone")
    (here / "gone").rmdir()
    try:
        with pytest.raises(ParameterFileError, match="current directory is gone"):
            PARAMS.read_json_dict(DEFAULTS, *NAMES)
    finally:
        os.chdir(here)


def test_a_missing_directory_is_an_error(here: Path) -> None:
    with pytest.raises(ParameterFileError, match="no such directory"):
        PARAMS.read_json_dict(DEFAULTS, "nowhere/p.json", "nowhere/p.lock")
    with pytest.raises(OctoError, match="No such file or directory"):
        PARAMS.update_json_dict(DEFAULTS, "nowhere/p.json", "nowhere/p.lock", "a", "b", 1)
    assert not (here / "nowhere").exists()


@pytest.mark.parametrize("names", [("a\0b", "lock"), ("a", "lo\0ck")])
def test_a_name_that_no_file_can_have_is_an_error(here: Path, names: tuple[str, str]) -> None:
    with pytest.raises(ParameterFileError, match=r"\\x00.*: no file can be called so"):
        PARAMS.read_json_dict(DEFAULTS, *names)


@pytest.mark.parametrize("exists", [False, True])
@pytest.mark.parametrize("defaults", [[], "text", 5, {"group": []}])
def test_defaults_that_are_no_groups_are_an_error(here: Path, defaults: Any, exists: bool) -> None:
    if exists:
        update("mine", "k", 1)
    before = content(here) if exists else None
    with pytest.raises(ParameterValueError, match="must be a dict of"):
        PARAMS.read_json_dict(defaults, *NAMES)
    with pytest.raises(ParameterValueError, match="must be a dict of"):
        PARAMS.update_json_dict(defaults, *NAMES, "mine", "k", 2)
    assert before == (content(here) if exists else None)


# --- conditions ---


def test_an_update_on_condition_of_the_revision(here: Path) -> None:
    revision = update("mine", "k", 1)[GLOBAL_GROUP]["parameter_revision"]
    update("mine", "k", 2, if_revision=revision)
    with pytest.raises(ConflictError, match=f"revision {revision + 1}, not {revision}"):
        update("mine", "k", 3, if_revision=revision)
    assert content(here)["mine"]["k"] == 2


@pytest.mark.parametrize(
    ("value", "equal", "others"),
    [
        (1, 1, [True, 1.0, "1", None]),
        (True, True, [1, 1.0, "true"]),
        (None, None, [0, "", False]),
        ("a", "a", ["A", ["a"]]),
        ({"a": [1, {"b": 2}]}, {"a": (1, {"b": 2})}, [{"a": [1, {"b": True}]}, {}]),
    ],
)
def test_an_update_on_condition_of_the_old_value(
    value: Any, equal: Any, others: list[Any], here: Path
) -> None:
    update("mine", "k", value)
    for other in others:
        with pytest.raises(ConflictError) as caught:
            update("mine", "k", "new", if_value=other)
        assert dump_value(value) in str(caught.value)
        assert dump_value(other) in str(caught.value)
    assert content(here)["mine"]["k"] == value
    update("mine", "k", "new", if_value=equal)
    assert content(here)["mine"]["k"] == "new"


def test_a_condition_that_does_not_hold_is_told_as_json(here: Path) -> None:
    update("mine", "k", True)
    with pytest.raises(ConflictError, match=r"is true; the condition was \[null\]"):
        update("mine", "k", 2, if_value=[None])


def test_a_condition_on_a_missing_key_does_not_hold(here: Path) -> None:
    with pytest.raises(ConflictError, match="is not there"):
        update("mine", "k", "new", if_value=None)
    assert "mine" not in PARAMS.read_json_dict(DEFAULTS, *NAMES)
    update("mine", "k", "new", if_value=UNSET)


def test_of_many_who_update_on_the_same_condition_one_does(here: Path) -> None:
    update("door", "owner", "nobody")
    won: list[int] = []

    def take(number: int) -> None:
        try:
            update("door", "owner", number, if_value="nobody")
            won.append(number)
        except ConflictError:
            pass

    threads = [threading.Thread(target=take, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert won == [content(here)["door"]["owner"]]


# --- waiting, repairing, settings ---


def test_wait_for_returns_when_the_value_is_there(here: Path) -> None:
    setter = threading.Timer(0.05, update, args=("mine", "state", "DONE"))
    setter.start()
    state = PARAMS.wait_for(DEFAULTS, *NAMES, "mine", "state", "DONE", timeout=60)
    assert state["mine"]["state"] == "DONE"
    setter.join()
    with pytest.raises(WaitTimeoutError):
        PARAMS.wait_for(DEFAULTS, *NAMES, "mine", "state", "NEVER", timeout=0.01)


def test_repair_puts_a_good_file_in_place(here: Path) -> None:
    update("mine", "k", 1)
    assert PARAMS.repair(DEFAULTS, *NAMES) is None
    (here / PARAMETER_FILE_NAME).write_bytes(b"{")
    with pytest.raises(ParameterFileError):
        update("mine", "k", 2)
    done = PARAMS.repair(DEFAULTS, *NAMES)
    assert done is not None
    assert done.restored_from == str(here / PARAMETER_FILE_NAME) + ".backup"
    assert content(here)["mine"]["k"] == 1


def test_the_time_to_wait_for_the_lock_is_a_parameter_or_of_the_environment(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OCTO_LOCK_TIMEOUT", "0.01")
    from_environment = octo_step_engine_parameters()
    given_here = octo_step_engine_parameters(timeout=0.02)

    def fail(params: octo_step_engine_parameters, expected: str) -> None:
        with pytest.raises(LockTimeoutError, match=expected):
            params.update_json_dict(DEFAULTS, *NAMES, "a", "b", 1)

    holder = """
        import octo_lock
        lock = octo_lock.FileLock(sys.argv[1])
        lock.acquire()
        print("held", flush=True)
        input()
    """
    with Python(holder, here / LOCK_FILE_NAME) as other:
        assert other.line() == "held"
        fail(from_environment, f"pid {other.pid} .*after 0.01 s")
        fail(given_here, "after 0.02 s")
        with (
            pytest.raises(LockTimeoutError, match=r"after 0\.01 s"),
            open_parameters(here).transaction(),
        ):
            pass


@pytest.mark.parametrize("seconds", ["soon", "-1", "nan", " "])
def test_a_time_that_is_no_time_is_refused(seconds: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OCTO_LOCK_TIMEOUT", seconds)
    with pytest.raises(UsageError, match="OCTO_LOCK_TIMEOUT"):
        octo_step_engine_parameters()
    with pytest.raises(UsageError, match="no time to wait"):
        octo_step_engine_parameters(timeout=-1)


def test_the_durability_is_a_parameter_or_of_the_environment(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert octo_step_engine_parameters().durability == "process"
    monkeypatch.setenv("OCTO_DURABILITY", "power")
    assert octo_step_engine_parameters().durability == "power"
    assert open_parameters(here).durability == "power"
    assert open_parameters(here, durability="process").durability == "process"
    with pytest.raises(UsageError, match=r"(?s)'powr'.*did you mean 'power'"):
        octo_step_engine_parameters(durability="powr")
    monkeypatch.setenv("OCTO_DURABILITY", "strong")
    with pytest.raises(UsageError, match="OCTO_DURABILITY"):
        open_parameters(here)


def test_an_empty_variable_is_as_one_that_is_not_set(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OCTO_DURABILITY", "")
    monkeypatch.setenv("OCTO_LOCK_TIMEOUT", "")
    for made in (octo_step_engine_parameters(), open_parameters(here)):
        assert (made.durability, made.timeout) == ("process", 30.0)


def test_the_lock_of_a_file_is_one_for_all_instances_and_threads(here: Path) -> None:
    def work() -> None:
        for _ in range(20):
            octo_step_engine_parameters(timeout=60).increment_json_dict(
                DEFAULTS, *NAMES, "a", "n", True
            )

    threads = [threading.Thread(target=work) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert content(here)["a"]["n"] == 100
    with FileLock(here / LOCK_FILE_NAME):
        assert PARAMS.read_json_dict(DEFAULTS, *NAMES)["a"]["n"] == 100


def test_many_files_in_one_process_keep_no_descriptors(here: Path) -> None:
    if sys.platform != "linux":
        pytest.skip("counts descriptors in /proc")
    for number in range(200):
        (here / str(number)).mkdir()
        update_there = (str(here / str(number) / "p.json"), str(here / str(number) / "p.lock"))
        PARAMS.update_json_dict(DEFAULTS, *update_there, "a", "n", number)
    assert len(list(Path("/proc/self/fd").iterdir())) < 150
