from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from orchestrator import recipe_shell
from orchestrator.recipe_shell import OUTPUT_LIMIT, Ended, run_command
from scriptlets.lifecycle import ScriptletFailed
from tests.modules.parameter_support import Python, needs_posix
from tests.support import PROJECT

pytestmark = needs_posix


def run(command: Any, **options: Any) -> Ended:
    given = {"environment": os.environ, "directory": None, "own_process": False, **options}
    return run_command(command, **given)


def test_a_text_is_run_by_the_shell_and_a_list_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("echo a b | tr a-z A-Z").stdout == "A B"
    assert run(["echo", "$HOME | x"]).stdout == "$HOME | x"
    assert capsys.readouterr().out == "A B\n$HOME | x\n"


def test_its_output_is_that_of_the_step(capsys: pytest.CaptureFixture[str]) -> None:
    ended = run("echo out; echo err >&2; printf '\\377'; exit 3")
    assert (ended.exit_code, ended.stdout) == (3, "out\n\\xff")
    assert capsys.readouterr() == ("out\n\\xff", "err\n")


def test_in_a_process_of_its_own_errors_go_where_those_of_the_process_go(
    capfd: pytest.CaptureFixture[str],
) -> None:
    run("echo out; echo err >&2", own_process=True)
    assert capfd.readouterr() == ("out\n", "err\n")


def test_only_the_end_of_a_long_output_is_kept() -> None:
    program = "print('x' * 300_000); print('end')"
    stdout = run([sys.executable, "-c", program]).stdout
    assert stdout.endswith("x\nend")
    assert OUTPUT_LIMIT - 1 <= len(stdout) <= OUTPUT_LIMIT


def test_its_input_is_empty_and_environment_and_directory_are_as_given(tmp_path: Path) -> None:
    ended = run("cat; pwd; echo $A", environment={"A": "1"}, directory=str(tmp_path))
    assert ended.stdout == f"{tmp_path}\n1"


def test_a_signal_is_a_negative_exit_code() -> None:
    assert run("kill -9 $$").exit_code == -9


@pytest.mark.parametrize("command", [["not-there-at-all"], ["/"], ["a\0b"]])
def test_what_can_not_be_started_is_told(command: list[str]) -> None:
    with pytest.raises(ScriptletFailed, match="can't be started"):
        run(command)
    with pytest.raises(ScriptletFailed, match="No such file or directory: /not/there"):
        run("true", directory="/not/there")


def test_it_tells_what_the_command_used() -> None:
    burn = "import time\nwhile time.process_time() < 0.2: pass"
    facts = run([sys.executable, "-c", burn]).facts
    assert 0.2 <= facts["cpu_s"] < 10
    assert facts["peak_memory_bytes"] > 1_000_000


def test_a_child_that_outlives_the_command_is_not_waited_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    os.mkfifo(tmp_path / "go_on")
    ended = run("echo first; (read word < go_on; echo late) & echo $!", directory=str(tmp_path))
    child = psutil.Process(int(ended.stdout.split()[-1]))
    assert child.status() != psutil.STATUS_ZOMBIE
    (tmp_path / "go_on").write_text("now\n")
    child.wait(30)
    output = capsys.readouterr().out
    assert output.startswith("first\n")
    assert "late" not in output


@pytest.mark.parametrize(
    ("command", "children"),
    [
        ("sleep 100 & sleep 100; true", 2),
        ("(trap '' TERM; sleep 100; true) & sleep 100; true", 3),
    ],
)
def test_an_interrupt_ends_the_command_with_its_group(
    command: str, children: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[psutil.Process] = []

    def interrupted(process: Any) -> dict[str, Any]:
        shell = psutil.Process(process.pid)
        while len(found := shell.children(recursive=True)) < children:
            time.sleep(0.01)
        started.extend([shell, *found])
        raise KeyboardInterrupt

    monkeypatch.setattr(recipe_shell, "_wait", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run(command)
    _, alive = psutil.wait_procs(started, timeout=30)
    assert [each for each in alive if each.status() != psutil.STATUS_ZOMBIE] == []


EXITS = f"""
import os, sys, threading
sys.path[:0] = [{str(PROJECT)!r}, {str(PROJECT / "orchestrator" / "packages")!r}]
from orchestrator.recipe_shell import run_command, _running
command = dict(environment=os.environ, directory=None, own_process=False)
threading.Thread(target=run_command, args=("sleep 100",), kwargs=command, daemon=True).start()
while not _running:
    pass
print(next(iter(_running)).pid, flush=True)
"""


def test_the_exit_of_the_process_ends_commands_of_threads_left_to_themselves() -> None:
    with Python(EXITS) as python:
        pid = int(python.line())
        python.process.wait(60)
        assert not psutil.pid_exists(pid)


@pytest.mark.parametrize("command", ["cat; echo end", ["sh", "-c", "cat; echo end"], ["./own"]])
def test_the_input_of_a_command_is_empty(tmp_path: Path, command: str | list[str]) -> None:
    (tmp_path / "own").write_text("#!/bin/sh\ncat; echo end\n")
    (tmp_path / "own").chmod(0o755)
    for own_process in (False, True):
        ended = run(command, directory=str(tmp_path), own_process=own_process)
        assert (ended.exit_code, ended.stdout) == (0, "end")
