"""Runs the command of a shell step.

What the command writes goes to the output of the step while it runs, and the end of its standard
output into the step's result. Where the step has a process of its own the command belongs to that
process's group, which the engine ends as a whole. Elsewhere it gets a group of its own (Ctrl-C in
a terminal means the engine, not the commands that it lets finish), which is ended when the step is
interrupted, or when this process exits: a guard, a small process of its own, sees to it where this
one is killed.
"""

from __future__ import annotations

import atexit
import codecs
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import IO, Any, Final

from scriptlets.lifecycle import ScriptletFailed
from scriptlets.resources import MAXRSS_UNIT

OUTPUT_LIMIT: Final = 64 * 1024
"""Characters of standard output that are kept, from its end."""

GRACE_S: Final = 2.0
_LAST_OUTPUT_S: Final = 0.5
_CHUNK: Final = 64 * 1024

_running: dict[subprocess.Popen[bytes], bool] = {}
"""The commands of this process -> whether they lead a group of their own."""


@dataclass(frozen=True, slots=True)
class Ended:
    """How a command ended: its exit code (negative: the signal), its output, what it used."""

    exit_code: int
    stdout: str
    facts: dict[str, Any]


def run_command(
    command: str | Sequence[str],
    *,
    environment: Mapping[str, str],
    directory: str | None,
    own_process: bool,
) -> Ended:
    """Run a command to its end: a text by the shell, a list as it is. Its input is empty.

    Raises:
        ScriptletFailed: It can't be started.
    """
    grouped = not own_process and os.name == "posix"
    process = _start(command, environment, directory, grouped, own_process)
    _running[process] = grouped
    pumps: list[_Pump] = []
    try:
        pumps += _pumps(process)
        if grouped:
            _tell_guard("+", process.pid)
        if process.stdin is not None:
            with process.stdin as gate, suppress(OSError):  # it has been ended already
                os.write(gate.fileno(), b"go\n")
        facts = _wait(process)
    except BaseException:
        _end(process, grouped)
        raise
    finally:
        del _running[process]
        if grouped:
            _tell_guard("-", process.pid)
        deadline = time.monotonic() + _LAST_OUTPUT_S
        for pump in pumps:
            pump.end(deadline)
    return Ended(process.returncode, pumps[0].text().strip(), facts)


def _start(
    command: str | Sequence[str],
    environment: Mapping[str, str],
    directory: str | None,
    grouped: bool,
    own_process: bool,
) -> subprocess.Popen[bytes]:
    words = ["/bin/sh", "-c", command] if grouped and isinstance(command, str) else command
    gated = grouped and _is_there(words[0], environment, directory)  # else to start it tells why
    try:
        return subprocess.Popen(
            ["/bin/sh", "-c", _GATE, "sh", *words] if gated else words,
            shell=isinstance(words, str),
            stdin=subprocess.PIPE if gated else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=None if own_process else subprocess.PIPE,
            cwd=directory,
            env=environment,
            process_group=0 if grouped else None,
        )
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        where = getattr(error, "filename", None) or command
        raise ScriptletFailed(f"can't be started: {reason}: {where}") from error


def _pumps(process: subprocess.Popen[bytes]) -> Iterator[_Pump]:
    lock = threading.Lock()  # in a thread, both streams of a step are one
    for pipe, stream in ((process.stdout, sys.stdout), (process.stderr, sys.stderr)):
        if pipe is not None:
            yield _Pump(pipe, stream.write, stream.flush, lock)


