"""What is built and installed: the wheel, its man pages, its dependencies, its requirements."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tomllib
import venv
from collections.abc import Iterator
from importlib.metadata import Distribution, distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

import project_environment
from octo_exit_code import NEEDED_BY_RECIPES
from octo_launcher import NEEDED
from octo_version import VERSION
from tests.support import PROJECT

PYPROJECT = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))
METADATA = PYPROJECT["project"]
COMMANDS = METADATA["scripts"]
RECIPE = """\
steps:
  - {name: step_node_hello, type: step_node, module: hello, function: step_node_hello}
  - {name: double, module: tasks, function: Double, args: {number: 21}, timeout: 60}
  - name: tell
    module: builtins
    function: print
    args: ["{{ results.double.is }}"]
    depends_on: [step_node_hello, double]
"""
TASKS = """\
from scriptlets.framework import BaseScriptlet


class Double(BaseScriptlet):
    def run(self, context, params):
        return {"is": 2 * params["number"]}
"""


def run(*arguments: object, cwd: Path = PROJECT) -> str:
    done = subprocess.run(
        [str(argument) for argument in arguments],
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def with_dependencies(requirements: list[str], seen: set[str]) -> Iterator[Distribution]:
    """The installed distributions that plain `pip install` would choose, dependencies included."""
    for requirement in map(Requirement, requirements):
        applies = requirement.marker is None or requirement.marker.evaluate({"extra": ""})
        if applies and requirement.name not in seen:
            seen.add(requirement.name)
            found = distribution(requirement.name)
            yield found
            yield from with_dependencies(found.requires or [], seen)


def copy_into(site_packages: Path, found: Distribution) -> None:
    for file in found.files or []:
        if ".." not in file.parts and (source := Path(str(file.locate()))).exists():
            (site_packages / file).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, site_packages / file)


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A new environment with the built wheel and its core dependencies, without any network.

    The wheel is built from the source archive, so that one proves both. The dependencies are
    copied from the environment of the tests: only those that the project declares.
    """
    place = tmp_path_factory.mktemp("an installed project")
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", place / "dist", PROJECT)
    venv.create(place / "venv", symlinks=True)
    python = next(place.glob("venv/*/python"))
    [wheel] = place.glob("dist/*.whl")
    pip = [sys.executable, "-m", "pip", "--python", python, "install", "--no-deps", "--no-index"]
    run(*pip, wheel)
    site_packages = Path(run(python, "-c", "import sysconfig as s; print(s.get_path('purelib'))"))
    for found in with_dependencies(METADATA["dependencies"], set()):
        copy_into(Path(str(site_packages).strip()), found)
    return place


@pytest.mark.slow
def test_the_wheel_works_outside_the_repository_with_the_core_dependencies_only(
    installed: Path,
) -> None:
    command = {name: next(installed.glob(f"venv/*/{name}")) for name in COMMANDS}
    for name, program in command.items():
        assert run(program, "--version", cwd=installed) == f"{name} {VERSION}\n"
    [wheel] = installed.glob("dist/*.whl")
    assert VERSION in wheel.name.split("-")
    assert "hello" in run(command["octo-step-instance"], "list", cwd=installed)
    run(command["octo-step-instance"], "create", "my run", "--library", "hello", cwd=installed)
    run(command["octo-step-instance"], "run", "my run", cwd=installed)
    state = ("my run", "global_parameters", "step_engine_state")
    answer = run(command["octo-step-engine-parameters"], *state, cwd=installed)
    assert answer == "COMPLETE_SUCCESS\n"
    run(command["octo-graph-steps"], "-p", "hello", "-o", "dot", "--format", "dot", cwd=installed)
    assert list(installed.glob("dot/*.dot"))


@pytest.mark.slow
def test_a_recipe_runs_outside_the_repository_in_workers_too(installed: Path) -> None:
    place = installed / "recipes"
    place.mkdir()
    (place / "example.yaml").write_text(RECIPE, encoding="utf-8")
    (place / "tasks.py").write_text(TASKS, encoding="utf-8")
    command = {name: next(installed.glob(f"venv/*/{name}")) for name in COMMANDS}
    run(command["octo-recipe"], "validate", "example.yaml", cwd=place)
    for executor in ("threads", "processes"):
        shown = run(command["octo-recipe-run"], "example.yaml", "--executor", executor, cwd=place)
        assert "Hello, world!\n" in shown and "\n42\n" in shown
    status = run(command["octo-step-instance"], "status", "step_instances/example", cwd=place)
    assert "COMPLETE_SUCCESS" in status


@pytest.mark.slow
def test_each_command_is_installed_with_its_man_page(installed: Path) -> None:
    for command in COMMANDS:
        page = (installed / "venv/share/man/man1" / f"{command}.1").read_text(encoding="utf-8")
        name = command.replace("-", "\\-")
        assert f"{name} \\- " in page and f".B {name}\n" in page


def test_the_packages_that_may_be_lacking_are_the_dependencies() -> None:
    # A command that lacks another one would tell of a bug, instead of what to install.
    names = {Requirement(each).name.lower() for each in METADATA["dependencies"]}
    assert {"yaml" if name == "pyyaml" else name for name in names} == {*NEEDED, *NEEDED_BY_RECIPES}


@pytest.mark.parametrize("module", [entry.partition(":")[0] for entry in COMMANDS.values()])
def test_a_parser_needs_nothing_but_the_standard_library(module: str) -> None:
    code = f"import sys; sys.path[:0] = ['modules', '.']; import {module}; {module}.get_parser()"
    run(sys.executable, "-I", "-S", "-c", code)


def test_what_a_developer_installs_covers_every_extra_but_the_peers_of_benchmarks() -> None:
    lines = (PROJECT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    [requirement] = [line for line in lines if not line.startswith("#")]
    editable = Requirement(requirement.replace("-e .", "octo-step-engine"))
    reached: set[str] = set()
    waiting = set(editable.extras)
    while waiting:
        extra = waiting.pop()
        reached.add(extra)
        for each in map(Requirement, METADATA["optional-dependencies"][extra]):
            waiting |= each.extras - reached if each.name == METADATA["name"] else set()
    assert reached == set(METADATA["optional-dependencies"]) - {"bench"}


def test_the_scripts_refuse_exactly_the_pythons_that_the_package_refuses() -> None:
    allowed = SpecifierSet(METADATA["requires-python"])
    major, minor = project_environment.OLDEST
    assert f"{major}.{minor}" in allowed and f"{major}.{minor - 1}" not in allowed
