"""An optional base class of step nodes: every hook has a default."""

from __future__ import annotations


class stepnode_baseclass:  # noqa: N801  (named like the nodes it is for)
    """Keeps name and verbose flag; its hooks do nothing. The engine calls none of its defaults."""

    def __init__(self, name: str, verbose_flag: bool = False) -> None:
        """Make the node `name`."""
        self.name = name
        self.verbose_flag = verbose_flag
