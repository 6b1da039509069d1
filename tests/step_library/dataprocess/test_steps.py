from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.step_library.conftest import Bench

BRANCHES = ("statistics", "hourly", "outliers")
HEADER = "time,sensor,celsius\n"


@pytest.fixture
def bench(make_bench: Callable[[str], Bench]) -> Bench:
    return make_bench("dataprocess")


def give(bench: Bench, text: str) -> None:
    """Make `text` the input file."""
    Path("input.csv").write_text(text, encoding="utf-8")
    bench.set("step_node_validate", input_file="input.csv", max_rejected_percent=100)


def table(name: str) -> list[dict[str, str]]:
    with Path(name).open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_the_shipped_data_give_the_figures_that_the_readme_tells(bench: Bench) -> None:
    for step in ("validate", *BRANCHES, "report"):
        assert bench.hook(step) == 0
    validated = bench.group("step_node_validate")
    assert (validated["rows_accepted"], validated["rows_rejected"]) == (232, 8)
    assert bench.group("step_node_statistics")["sensors"] == 5
    assert bench.group("step_node_hourly")["hours"] == 24
    assert bench.group("step_node_outliers")["outliers"] == 4


def test_validate_sends_the_good_rows_on_all_three_branches(bench: Bench) -> None:
    arrows = bench.nodes["step_node_validate"].arrow_dict
    assert bench.hook("validate", "step_advance") == list(arrows) == list(BRANCHES)


@pytest.mark.parametrize(
    "row, reason",
    [
        ("2025-01-01T00:00,a", "2 columns instead of 3"),
        ("2025-01-01T00:00,a,1,2", "4 columns instead of 3"),
        ("2025-01-01T00:00,,1", "no sensor"),
        ("2025-01-01T00:00,a,", "'' is no temperature"),
        ("2025-01-01T00:00,a,n/a", "'n/a' is no temperature"),
        ("2025-01-01T00:00,a,nan", "out of range"),
        ("2025-01-01T00:00,a,-999", "out of range"),
        ("yesterday,a,1", "yesterday"),
    ],
)
def test_a_bad_row_goes_to_the_rejects_with_line_and_reason(
    bench: Bench, row: str, reason: str
) -> None:
    give(bench, f"{HEADER}2025-01-01T00:00,a,1\n{row}\n")
    bench.hook("validate")
    (reject,) = table("rejects.csv")
    assert (reject["line"], reject["row"]) == ("3", row)
    assert reason in reject["reason"]
    assert len(table("accepted.csv")) == 1


def test_a_missing_input_file_is_named_with_the_command_that_chooses_another(bench: Bench) -> None:
    bench.set("step_node_validate", input_file="/no/such/file.csv")
    with pytest.raises(FileNotFoundError, match=r"/no/such/file\.csv.*\n?.*input_file FILE"):
        bench.hook("validate")
    assert not Path("accepted.csv").exists()


@pytest.mark.parametrize("text", ["", "a,b\n1,2\n"])
def test_a_file_without_the_right_header_is_refused(bench: Bench, text: str) -> None:
    give(bench, text)
    with pytest.raises(ValueError, match="the first line must be"):
        bench.hook("validate")


def test_too_many_bad_rows_fail_the_step_and_the_rejects_can_be_looked_at(bench: Bench) -> None:
    give(bench, HEADER + "2025-01-01T00:00,a,1\n" + "bad\n" * 3)
    bench.set("step_node_validate", max_rejected_percent=74)
    with pytest.raises(ValueError, match=r"75\.0% of the rows were rejected: see rejects"):
        bench.hook("validate")
    assert len(table("rejects.csv")) == 3


def test_a_file_without_good_rows_fails_the_step(bench: Bench) -> None:
    give(bench, HEADER)
    with pytest.raises(ValueError, match="no row was accepted"):
        bench.hook("validate")


def test_a_file_saved_by_a_spreadsheet_with_a_byte_order_mark_is_read(bench: Bench) -> None:
    give(bench, "\ufeff" + HEADER + "2025-01-01T00:00,a,1\n")
    bench.hook("validate")
    assert len(table("accepted.csv")) == 1


ROWS = """time,sensor,celsius
2025-01-01T00:10,a,1
2025-01-01T00:50,a,3
2025-01-01T01:10,a,5
2025-01-01T00:30,b,7
"""


def test_statistics_sum_up_each_sensor(bench: Bench) -> None:
    give(bench, ROWS)
    bench.hook("validate")
    bench.hook("statistics")
    assert [list(row.values()) for row in table("statistics.csv")] == [
        ["a", "3", "3.00", "1.0", "5.0", "1.63"],
        ["b", "1", "7.00", "7.0", "7.0", "0.00"],
    ]


def test_hourly_means_have_a_gap_where_a_sensor_was_silent(bench: Bench) -> None:
    give(bench, ROWS)
    bench.hook("validate")
    bench.hook("hourly")
    assert table("hourly.csv") == [
        {"hour": "2025-01-01T00", "a": "2.00", "b": "7.00"},
        {"hour": "2025-01-01T01", "a": "5.00", "b": ""},
    ]


def test_a_reading_far_from_its_sensors_median_is_an_outlier(bench: Bench) -> None:
    rows = "".join(f"2025-01-01T00:{i:02},a,{20 + i % 3}\n" for i in range(20))
    give(bench, f"{HEADER}{rows}2025-01-01T01:00,a,40\n2025-01-01T01:00,b,99\n")
    bench.hook("validate")
    bench.hook("outliers")
    assert [(row["sensor"], row["celsius"]) for row in table("outliers.csv")] == [("a", "40")]
    bench.set("step_node_outliers", threshold=1000)
    bench.hook("outliers")
    assert table("outliers.csv") == []


def test_the_report_holds_all_tables_and_harmless_markdown(bench: Bench) -> None:
    give(bench, ROWS + "2025-01-01T00:10,x|y,4\nbad\n")
    for step in ("validate", *BRANCHES, "report"):
        bench.hook(step)
    report = Path("report.md").read_text()
    assert "5 rows accepted, 1 rejected" in report
    assert "| a | 3 | 3.00 | 1.0 | 5.0 | 1.63 |" in report
    assert r"| x\|y | 1 |" in report
    assert "| 7 | 1 columns instead of 3 | bad |" in report
    assert "## Hard to believe\n\nNone." in report


def test_every_step_may_be_repeated_and_leaves_the_same_files(bench: Bench) -> None:
    def contents() -> dict[str, str]:
        return {path.name: path.read_text() for path in Path().glob("[a-z]*.*")}

    for step in ("validate", *BRANCHES, "report"):
        bench.hook(step)
        once = contents()
        bench.hook(step)
        assert contents() == once


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50)
@given(st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\0"))))
def test_every_row_is_accepted_or_rejected_whatever_is_in_it(
    bench: Bench, lines: list[str]
) -> None:
    give(bench, HEADER + "2025-01-01T00:00,a,1\n" + "\n".join(lines))
    bench.hook("validate")
    for step in (*BRANCHES, "report"):
        bench.hook(step)
    validated = bench.group("step_node_validate")
    assert validated["rows_accepted"] == len(table("accepted.csv")) >= 1
    assert validated["rows_rejected"] == len(table("rejects.csv"))
