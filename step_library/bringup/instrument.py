"""The client side of the instrument: what the steps of this library say to it.

    with Instrument("127.0.0.1", 5025) as instrument:
        instrument.command("VOLT 3.3")
        volts = float(instrument.ask("MEAS:VOLT?"))

A step connects, says what it has to say, and hangs up: nothing is kept from one step to the next.
"""

from __future__ import annotations

import socket
from types import TracebackType

PATIENCE_SECONDS = 5.0


class InstrumentError(Exception):
    """The instrument refused a command, or answered what it should not."""


class InstrumentGoneError(InstrumentError):
    """Nobody answers at the instrument's address (any more)."""


class Instrument:
    """A connection to the instrument, closed at the end of a `with` block.

    Raises:
        InstrumentGoneError: Nobody answers there; any method can raise it later on.
    """

    def __init__(self, host: str, port: int) -> None:
        self._address = f"{host}:{port}"
        try:
            self._socket = socket.create_connection((host, port), timeout=PATIENCE_SECONDS)
        except OSError as error:
            raise self._gone(error) from error
        # A command goes out at once, instead of waiting until the one before is acknowledged.
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._answers = self._socket.makefile("r", encoding="ascii", errors="replace")

    def __enter__(self) -> Instrument:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Hang up."""
        self._answers.close()
        self._socket.close()

    def send(self, command: str) -> None:
        """Send a command without waiting for what comes of it."""
        try:
            self._socket.sendall(f"{command}\n".encode("ascii"))
        except OSError as error:
            raise self._gone(error) from error

    def ask(self, question: str) -> str:
        """Send a question, and return the answer."""
        self.send(question)
        try:
            answer = self._answers.readline()
        except OSError as error:
            raise self._gone(error) from error
        if not answer:
            raise self._gone("it hung up")
        return answer.strip()

    def command(self, command: str) -> None:
        """Send a command, and make sure that the instrument carried it out.

        Raises:
            InstrumentError: It refused; the errors it queued are in the message.
        """
        self.send(command)
        if errors := self.errors():
            raise InstrumentError(f"{command!r} was refused: {'; '.join(errors)}")

    def errors(self) -> list[str]:
        """Empty the instrument's error queue, oldest error first."""
        errors = []
        while not (error := self.ask("SYST:ERR?")).startswith("0,"):
            errors.append(error)
        return errors

    def _gone(self, cause: object) -> InstrumentGoneError:
        return InstrumentGoneError(f"no instrument answers at {self._address} ({cause})")
