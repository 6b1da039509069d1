"""The parameter command line: every form, every exit code, every mistake, and as a process."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any, Protocol

import pytest

from octo_step_engine_parameters import (
    GLOBAL_GROUP,
    LOCK_FILE_NAME,
    PARAMETER_FILE_NAME,
    get_parser,
    main,
)
from tests.modules.parameter_support import Python, needs_posix
from tests.support import PROJECT, Command

PARAMETERS = "modules/octo_step_engine_parameters.py"
SCRIPTLET = "scripts/scriptlet_step_engine_params.py"


class Run(Protocol):
    def __call__(self, *arguments: object, code: int = 0) -> str: ...


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """`main`, in `tmp_path`; what it prints, or for another exit code than 0 says of errors."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: object, code: int = 0) -> str:
        capsys.readouterr()
        assert main([*map(str, arguments)]) == code
        said = capsys.readouterr()
        assert bool(said.err) == (code != 0)
        return said.err if code else said.out

    return run


def content(directory: Path) -> Any:
    return json.loads((directory / PARAMETER_FILE_NAME).read_bytes())


# --- showing ---


def test_a_first_look_makes_the_parameter_file_and_nothing_else(run: Run, tmp_path: Path) -> None:
    assert run(".", "global_parameters", "step_engine_state") == "INACTIVE\n"
    if hasattr(os, "O_TMPFILE"):
        assert [each.name for each in tmp_path.iterdir()] == [PARAMETER_FILE_NAME]


def test_all_parameters_here_or_at_a_path(run: Run, tmp_path: Path) -> None:
    (tmp_path / PARAMETER_FILE_NAME).write_text(
        '{"limits": {"low": -5, "names": ["a", "b c"]}, "empty": {}, "last": {"x": null}}'
    )
    shown = run()
    assert shown.startswith(
        'limits\n  low    -5\n  names  ["a","b c"]\n\nempty\n\nlast\n  x  null\n'
    )
    assert "run_step_count             1\n" in shown  # a default
    (tmp_path / "below").mkdir()
    assert "limits" not in run("below")
    assert json.loads(run("--json"))["limits"] == {"low": -5, "names": ["a", "b c"]}


def test_a_group(run: Run) -> None:
    run(".", "limits", "low", "-5")
    run(".", "limits", "high", "7")
    assert run(".", "limits") == "low   -5\nhigh  7\n"
    assert run(".", "limits", "--json") == '{\n  "low": -5,\n  "high": 7\n}\n'


@pytest.mark.parametrize(
    ("value", "bare", "as_json"),
    [
        ("text é", "text é", '"text é"'),
        ("", "", '""'),
        ("two\nlines", "two\nlines", '"two\\nlines"'),
        (3, "3", "3"),
        (-2.5, "-2.5", "-2.5"),
        (True, "true", "true"),
        (None, "null", "null"),
        ({"a": [1, "b"]}, '{"a":[1,"b"]}', '{\n  "a": [\n    1,\n    "b"\n  ]\n}'),
    ],
)
def test_one_value_is_printed_bare_or_as_json(
    value: Any, bare: str, as_json: str, run: Run, tmp_path: Path
) -> None:
    (tmp_path / PARAMETER_FILE_NAME).write_text(json.dumps({"g": {"k": value}}))
    assert run(".", "g", "k") == bare + "\n"
    assert run(".", "g", "k", "--json") == as_json + "\n"


def test_a_default_that_the_file_does_not_have_is_shown(run: Run, tmp_path: Path) -> None:
    (tmp_path / PARAMETER_FILE_NAME).write_text("{}")
    assert run(".", "global_parameters", "run_step_count") == "1\n"
    assert (tmp_path / PARAMETER_FILE_NAME).read_text() == "{}"


# --- changing ---


