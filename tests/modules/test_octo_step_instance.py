"""The command line of instances, as processes: what it says, what it does, its exit codes."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import sysconfig
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import octo_graph_steps
import octo_step_executors
import octo_step_grammar
from octo_instance_setup import create_instance
from tests.support import PROJECT, Command, MakeLibrary

SCRIPT = "modules/octo_step_instance.py"
PARAMETER_FILE = ".octo_step_engine_parameters.json"
EVENT_FILE = ".octo_step_engine_events.jsonl"

Octo = Callable[..., subprocess.CompletedProcess[str]]

TWO_NODES = {
    "one": """
        class step_node_one:
            "The first."
            step_node_graph_dict = {"step_node_one": {"first_node_step_bool": 1}}
            step_arrow_graph_dict = {"on": {"arrow_step_name_string": "step_node_two"}}
            def __init__(self, name, verbose_flag=False):
                self.verbose = verbose_flag
            def step_execute(self):
                print("one works" + (", verbosely" if self.verbose else ""))
    """,
    "two": """
        class step_node_two:
            def step_execute(self):
                print("two works")
    """,
}
SLOW = {
    "slow": """
        import time
        from pathlib import Path
        class step_node_slow:
            step_node_graph_dict = {"step_node_slow": {"first_node_step_bool": 1}}
            step_arrow_graph_dict = {"on": {"arrow_step_name_string": "step_node_last"}}
            def step_execute(self):
                Path("started").touch()
                while not Path("go").exists():
                    time.sleep(0.01)
                Path("started").unlink()
    """,
    "last": """
        class step_node_last:
            def step_execute(self):
                print("the last one works")
    """,
}
FAILING = {
    "bad": """
        class step_node_bad:
            step_node_graph_dict = {"step_node_bad": {
                "max_retries": 1, "retry_delay_seconds": 0.01}}
            def step_execute(self):
                print("trying")
                raise ValueError("no such voltage")
    """,
}
ARMED = {
    "heater": """
        from pathlib import Path
        class step_node_heater:
            step_node_graph_dict = {"step_node_heater": {"first_node_step_bool": 1}}
            step_arrow_graph_dict = {"on": {"arrow_step_name_string": "step_node_stop_here"}}
            def step_execute(self):
                print("heater on")
            def step_make_safe(self):
                if Path("stuck").exists():
                    return "the switch is stuck"
                print("heater off")
    """,
    "stop_here": """
        class step_node_stop_here:
            step_node_graph_dict = {"step_node_stop_here": {"node_entry_breakpoint": 1}}
    """,
}


@pytest.fixture
def octo(command: Command, tmp_path: Path) -> Octo:
    """Runs the command line, below `tmp_path` unless told otherwise; no command may show a bug."""

    def run(*arguments: object, cwd: Path | None = None, **options: Any) -> Any:
        done = command(SCRIPT, *arguments, cwd=cwd or tmp_path, **options)
        assert "this is a bug" not in done.stderr, done.stderr
        return done

    return run


MakeInstance = Callable[..., Path]


@pytest.fixture
def make_instance(make_library: MakeLibrary, tmp_path: Path) -> MakeInstance:
    def make(files: dict[str, str], name: str = "x") -> Path:
        library = make_library(files, f"library_of_{name}")
        return create_instance(tmp_path / name, library)[0].path

    return make


def shared(instance: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((instance / PARAMETER_FILE).read_text())
    group: dict[str, Any] = found["global_parameters"]
    return group


def json_lines(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def until(condition: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        time.sleep(0.01)


@contextlib.contextmanager
def started(*arguments: object, cwd: Path) -> Iterator[subprocess.Popen[str]]:
    """A command that runs beside the test, in a process group of its own; killed at the end."""
    process = subprocess.Popen(
        [sys.executable, str(PROJECT / SCRIPT), *map(str, arguments)],
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
        start_new_session=True,
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


@contextlib.contextmanager
def running_slowly(instance: Path, *options: str) -> Iterator[subprocess.Popen[str]]:
    """An engine inside of a hook that ends when the file `go` appears."""
    with started("run", instance, *options, cwd=instance.parent) as engine:
        until(lambda: (instance / "started").exists() or engine.poll() is not None, "the hook")
        assert engine.poll() is None, engine.communicate()
        yield engine


def finish(engine: subprocess.Popen[str]) -> tuple[int, str, str]:
    out, err = engine.communicate(timeout=60)
    assert "Traceback" not in err, err
    return engine.returncode, out, err


# --- the grammar ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        ("rnu x", "'run'"),
        ("x run", "octo_step_instance.py run x"),
        ("help", "octo_step_instance.py --help"),
        ("resume x", "`run` starts a run, and goes on with it"),  # and not: 'reset'
        ("cancel x", "`stop` ends a run"),  # and not: 'advance'
        ("", "one of: "),
        ("run --max-step 3 x", "'--max-steps'"),
        ("run --max-steps three x", "whole number"),
        ("run --max-steps 0 x", "whole number"),
        ("run --executor thread x", "'threads'"),
        ("run x y", "one word too many: 'y'"),
        ("run --quiet --json x", "not allowed with"),
        ("create x", "--library"),
        ("create --library", "expected one argument"),
        ("create y --library lib_of_x", "'library_of_x'"),
        ("create y --library library_of_x/nope", "there is no such directory"),
        ("create y --library library_of_x --first step_node_tow", "'step_node_two'"),
        ("create x --library library_of_x", "an instance already"),
        ("run y", "x"),
        ("run step_library", "has no parameter file"),
        ("run x --until step_node_tow", "'step_node_two'"),
        ("run x --fresh --until step_node_tow", "'step_node_two'"),
        ("jump x step_node_tow", "'step_node_two'"),
        ("jump a b c", "one word too many"),
        ("jump", "required"),
        ("jump", "octo_step_instance.py jump --help"),
        ("jump x", "say where to: x/octo_step_instance.py jump NODE"),
        ("graph x --format gif", "none of {svg,png,pdf,dot,mermaid}"),
        ("history x -n -3", "-n"),
        ("list --library-path nope", "no such directory"),
        ("validate nope", "no step library is called 'nope'"),
        ("new-library step_library", "exists already"),
    ],
)
def test_a_mistyped_command_line_is_usage_and_names_the_nearest_right_one(
    octo: Octo, make_instance: MakeInstance, tmp_path: Path, words: str, hint: str
) -> None:
    make_instance(TWO_NODES)
    (tmp_path / "step_library" / "step_library").mkdir()
    before = sorted(tmp_path.rglob("[!.]*"))
    done = octo(*words.split())
    assert done.returncode == 2
    assert hint in done.stderr and done.stderr.startswith("error: ")
    assert "Traceback" not in done.stderr and done.stdout == ""
    assert sorted(tmp_path.rglob("[!.]*")) == before


@pytest.mark.parametrize("words", ["run", "reset", "status", "doctor", "create", "jump", "graph"])
def test_an_instance_that_an_unset_variable_names_is_not_the_current_directory(
    octo: Octo, make_instance: MakeInstance, words: str
) -> None:
    instance = make_instance(TWO_NODES)
    done = octo(
        words, "", *(["--library", "../library_of_x"] if words == "create" else []), cwd=instance
    )
    assert done.returncode == 2
    assert "'' names nothing" in done.stderr


def test_every_command_has_help(octo: Octo) -> None:
    commands = re.findall(r"^    ([a-z-]+) ", octo("--help").stdout, re.MULTILINE)
    assert len(commands) == 16
    for each in commands:
        done = octo(each, "--help")
        assert done.returncode == 0 and each in done.stdout and done.stderr == ""


def test_the_grammar_offers_what_there_is() -> None:
    assert octo_step_grammar.EXECUTORS == octo_step_executors.KINDS
    assert octo_step_grammar.FORMATS == octo_graph_steps.FORMATS


def test_help_and_status_start_without_what_is_slow_to_import(make_instance: MakeInstance) -> None:
    instance = make_instance(TWO_NODES)
    slow = {"transitions", "yaml", "rich", "graphviz", "psutil", "asyncio", "fasteners", "logging"}
    slow |= {"dataclasses", "inspect"}
    for words in (["--help"], ["status", str(instance)]):
        code = f"""if True:
            import sys
            sys.path.insert(0, {str(PROJECT / "modules")!r})
            import octo_step_instance
            try:
                octo_step_instance.main({words!r})
            finally:
                print({slow!r} & set(sys.modules), file=sys.stderr)
        """
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        assert done.stderr == "set()\n"


# --- libraries and creation -----------------------------------------------------------------------


def test_create_says_how_to_run_the_instance_and_that_works(
    octo: Octo, make_library: MakeLibrary, tmp_path: Path
) -> None:
    library = make_library(TWO_NODES)
    done = octo("create", "my runs/x 1", "--library", library)
    assert done.returncode == 0 and done.stderr == ""
    [line] = [line for line in done.stdout.splitlines() if line.startswith("run it: ")]
    ran = subprocess.run(
        shlex.split(line.removeprefix("run it: ")), cwd=tmp_path, capture_output=True, text=True
    )
    assert ran.returncode == 0 and "two works" in ran.stdout


def test_a_library_is_found_by_name_in_the_step_library_directory_here(
    octo: Octo, make_library: MakeLibrary, tmp_path: Path
) -> None:
    make_library(TWO_NODES, "mine")
    assert octo("create", "x", "--library", "mine", "--first", "step_node_two").returncode == 0
    assert shared(tmp_path / "x")["first_step_node"] == "step_node_two"


def test_an_interrupt_while_a_command_is_loaded_is_no_bug(
    octo: Octo, make_instance: MakeInstance, tmp_path: Path
) -> None:
    """It comes while a class is made, in a module of Python's own that is loaded for orjson."""
    make_instance(TWO_NODES)
    (tmp_path / "uuid.py").write_text(
        "class Interrupted:\n"
        "    def __set_name__(self, owner, name): raise KeyboardInterrupt\n"
        "class UUID: field = Interrupted()\n"
    )
    done = octo("doctor", "x", env={**os.environ, "PYTHONPATH": str(tmp_path)})
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")


