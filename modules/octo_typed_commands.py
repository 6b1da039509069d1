"""The commands that messages propose, such that they work when they are pasted where they are read.

Loads next to nothing; a call loads what it needs.
"""

# pathlib and contextlib are slow to load:
# ruff: noqa: PTH100, PTH109, PTH110, PTH112, PTH118, PTH119, PTH120

from __future__ import annotations

import os
import sys

INSTANCE_PROGRAM = "octo_step_instance.py"
PARAMETERS_PROGRAM = "octo_step_engine_parameters.py"

_MODULES = os.path.dirname(os.path.abspath(__file__))
_here = ""  # where messages are read, if that isn't the working directory

TYPE_CHECKING = False  # as in typing, which is slow to load
if TYPE_CHECKING:
    Directory = str | os.PathLike[str]


def launcher_command(instance: Directory, program: str = INSTANCE_PROGRAM) -> str:
    """The launcher of a program in an instance."""
    launcher = os.path.join(instance, program)
    if os.name == "nt":
        return _line("python", path_from_here(launcher))
    return _line(_executable(launcher))


def instance_command(instance: Directory, *words: str) -> str:
    """A command of an instance, `("pause",)` say: by its launcher where there is one."""
    if os.path.exists(os.path.join(instance, INSTANCE_PROGRAM)):
        return f"{launcher_command(instance)} {_line(*words)}"
    command, *options = words
    return program_command(INSTANCE_PROGRAM, command, path_from_here(instance), *options)


def parameters_command(directory: Directory, *words: str) -> str:
    """What shows or changes a parameter file: by the launcher beside it where there is one."""
    words = (path_from_here(directory), *words)
    if os.path.exists(os.path.join(directory, PARAMETERS_PROGRAM)):
        return f"{launcher_command(directory, PARAMETERS_PROGRAM)} {_line(*words)}"
    return program_command(PARAMETERS_PROGRAM, *words)


def started_command(*words: str) -> str:
    """The program that was started, as it was, with other words."""
    if sys.argv[0].endswith(".py"):
        return _line(_executable(sys.executable), path_from_here(sys.argv[0]), *words)
    return _line(os.path.basename(sys.argv[0]), *words)


def resume_command(instance: Directory, *words: str) -> str:
    """What goes on with the run of a recipe, where `run` leaves what failed as it is."""
    return run_recipe_command("--resume", "--instance", path_from_here(instance), *words)


def run_recipe_command(*words: str) -> str:
    """The program that runs recipes."""
    return _line(*_program("octo-recipe-run", _of_recipes("runner.py")), *words)


def recipe_command(*words: str) -> str:
    """The program that checks, compiles and draws recipes."""
    return _line(*_program("octo-recipe", _of_recipes("enhanced_recipe_parser.py")), *words)


def _of_recipes(script: str) -> str:
    above = os.path.dirname(_MODULES)  # in a checkout; once installed, both are in one place
    folder = _MODULES if os.path.isdir(os.path.join(_MODULES, "orchestrator")) else above
    return os.path.join(folder, "orchestrator", script)


def program_command(name: str, *words: str) -> str:
    """A program of the project by the name of its file, with words that fit where you are."""
    console = name.removesuffix(".py").replace("_", "-")
    return _line(*_program(console, os.path.join(_MODULES, name)), *words)


def _program(console: str, script: str) -> list[str]:
    """As it was started if it was, else the installed command where a shell finds the right one."""
    import shutil

    if os.path.basename(sys.argv[0]) == os.path.basename(script):
        return [_executable(sys.executable), path_from_here(sys.argv[0])]
    found = shutil.which(console)
    if found and os.path.dirname(os.path.realpath(found)) in _own_folders():
        return [console]
    return [_executable(sys.executable), path_from_here(script)]


def _own_folders() -> list[str]:
    """Where the commands are that belong to this Python, and the program that was started."""
    from contextlib import suppress

    folders = [os.path.dirname(sys.executable)]
    with suppress(FileNotFoundError):  # named as seen from a working directory that is gone
        folders.append(os.path.dirname(os.path.realpath(sys.argv[0])))
    return folders


def _executable(path: str) -> str:
    """A file as a shell executes it, which looks for a bare name elsewhere."""
    seen = path_from_here(path)
    return seen if os.path.dirname(seen) else os.path.join(".", seen)


class ToldFromHere:
    """In the block, messages are still read in this working directory, while hooks have another."""

    def __enter__(self) -> None:
        global _here
        self._before, _here = _here, os.getcwd()

    def __exit__(self, *_: object) -> None:
        global _here
        _here = self._before


def path_from_here(path: Directory) -> str:
    """The path as it is told below the working directory, and from the root elsewhere."""
    try:
        here = _here or os.getcwd()
    except FileNotFoundError:  # it is gone
        return os.fspath(path)
    path = os.path.abspath(os.path.join(here, path))
    if path == here:
        return "."
    return path.removeprefix(here.rstrip(os.sep) + os.sep)


def _line(*words: str) -> str:
    if os.name == "nt":
        from subprocess import list2cmdline  # single quotes are no quotes there

        return list2cmdline(words)
    import shlex

    return shlex.join(words)