@pytest.mark.parametrize(
    ("now", "options", "word", "expected"),
    [
        (None, [], "5", 5),
        (None, [], "-5", -5),
        (None, [], "-1e-3", -0.001),
        (None, [], "-.5", "-.5"),
        (None, [], "true", True),
        (None, [], "null", None),
        (None, [], '{"a": [1]}', {"a": [1]}),
        (None, [], "text", "text"),
        (None, [], "", ""),
        (None, [], "1 2", "1 2"),
        (None, [], "NaN", "NaN"),
        (None, ["--"], "--json", "--json"),
        (1, [], "2", 2),
        (1, [], "two", "two"),
        ("text", [], "5", "5"),
        ("text", [], "true", "true"),
        ("text", ["--json-value"], "5", 5),
        (None, ["--string"], "5", "5"),
        (7, ["--string"], "true", "true"),
        (7, ["--json-value"], '"x"', "x"),
        (7, ["--json-value"], "-1e5", -100000.0),
        (7, ["--string"], "-1E-3", "-1E-3"),
        (-1e5, ["--if-value", "-1e5"], "-2e5", -200000.0),
    ],
)
def test_a_value_is_text_where_text_was_else_json_where_it_is_json(
    now: Any, options: list[str], word: str, expected: Any, run: Run, tmp_path: Path
) -> None:
    group = {} if now is None else {"k": now}
    (tmp_path / PARAMETER_FILE_NAME).write_text(json.dumps({"g": group}))
    assert run(*options, ".", "g", "k", word) == ""
    assert content(tmp_path)["g"] == {"k": expected}
    assert type(content(tmp_path)["g"]["k"]) is type(expected)


def test_increment_and_decrement_print_the_new_value(run: Run, tmp_path: Path) -> None:
    assert run(".", "g", "n", "-i") == "1\n"
    assert run("-i", ".", "g", "n") == "2\n"
    assert run(".", "g", "n", "-d") == "1\n"
    assert content(tmp_path)["g"]["n"] == 1


def test_an_update_on_condition(run: Run, tmp_path: Path) -> None:
    run(".", "door", "state", "open")
    run(".", "door", "state", "closed", "--if-value", "open")
    assert 'is "closed"' in run(".", "door", "state", "locked", "--if-value", "open", code=1)
    run(
        ".",
        "door",
        "n",
        "1",
        "--if-revision",
        content(tmp_path)[GLOBAL_GROUP]["parameter_revision"],
    )
    assert "revision 3, not 2" in run(".", "door", "n", "2", "--if-revision", "2", code=1)
    assert run(".", "door", "n", "-i", "--if-value", "1") == "2\n"
    assert "is 2" in run(".", "door", "n", "-i", "--if-value", "1", code=1)
    assert "is not there" in run(".", "door", "new", "1", "--if-value", "1", code=1)
    assert content(tmp_path)["door"] == {"state": "closed", "n": 2}


