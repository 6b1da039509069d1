"""What the steps of random recipes do: remember when they begin and end."""

from __future__ import annotations

LOG: list[tuple[str, str]] = []
"""What happened, with the name of the step. An append is atomic among threads."""


def act(name: str, fails: bool) -> None:
    LOG.append(("begin", name))
    LOG.append(("end", name))
    if fails:
        raise ValueError(name)
