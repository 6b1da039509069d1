"""Texts as people are shown them: lines that do a terminal no harm, durations, the local time."""

from __future__ import annotations

from datetime import datetime


def printable(text: str) -> str:
    """A line of text as it can be shown on a terminal: control characters are escaped."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def one_line(text: str, length: int = 300) -> str:
    """The first line of a text, as it can be shown on a terminal."""
    first, _, more = text.strip().partition("\n")
    shown = printable(first)
    return shown[:length] + " ..." if more or len(shown) > length else shown


def duration_text(seconds: float) -> str:
    """A duration as people say it: `0.4 ms`, `12 ms`, `3.2 s`, `2 min 05 s`, `1 h 02 min`."""
    if seconds < 0.0095:
        return f"{seconds * 1000:.1f} ms"
    if seconds < 0.9995:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    minutes, second = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {second:02} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02} min" if hours < 48 else f"{hours // 24} days {hours % 24} h"


def seconds_between(began: str, ended: str) -> float:
    """The seconds between two time stamps of the event log; 0 where one is missing."""
    if not (began and ended):
        return 0.0
    return (datetime.fromisoformat(ended) - datetime.fromisoformat(began)).total_seconds()


def local_time(stamp: str) -> datetime | None:
    """A UTC time stamp as the local time of the reader; None for what is none."""
    try:
        return datetime.fromisoformat(stamp).astimezone()
    except (ValueError, OverflowError):
        return None
