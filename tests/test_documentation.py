"""What the documentation says is so: its commands are run, its pictures and tables compared.

How to write a page whose blocks are run (SESSIONS lists the pages):

- A block with the info string `console` is a shell session. A line that begins with `$ ` is a
  command, lines with `> ` go on with it, and what follows is what it prints, errors included.
- Any other block whose first line is a comment with nothing but a path, such as
  `# step_library/oven/step_node_heat.py`, is a file; it is written when its turn comes.
- The blocks of a session run from the top to the bottom, in one bash that begins in an empty
  directory, which the page calls `/home/ada`; the project is `/home/ada/octo`.
- `...` stands for any text in a line, and alone in a line for any number of lines. What differs
  from run to run (MASKS) is masked on both sides.
- Lines of the form `==> STEP: done, 2.3 ms` that follow each other may be printed in another order:
  such steps run side by side.
- A program that is to be killed runs in the background, its output in a file: `run > log 2>&1 &`,
  later `kill -9 $!`. The session goes on when it is gone.
- Other blocks are not run.
"""

from __future__ import annotations

import ast
import html
import itertools
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

import draw_diagrams
from octo_instance_dir import REQUESTS, InstanceDir
from octo_instance_setup import create_instance
from octo_parameter_schema import DEFAULT_PARAMETERS, END_PENDING, JUMP_PENDING
from octo_step_engine import StepEngine
from octo_step_moves import ENGINE_STATES, STEP_STATES
from octo_step_states import Token
from tests.support import PROJECT

DOCS = PROJECT / "docs"
SESSIONS = {
    "README": ["README.md"],
    "tutorial": [f"docs/tutorial/{page.name}" for page in sorted(DOCS.glob("tutorial/*.md"))],
    **{
        page.stem: [page.relative_to(PROJECT).as_posix()]
        for page in sorted([*DOCS.glob("how-to/*.md"), *DOCS.glob("reference/*.md")])
        if "```console" in page.read_text(encoding="utf-8")
    },
}
COMMANDS = {
    "octo-step-instance": "octo_step_instance",
    "octo-step-engine-parameters": "octo_step_engine_parameters",
    "octo-graph-steps": "octo_graph_steps",
    "octo-recipe": "orchestrator.enhanced_recipe_parser",
    "octo-recipe-run": "orchestrator.runner",
}
MASKS = {
    r"\d{4}-\d\d-\d\d[T ]?(\d\d:?\d\d:?\d\d(\.\d+)?(Z|\+00:00)?)?": "DATE",
    r"\d{8}T\d{6}Z(-[0-9a-f]{6})?": "DATE",
    r"\b\d\d:\d\d:\d\d\b": "TIME",
    r"\b\d+ h \d\d min\b|\b\d+ min \d\d s\b|\b\d+(\.\d+)? ?m?s\b": "DURATION",
    r"\bpid \d+ on \S+": "pid N on HOST",
    r"\bport \d+": "port N",
    r"\b\d+ %": "N %",
    r"octo_step_library_[0-9a-f]+": "LIBRARY",
    r"^\S+: line \d+: +\d+ Killed .*": "Killed",
}
DONE = re.compile(r"==> \S+: done, (DURATION|\.\.\.)")
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.M | re.S)
FILE = re.compile(r"# ([\w./-]+\.\w+)\n")
SEPARATOR = "\x1e"


@dataclass(frozen=True)
class Command:
    """A command of a page, and what the page says that it prints."""

    place: str
    text: str
    output: str


@dataclass(frozen=True)
class File:
    """A file that a page shows."""

    path: str
    content: str


def blocks(page: Path) -> Iterator[Command | File]:
    """What a page has to run, from the top to the bottom."""
    text = page.read_text(encoding="utf-8")
    for block in BLOCK.finditer(text):
        kind, content = block.groups()
        if kind == "console":
            line = text[: block.start()].count("\n") + 2
            yield from commands(content, f"{page.name}:{line}")
        elif named := FILE.match(content):
            yield File(named[1], content)


def commands(session: str, place: str) -> Iterator[Command]:
    """The commands of one console block."""
    for part in re.split(r"^\$ ", session, flags=re.M)[1:]:
        first, *lines = part.splitlines()
        more = 0
        while more < len(lines) and lines[more].startswith(">"):
            more += 1
        text = "\n".join([first, *(line[2:] for line in lines[:more])])
        yield Command(f"{place}: $ {first}", text, "\n".join(lines[more:]))


