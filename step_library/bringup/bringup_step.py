"""What the steps of this library share: the way to the instrument."""

from __future__ import annotations

from stepnode_baseclass import stepnode_baseclass

from .instrument import Instrument


class bringup_step(stepnode_baseclass):
    """A step that talks to the instrument.

    It keeps all it knows in the parameter file and nothing in memory, connects when it has
    something to say, and hangs up: so any step can go on where a crash ended the one before.
    """

    def connect(self) -> Instrument:
        """Connect to the instrument at the address in the parameter file."""
        return Instrument(self.get("instrument", "host"), self.get("instrument", "port"))
