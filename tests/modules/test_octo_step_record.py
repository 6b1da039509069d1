"""Values of the engine's record: those it writes are read again, and others are named."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from octo_errors import InstanceError
from octo_step_record import bits_in, group_in, moment_in, moment_text, names_in, value_in

YEAR_9999_S = 253_370_764_800.0


@given(st.integers(0, 2**80))
def test_bits_make_a_round_trip(bits: int) -> None:
    assert bits_in({"done": hex(bits)}, "run", "done") == bits


@given(st.floats(0, YEAR_9999_S))
def test_moments_make_a_round_trip_to_the_microsecond(moment: float) -> None:
    found = moment_in({"due": moment_text(moment)}, "token", "due")
    assert found == pytest.approx(moment, abs=2e-4)


def test_what_is_not_there_has_its_usual_value() -> None:
    assert value_in({}, "run", "count", 0) == 0
    assert group_in({}, "active") == {}
    assert names_in({}, "run", "armed") == []
    assert bits_in({}, "run", "done") == 0
    assert moment_in({}, "token", "due") is None


@pytest.mark.parametrize(
    ("read", "value"),
    [
        (lambda group: value_in(group, "run", "key", 0), True),
        (lambda group: value_in(group, "run", "key", False), 1),
        (lambda group: names_in(group, "run", "key"), ["a", 5]),
        (lambda group: names_in(group, "run", "key"), "a"),
        (lambda group: bits_in(group, "run", "key"), "0xg"),
        (lambda group: bits_in(group, "run", "key"), "-0x1"),
        (lambda group: moment_in(group, "run", "key"), "yesterday"),
        (lambda group: moment_in(group, "run", "key"), "9999-12-31T23:59:59-14:00"),
    ],
)
def test_what_the_engine_can_not_have_written_is_named(
    read: Callable[[dict[str, Any]], Any], value: Any
) -> None:
    with pytest.raises(InstanceError, match=r"run\.key: .* is not what the engine writes") as told:
        read({"key": value})
    assert "reset" in str(told.value.hint)
