"""A moment as text, for what writes one at each step: with microseconds, in UTC."""

from __future__ import annotations

import time
from functools import lru_cache


def timestamp(moment: float) -> str:
    """`2026-11-25T21:23:25.000123`, of the seconds since 1970; its zone, UTC, is not in it."""
    second = int(moment)
    return f"{_until_second(second)}.{int((moment - second) * 1e6):06d}"


@lru_cache(maxsize=8)
def _until_second(second: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