def script(parts: Sequence[Command | File]) -> str:
    """The bash script of a session, which prints SEPARATOR before each command's output."""
    lines = ["mark() { local code=$?; printf '\\036'; return $code; }"]
    for part in parts:
        if isinstance(part, Command):
            kills = "kill -9 $!" in part.text
            text = f"{{ {part.text}\nwait $!; }} 2>/dev/null" if kills else part.text
            lines.append(f"mark\n{text}")
        else:
            path = f'"$BEGIN"/{shlex.quote(part.path)}'
            lines.append(f'mkdir -p "$(dirname {path})"')
            lines.append(f"cat > {path} <<'END-OF-FILE'\n{part.content}END-OF-FILE")
    return "\n".join(lines) + "\n"


def run_session(parts: Sequence[Command | File], directory: Path) -> list[tuple[Command, str]]:
    """Run a session in a new directory; the commands, and what each of them printed."""
    begin, programs = directory / "ada", directory / "bin"
    begin.mkdir()
    programs.mkdir()
    for name, module in COMMANDS.items():  # as the installed project has them
        program = programs / name
        start = f"import sys\nfrom {module} import main\nsys.exit(main())\n"
        program.write_text(f"#!{sys.executable}\n{start}")
        program.chmod(0o755)
    file = directory / "session.sh"
    file.write_text(script(parts), encoding="utf-8")
    ours = {name: value for name, value in os.environ.items() if not name.startswith("OCTO_")}
    path = [str(programs), str(Path(sys.executable).parent), os.environ["PATH"]]
    env = {
        **ours,
        "BEGIN": str(begin),
        "PATH": os.pathsep.join(path),
        "PYTHONPATH": str(PROJECT / "modules"),
    }
    done = subprocess.run(
        ["bash", str(file)],
        cwd=begin,
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        timeout=280,
        check=False,
    )
    told = done.stdout
    for place, name in ((programs, "octo/.venv/bin"), (PROJECT, "octo"), (begin, "")):
        told = told.replace(str(place), f"/home/ada/{name}".rstrip("/"))
    outputs = told.split(SEPARATOR)[1:]
    asked = [part for part in parts if isinstance(part, Command)]
    return list(zip(asked, outputs, strict=True))


def masked(text: str) -> str:
    for pattern, word in MASKS.items():
        text = re.sub(pattern, word, text, flags=re.M)
    return "\n".join(line.rstrip() for line in text.strip("\n").splitlines())


def in_one_order(text: str) -> str:
    """A masked text, with what may be printed in any order in one that is always the same."""
    groups = itertools.groupby(text.splitlines(), key=lambda line: bool(DONE.fullmatch(line)))
    ordered = (sorted(lines) if any_order else lines for any_order, lines in groups)
    return "\n".join(itertools.chain.from_iterable(ordered))


def is_as_told(told: str, printed: str) -> bool:
    """Whether a command printed what its page says."""
    told, printed = masked(told), masked(printed)
    return matches(told, printed) or matches(in_one_order(told), in_one_order(printed))


def matches(told: str, printed: str) -> bool:
    lines = [re.escape(line).replace(r"\.\.\.", ".*") for line in told.splitlines()]
    pattern = "\n".join(lines)
    pattern = re.sub(r"^\.\*$\n?", r"(?:.*(?:\\n|\\Z))*?", pattern, flags=re.M)
    return re.fullmatch(pattern, printed) is not None


def differences(pages: Sequence[Path], directory: Path) -> list[str]:
    """Where what is printed is not what the pages say."""
    parts = [part for page in pages for part in blocks(page)]
    return [
        f"{command.place}\n--- the page:\n{command.output}\n--- it printed:\n{printed}"
        for command, printed in run_session(parts, directory)
        if not is_as_told(command.output, printed)
    ]


bash_only = pytest.mark.skipif(shutil.which("bash") is None, reason="sessions are run by bash")


@bash_only
@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("session", SESSIONS)
def test_the_commands_print_what_the_pages_say(tmp_path: Path, session: str) -> None:
    different = differences([PROJECT / page for page in SESSIONS[session]], tmp_path)
    assert not different, "\n\n".join(different)


