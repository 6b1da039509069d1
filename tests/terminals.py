"""What a terminal shows, for tests of what is displayed on one."""

from __future__ import annotations

import os
import re
import select
import signal
import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

DEADLINE_S = 60.0
"""A guard against a test that hangs; no test waits for it to pass."""


def screen(output: str) -> list[str]:
    """What a terminal shows after `output`: it knows line ends, cursor up, and erase below."""
    lines, row, column = [""], 0, 0
    for part in re.findall(r"\x1b\[[\d;]*[A-Za-z]|[^\x1b]", output):
        if part == "\n":
            row, column = row + 1, 0  # the driver of a terminal adds the carriage return
            lines += [""] * (row + 1 - len(lines))
        elif part == "\r":
            column = 0
        elif part.startswith("\x1b") and part.endswith("A"):
            row -= int(part[2:-1])
            assert row >= 0, "above the first line"
        elif part.startswith("\x1b") and part.endswith("J"):
            lines = [*lines[:row], lines[row][:column]]
        elif not part.startswith("\x1b"):
            lines[row] = lines[row][:column].ljust(column) + part + lines[row][column + 1 :]
            column += 1
    return [line.rstrip() for line in lines]


class Terminal:
    """A pseudo-terminal, and the process that has it."""

    def __init__(self, child: int, terminal: int) -> None:
        self._child, self._terminal = child, terminal
        self._ended = False

    def type(self, text: str) -> None:
        """Let the process read it."""
        os.write(self._terminal, text.encode())

    def read_until(self, expected: str | None) -> str:
        """What the process writes, up to the expected text, or up to its end."""
        found = ""
        deadline = time.monotonic() + DEADLINE_S
        while expected is None or expected not in found:
            left = max(0.0, deadline - time.monotonic())
            ready = select.select([self._terminal], [], [], left)[0]
            assert ready, f"waited in vain after {found[-2000:]!r}"
            try:
                data = os.read(self._terminal, 65536)
            except OSError:  # Linux says so when the other side has ended
                return found
            if not data:
                return found
            found += data.decode()
        return found

    def exit_code(self) -> int:
        """Of the process, which has ended or is about to."""
        self._ended = True
        return os.waitstatus_to_exitcode(os.waitpid(self._child, 0)[1])

    def close(self) -> None:
        """Hang up; the process doesn't outlive that."""
        os.close(self._terminal)
        if not self._ended:
            os.kill(self._child, signal.SIGKILL)
            self.exit_code()


@contextmanager
def on_a_terminal(command: list[str], directory: Path, columns: int = 0) -> Iterator[Terminal]:
    """A command that runs in a directory, on a terminal of so many columns (0: that isn't told)."""
    import fcntl
    import pty
    import termios

    child, terminal = pty.fork()
    if child == 0:
        fcntl.ioctl(1, termios.TIOCSWINSZ, struct.pack("HHHH", 24 if columns else 0, columns, 0, 0))
        os.environ["TERM"] = "xterm"
        os.chdir(directory)
        os.execv(command[0], command)
    opened = Terminal(child, terminal)
    try:
        yield opened
    finally:
        opened.close()