def test_creating_from_a_broken_library_shows_all_problems_and_leaves_nothing(
    octo: Octo, make_library: MakeLibrary, tmp_path: Path
) -> None:
    library = make_library({"a": "import nonsense_module", "b": "class step_node_b: name = 3 +"})
    done = octo("create", "x", "--library", library)
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert "nonsense_module" in done.stderr and "step_node_b.py:1" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["step_library"]


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may write everywhere")
@pytest.mark.parametrize("words", ["create locked/x --library hello", "new-library locked/y"])
def test_a_directory_that_cant_be_written_is_named(octo: Octo, tmp_path: Path, words: str) -> None:
    (tmp_path / "locked").mkdir(mode=0o500)
    done = octo(*words.split())
    assert done.returncode in (1, 2) and "locked" in done.stderr
    assert "Permission denied" in done.stderr and "Traceback" not in done.stderr


@pytest.mark.parametrize("words", ["create file/x --library hello", "new-library file/y"])
def test_a_file_in_the_way_is_named(octo: Octo, tmp_path: Path, words: str) -> None:
    (tmp_path / "file").touch()
    done = octo(*words.split())
    assert done.returncode in (1, 2) and "file" in done.stderr and "Traceback" not in done.stderr


def test_list_shows_libraries_with_their_nodes_and_problems(
    octo: Octo, make_library: MakeLibrary
) -> None:
    make_library(TWO_NODES, "good")
    make_library({"a": "class step_node_a:\n    step_node_graph_dict = {'step_node_a': 3}"}, "bad")
    done = octo("list")
    assert done.returncode == 0
    assert re.search(
        r"^good .*\n  step_node_one  The first\.\n  step_node_two\n", done.stdout, re.M
    )
    assert re.search(r"^bad .*\n(  .*\n)*.*step_node_a\.py:2: ", done.stdout, re.M)
    assert re.search(r"^hello ", done.stdout, re.M)


def test_list_looks_in_the_given_directory_first(octo: Octo, make_library: MakeLibrary) -> None:
    library = make_library(TWO_NODES, "hello")
    done = octo("list", "--library-path", library.parent, cwd=PROJECT)
    assert f"hello  ({library})" in done.stdout


def test_validate_takes_a_library_or_an_instance(
    octo: Octo, make_instance: MakeInstance, tmp_path: Path
) -> None:
    instance = make_instance(TWO_NODES)
    for words in (["x"], ["library_of_x"], ["step_library/library_of_x"], ["--library", "hello"]):
        done = octo("validate", *words)
        assert done.returncode == 0 and "is valid: 2 nodes, 1 arrow, first step_node" in done.stdout
    assert octo("validate", cwd=instance).stdout.startswith(". is valid")


