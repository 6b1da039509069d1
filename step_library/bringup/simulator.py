#!/usr/bin/env python3
"""A simulated DC power supply with a voltmeter: a TCP server on this machine that talks like SCPI.

One command a line; a command that ends in `?` is a question and is answered by one line:

    python3 simulator.py --port 5025        in one terminal: it shows what it hears and answers
    nc 127.0.0.1 5025                       in another: type *IDN? or SYST:HELP?

Upper and lower case are the same, and so are short and long words (SYST:ERR?, SYSTEM:ERROR?). As in
real instruments, a bad command is not answered but queues an error, which SYST:ERR? reads. Whatever
arrives, the server goes on: until SYST:SHUT, or until no command came for the idle time.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import socketserver
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TextIO

IDENTITY = "OCTO INSTRUMENTS,PS-3005,SN000042,1.2.0"
MAX_VOLTS = 30.0
GAIN, OFFSET_VOLTS, NOISE_VOLTS = 1.0008, 0.002, 0.001
ERROR_QUEUE_LENGTH = 16
LONGEST_COMMAND = 256  # bytes

NO_ERROR = '0,"No error"'
DATA_TYPE_ERROR = '-104,"Data type error"'
PARAMETER_NOT_ALLOWED = '-108,"Parameter not allowed"'
MISSING_PARAMETER = '-109,"Missing parameter"'
UNDEFINED_HEADER = '-113,"Undefined header"'
DATA_OUT_OF_RANGE = '-222,"Data out of range"'
SELF_TEST_FAILED = '-330,"Self-test failed;voltage reference is not warm yet"'
QUEUE_OVERFLOW = '-350,"Queue overflow"'

SHORT_WORDS = {
    "ERROR": "ERR",
    "MEASURE": "MEAS",
    "OUTPUT": "OUTP",
    "PROTECTION": "PROT",
    "SHUTDOWN": "SHUT",
    "SYSTEM": "SYST",
    "VOLTAGE": "VOLT",
}


class CommandError(Exception):
    """A command that the instrument can't carry out; its text goes to the error queue."""


class PowerSupply:
    """The instrument without a network: a command goes in, an answer or None comes out.

    Args:
        seed: Of the noise: two instruments with the same seed measure the same.
        cold_self_tests: How many self-tests fail after power-on, until the instrument is warm.
    """

    def __init__(self, *, seed: int = 1, cold_self_tests: int = 0) -> None:
        self.switched_off = False
        self._noise = random.Random(seed)
        self._cold_self_tests = cold_self_tests
        self._errors: deque[str] = deque()
        self._reset()
        self._settings: dict[str, Callable[[str], None]] = {
            "OUTP": self._set_output,
            "VOLT": self._set_voltage,
            "VOLT:PROT": self._set_protection,
        }
        self._actions: dict[str, Callable[[], str | None]] = {
            "*CLS": self._errors.clear,
            "*IDN?": lambda: IDENTITY,
            "*RST": self._reset,
            "*TST?": self._self_test,
            "MEAS:VOLT?": self._measure,
            "OUTP?": lambda: "1" if self._output else "0",
            "SYST:ERR?": lambda: self._errors.popleft() if self._errors else NO_ERROR,
            "SYST:HELP?": lambda: ", ".join(sorted([*self._settings, *self._actions])),
            "SYST:SHUT": self._shut_down,
            "VOLT?": lambda: f"{self._voltage:.4f}",
            "VOLT:PROT?": lambda: f"{self._protection:.4f}",
        }

    def handle(self, command: str) -> str | None:
        """Carry out one command: the answer to a question, None for everything else."""
        header, _, value = command.strip().partition(" ")
        if not header:
            return None
        try:
            return self._carry_out(_short(header), value.strip())
        except CommandError as error:
            self._queue_error(str(error))
            return None

    def _carry_out(self, header: str, value: str) -> str | None:
        if header in self._settings:
            if not value:
                raise CommandError(MISSING_PARAMETER)
            self._settings[header](value)
            return None
        if header in self._actions:
            if value:
                raise CommandError(PARAMETER_NOT_ALLOWED)
            return self._actions[header]()
        raise CommandError(UNDEFINED_HEADER)

    def _queue_error(self, error: str) -> None:
        if len(self._errors) < ERROR_QUEUE_LENGTH:
            self._errors.append(error)
        else:
            self._errors[-1] = QUEUE_OVERFLOW

    def _reset(self) -> None:
        self._output = False
        self._voltage = 0.0
        self._protection = MAX_VOLTS

    def _shut_down(self) -> None:
        self._output = False
        self.switched_off = True

    def _self_test(self) -> str:
        if self._cold_self_tests == 0:
            return "0"
        self._cold_self_tests -= 1
        self._queue_error(SELF_TEST_FAILED)
        return "1"

    def _measure(self) -> str:
        terminals = self._voltage * GAIN + OFFSET_VOLTS if self._output else 0.0
        return f"{terminals + self._noise.gauss(0.0, NOISE_VOLTS):.4f}"

    def _set_output(self, value: str) -> None:
        states = {"ON": True, "1": True, "OFF": False, "0": False}
        if value.upper() not in states:
            raise CommandError(DATA_TYPE_ERROR)
        self._output = states[value.upper()]

    def _set_voltage(self, value: str) -> None:
        self._voltage = _volts(value, highest=self._protection)

    def _set_protection(self, value: str) -> None:
        self._protection = _volts(value, highest=MAX_VOLTS)
        self._voltage = min(self._voltage, self._protection)