@pytest.mark.parametrize("durability", ["process", "power"])
def test_the_durability_is_an_option_and_of_the_environment(
    durability: str, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(".", "g", "k", "1", "--durability", durability)
    monkeypatch.setenv("OCTO_DURABILITY", durability)
    run(".", "g", "k", "2")
    copy = tmp_path / f"{PARAMETER_FILE_NAME}.backup"
    assert copy.exists() == (durability == "process")
    monkeypatch.setenv("OCTO_DURABILITY", "x")
    assert "OCTO_DURABILITY" in run(".", "g", "k", "3", code=2)


# --- waiting ---


def test_waiting_for_a_value(run: Run, tmp_path: Path) -> None:
    run(".", "g", "state", "BUSY")
    setter = threading.Timer(0.1, main, args=([".", "g", "state", "DONE"],))
    setter.start()
    waiting = (".", "g", "--wait", "state=FAILED", "--wait", "state=DONE", "--timeout", "60")
    assert run(*waiting) == "DONE\n"
    setter.join()
    run(".", "g", "n", "5")
    assert run(".", "g", "--wait", "n=5") == "5\n"
    assert run(".", "g", "--wait", "state=DONE", "--json") == '"DONE"\n'
    said = run(".", "g", "--wait", "state=NEVER", "--wait", "x=1", "--timeout", "0.05", code=1)
    assert "0.05 s" in said
    assert "state is DONE" in said
    assert "x is not there" in said


@needs_posix
def test_ctrl_c_ends_a_wait_with_130(run: Run, tmp_path: Path) -> None:
    run(".", "g", "state", "BUSY")
    command = [sys.executable, "-X", "importtime", str(PROJECT / PARAMETERS)]
    with subprocess.Popen(
        [*command, ".", "g", "--wait", "state=X"],
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        encoding="utf-8",
    ) as waiting:
        assert waiting.stderr is not None
        for line in waiting.stderr:  # when its parser has been loaded, it is well inside main
            if line.endswith("| octo_command_parser\n"):
                break
        waiting.send_signal(signal.SIGINT)
        rest = waiting.stderr.read()
    assert waiting.returncode == 130
    assert "Traceback" not in rest


def test_a_lock_that_another_holds_ends_in_a_time_out_that_names_it(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(".", "g", "k", "1")
    holder = """
        import octo_lock
        with octo_lock.FileLock(sys.argv[1]):
            print("held", flush=True)
            input()
    """
    with Python(holder, tmp_path / LOCK_FILE_NAME) as other:
        assert other.line() == "held"
        monkeypatch.setenv("OCTO_LOCK_TIMEOUT", "0.02")
        for said in (
            run(".", "g", "k", "2", "--timeout", "0.05", code=1),
            run(".", "g", "k", "-i", code=1),
        ):
            assert LOCK_FILE_NAME in said
            if sys.platform == "linux":
                assert f"pid {other.pid}" in said
        assert run(".", "g", "k") == "1\n"


# --- bad files ---


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b'{"a": 1}', b"\xff\xfe", b'{"a":{},"a":{}}']
)
@pytest.mark.parametrize("form", [[], [".", "a"], [".", "a", "b"], [".", "a", "b", "1"]])
def test_a_bad_file_is_reported_with_line_and_column_and_kept(
    content: bytes, form: list[str], run: Run, tmp_path: Path
) -> None:
    path = tmp_path / PARAMETER_FILE_NAME
    path.write_bytes(content)
    said = run(*form, code=1)
    assert f"{path}:1:" in said
    assert "--repair" in said
    assert path.read_bytes() == content


def test_repair_moves_the_bad_file_aside_and_says_where(run: Run, tmp_path: Path) -> None:
    run(".", "g", "k", "1")
    assert "nothing to repair" in run("--repair")
    (tmp_path / PARAMETER_FILE_NAME).write_bytes(b"bad")
    assert "safety copy of 20" in run(".", "g", code=1)
    said = run("--repair", ".")
    aside = next(each for each in tmp_path.iterdir() if ".bad-" in each.name)
    assert str(aside) in said
    assert aside.read_bytes() == b"bad"
    assert "safety copy of 20" in said
    assert run(".", "g", "k") == "1\n"


def test_repair_begins_anew_when_told_to(run: Run, tmp_path: Path) -> None:
    run(".", "g", "k", "1")
    (tmp_path / PARAMETER_FILE_NAME).write_bytes(b"bad")
    assert "defaults" in run(".", "--repair", "--from-defaults")
    assert list(content(tmp_path)) == [GLOBAL_GROUP]


@needs_posix
def test_a_fifo_in_the_place_of_the_file_is_an_error_and_no_endless_wait(
    run: Run, tmp_path: Path
) -> None:
    os.mkfifo(tmp_path / PARAMETER_FILE_NAME)
    for form in ([".", "g", "k"], [".", "g", "k", "1"], ["--repair"]):
        assert "FIFO" in run(*form, code=1)


# --- mistakes ---