def test_validate_shows_every_problem_of_the_library(
    octo: Octo, make_instance: MakeInstance, tmp_path: Path
) -> None:
    make_instance(TWO_NODES)
    library = tmp_path / "step_library" / "library_of_x"
    (library / "step_node_two.py").write_text("class step_node_two:\n    step_execute = 3\n")
    (library / "step_node_three.py").write_text("import nonsense_module\n")
    for target in ("x", library):
        done = octo("validate", target)
        assert done.returncode == 2 and done.stdout == ""
        assert "step_node_two.py:2: " in done.stderr and "step_node_three.py:1: " in done.stderr


def test_validate_notices_a_state_that_the_library_doesnt_have(
    octo: Octo, make_instance: MakeInstance
) -> None:
    instance = make_instance(TWO_NODES)
    file = instance / PARAMETER_FILE
    file.write_text(
        file.read_text().replace('"current_step_node": ""', '"current_step_node": "step_node_tow"')
    )
    for command in ("validate", "run"):
        done = octo(command, "x")
        assert done.returncode == 2 and "'step_node_two'" in done.stderr


@pytest.mark.parametrize("key", ["step_engine_library_path", "first_step_node"])
def test_a_key_of_the_engine_that_holds_no_text_is_told(
    octo: Octo, make_instance: MakeInstance, key: str
) -> None:
    file = make_instance(TWO_NODES) / PARAMETER_FILE
    data = json.loads(file.read_text())
    data["global_parameters"][key] = [1]
    file.write_text(json.dumps(data))
    for command in ("run", "validate", "graph"):
        done = octo(command, "x")
        assert done.returncode == 2 and f"{key}: [1] is no text" in done.stderr
        assert "Traceback" not in done.stderr


def test_a_new_library_is_complete_and_runs(octo: Octo, tmp_path: Path) -> None:
    made = octo("new-library", "mine")
    assert made.returncode == 0
    [line] = [line for line in made.stdout.splitlines() if line.startswith("try it: ")]
    created = subprocess.run(
        shlex.split(line.removeprefix("try it: ")), cwd=tmp_path, capture_output=True, text=True
    )
    assert created.returncode == 0, created.stderr
    assert octo("validate", "mine").stderr == ""  # not even warnings
    ran = octo("run", "step_instances/mine")
    assert ran.returncode == 0 and "The sum of [1, 2, 3] is 6." in ran.stdout
    assert (tmp_path / "step_instances/mine/report.txt").read_text() == "sum: 6\n"


def test_a_new_library_can_be_made_anywhere(octo: Octo, tmp_path: Path) -> None:
    assert octo("new-library", tmp_path / "elsewhere" / "mine").returncode == 0
    assert octo("validate", "elsewhere/mine").returncode == 0


# --- running --------------------------------------------------------------------------------------


def test_a_run_in_a_pipe_is_the_output_of_hooks_and_a_line_for_each_node(
    octo: Octo, make_instance: MakeInstance
) -> None:
    make_instance(TWO_NODES)
    done = octo("run", "x")
    assert done.returncode == 0 and done.stderr == ""
    assert re.fullmatch(
        r"one works\n"
        r"==> step_node_one: done, [\d.]+ ms -> on\n"
        r"two works\n"
        r"==> step_node_two: done, [\d.]+ ms -> COMPLETE\n"
        r"==> COMPLETE_SUCCESS \(2 steps, [\d.]+ m?s\)\n",
        done.stdout,
    )


def test_verbose_shows_every_state_and_tells_the_nodes(
    octo: Octo, make_instance: MakeInstance
) -> None:
    make_instance(TWO_NODES)
    out = octo("run", "x", "-v").stdout
    assert "one works, verbosely\n==> step_node_one EXECUTE: done" in out
    assert all(f"==> step_node_two {s}" in out for s in ("ENTER", "ADVANCE", "EXIT", "JUMP"))


def test_quiet_shows_the_output_of_hooks_and_errors_only(
    octo: Octo, make_instance: MakeInstance
) -> None:
    make_instance(TWO_NODES)
    done = octo("run", "x", "--quiet")
    assert (done.stdout, done.stderr) == ("one works\ntwo works\n", "")
    make_instance(FAILING, "y")
    done = octo("run", "y", "--quiet")
    assert done.returncode == 1 and done.stdout == "trying\ntrying\n"
    assert "ValueError: no such voltage" in done.stderr and "COMPLETE_ERROR" in done.stderr


def test_json_gives_the_events_on_stdout_and_what_hooks_print_on_stderr(
    octo: Octo, make_instance: MakeInstance
) -> None:
    instance = make_instance(TWO_NODES)
    done = octo("run", "x", "--json")
    assert done.returncode == 0 and done.stderr == "one works\ntwo works\n"
    assert json_lines(done.stdout) == json_lines((instance / EVENT_FILE).read_text())


def test_a_failed_run_says_why_where_the_output_is_and_what_now(
    octo: Octo, make_instance: MakeInstance
) -> None:
    make_instance(FAILING)
    done = octo("run", "x")
    assert done.returncode == 1
    assert "==> step_node_bad EXECUTE: FAILED: ValueError: no such voltage" in done.stdout
    assert done.stdout.count("Traceback") == 1  # the second one would be the same
    assert 'step_node_bad.py", line 7, in step_execute' in done.stdout
    assert "attempt 2" in done.stdout
    assert "COMPLETE_ERROR: EXECUTE of step_node_bad failed" in done.stdout
    assert "output: x/logs/step_node_bad.log" in done.stdout
    assert "begin anew: x/octo_step_instance.py run --fresh" in done.stdout


def test_a_run_that_has_ended_is_not_run_again_unless_fresh(
    octo: Octo, make_instance: MakeInstance
) -> None:
    instance = make_instance(TWO_NODES)
    octo("run", "x")
    again = octo("run", "x")
    assert again.returncode == 0 and "had ended already" in again.stdout
    assert "works" not in again.stdout
    fresh = octo("run", "x", "--fresh")
    assert fresh.returncode == 0 and "two works" in fresh.stdout
    assert len(list((instance / "archive").iterdir())) == 1


