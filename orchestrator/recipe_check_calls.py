"""What the steps of a recipe call: whether there is such a thing, and whether it takes the args."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from octo_errors import LibraryError
from orchestrator.recipe_document import KeyPath, Report, kind_of
from orchestrator.recipe_model import Step

if TYPE_CHECKING:
    from octo_step_declaration import NodeDeclaration
    from octo_step_lib import StepLibrary
    from orchestrator.recipe_check_python import PythonChecks

SHELL_ARGS = ("command", "env", "directory")


class CallChecks:
    """Checks what steps call, and keeps where the nodes of libraries are.

    Attributes:
        nodes: Of each step that is a node: the path of its library, and what the node declares.
    """

    def __init__(self, report: Report, directory: Path, working_directory: Path) -> None:
        self.report, self.directory = report, directory
        self.working_directory = working_directory
        self.nodes: dict[str, tuple[Path, NodeDeclaration]] = {}
        self._python_checks: PythonChecks | None = None
        self._libraries: dict[str, StepLibrary | LibraryError] = {}

    def check(self, step: Step) -> None:
        """Tell what is wrong with the call of a step."""
        if step.broken & {"type", "module", "function", "command"}:
            return
        checks = {"python": self._python, "shell": self._shell, "step_node": self._step_node}
        if check := checks.get(step.type):
            check(step)
        if step.type in ("shell", "step_node", "recipe") and isinstance(step.args, list):
            self._tell(step, "args", f"args of a {step.type} step must be a mapping, and is a list")

    def _tell(self, step: Step, key: str | KeyPath, what: str, hint: str = "") -> None:
        keys = (key,) if isinstance(key, str) else key
        self.report.tell((*step.path, *keys), f"step {step.name!r}: {what}", hint)

    # --- python -----------------------------------------------------------------------------------

    def _python(self, step: Step) -> None:
        if step.module is None or step.function is None:
            return
        if self._python_checks is None:
            from orchestrator.recipe_check_python import PythonChecks  # others don't need it

            self._python_checks = PythonChecks(self.report, self.directory, self.working_directory)
        self._python_checks.check(step, step.module, step.function)

    # --- shell ------------------------------------------------------------------------------------

    def _shell(self, step: Step) -> None:
        if "args" in step.broken:  # the command may be there
            return
        args = step.args if isinstance(step.args, dict) else {}
        commands = [each for each in (step.command, args.get("command")) if each is not None]
        if len(commands) == 2:
            self._tell(step, ("args", "command"), "command is given twice, as a key and in args")
        elif not commands:
            self.report.tell(step.path, f"step {step.name!r}: a shell step needs command")
        else:
            key = ("command",) if step.command is not None else ("args", "command")
            self._command(step, key, commands[0])
        for name in args:
            if name not in SHELL_ARGS:
                hint = self.report.near(name, SHELL_ARGS)
                self._tell(step, ("args", name), f"a shell step takes no {name!r}", hint)
        self._surroundings(step, args)

    def _command(self, step: Step, key: tuple[str, ...], command: object) -> None:
        words = command if isinstance(command, list) else [command]
        if not words or words == [""]:
            self._tell(step, key, "command is empty")
        for place, word in enumerate(words):
            if not isinstance(word, (str, int, float)) or isinstance(word, bool):
                where: KeyPath = (*key, place) if isinstance(command, list) else key
                self._tell(step, where, f"a command is of texts, and this is {kind_of(word)}")

    def _surroundings(self, step: Step, args: dict[str, Any]) -> None:
        directory, variables = args.get("directory", ""), args.get("env", {})
        if not isinstance(directory, str):
            what = f"directory must be text, and is {kind_of(directory)}"
            self._tell(step, ("args", "directory"), what)
        if isinstance(variables, str):  # a template
            return
        if not isinstance(variables, dict):
            self._tell(step, ("args", "env"), f"env must be a mapping, and is {kind_of(variables)}")
            return
        for name, value in variables.items():
            if not isinstance(value, (str, int, float)) or isinstance(value, bool):
                what = f"env {name!r} must be text, and is {kind_of(value)}"
                self._tell(step, ("args", "env", name), what, "put it in quotes")

    # --- nodes of step libraries ------------------------------------------------------------------

    def _step_node(self, step: Step) -> None:
        if step.module is None or step.function is None:
            return
        if step.module not in self._libraries:
            self._libraries[step.module] = self._library(step.module)
        library = self._libraries[step.module]
        if isinstance(library, LibraryError):
            self._tell(step, "module", library.message, library.hint)
            return
        node = library.nodes.get(step.function)
        if node is not None:
            self.nodes[step.name] = (library.path, node)
            return
        hint = self.report.near(step.function, library.nodes)
        broken = [str(each) for each in library.problems if each.severity == "error"]
        if broken:
            hint = "\n".join(
                [*filter(None, [hint]), "perhaps it is in what can't be read:", *broken]
            )
        self._tell(step, "function", f"{library.path} has no node {step.function!r}", hint)

    def _library(self, name: str) -> StepLibrary | LibraryError:
        from octo_step_lib import load_library, resolve_library

        beside = self.directory / name
        try:
            if beside.is_dir() and any(beside.glob("step_node_*.py")):
                return load_library(beside)
            return load_library(resolve_library(name, [self.directory / "step_library"]))
        except LibraryError as error:
            return error
