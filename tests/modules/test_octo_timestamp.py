"""Moments as text, against the standard library."""

from __future__ import annotations

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from octo_timestamp import timestamp

CENTURY_S = 100 * 365.25 * 86400


@given(st.floats(0, CENTURY_S))
def test_it_is_what_datetime_reads_to_the_microsecond(moment: float) -> None:
    text = timestamp(moment)
    assert len(text) == len("2026-11-25T21:23:25.000123")
    assert abs(datetime.fromisoformat(f"{text}+00:00").timestamp() - moment) < 2e-6


def test_seconds_that_come_again_are_right_and_whole_ones_have_their_digits_too() -> None:
    first = datetime(2026, 2, 28, 23, 59, 59, tzinfo=UTC).timestamp()
    assert [timestamp(first), timestamp(first + 1), timestamp(first)] == [
        "2026-02-28T23:59:59.000000",
        "2026-03-01T00:00:00.000000",
        "2026-02-28T23:59:59.000000",
    ]