def test_limits_pause_a_run_and_run_goes_on(octo: Octo, make_instance: MakeInstance) -> None:
    make_instance(TWO_NODES)
    first = octo("run", "x", "--max-steps", 1)
    assert first.returncode == 3
    assert first.stdout.endswith(
        "==> paused: max-steps 1\n    go on: x/octo_step_instance.py run\n"
    )
    then = octo("run", "x")
    assert then.returncode == 0 and "one works" not in then.stdout
    until_node = octo("run", "x", "--fresh", "--until", "step_node_two")
    assert until_node.returncode == 3 and "paused: until step_node_two" in until_node.stdout


@pytest.mark.parametrize("executor", ["serial", "threads", "processes"])
def test_every_executor_shows_what_hooks_print(
    octo: Octo, make_instance: MakeInstance, executor: str
) -> None:
    make_instance(TWO_NODES)
    done = octo("run", "x", "--executor", executor, "--workers", 2, "--durability", "power")
    assert done.returncode == 0, done.stderr
    assert "one works\n" in done.stdout and "two works\n" in done.stdout


@pytest.mark.parametrize("executor", ["serial", "processes"])
def test_the_durability_of_a_run_is_that_of_its_nodes_too(
    octo: Octo, make_instance: MakeInstance, executor: str
) -> None:
    node = """
        from octo_step_engine_parameters import octo_step_engine_parameters
        class step_node_one:
            def step_execute(self):
                print(octo_step_engine_parameters().durability)
    """
    make_instance({"one": node})
    done = octo("run", "x", "--quiet", "--executor", executor, "--durability", "power")
    assert done.stdout == "power\n", done.stderr


def test_step_and_advance_say_what_comes_next(octo: Octo, make_instance: MakeInstance) -> None:
    make_instance(TWO_NODES)
    done = octo("step", "x")
    assert done.returncode == 0
    assert done.stdout == (
        "one works\n==> next: step_node_one ADVANCE\n    go on: x/octo_step_instance.py advance\n"
    )
    assert octo("step", "x").returncode == 2
    done = octo("advance", "x")
    assert done.returncode == 0 and "next: step_node_two ENTER" in done.stdout
    assert octo("advance", "x").returncode == 2
    assert octo("step", "x").returncode == 0
    done = octo("advance", "x")
    assert done.returncode == 0 and "COMPLETE_SUCCESS" in done.stdout


def test_a_failing_step_ends_with_the_exit_code_of_the_run(
    octo: Octo, make_instance: MakeInstance
) -> None:
    make_instance(FAILING)
    assert octo("step", "x").returncode == 1


def test_a_changed_library_is_a_warning_or_with_strict_an_error(
    octo: Octo, make_instance: MakeInstance, tmp_path: Path
) -> None:
    make_instance(TWO_NODES)
    octo("run", "x", "--max-steps", 1)
    with (tmp_path / "step_library" / "library_of_x" / "step_node_two.py").open("a") as file:
        file.write("# changed\n")
    assert "changed   step_node_two.py" in octo("status", "x").stdout
    strict = octo("run", "x", "--strict")
    assert strict.returncode == 2 and "step_node_two.py" in strict.stderr
    done = octo("run", "x")
    assert done.returncode == 0 and "==> library changed: step_node_two.py" in done.stdout