@bash_only
@pytest.mark.parametrize(
    ("output", "is_right"),
    [
        ("one\ntwo", True),
        ("one\n...", True),
        ("...\ntwo", True),
        ("o...e\ntwo", True),
        ("one", False),
        ("one\ntwo\nthree", False),
        ("one\n...\nthree", False),
        ("", False),
    ],
)
def test_the_proof_notices_what_is_not_so(tmp_path: Path, output: str, is_right: bool) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        f"```sh\n# it/lines.txt\none\n```\n```console\n$ cd it\n"
        f"$ tail -1 lines.txt\n> echo two\n{output}\n```\n"
    )
    assert (differences([page], tmp_path) == []) is is_right


@pytest.mark.parametrize(
    ("told", "is_right"),
    [
        ("==> a: done, 7 ms\n==> b: done, ...\nc", True),
        ("==> b: done, 7 ms\n==> a: done, 7 ms\nc", True),
        ("...\n==> a: done, 7 ms\nc", True),
        ("c\n==> a: done, 7 ms\n==> b: done, 7 ms", False),
        ("==> a: done, 7 ms\nc\n==> b: done, 7 ms", False),
        ("==> a: done, 7 ms\n==> a: done, 7 ms\nc", False),
    ],
)
def test_what_runs_side_by_side_may_end_in_any_order(told: str, is_right: bool) -> None:
    assert is_as_told(told, "==> b: done, 2.0 ms\n==> a: done, 1.0 s\nc\n") is is_right


def test_readme_names_the_two_commands_that_set_up() -> None:
    begin = (PROJECT / "README.md").read_text(encoding="utf-8").splitlines()[:30]
    assert [line.partition("  #")[0].rstrip() for line in begin if "python3 scripts/" in line] == [
        "python3 scripts/quickstart.py",
        "python3 scripts/run_tests.py",
    ]


@pytest.mark.parametrize("page", sorted(DOCS.rglob("*.md")), ids=lambda page: page.stem)
def test_the_index_leads_to_every_page(page: Path) -> None:
    name = page.relative_to(DOCS).as_posix()
    index = (DOCS / "index.md").read_text(encoding="utf-8")
    assert name == "index.md" or f"]({name})" in index


def test_the_architecture_tells_what_each_file_is_for() -> None:
    text = (DOCS / "architecture.md").read_text(encoding="utf-8")
    told = set(re.findall(r"`(\w+)`", "\n".join(re.findall(r"^\|.*\|$", text, flags=re.M))))
    folders = ("modules", "orchestrator", "orchestrator/packages/scriptlets")
    files = {file.stem for folder in folders for file in (PROJECT / folder).glob("*.py")}
    commands = {name for name in files if name.startswith("octo_commands_")}
    assert "octo_commands_*" in text
    assert files - commands - told == {"__init__"}


# --- pictures -------------------------------------------------------------------------------------


def words(picture: Path) -> list[str]:
    """The texts in an SVG file, whoever drew it and wherever they stand."""
    text = html.unescape(picture.read_text(encoding="utf-8"))
    return sorted(" ".join(each.split()) for each in re.findall(r"<text[^>]*>([^<]*)", text))


@pytest.mark.slow
def test_the_pictures_are_as_they_would_be_drawn_now(tmp_path: Path) -> None:
    draw_diagrams.draw_all(tmp_path)
    drawn = {picture.name: words(picture) for picture in tmp_path.iterdir()}
    shown = {picture.name: words(picture) for picture in draw_diagrams.IMAGES.glob("*.svg")}
    assert drawn == shown, "draw them anew: .venv/bin/python scripts/draw_diagrams.py"
    assert all(texts for texts in drawn.values())


# --- the reference of events ----------------------------------------------------------------------


def events_in_code() -> set[str]:
    """The names of the events that are written somewhere."""
    found: set[str] = set()
    for folder in ("modules", "orchestrator"):
        for file in (PROJECT / folder).rglob("*.py"):
            found |= set(_events_in(ast.parse(file.read_text(encoding="utf-8"))))
    return found


