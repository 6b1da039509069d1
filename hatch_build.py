"""Puts the man pages into a wheel, below share/man/man1, where `man` finds them."""

import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class ManPageHook(BuildHookInterface[Any]):
    """Makes the pages for the time of a build; an editable install goes without them."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Make them, in a process of its own: the build must not keep the project's modules."""
        if version == "editable":
            return
        self._pages = TemporaryDirectory()
        maker = Path(self.root, "scripts", "make_man_pages.py")
        made = subprocess.run(
            [sys.executable, str(maker), self._pages.name],
            capture_output=True,
            text=True,
            check=False,
        )
        if made.returncode:
            raise RuntimeError(
                f"no man pages, since {maker} failed:\n{made.stderr}\n"
                "A build has the standard library and argparse-manpage only: get_parser() of a "
                "command's module must not import more."
            )
        build_data["shared_data"][self._pages.name] = "share/man/man1"

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        """Delete them."""
        if version != "editable":
            self._pages.cleanup()
