"""The command line of recipe files, as a shell sees it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest

from tests.recipes import SPEC_RECIPES
from tests.support import PROJECT, Command

SCRIPT = "orchestrator/enhanced_recipe_parser.py"
COMMANDS = ("validate", "compile", "schema", "graph")


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    file = tmp_path / "hello.yaml"
    file.write_text(SPEC_RECIPES["my_first_recipe"])
    return file


def test_a_valid_recipe(command: Command, recipe: Path) -> None:
    done = command(SCRIPT, "validate", recipe.name, cwd=recipe.parent)
    assert (done.returncode, done.stdout, done.stderr) == (0, "hello.yaml is valid: 1 step\n", "")


def test_all_problems_of_all_files_are_told_on_stderr(command: Command, recipe: Path) -> None:
    wrong = recipe.with_name("wrong.yaml")
    wrong.write_text("steps:\n- {name: a, module: builtin, function: print, timout: 1}\n")
    done = command(SCRIPT, "validate", "hello.yaml", "wrong.yaml", "none.yaml", cwd=recipe.parent)
    assert done.returncode == 2
    assert done.stdout == "hello.yaml is valid: 1 step\n"
    assert done.stderr == (
        "wrong.yaml:2:13: step 'a': there is no module 'builtin'\n"
        "  did you mean 'builtins'?\n"
        "wrong.yaml:2:47: step 'a': there is no key 'timout'\n"
        "  did you mean 'timeout'?\n"
        "wrong.yaml has 2 problems\n"
        "none.yaml: there is no such file\n"
        "none.yaml has 1 problem\n"
    )


def test_validate_for_programs(command: Command, recipe: Path) -> None:
    recipe.with_name("wrong.yaml").write_text("steps: [{name: a}]")
    done = command(SCRIPT, "validate", "--json", "hello.yaml", "wrong.yaml", cwd=recipe.parent)
    assert (done.returncode, done.stderr) == (2, "")
    hello, wrong = json.loads(done.stdout)["files"]
    assert hello == {"file": "hello.yaml", "valid": True, "steps": 1, "problems": []}
    assert not wrong["valid"]
    assert wrong["problems"][0] == {
        "file": "wrong.yaml",
        "line": 1,
        "message": "step 'a': a python step needs module",
        "hint": "",
        "severity": "error",
        "column": 9,
    }


def test_validate_runs_nothing_of_the_recipe(command: Command, recipe: Path) -> None:
    recipe.with_name("tasks.py").write_text("open('was run', 'w')\ndef f(): ...")
    recipe.write_text(
        "steps: [{name: a, module: tasks, function: f},"
        " {name: b, type: shell, command: touch was_run}]"
    )
    assert command(SCRIPT, "validate", recipe, cwd=recipe.parent).returncode == 0
    assert {each.name for each in recipe.parent.iterdir()} == {"hello.yaml", "tasks.py"}


def test_compile_writes_json_to_stdout_or_a_file(command: Command, recipe: Path) -> None:
    done = command(SCRIPT, "compile", recipe)
    compiled = json.loads(done.stdout)
    assert compiled["steps"]["greet"]["args"] == ["Hello from Framework0!"]
    file = recipe.with_suffix(".json")
    silent = command(SCRIPT, "compile", recipe, "-o", file)
    assert (silent.returncode, silent.stdout) == (0, "")
    assert json.loads(file.read_text()) == compiled


def test_compile_tells_the_problems(command: Command, recipe: Path) -> None:
    recipe.write_text("steps: [{name: a, modul: x}]")
    done = command(SCRIPT, "compile", "hello.yaml", cwd=recipe.parent)
    assert (done.returncode, done.stdout) == (2, "")
    assert "hello.yaml:1:19: step 'a': there is no key 'modul'\n  did you mean 'module'?" in (
        done.stderr
    )


def test_a_recipe_before_the_command_is_told_to_come_after_it(
    command: Command, recipe: Path
) -> None:
    done = command(SCRIPT, "hello.yaml", "validate", cwd=recipe.parent)
    assert done.returncode == 2
    assert "enhanced_recipe_parser.py validate hello.yaml" in done.stderr


def test_schema_writes_the_schema(command: Command, tmp_path: Path) -> None:
    done = command(SCRIPT, "schema")
    jsonschema.Draft202012Validator.check_schema(json.loads(done.stdout))
    command(SCRIPT, "schema", "--output", tmp_path / "s.json")
    assert (tmp_path / "s.json").read_text() == done.stdout


@pytest.mark.skipif(os.name == "nt", reason="limits the size of files as a POSIX shell does")
def test_an_error_leaves_the_old_file(recipe: Path) -> None:
    file = recipe.with_suffix(".json")
    file.write_text("old")
    program = (sys.executable, PROJECT / SCRIPT, "compile", recipe, "-o", file)
    limited = subprocess.run(
        ["sh", "-c", 'ulimit -f 0 && exec "$@"', "sh", *program],
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert limited.returncode == 1
    assert limited.stderr == f"error: {file}: File too large\n"
    assert file.read_text() == "old"
    assert {each.name for each in recipe.parent.iterdir()} == {"hello.json", "hello.yaml"}


@pytest.mark.skipif(os.name == "nt", reason="there are no such links")
def test_a_file_is_written_through_a_link_and_keeps_its_mode(
    command: Command, tmp_path: Path
) -> None:
    file, link = (tmp_path / "real.json", tmp_path / "link.json")
    file.touch(0o600)
    link.symlink_to(file)
    assert command(SCRIPT, "schema", "-o", link).returncode == 0
    assert (link.is_symlink(), file.stat().st_mode & 0o777) == (True, 0o600)
    jsonschema.Draft202012Validator.check_schema(json.loads(file.read_text()))


@pytest.mark.skipif(os.name == "nt", reason="there is no /dev/stdout")
def test_a_pipe_is_written_to_and_not_replaced(command: Command) -> None:
    assert command(SCRIPT, "schema", "-o", "/dev/stdout").stdout == command(SCRIPT, "schema").stdout


def test_graph_draws_beside_the_recipe_or_where_it_is_told(command: Command, recipe: Path) -> None:
    done = command(SCRIPT, "graph", "hello.yaml", cwd=recipe.parent)
    assert (done.returncode, done.stdout) == (0, "drawn: hello.svg\n"), done.stderr
    assert "greet" in recipe.with_suffix(".svg").read_text()
    dot = command(SCRIPT, "graph", recipe, "--format", "dot", "-o", "-")
    assert dot.stdout.startswith("digraph")
    command(SCRIPT, "graph", recipe, "-o", recipe.with_name("x.mmd"))
    assert "greet" in recipe.with_name("x.mmd").read_text()


# --- how it is called -----------------------------------------------------------------------------


@pytest.mark.parametrize("words", [["--help"], *([name, "--help"] for name in COMMANDS)])
def test_help(command: Command, words: list[str]) -> None:
    done = command(SCRIPT, *words)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("usage: enhanced_recipe_parser.py")
    if words == ["--help"]:
        assert all(f"\n    {name} " in done.stdout for name in COMMANDS)
        assert "exit codes:" in done.stdout


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "a command is missing\n  one of: validate, compile, schema, graph"),
        (["validat", "x"], "no command 'validat'\n  did you mean 'validate'?"),
        (["validate"], "FILE"),
        (["validate", "--jsn", "x"], "--jsn"),
        (["graph", "x", "--format", "gif"], "gif"),
        (["compile", "x", "y"], "y"),
        (["compile", "x", "-o"], "-o"),
        (["--verbose"], "--verbose"),
    ],
)
def test_a_wrong_call_is_told_in_a_line_or_two(
    command: Command, words: list[str], message: str
) -> None:
    done = command(SCRIPT, *words)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: ")
    assert message in done.stderr
    assert len(done.stderr.splitlines()) <= 3


@pytest.mark.parametrize(
    ("output", "reason"),
    [("nowhere/x.json", "No such file or directory"), (".", "Is a directory")],
)
def test_an_output_that_cant_be_written_is_told(
    command: Command, recipe: Path, output: str, reason: str
) -> None:
    done = command(SCRIPT, "compile", "hello.yaml", "-o", output, cwd=recipe.parent)
    assert (done.returncode, done.stderr) == (1, f"error: {output}: {reason}\n")


def test_a_reader_that_has_had_enough_is_no_error(recipe: Path) -> None:
    command = f"{sys.executable} {PROJECT / SCRIPT} schema | head -1; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("{\n0\n", "")


@pytest.mark.parametrize(
    "name", ["queue", "json", "yaml", "pydantic", "orchestrator", "octo_errors"]
)
def test_files_beside_the_recipe_or_in_the_working_directory_disturb_nothing(
    command: Command, recipe: Path, name: str
) -> None:
    recipe.with_name(f"{name}.py").write_text("raise RuntimeError('was imported')")
    done = command(SCRIPT, "validate", "hello.yaml", cwd=recipe.parent)
    assert done.returncode == 0, done.stderr


def test_names_that_the_terminal_cant_show_are_told_all_the_same(
    command: Command, recipe: Path
) -> None:
    recipe.write_text("steps: [{name: ä, modul: x}]", encoding="utf-8")
    done = command(SCRIPT, "validate", recipe, env={"PYTHONIOENCODING": "ascii", "LC_ALL": "C"})
    assert done.returncode == 2
    assert "step '\\u00e4'" in done.stderr


def test_it_is_a_module_too(recipe: Path) -> None:
    roots = os.pathsep.join(
        str(PROJECT / each) for each in ("modules", "orchestrator/packages", ".")
    )
    done = subprocess.run(
        [sys.executable, "-m", "orchestrator.enhanced_recipe_parser", "validate", str(recipe)],
        env={**os.environ, "PYTHONPATH": roots},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_for_programs_the_module_parses_and_compiles(recipe: Path) -> None:
    from orchestrator.enhanced_recipe_parser import compile_recipe, main, parse_recipe

    checked = parse_recipe(recipe)
    assert checked.problems == []
    assert checked.order == ["greet"]
    assert compile_recipe(recipe)["name"] == "hello_framework0"
    assert main(["validate", str(recipe)]) == 0


def test_help_loads_neither_yaml_nor_the_model(recipe: Path) -> None:
    program = (
        "import sys, runpy\n"
        "sys.argv = ['x', '--help']\n"
        "try:\n"
        f"    runpy.run_path({str(PROJECT / SCRIPT)!r}, run_name='__main__')\n"
        "except SystemExit: pass\n"
        "print({'yaml', 'pydantic', 'jinja2'} & set(sys.modules), file=sys.stderr)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stderr == "set()\n"


def test_a_missing_package_is_named_with_what_to_do(recipe: Path) -> None:
    program = (
        "import runpy, sys\n"
        "sys.modules['pydantic'] = None\n"
        f"sys.argv = [{str(PROJECT / SCRIPT)!r}, 'validate', {str(recipe)!r}]\n"
        "runpy.run_path(sys.argv[0], run_name='__main__')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(
        f"error: {sys.executable} lacks what this program needs: pydantic"
    )
    assert len(done.stderr.splitlines()) == 2