def test_the_launcher_runs_its_own_instance_from_anywhere(
    make_instance: MakeInstance, tmp_path: Path
) -> None:
    instance = make_instance(
        {
            "env": """
                import os, subprocess, sys
                class step_node_env:
                    def step_execute(self):
                        print("inherited:", [k for k in os.environ if k == "OCTO_STEP_INSTANCE"])
            """
        }
    )
    launcher = instance / "octo_step_instance.py"
    for command, cwd in ((["./octo_step_instance.py"], instance), ([str(launcher)], tmp_path)):
        done = subprocess.run(
            [*command, "run", "--fresh"], cwd=cwd, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        assert "inherited: []" in done.stdout


def test_the_launcher_of_the_parameters_shows_its_own_unless_a_path_is_given(
    make_instance: MakeInstance, tmp_path: Path
) -> None:
    launcher = make_instance(TWO_NODES) / "octo_step_engine_parameters.py"
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    for arguments in ([], ["--json"]):
        shown = subprocess.check_output([launcher, *arguments], cwd=elsewhere, text=True)
        assert str(launcher.parent) in shown
    assert not any(elsewhere.iterdir())
    here = subprocess.check_output([launcher, ".", "--json"], cwd=elsewhere, text=True)
    assert json.loads(here)["global_parameters"]["step_engine_instance_path"] == ""


def test_the_launcher_of_an_engine_that_was_moved_says_how_to_go_on(
    make_instance: MakeInstance,
) -> None:
    launcher = make_instance(TWO_NODES) / "octo_step_engine_parameters.py"
    text = launcher.read_text()
    launcher.write_text(re.sub(r"SCRIPT = .*", "SCRIPT = '/gone/modules/octo_step_x.py'", text))
    done = subprocess.run([launcher, "."], capture_output=True, text=True, check=False)
    assert done.returncode == 1 and "/gone/modules/octo_step_x.py is gone" in done.stderr
    assert "Run octo_step_x.py from where it is now" in done.stderr and str(launcher) in done.stderr


def test_what_an_error_of_a_run_proposes_fits_where_it_was_started(
    make_instance: MakeInstance, tmp_path: Path
) -> None:
    spoil = """
        from pathlib import Path
        class step_node_spoil:
            def step_execute(self):
                Path(".octo_step_engine_parameters.json").write_text("spoilt")
    """
    instance = make_instance({"spoil": spoil})
    done = subprocess.run(
        [instance / "octo_step_instance.py", "run"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    [proposed] = re.findall(r"move it aside: (.*--repair)", done.stderr)
    subprocess.run(shlex.split(proposed), cwd=tmp_path, stdout=subprocess.DEVNULL, check=True)
    assert shared(instance)["first_step_node"] == "step_node_spoil"


@pytest.mark.parametrize("known", [str(PROJECT / "modules"), ""])
def test_a_program_in_an_instance_imports_the_engine_and_not_the_launcher(
    make_instance: MakeInstance, known: str
) -> None:
    instance = make_instance(TWO_NODES)
    program = f"""
import sys
sys.path += filter(None, [{known!r}, {sysconfig.get_path("purelib")!r}])
import octo_step_instance
from octo_step_engine_parameters import octo_step_engine_parameters
params = octo_step_engine_parameters()
names = params.get_default_param_file_name(), params.get_default_param_lock_file_name()
data = params.read_json_dict(params.get_default_param_dict(), *names)
print(data["global_parameters"]["first_step_node"], octo_step_instance.main.__module__)
"""
    (instance / "look.py").write_text(program)
    for words in (["look.py"], ["-c", program]):
        shown = python_alone(*words, cwd=instance)
        assert shown.stdout == "step_node_one octo_step_instance\n", shown.stderr


def test_a_program_in_an_instance_is_told_that_the_engine_was_moved(
    make_instance: MakeInstance,
) -> None:
    launcher = make_instance(TWO_NODES) / "octo_step_engine_parameters.py"
    moved = "SCRIPT = '/gone/modules/octo_step_engine_parameters.py'"
    launcher.write_text(re.sub(r"SCRIPT = .*", moved, launcher.read_text()))
    done = python_alone("-c", "import octo_step_engine_parameters", cwd=launcher.parent)
    assert "ImportError: /gone/modules/octo_step_engine_parameters.py is gone" in done.stderr


def python_alone(*words: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Runs Python without what is installed: it finds the engine where it is told to."""
    environment = {name: each for name, each in os.environ.items() if name != "PYTHONPATH"}
    command = [sys.executable, "-S", *words]
    return subprocess.run(
        command, cwd=cwd, env=environment, capture_output=True, text=True, check=False
    )


@pytest.mark.skipif(os.name == "nt", reason="closing a descriptor takes a POSIX shell")
def test_standard_streams_that_are_closed_take_no_file_of_the_run(
    make_instance: MakeInstance,
) -> None:
    instance = make_instance(TWO_NODES)
    for closed in (">&-", "<&- >&- 2>&-"):
        done = subprocess.run(
            ["sh", "-c", f'exec "$@" {closed}', "sh", "./octo_step_instance.py", "run", "--fresh"],
            cwd=instance,
            capture_output=True,
            text=True,
            check=False,
        )
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
        events = [json.loads(line) for line in (instance / EVENT_FILE).read_text().splitlines()]
        assert events[-1]["event"] == "run_end"
        assert (instance / "logs" / "step_node_one.log").read_text() == "one works\n"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize(
    "words",
    [
        ["status"],
        ["status", "--json"],
        ["graph", "-o", "-"],
        ["doctor"],
        ["run"],
        ["run", "--json"],
    ],
)
def test_a_full_disk_behind_the_output_is_said(
    make_instance: MakeInstance, words: list[str]
) -> None:
    instance = make_instance(TWO_NODES)
    program = PROJECT / "modules" / "octo_step_instance.py"
    with Path("/dev/full").open("w") as full:
        ended = subprocess.run(
            [sys.executable, program, words[0], instance, *words[1:]],
            stdout=full,
            stderr=subprocess.PIPE,
            encoding="utf-8",
            check=False,
        )
    assert ended.returncode == 1
    assert ended.stderr.endswith("error: the output can't be written: No space left on device\n")
    assert "Traceback" not in ended.stderr
    if words[0] == "run":  # which goes on all the same
        assert shared(instance)["step_engine_state"] == "COMPLETE_SUCCESS"


@pytest.mark.parametrize(
    "command", [f"{SCRIPT} list", f"{SCRIPT} status", "modules/octo_graph_steps.py -p hello"]
)
def test_a_directory_that_is_gone_is_not_taken_for_the_output(tmp_path: Path, command: str) -> None:
    (tmp_path / "gone").mkdir()
    program = f"{shlex.quote(sys.executable)} {shlex.quote(str(PROJECT))}/{command}"
    ended = subprocess.run(
        ["sh", "-c", f"cd gone && rmdir ../gone && {program}"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.stderr == "error: the current directory is gone\n  change to one that exists\n"
    assert ended.returncode == 2


@pytest.mark.skipif(os.name == "nt", reason="closing a descriptor takes a POSIX shell")
@pytest.mark.parametrize(
    "words",
    [("octo_step_engine_parameters.py", "x"), ("octo_graph_steps.py", "-p", "library_of_x")],
)
def test_no_command_minds_a_closed_standard_output(
    make_instance: MakeInstance, tmp_path: Path, words: tuple[str, ...]
) -> None:
    make_instance(TWO_NODES)
    script, *rest = words
    done = subprocess.run(
        ["sh", "-c", 'exec "$@" >&-', "sh", sys.executable, PROJECT / "modules" / script, *rest],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_a_python_without_the_dependencies_is_told_what_to_type(
    make_instance: MakeInstance, tmp_path: Path
) -> None:
    make_instance(TWO_NODES)
    modules = shutil.copytree(PROJECT / "modules", tmp_path / "elsewhere" / "modules")
    for place, hint in ((PROJECT / "modules", str(PROJECT)), (modules, "pip install")):
        done = subprocess.run(
            [sys.executable, "-S", str(place / "octo_step_instance.py"), "run", "x"],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 2 and "Traceback" not in done.stderr
        assert "transitions" in done.stderr and hint in done.stderr


@pytest.mark.parametrize(("way", "code"), [("run", 1), ("step", 0)])
def test_threads_that_a_hook_left_running_dont_keep_the_process(
    octo: Octo, make_instance: MakeInstance, way: str, code: int
) -> None:
    make_instance(
        {
            "threads": """
                import threading
                class step_node_threads:
                    def step_execute(self):
                        threading.Thread(target=threading.Event().wait, name="forever").start()
                    def step_advance(self):
                        return "COMPLETE_ERROR"
            """
        }
    )
    done = octo(way, "x")
    assert done.returncode == code
    assert "warning: hooks left threads running (forever); ended without them" in done.stderr


def test_a_reader_that_goes_away_neither_stops_the_run_nor_is_an_error(
    make_instance: MakeInstance,
) -> None:
    instance = make_instance(SLOW)
    with running_slowly(instance) as engine:
        assert engine.stdout is not None and engine.stderr is not None
        engine.stdout.close()
        (instance / "go").touch()
        assert engine.wait(60) == 0
        assert engine.stderr.read() == ""
        engine.stdout = None
    for words in ("history", "status", "graph -o -"):
        with started(*words.split(), instance, cwd=instance) as reader:
            assert reader.stdout is not None and reader.stderr is not None
            reader.stdout.close()
            assert reader.wait(60) == 0
            assert reader.stderr.read() == ""
            reader.stdout = None


# --- two engines, signals -------------------------------------------------------------------------


def test_a_second_engine_is_refused_and_told_who_runs(
    octo: Octo, make_instance: MakeInstance
) -> None:
    instance = make_instance(SLOW)
    with running_slowly(instance) as engine:
        for command in ("run", "step", "advance", "reset", "run --fresh"):
            done = octo(*command.split(), "x")
            assert done.returncode == 4, done.stderr
            assert f"pid {engine.pid}" in done.stderr
        (instance / "go").touch()
        assert finish(engine)[0] == 0


@pytest.mark.skipif(os.name != "posix", reason="signals")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_pauses_after_the_hook(
    make_instance: MakeInstance, number: signal.Signals
) -> None:
    if signal.getsignal(number) is signal.SIG_IGN:
        pytest.skip("ignored here, as SIGHUP is under nohup")
    instance = make_instance(SLOW)
    with running_slowly(instance) as engine:
        engine.send_signal(number)
        assert engine.stderr is not None
        assert engine.stderr.readline() + engine.stderr.readline() != ""  # it has heard
        assert engine.poll() is None
        (instance / "go").touch()
        code, out, _ = finish(engine)
    assert code == 3 and "paused: " in out and "go on: " in out
    assert not (instance / "started").exists()  # the hook came to its end
    assert shared(instance)["current_step_state"] == "ADVANCE"


@pytest.mark.skipif(os.name != "posix", reason="signals")
def test_a_second_ctrl_c_interrupts_the_hook(octo: Octo, make_instance: MakeInstance) -> None:
    instance = make_instance(SLOW)
    with running_slowly(instance) as engine:
        for _ in range(2):
            engine.send_signal(signal.SIGINT)
            assert engine.stderr is not None
            engine.stderr.readline()
            engine.stderr.readline()
        code, out, _ = finish(engine)
    assert code == 130 and "interrupted" in out
    assert (instance / "started").exists()
    assert shared(instance)["current_step_state"] == "EXECUTE"
    (instance / "go").touch()
    assert octo("run", "x").returncode == 0


@pytest.mark.skipif(os.name != "posix", reason="signals")
def test_a_third_ctrl_c_leaves_a_hook_that_swallows_interrupts(
    octo: Octo, make_instance: MakeInstance
) -> None:
    instance = make_instance(
        {
            "stubborn": """
                import time
                from pathlib import Path
                class step_node_stubborn:
                    def step_execute(self):
                        Path("started").touch()
                        while not Path("go").exists():
                            self.work()
                    def work(self):
                        try:
                            while not Path("go").exists():
                                time.sleep(0.01)
                        except KeyboardInterrupt:
                            Path("swallowed").touch()
            """
        }
    )
    with running_slowly(instance) as engine:
        engine.send_signal(signal.SIGINT)
        assert engine.stderr is not None
        engine.stderr.readline()
        engine.stderr.readline()
        engine.send_signal(signal.SIGINT)
        until((instance / "swallowed").exists, "the second Ctrl-C")
        engine.send_signal(signal.SIGINT)
        assert engine.wait(60) == 130
    assert "interrupted" in octo("status", "x").stdout
    (instance / "go").touch()
    assert octo("run", "x").returncode == 0


@pytest.mark.skipif(os.name != "posix", reason="signals")
def test_a_signal_that_was_ignored_stays_ignored(make_instance: MakeInstance) -> None:
    instance = make_instance(SLOW)
    run = f"trap '' HUP; exec {shlex.join([sys.executable, str(PROJECT / SCRIPT), 'run'])}"
    engine = subprocess.Popen(["sh", "-c", run], cwd=instance, stdout=subprocess.DEVNULL)
    try:
        until((instance / "started").exists, "the hook")
        engine.send_signal(signal.SIGHUP)
        (instance / "go").touch()
        assert engine.wait(60) == 0
    finally:
        engine.kill()
        engine.wait()


# --- status ---------------------------------------------------------------------------------------


def status(octo: Octo, instance: str = "x") -> dict[str, Any]:
    done = octo("status", instance, "--json")
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_status_of_a_new_a_paused_and_an_ended_run(octo: Octo, make_instance: MakeInstance) -> None:
    make_instance(TWO_NODES)
    assert "not started; its first node is step_node_one" in octo("status", "x").stdout
    assert status(octo)["condition"] == "new"
    octo("step", "x")
    octo("advance", "x")
    text = octo("status", "x").stdout
    assert "paused: single step" in text and "step_node_two ENTER, since " in text
    found = status(octo)
    assert (found["condition"], found["node"], found["state"], found["steps"]) == (
        "paused",
        "step_node_two",
        "ENTER",
        1,
    )
    octo("run", "x")
    assert status(octo)["condition"] == "complete_success"
    assert "COMPLETE_SUCCESS" in octo("status", "x").stdout


def test_status_of_a_failed_run_shows_the_error(octo: Octo, make_instance: MakeInstance) -> None:
    make_instance(FAILING)
    octo("run", "x")
    assert status(octo)["errors"] == {"step_node_bad": "ValueError: no such voltage"}
    text = octo("status", "x").stdout
    assert "COMPLETE_ERROR" in text and "error     step_node_bad: ValueError: no such volt" in text


def test_json_stays_json_where_stdout_cant_hold_its_characters(
    octo: Octo, make_instance: MakeInstance
) -> None:
    make_instance({"bad": FAILING["bad"].replace("no such voltage", "böse ☃ 😀")})
    octo("run", "x")
    ascii_only = {"PYTHONIOENCODING": "ascii"}
    found = json.loads(octo("status", "x", "--json", env=ascii_only).stdout)
    assert found["errors"] == {"step_node_bad": "ValueError: böse ☃ 😀"}
    events = json_lines(octo("history", "x", "--json", env=ascii_only).stdout)
    assert events == json_lines(octo("history", "x", "--json").stdout)


def test_status_of_a_running_engine_names_the_process(
    octo: Octo, make_instance: MakeInstance
) -> None:
    instance = make_instance(SLOW)
    with running_slowly(instance) as engine:
        found = status(octo)
        assert found["condition"] == "running" and found["runner"]["pid"] == engine.pid
        assert found["active"][0]["state"] == "EXECUTE"
        assert f"pid {engine.pid}" in octo("status", "x").stdout


@pytest.mark.parametrize(
    ("policy", "words"),
    [
        ("rerun", "perform it again"),
        ("skip", "leave it out, and go on"),
        ("ask", "leave it to you"),
    ],
)
def test_status_after_a_kill_says_what_was_interrupted_and_what_run_will_do(
    octo: Octo, make_instance: MakeInstance, policy: str, words: str
) -> None:
    slow = SLOW["slow"].replace(
        '"first_node_step_bool": 1', f'"first_node_step_bool": 1, "on_interrupt": "{policy}"'
    )
    instance = make_instance({**SLOW, "slow": slow})
    with running_slowly(instance) as engine:
        engine.kill()
        engine.wait()
    found = status(octo)
    assert found["condition"] == "interrupted"
    assert found["on_interrupt"] == {"step_node_slow": policy}
    text = octo("status", "x").stdout
    assert "interrupted" in text and "step_node_slow EXECUTE, since" in text and words in text
    (instance / "go").touch()
    ran = octo("run", "x")
    assert ran.returncode == (3 if policy == "ask" else 0)
    assert "step_node_slow EXECUTE: was interrupted" in ran.stdout


def test_status_shows_when_the_next_attempt_is_due(octo: Octo, make_instance: MakeInstance) -> None:
    failing = FAILING["bad"].replace("0.01", "3600")
    instance = make_instance({"bad": failing})
    with started("run", instance, cwd=instance) as engine:
        until(lambda: '"retry_due"' in (instance / PARAMETER_FILE).read_text(), "the back-off")
        [active] = status(octo)["active"]
        assert active["attempt"] == 2 and active["retry_due"]
        text = octo("status", "x").stdout
        assert re.search(r"step_node_bad EXECUTE, attempt 2 due in (59 min|1 h)", text)
        assert octo("pause", "x").returncode == 0  # a back-off doesn't keep a run from resting
        assert finish(engine)[0] == 3


def test_watch_shows_each_change_and_ends_with_the_run(
    octo: Octo, make_instance: MakeInstance
) -> None:
    instance = make_instance(SLOW)
    watching = started("status", instance, "--watch", cwd=instance)
    with running_slowly(instance) as engine, watching as watch:
        assert watch.stdout is not None
        assert "step_node_slow EXECUTE" in watch.stdout.readline()
        (instance / "go").touch()
        assert finish(engine)[0] == 0
        code, out, _ = finish(watch)
    assert code == 0 and "COMPLETE_SUCCESS" in out.splitlines()[-1]


def test_watch_of_a_run_at_rest_shows_it_once(octo: Octo, make_instance: MakeInstance) -> None:
    make_instance(TWO_NODES)
    done = octo("status", "x", "--watch", "--json")
    assert done.returncode == 0
    assert [json.loads(line)["condition"] for line in done.stdout.splitlines()] == ["new"]


@pytest.mark.parametrize("content", ["", "{", "[]", '{"a": 1}'])
def test_a_bad_parameter_file_is_an_error_and_kept(
    octo: Octo, make_instance: MakeInstance, content: str
) -> None:
    instance = make_instance(TWO_NODES)
    (instance / PARAMETER_FILE).write_text(content)
    for command in ("status", "run", "pause"):
        done = octo(command, "x")
        assert done.returncode == 1, (command, done)
        assert PARAMETER_FILE in done.stderr and "Traceback" not in done.stderr
    assert (instance / PARAMETER_FILE).read_text() == content


# --- steering -------------------------------------------------------------------------------------


def test_pause_waits_until_the_run_rests(octo: Octo, make_instance: MakeInstance) -> None:
    instance = make_instance(SLOW)
    with running_slowly(instance) as engine, started("pause", instance, cwd=instance) as pause:
        until(lambda: "pause_request_bool" in shared(instance), "the request")
        assert pause.poll() is None
        (instance / "go").touch()
        assert finish(engine)[0] == 3
        code, out, _ = finish(pause)
    assert code == 0 and "paused: pause requested" in out
    assert octo("run", "x").returncode == 0


def test_pause_without_waiting_leaves_the_request(octo: Octo, make_instance: MakeInstance) -> None:
    instance = make_instance(SLOW)
    with running_slowly(instance) as engine:
        done = octo("pause", "x", "--no-wait")
        assert done.returncode == 0 and "asked to  pause" in done.stdout
        (instance / "go").touch()
        assert finish(engine)[0] == 3


def test_pause_of_a_run_at_rest_says_how_it_stands(octo: Octo, make_instance: MakeInstance) -> None:
    instance = make_instance(TWO_NODES)
    octo("run", "x", "--max-steps", 1)
    done = octo("pause", "x")
    assert done.returncode == 0 and "paused: max-steps 1" in done.stdout
    assert "pause_request_bool" not in shared(instance)


def test_stop_ends_a_running_engine(octo: Octo, make_instance: MakeInstance) -> None:
    instance = make_instance(SLOW)
    with running_slowly(instance) as engine, started("stop", instance, cwd=instance) as stop:
        until(lambda: "stop_request_bool" in shared(instance), "the request")
        (instance / "go").touch()
        assert finish(engine)[0] == 1
        code, out, _ = finish(stop)
    assert code == 0 and "COMPLETE_ERROR: stopped by request" in out


def test_stop_of_a_run_at_rest_makes_safe(octo: Octo, make_instance: MakeInstance) -> None:
    make_instance(ARMED)
    paused = octo("run", "x")
    assert paused.returncode == 3 and "still armed: step_node_heater" in paused.stdout
    done = octo("stop", "x")
    assert done.returncode == 0
    assert "heater off" in done.stdout and "COMPLETE_ERROR: stopped by request" in done.stdout
    assert status(octo)["armed"] == []
    again = octo("stop", "x")
    assert again.returncode == 0 and "COMPLETE_ERROR" in again.stdout


def test_a_request_that_comes_too_late_is_taken_back(
    octo: Octo, make_instance: MakeInstance
) -> None:
    instance = make_instance(
        {
            "late": """
                import time
                from pathlib import Path
                class step_node_late:
                    def step_execute(self):
                        Path("started").touch()
                        time.sleep(3600)
            """
        }
    )
    with running_slowly(instance) as engine, started("pause", instance, cwd=instance) as pause:
        until(lambda: "pause_request_bool" in shared(instance), "the request")
        engine.kill()
        engine.wait()
        code, out, _ = finish(pause)
    assert code == 0 and "interrupted" in out
    assert "pause_request_bool" not in shared(instance)


def test_jump_says_what_runs_again_and_what_is_passed_over(
    octo: Octo, make_instance: MakeInstance
) -> None:
    arrow = "step_arrow_graph_dict = {{'on': {{'arrow_step_name_string': 'step_node_{}'}}}}"
    chain = {
        name: f"class step_node_{name}:\n    {arrow.format(after) if after else ''}\n"
        f"    def step_execute(self): print('{name} works')\n"
        for name, after in {"a": "b", "b": "c", "c": "d", "d": ""}.items()
    }
    make_instance(chain)
    octo("run", "x", "--max-steps", 1)
    octo("step", "x")
    done = octo("jump", "x", "step_node_d")
    assert done.returncode == 0
    assert re.search(r"left +step_node_b in ADVANCE\n", done.stdout)
    assert re.search(r"runs again +nothing\n", done.stdout)
    assert re.search(r"passed over +step_node_c\n", done.stdout)
    ran = octo("run", "x")
    assert ran.returncode == 0 and "c works" not in ran.stdout and "d works" in ran.stdout
    back = octo("jump", "step_node_c", "--no-wait", "x")  # either order, options anywhere
    assert re.search(r"runs again +step_node_d\n", back.stdout)
    assert "c works" in octo("run", "x").stdout


def test_jump_of_a_running_engine(octo: Octo, make_instance: MakeInstance) -> None:
    instance = make_instance(SLOW)
    jumping = started("jump", "step_node_last", cwd=instance)
    with running_slowly(instance) as engine, jumping as jump:
        until(lambda: "jump_request_node" in shared(instance), "the request")
        (instance / "go").touch()
        code, out, _ = finish(engine)
        assert code == 0 and "the last one works" in out
        assert finish(jump)[0] == 0


def test_make_safe_calls_the_hooks_that_are_owed(octo: Octo, make_instance: MakeInstance) -> None:
    instance = make_instance(ARMED)
    assert octo("make-safe", "x").stdout == "nothing is armed\n"
    octo("run", "x")
    (instance / "stuck").touch()
    stuck = octo("make-safe", "x")
    assert stuck.returncode == 1 and "the switch is stuck" in stuck.stdout
    assert octo("reset", "x").returncode == 2 and status(octo)["armed"] == ["step_node_heater"]
    (instance / "stuck").unlink()
    done = octo("make-safe", "x")
    assert done.returncode == 0 and "heater off" in done.stdout
    assert "make-safe" not in octo("status", "x").stdout


def test_reset_archives_and_begins_anew(octo: Octo, make_instance: MakeInstance) -> None:
    instance = make_instance(ARMED)
    octo("run", "x")
    done = octo("reset", "x")
    assert done.returncode == 0 and "heater off" in done.stdout
    assert status(octo)["condition"] == "new"
    [archive] = (instance / "archive").iterdir()
    assert str(archive) in done.stdout
    assert (archive / EVENT_FILE).exists() and (archive / PARAMETER_FILE).exists()


@pytest.mark.parametrize(
    ("group", "values"),
    [
        ("global_parameters", {"make_safe": [5]}),
        ("active_steps", {"step_node_heater": "hot"}),
    ],
)
def test_what_is_armed_in_a_record_that_cant_be_read_is_not_forgotten_by_a_reset(
    octo: Octo,
    make_instance: MakeInstance,
    tmp_path: Path,
    group: str,
    values: dict[str, Any],
) -> None:
    instance = make_instance(ARMED)
    octo("run", "x")
    file = instance / PARAMETER_FILE
    data = json.loads(file.read_text())
    data["global_parameters"] |= {"step_engine_state": "INACTIVE"}
    data[group] |= values
    file.write_text(json.dumps(data))
    refused = octo("reset", "x")
    assert refused.returncode == 2 and "still armed" in refused.stderr
    assert "Traceback" not in refused.stderr
    command = refused.stderr.rpartition("then empty the list: ")[2]
    subprocess.run(command, shell=True, check=True, cwd=tmp_path)
    assert octo("reset", "x").returncode == 0
    assert status(octo)["condition"] == "new"


# --- history and graph ----------------------------------------------------------------------------


def test_history_is_readable_and_has_the_events_as_json(
    octo: Octo, make_instance: MakeInstance
) -> None:
    instance = make_instance(FAILING)
    assert octo("history", "x").stdout == ""
    octo("run", "x")
    lines = octo("history", "x").stdout.splitlines()
    assert re.match(r"[\d-]{10} [\d:.]{12}  -  +run starts: ", lines[0])
    assert any(
        re.search(
            r"  step_node_bad EXECUTE +FAILED: ValueError: no such voltage, attempt 2, ", line
        )
        for line in lines
    )
    assert "COMPLETE_ERROR" in lines[-1]
    assert octo("history", "x", "-n", 2).stdout.splitlines() == lines[-2:]
    assert octo("history", "x", "-n", 10**20).stdout.splitlines() == lines
    events = json_lines(octo("history", "x", "--json").stdout)
    assert events == json_lines((instance / EVENT_FILE).read_text())


def test_graph_draws_the_state_into_a_file_or_to_stdout(
    octo: Octo, make_instance: MakeInstance, tmp_path: Path
) -> None:
    instance = make_instance(TWO_NODES)
    octo("run", "x", "--max-steps", 1)
    assert octo("graph", "x").stdout == f"drawn: {instance / 'x.svg'}\n"
    assert "<svg" in (instance / "x.svg").read_text()
    assert octo("graph", "x", "-o", "there/g.dot").returncode == 0
    assert "digraph" in (tmp_path / "there" / "g.dot").read_text()
    mermaid = octo("graph", "x", "-o", "-", "--format", "mermaid").stdout
    assert "flowchart" in mermaid and "done" in mermaid and "waiting in ENTER" in mermaid


def test_a_picture_that_cant_be_written_is_an_error(
    octo: Octo, make_instance: MakeInstance, tmp_path: Path
) -> None:
    make_instance(TWO_NODES)
    (tmp_path / "file").touch()
    done = octo("graph", "x", "-o", "file/g.svg")
    assert done.returncode in (1, 2) and "file/g.svg" in done.stderr
    assert "Traceback" not in done.stderr
