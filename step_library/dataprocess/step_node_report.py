"""Waits for the three branches and brings their results together."""

from __future__ import annotations

from stepnode_baseclass import stepnode_baseclass

from .instance_files import read_table, replace_file


class step_node_report(stepnode_baseclass):
    """Writes `report.md` from the tables of the three branches."""

    step_node_graph_dict = {
        "step_node_report": {
            "module_name_string": "step_node_report",
            "node_step_name_string": "step_node_report",
            "dg_node_attr_dict": {"label": "report", "shape": "note", "fillcolor": "aliceblue"},
            "join_all_bool": 1,
        },
    }

    def step_execute(self) -> int:
        """Write the report; it is the same, however often it is written."""
        input_file = self.get("step_node_validate", "input_file")
        accepted = self.get("step_node_validate", "rows_accepted")
        rejected = self.get("step_node_validate", "rows_rejected")
        report = [
            "# Temperatures",
            f"Input: `{input_file}`, {accepted} rows accepted, {rejected} rejected.",
            "## Sensors",
            _markdown(read_table("statistics.csv")),
            "## Hard to believe",
            _markdown(read_table("outliers.csv")),
            "## Mean of each hour",
            _markdown(read_table("hourly.csv")),
            "## Rejected rows",
            _markdown(read_table("rejects.csv")),
        ]
        replace_file("report.md", "\n\n".join(report) + "\n")
        print("see report.md")
        return 0


def _markdown(rows: list[dict[str, str]]) -> str:
    """A table as Markdown."""
    if not rows:
        return "None."
    lines = [list(rows[0]), ["---"] * len(rows[0]), *(list(row.values()) for row in rows)]
    return "\n".join(
        "| " + " | ".join(cell.replace("|", r"\|") for cell in line) + " |" for line in lines
    )