def _events_in(tree: ast.Module) -> Iterator[str]:
    chosen = {}  # variable -> what is chosen from
    values = []
    for node in ast.walk(tree):
        match node:
            case ast.Dict(keys=[ast.Constant(value="event"), *_], values=[value, *_]):
                values.append(value)
            case ast.Call(func=ast.Attribute(attr="_record"), args=[value, *_]):
                values.append(value)
            case ast.Assign(targets=[ast.Name(name)], value=ast.IfExp(_, one, other)):
                chosen[name] = [one, other]
    for value in values:
        each = chosen.get(value.id, []) if isinstance(value, ast.Name) else [value]
        yield from (str(name.value) for name in each if isinstance(name, ast.Constant))


def test_the_reference_tells_every_event_and_history_has_words_for_it() -> None:
    page = (DOCS / "reference" / "events.md").read_text(encoding="utf-8")
    section = page.partition("## Kinds of events")[2].partition("\n## ")[0]
    written = events_in_code()
    assert {"run_start", "resume", "state", "items", "pause"} <= written  # each in another way
    assert set(re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE)) - {"event"} == written
    module = (PROJECT / "modules" / "octo_step_history.py").read_text(encoding="utf-8")
    patterns = [each for each in ast.walk(ast.parse(module)) if isinstance(each, ast.MatchMapping)]
    worded = {ast.literal_eval(each.patterns[0].value) for each in patterns}  # type: ignore[attr-defined]
    assert worded == written


# --- the reference of files and keys --------------------------------------------------------------

INNER = """\
steps: [{name: say, type: shell, command: echo}]
"""
OUTER = """\
inputs: {size: 2}
steps:
  - {name: inner, type: recipe, recipe: inner.yaml}
  - {name: keep, module: tasks, function: keep}
  - name: each
    module: operator
    function: truediv
    args: [1, "{{ item }}"]
    foreach: "{{ range(inputs.size) }}"
    depends_on: [inner, keep]
"""
TASKS = """\
def keep(context):
    context.set("kept", True)
"""


def told_in_files_page() -> set[str]:
    """The words in code font on the page about files and keys."""
    text = (DOCS / "reference" / "files.md").read_text(encoding="utf-8")
    return set(re.findall(r"`([^`\n]+)`", text))


def test_the_reference_tells_every_key_and_state() -> None:
    token = Token("n", "ENTER", attempt=2, retry_due=1.0, arrows=("a",), held=True, pending=1)
    keys = {*DEFAULT_PARAMETERS["global_parameters"], *token.to_dict()}
    keys |= {*REQUESTS, END_PENDING, JUMP_PENDING, *ENGINE_STATES, *STEP_STATES}
    assert keys - told_in_files_page() == set()


def test_the_reference_tells_every_file_and_key_of_a_run(tmp_path: Path) -> None:
    instance, _ = create_instance(tmp_path / "run", PROJECT / "step_library" / "hello")
    engine = StepEngine(instance)
    engine.run()
    engine.run(fresh=True, max_steps=1)
    data = instance.parameters.read()
    node = {"step_results_key_last_status", "last_error"}
    files = {file.name for file in instance.path.iterdir()}
    names = {f"{name}/" if (instance.path / name).is_dir() else name for name in files}
    told = told_in_files_page()
    assert (names | node | data["global_parameters"].keys()) - told == set()


def test_the_reference_tells_every_file_and_key_of_a_run_of_a_recipe(tmp_path: Path) -> None:
    for name, text in {"outer.yaml": OUTER, "inner.yaml": INNER, "tasks.py": TASKS}.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    run = [sys.executable, str(PROJECT / "orchestrator" / "runner.py"), "outer.yaml"]
    for options in ((), ("--resume", "--skip", "keep")):  # its item 0 divides by it
        assert subprocess.run([*run, *options], cwd=tmp_path, check=False).returncode == 1
    place = tmp_path / "step_instances" / "outer"
    data = InstanceDir(place).parameters.read()
    groups = ("global_parameters", "recipe", "run_progress", "inner", "each")
    keys = {key for group in groups for key in data[group]}
    keys |= {key for record in data["active_steps"].values() for key in record}
    assert {"failed", "items_done", "item_results", "result", "left_out_done_bits"} <= keys
    names = {f"{file.name}/" if file.is_dir() else file.name for file in place.iterdir()}
    names = {re.sub(r"\.[0-9a-f]{16}\.", ".HASH.", name) for name in names}
    assert {"nested/", ".octo_step_engine_recipe.HASH.json"} <= names
    assert (names | keys) - told_in_files_page() == set()