@pytest.mark.parametrize(
    ("arguments", "code", "parts"),
    [
        (["nowhere"], 1, ["nowhere", "no such directory"]),
        (["nowher/"], 1, ["no such directory"]),
        ([""], 1, ["'': no such directory", "`.` is this directory"]),
        ([".", "g", "k", "--", "1", "--json"], 2, ["one word too many: '--json'"]),
        (["nowher", "g", "--wait", "k=1"], 1, ["until test -e nowher/.octo", "begin the run"]),
        (["instanse"], 1, ["did you mean 'instance'"]),
        (["global_parameters", "run_step_count"], 1, ["PATH comes first"]),
        ([".", "global_parameter"], 1, ["no group", "did you mean 'global_parameters'"]),
        ([".", "x"], 1, ["no group 'x'", "there are: global_parameters"]),
        ([".", "global_parameters", "run_step_cout"], 1, ["did you mean 'run_step_count'"]),
        ([".", "global_parameters", "current_step_state", "-i"], 1, ['"INACTIVE"', "no integer"]),
        ([".", "global_parameters", "parameter_revision", "7"], 1, ["counts the writes"]),
        ([".", "g", "k", "99999999999999999999"], 1, ["64 bits", "--string"]),
        ([".", "g", "k", "{", "--json-value"], 2, ["VALUE is not JSON"]),
        ([".", "g", "k", "1", "2"], 2, ["one word too many: '2'"]),
        ([".", "g", "k", "--jsno"], 2, ["no option '--jsno'", "did you mean '--json'"]),
        ([".", "g", "k", "1", "--if-valeu=2"], 2, ["did you mean '--if-value'"]),
        ([".", "g", "k", "-i", "-d"], 2, ["not allowed with"]),
        ([".", "g", "k", "5", "-i"], 2, ["take no VALUE"]),
        ([".", "g", "-i"], 2, ["need PATH GROUP KEY"]),
        ([".", "g", "k", "--string"], 2, ["need a VALUE"]),
        ([".", "g", "k", "1", "--string", "--json-value"], 2, ["not allowed with"]),
        ([".", "g", "k", "--if-value", "1"], 2, ["need a VALUE, -i or -d"]),
        ([".", "g", "k", "1", "--if-revision", "x"], 2, ["invalid int value"]),
        ([".", "g", "k", "--wait", "k=1"], 2, ["takes PATH GROUP"]),
        ([".", "g", "--wait", "k"], 2, ["takes KEY=VALUE"]),
        (["--wait", "k=1"], 2, ["needs PATH GROUP"]),
        ([".", "g", "--wait", "k=1", "--timeout", "-1"], 2, ["no number of seconds"]),
        ([".", "g", "k", "1", "--timeout", "soon"], 2, ["'soon' is no number of seconds"]),
        ([".", "g", "k", "1", "--durability", "powr"], 2, ["did you mean 'power'"]),
        ([".", "g", "--repair"], 2, ["takes PATH alone"]),
        (["--from-defaults"], 2, ["needs --repair"]),
    ],
)
def test_a_mistake_is_named_and_changes_nothing(
    arguments: list[str], code: int, parts: list[str], run: Run, tmp_path: Path
) -> None:
    (tmp_path / "instance").mkdir()
    run()
    before = (tmp_path / PARAMETER_FILE_NAME).read_bytes()
    said = run(*arguments, code=code)
    for part in parts:
        assert part in said
    assert (tmp_path / PARAMETER_FILE_NAME).read_bytes() == before
    assert not (tmp_path / "nowhere").exists()


def test_a_file_in_the_place_of_the_directory_is_a_mistake(run: Run, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    assert "no such directory" in run("file", "g", "k", code=1)


@needs_posix
def test_undecodable_bytes_are_refused(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, PROJECT / PARAMETERS, ".", "g", "k", b"\xff\xfe"],
        cwd=tmp_path,
        capture_output=True,
        encoding="utf-8",
    )
    assert done.returncode == 1
    assert "surrogate" in done.stderr
    assert "Traceback" not in done.stderr


# --- as a program among others ---


@needs_posix
def test_a_reader_that_stops_reading_is_no_error(tmp_path: Path) -> None:
    (tmp_path / PARAMETER_FILE_NAME).write_text(json.dumps({"group": {"long": "x" * 300_000}}))
    line = f"{sys.executable} {PROJECT / PARAMETERS} . | head -c 5"
    done = subprocess.run(line, shell=True, cwd=tmp_path, capture_output=True, text=True)
    assert done.stdout == "group"
    assert done.stderr == ""


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_behind_the_output_is_said(tmp_path: Path) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, PROJECT / PARAMETERS, tmp_path],
            stdout=full,
            stderr=subprocess.PIPE,
            encoding="utf-8",
        )
    assert done.returncode == 1
    assert "can't write the output: No space left on device" in done.stderr
    assert "Traceback" not in done.stderr


