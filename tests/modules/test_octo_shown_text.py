"""Texts as people are shown them."""

from __future__ import annotations

import pytest

from octo_shown_text import duration_text, local_time, one_line


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0, "0.0 ms"),
        (0.0042, "4.2 ms"),
        (0.0096, "10 ms"),
        (0.9996, "1.0 s"),
        (59.94, "59.9 s"),
        (59.96, "1 min 00 s"),
        (125, "2 min 05 s"),
        (3599.6, "1 h 00 min"),
        (7325, "2 h 02 min"),
        (200000, "2 days 7 h"),
    ],
)
def test_durations_are_said_as_people_say_them(seconds: float, text: str) -> None:
    assert duration_text(seconds) == text


def test_a_text_is_one_line_without_control_characters() -> None:
    assert one_line("  one\ttwo\x1b[2J\nthree") == r"one\ttwo\x1b[2J ..."
    assert one_line("x" * 400) == "x" * 300 + " ..."
    assert one_line("Öfen → ✓") == "Öfen → ✓"


def test_a_time_stamp_that_is_none_is_no_time() -> None:
    assert local_time("soon") is None
    assert local_time("0001-01-01T00:00:00+14:00") is None
    assert local_time("2026-01-01T00:00:00+00:00") is not None