def _short(header: str) -> str:
    """`system:error?` as `SYST:ERR?`."""
    question = "?" if header.endswith("?") else ""
    words = header.upper().removesuffix("?").split(":")
    return ":".join(SHORT_WORDS.get(word, word) for word in words) + question


def _volts(value: str, *, highest: float) -> float:
    try:
        volts = float(value)
    except ValueError:
        raise CommandError(DATA_TYPE_ERROR) from None
    if not 0.0 <= volts <= highest:  # refuses NaN too
        raise CommandError(DATA_OUT_OF_RANGE)
    return volts


class Server(socketserver.ThreadingTCPServer):
    """Lets any number of clients talk to one instrument; `log` gets a line per command and answer.

    Raises:
        OSError: The port is taken, or not ours to take.
    """

    daemon_threads = True  # a silent client doesn't keep the process from ending
    allow_reuse_address = os.name == "posix"  # elsewhere it would let two servers share a port
    timeout = 0.1  # of one handle_request(): how soon a shut-down is noticed

    def __init__(self, port: int, instrument: PowerSupply, idle_seconds: float, log: TextIO):
        super().__init__(("127.0.0.1", port), Conversation)
        self._instrument = instrument
        self._idle_seconds = idle_seconds
        self._log = log
        self._one_at_a_time = threading.Lock()
        self._last_command = time.monotonic()

    def serve(self) -> None:
        """Serve until the instrument is switched off or nobody wants anything of it."""
        while not self._instrument.switched_off and not self._idle():
            self.handle_request()

    def answer(self, command: str) -> str | None:
        """Have the instrument carry out one command; called by the thread of each client."""
        with self._one_at_a_time:
            self._last_command = time.monotonic()
            answer = self._instrument.handle(command)
            self._write_log(f"< {command.strip()!a}", f"> {answer}" if answer else "")
            return answer

    def _idle(self) -> bool:
        return time.monotonic() - self._last_command > self._idle_seconds

    def _write_log(self, *lines: str) -> None:
        now = time.strftime("%H:%M:%S")
        with contextlib.suppress(OSError):  # a full disk is no reason to leave the clients alone
            self._log.writelines(f"{now} {line}\n" for line in lines if line)
            self._log.flush()


class Conversation(socketserver.StreamRequestHandler):
    """One client, from connect to hang-up."""

    server: Server

    def handle(self) -> None:
        """Answer command after command until the client leaves, or sends what is no line."""
        with contextlib.suppress(ConnectionError):
            while (line := self.rfile.readline(LONGEST_COMMAND)).endswith(b"\n"):
                answer = self.server.answer(line.decode("ascii", errors="replace"))
                if answer is not None:
                    self.wfile.write(f"{answer}\n".encode("ascii"))


def start_in_background(arguments: Sequence[str]) -> int:
    """Start this program as a process of its own, which outlives its starter; the exit code.

    Returns when the server listens; what it announced is on standard output.
    """
    server = subprocess.Popen(
        [sys.executable, __file__, *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        creationflags=getattr(subprocess, "DETACHED_PROCESS", 0),  # the same, on Windows
    )
    assert server.stdout is not None
    announcement = server.stdout.readline()
    if announcement:
        sys.stdout.write(announcement)
        return 0
    sys.stderr.write(server.communicate()[1])
    return server.returncode


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the simulator from the command line; returns the exit code."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    options = _parse(arguments)
    if options.background:
        arguments.remove("--background")
        return start_in_background(arguments)
    instrument = PowerSupply(seed=options.seed, cold_self_tests=options.cold_self_tests)
    try:
        log = options.log.open("a", encoding="utf-8") if options.log else sys.stderr
        server = Server(options.port, instrument, options.idle_seconds, log)
    except (OSError, OverflowError) as error:
        sys.stderr.write(f"simulator.py: {error}\n")
        return 1
    host, port = server.server_address[:2]
    print(json.dumps({"host": host, "port": port, "pid": os.getpid()}), flush=True)
    with contextlib.suppress(KeyboardInterrupt):
        server.serve()
    server.server_close()
    return 0


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    option = parser.add_argument
    option("--port", type=int, default=0, help="0, the default, takes a free one and tells it")
    option("--seed", type=int, default=1, help="of the measurement noise (default: 1)")
    option(
        "--cold-self-tests",
        type=int,
        default=0,
        metavar="N",
        help="the first N self-tests fail, until the instrument is warm (default: 0)",
    )
    option(
        "--idle-seconds",
        type=float,
        default=600.0,
        metavar="S",
        help="end when no command came for this long (default: 600)",
    )
    option("--log", type=Path, metavar="FILE", help="write the conversation there, not to stderr")
    option("--background", action="store_true", help="return as soon as the server listens")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