def test_what_stdout_cant_hold_is_escaped_in_json_and_refused_as_a_bare_value(
    command: Command, tmp_path: Path
) -> None:
    group = {"k": "é ☃ 😀", "ascii": "yes"}
    (tmp_path / PARAMETER_FILE_NAME).write_text(json.dumps({"g": group}))

    def said(*arguments: str, code: int = 0) -> str:
        ascii_only = {"PYTHONIOENCODING": "ascii"}
        done = command(PARAMETERS, ".", *arguments, cwd=tmp_path, env=ascii_only)
        assert done.returncode == code
        assert "Traceback" not in done.stderr
        return done.stderr if code else done.stdout

    assert json.loads(said("--json"))["g"] == group
    assert json.loads(said("g", "k", "--json")) == group["k"]
    assert '"\\u00e9 \\u2603 \\ud83d\\ude00"' in said("g")
    assert said("g", "ascii") == "yes\n"
    assert "ascii has no '\\xe9'" in said("g", "k", code=1)


def test_the_scriptlet_is_the_same_command(command: Command, tmp_path: Path) -> None:
    for arguments in ([".", "g", "n", "-i"], [".", "g", "n"], [], [".", "g"], ["nowhere"]):
        by_scriptlet = command(SCRIPTLET, *arguments, cwd=tmp_path)
        assert "Traceback" not in by_scriptlet.stderr
        if "-i" not in arguments:
            by_module = command(PARAMETERS, *arguments, cwd=tmp_path)
            assert by_scriptlet.stdout == by_module.stdout
            assert by_scriptlet.returncode == by_module.returncode
    assert content(tmp_path)["g"] == {"n": 1}


def test_as_a_process_it_does_the_same(command: Command, tmp_path: Path) -> None:
    def call(*arguments: object) -> tuple[int, str]:
        done = command(PARAMETERS, *arguments, cwd=tmp_path)
        assert "Traceback" not in done.stderr
        assert bool(done.stderr) == (done.returncode != 0)
        return done.returncode, done.stdout

    assert call(".", "g", "n", "-i") == (0, "1\n")
    assert call(".", "g", "text", "é\n") == (0, "")
    assert call(".", "g", "text") == (0, "é\n\n")
    assert call(".", "g") == (0, 'n     1\ntext  "é\\n"\n')
    assert call(".", "g", "m") == (1, "")
    assert call(".", "g", "n", "1", "-i") == (2, "")
    assert call(".", "g", "n", "--nonsense") == (2, "")
    assert call("--help")[0] == 0


def test_help_names_every_option_and_an_example(run: Run) -> None:
    shown = run("--help")
    parser = get_parser()
    for action in parser._actions:
        for option in action.option_strings:
            assert option in shown
    assert "exit codes" in shown


def test_reading_a_value_loads_next_to_nothing(run: Run, tmp_path: Path) -> None:
    """What a read loads, it pays for: each of these costs as much as starting Python."""
    run()
    code = f"""
        sys.argv = ["p", {str(tmp_path)!r}, "global_parameters", "run_step_count"]
        before = set(sys.modules)
        import octo_parameters_cli
        assert octo_parameters_cli.main() == 0
        print(*sorted(set(sys.modules) - before))
    """
    with Python(code) as other:
        value, loaded = other.output().split("\n")
    assert value == "1"
    heavy = {"argparse", "re", "json", "logging", "pathlib", "dataclasses", "typing", "collections"}
    heavy |= {"orjson", "fasteners", "contextlib", "enum", "functools", "ctypes", "threading"}
    assert not heavy & set(loaded.split())
    assert len(loaded.split()) < 12, loaded


def test_changing_a_value_loads_no_heavy_package(tmp_path: Path) -> None:
    code = f"""
        sys.argv = ["p", {str(tmp_path)!r}, "g", "n", "-i"]
        import octo_parameters_cli
        assert octo_parameters_cli.main() == 0
        print(*sorted(sys.modules))
    """
    with Python(code) as other:
        value, loaded = other.output().split("\n")
    assert value == "1"
    heavy = {"argparse", "json", "logging", "pathlib", "dataclasses", "orjson", "ctypes"}
    if sys.platform == "linux":
        heavy.add("fasteners")
    assert not heavy & set(loaded.split())
