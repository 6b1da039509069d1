"""The results for people: a head that says what was measured where, then one line a peer."""

from __future__ import annotations

from collections.abc import Iterator

from bench.harness import Row

SCALES = {"s": ((1.0, "s"), (1e-3, "ms"), (1e-6, "us")), "bytes": ((2.0**20, "MiB"), (1, "bytes"))}


def head(facts: dict[str, str]) -> str:
    """The machine and the versions, and how to read the columns."""
    told = "\n".join(f"{name + ':':10}{text}" for name, text in facts.items())
    columns = _line("against", "ours", "theirs", "ratio", "target", "")
    return f"{told}\n\n{columns}\n(figures: one operation, medians; ratio: ours / theirs)"


def lines(rows: list[Row]) -> Iterator[str]:
    """The lines of one benchmark."""
    yield f"\n{rows[0].benchmark}: {rows[0].subject}"
    for row in rows:
        verdict = {True: "reached", False: "MISSED", None: ""}[row.reached]
        if row.peer:
            ratio = "" if row.ratio is None else f"{row.ratio:.2f}"
            target = "" if row.target is None else f"<= {row.target:.2f}"
        else:
            ratio = ""
            target = "" if row.target is None else f"<= {amount(row.target, row.unit)}"
        theirs = amount(row.theirs, row.unit)
        name = row.peer or "a limit"
        yield _line(name, amount(row.ours, row.unit), theirs, ratio, target, row.problem or verdict)


def amount(value: float | None, unit: str) -> str:
    """A figure with three digits and the unit that suits it."""
    if value is None:
        return ""
    for scale, name in SCALES[unit]:
        if value >= scale:
            return f"{value / scale:.3g} {name}" if value < 1000 * scale else f"{value:.0f} {name}"
    scale, name = SCALES[unit][-1]
    return f"{value / scale:.2g} {name}"


def _line(peer: str, ours: str, theirs: str, ratio: str, target: str, verdict: str) -> str:
    text = f"  {peer:44} {ours:>9} {theirs:>9} {ratio:>7} {target:>10}  {verdict}"
    return text.rstrip()