class _Pump(threading.Thread):
    """Copies a pipe to a text stream of the step, and keeps the end of it.

    After `end` nothing is written any more, but still read: a command's child that outlives it may
    hold the pipe for long.
    """

    def __init__(
        self,
        pipe: IO[bytes],
        write: Callable[[str], object],
        flush: Callable[[], object],
        lock: threading.Lock,
    ) -> None:
        super().__init__(name="octo-shell", daemon=True)
        self._pipe = pipe
        self._write = write
        self._flush = flush
        self._tail = ""
        self._ended = False
        self._lock = lock
        self.start()

    def run(self) -> None:
        decoder = codecs.getincrementaldecoder("utf-8")("backslashreplace")
        with self._pipe:
            while True:
                data = os.read(self._pipe.fileno(), _CHUNK)
                text = decoder.decode(data, final=not data)
                with self._lock:
                    if text and not self._ended:
                        self._tail = (self._tail + text)[-OUTPUT_LIMIT:]
                        with suppress(OSError, ValueError):  # a full disk is no fault of the step
                            self._write(text)
                            self._flush()
                if not data:
                    return

    def end(self, deadline: float) -> None:
        """Wait until the deadline for what the command has written, and stop writing."""
        self.join(max(0.0, deadline - time.monotonic()))
        with self._lock:
            self._ended = True

    def text(self) -> str:
        """The end of what was copied."""
        with self._lock:
            return self._tail


def _wait(process: subprocess.Popen[bytes]) -> dict[str, Any]:
    """Wait for the end of a process; what it and its children used, where the system tells."""
    if not hasattr(os, "wait4"):
        process.wait()
        return {}
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    return {
        "cpu_s": round(usage.ru_utime + usage.ru_stime, 6),
        "peak_memory_bytes": usage.ru_maxrss * MAXRSS_UNIT,
    }


def _end(process: subprocess.Popen[bytes], grouped: bool) -> None:
    """End a process, and all that is left of the group that it leads."""
    for number in (signal.SIGTERM, getattr(signal, "SIGKILL", signal.SIGTERM)):
        _signal(process, grouped, number)
        with suppress(subprocess.TimeoutExpired):
            process.wait(GRACE_S)
            break
    if grouped:  # also when its leader has ended: others may not have minded the first signal
        _signal(process, grouped, signal.SIGKILL)


def _signal(process: subprocess.Popen[bytes], grouped: bool, number: int) -> None:
    with suppress(OSError):
        if grouped:
            os.killpg(process.pid, number)
        else:
            process.send_signal(number)


@atexit.register
def _end_all() -> None:
    for process, grouped in tuple(_running.items()):
        _end(process, grouped)


# --- the guard ------------------------------------------------------------------------------------

_GUARD: Final = """
exec 3<&0
(
    exec 0<&3 3<&-
    running=" "
    while read -r sign group; do
        case $sign in
            +) running="$running$group " ;;
            -) running="${running%%" $group "*} ${running#*" $group "}" ;;
        esac
    done
    for group in $running; do kill -KILL "-$group"; done
) &
"""
"""Reads which process groups have begun (`+ 123`) and ended (`- 123`); at the end of its input,
which comes when this process ends in any way, it kills those that are left. It is no child of this
process, so nobody takes it for something that a step has left behind."""

_GATE: Final = 'read -r go || exit 1; exec "$@" </dev/null'
"""Begins a command when the guard knows of it; not at all if this process ends before that."""

_guard_lock = threading.Lock()
_guard: int | None = None  # where it is written to; -1: there is none


def _is_there(program: str, environment: Mapping[str, str], directory: str | None) -> bool:
    if os.sep in program:
        program = os.path.join(directory or ".", program)  # noqa: PTH118  (Path drops `./`)
    return shutil.which(program, path=environment.get("PATH")) is not None


def _tell_guard(sign: str, group: int) -> None:
    global _guard
    with _guard_lock:
        if _guard is None:
            _guard = _start_guard()
    if _guard >= 0:
        with suppress(OSError):  # somebody has ended it
            os.write(_guard, f"{sign} {group}\n".encode())


def _start_guard() -> int:
    reader, writer = os.pipe()
    try:
        subprocess.run(
            ["/bin/sh", "-c", _GUARD],
            stdin=reader,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd="/",
            start_new_session=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        os.close(writer)
        return -1
    finally:
        os.close(reader)
    return writer
