"""How a run ended or rests, as whoever had it run is told."""

from __future__ import annotations

from dataclasses import dataclass

from octo_exit_code import EXIT_INTERRUPTED

EXIT_SUCCESS, EXIT_ERROR, EXIT_PAUSED = 0, 1, 3


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a run ended or rests.

    Attributes:
        engine_state: `COMPLETE_SUCCESS`, `COMPLETE_ERROR`, or `INACTIVE` for a run that rests.
        reason: Why, in a few words; empty after success.
        armed: Nodes whose `step_make_safe` is still owed.
        interrupted: The hooks in flight were broken off.
        ahead: (node, state) of what a run that rests performs next.
        exit_code: What a command line ends with.
    """

    engine_state: str
    reason: str
    armed: tuple[str, ...] = ()
    interrupted: bool = False
    ahead: tuple[tuple[str, str], ...] = ()

    @property
    def exit_code(self) -> int:  # noqa: D102  (told above)
        if self.interrupted:
            return EXIT_INTERRUPTED
        codes = {"COMPLETE_SUCCESS": EXIT_SUCCESS, "COMPLETE_ERROR": EXIT_ERROR}
        return codes.get(self.engine_state, EXIT_PAUSED)
