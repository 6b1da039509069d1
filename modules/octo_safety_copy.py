"""The safety copy of a file: what is left of it when a loss of power has emptied the file.

It lies beside the file, `<name>.backup`, is synced, and at most a second older than the file while
that is written.
"""

# pathlib is slow to load, and a command that updates one value loads this module:
# ruff: noqa: PTH105, PTH116

from __future__ import annotations

import itertools
import os
import time

from octo_atomic_file import read_file, replace_file
from octo_errors import ParameterFileError
from octo_json_groups import GroupsText
from octo_json_strict import JsonTextError

SAFETY_COPY_SUFFIX = ".backup"
SAFETY_COPY_AGE = 1.0  # seconds


class SafetyCopy:
    """The safety copy of the file `of`, for who holds the lock of the file's writers.

    Attributes:
        path: Where it is.
    """

    def __init__(self, of: str) -> None:
        self.path = of + SAFETY_COPY_SUFFIX
        self._of = of
        self._made_at = 0.0  # as far as this object knows

    def is_old(self) -> bool:
        """Whether it is to be made again; a clock may have been set back."""
        now = time.time()
        if 0 <= now - self._made_at < SAFETY_COPY_AGE:
            return False
        try:
            self._made_at = os.stat(self.path, follow_symlinks=False).st_mtime
        except FileNotFoundError:
            return True
        return not 0 <= now - self._made_at < SAFETY_COPY_AGE

    def write(self, data: bytes, like: os.stat_result | None) -> None:
        """Make it anew; returns when it is on disk."""
        replace_file(self.path, data, like, sync=True)

    def read(self) -> tuple[GroupsText, os.stat_result] | None:
        """What it holds and what the system says about it, if there is a good one.

        Raises:
            ParameterFileError: There is one, and it can't be read: it may be good.
        """
        try:
            data, status = read_file(self.path)
            return GroupsText.of(data), status
        except (FileNotFoundError, JsonTextError):
            return None
        except OSError as error:
            raise ParameterFileError(
                f"{self.path}: the safety copy can't be read: {error.strerror}",
                hint="try again, or do without it: --repair --from-defaults",
                path=self._of,
                errno=error.errno,
            ) from error

    def put_away(self, aside: str | None = None) -> None:
        """Keep it from being written over: it may be all that is left of the file.

        Args:
            aside: Where the file is now that it is the copy of; None where there is none.
        """
        if os.path.lexists(self.path):
            os.replace(self.path, (aside or dated_name(self._of)) + SAFETY_COPY_SUFFIX)
            self._made_at = 0.0


def dated_name(path: str) -> str:
    """A name that nothing has yet, under which to keep what is bad at `path`."""
    stem = path + time.strftime(".bad-%Y%m%dT%H%M%SZ", time.gmtime())
    names = (stem if number == 1 else f"{stem}-{number}" for number in itertools.count(1))
    return next(name for name in names if not os.path.lexists(name))
