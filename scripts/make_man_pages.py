"""Writes the man page of each console command: `python scripts/make_man_pages.py DIRECTORY`.

hatch_build.py runs it when a wheel is built. The commands are those of pyproject.toml; each page is
made from the parser that the command itself uses, `get_parser()` of its module.
"""

import argparse
import importlib
import os
import sys
import tomllib
from pathlib import Path

from argparse_manpage.manpage import Manpage

PROJECT = Path(__file__).resolve().parent.parent


def write_man_pages(directory: Path) -> None:
    """Write `<command>.1` for every console command of the project into `directory`."""
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    version = importlib.import_module("octo_version").VERSION
    directory.mkdir(parents=True, exist_ok=True)
    for command, entry_point in project["scripts"].items():
        sys.argv = [command]  # the name that argparse gives to the parsers of subcommands
        parser = importlib.import_module(entry_point.partition(":")[0]).get_parser()
        parser.prog = command
        page = Manpage(parser, format="single-commands-section")
        page.source = f"{project['name']} {version}"
        page.manual = "Octo Step Engine"
        page.description = (parser.description or "").partition("\n")[0]
        if parser.epilog:  # its lines are to stay as they are
            page.add_section("notes", "=", f".nf\n{page.format_text(parser.epilog)}\n.fi")
            parser.epilog = None  # or it would be there once more, as one paragraph
        (directory / f"{command}.1").write_text(str(page), encoding="utf-8")


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description="Write the man pages of the console commands.")
    arguments.add_argument("directory", type=Path, help="made where it is missing")
    chosen = arguments.parse_args()
    os.environ["COLUMNS"] = "80"  # a page must not depend on the terminal it was made in
    sys.path[:0] = [str(PROJECT / "modules"), str(PROJECT)]
    write_man_pages(chosen.directory)
