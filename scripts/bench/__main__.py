"""Measures the project beside its peers; the figures are ratios to the peer in the same run.

pip install '.[bench]'                         the peers; those not installed are skipped
python scripts/bench                           everything, here and on /dev/shm
python scripts/bench --only 'update*' --rounds 9
"""

from __future__ import annotations

import argparse
import fnmatch
import json
import os
import sys
from dataclasses import asdict
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]
sys.path[0] = str(PROJECT / "scripts")  # for `bench`, the package that this file is part of
sys.path[1:1] = [str(PROJECT / each) for each in ("modules", "orchestrator/packages", ".")]

from bench import harness  # noqa: E402

SHARED_MEMORY = Path("/dev/shm")


def get_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python scripts/bench",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--only", metavar="PATTERN", default="*", help="names, such as 'update*'")
    parser.add_argument("--list", action="store_true", help="show the names, and measure nothing")
    parser.add_argument("--rounds", type=int, default=5, help="rounds for each (default: 5)")
    parser.add_argument("--json", metavar="FILE", type=Path, help="write the results as JSON lines")
    parser.add_argument(
        "--directory",
        action="append",
        metavar="DIR",
        type=Path,
        help="a directory to measure in, may be repeated (default: here and /dev/shm)",
    )
    parser.add_argument(
        "--workflow",
        metavar="FILE",
        type=Path,
        help="a workflow in WfFormat for recipe-makespan, in place of a generated one",
    )
    parser.add_argument("--measure", nargs=3, metavar="ARG", help=argparse.SUPPRESS)
    return parser


def main() -> int:
    """Return 0 if all targets are met, 1 if some are missed, 2 if something failed."""
    arguments = get_parser().parse_args()
    if arguments.measure:
        function, directory, size = arguments.measure
        print("\n" + json.dumps({"figure": harness.perform(function, Path(directory), int(size))}))
        return 0

    from bench.benchmarks import BENCHMARKS
    from bench.machine import facts
    from bench.report import head, lines
    from bench.task_graphs import WORKFLOW_VARIABLE
    from octo_directory_trials import file_system_of

    if arguments.workflow:
        os.environ[WORKFLOW_VARIABLE] = str(arguments.workflow.resolve())
    chosen = [one for one in BENCHMARKS if fnmatch.fnmatch(one.name, arguments.only)]
    if arguments.list:
        print("\n".join(one.name for one in chosen))
        return 0
    described = facts()
    print(head(described), flush=True)
    shared = [SHARED_MEMORY] if SHARED_MEMORY.is_dir() else []
    rows: list[harness.Row] = []
    for given in arguments.directory or [Path.cwd(), *shared]:
        directory = given.resolve()
        kind = file_system_of(directory).type or "?"
        print(f"\non {kind} ({directory}):", flush=True)
        for benchmark in chosen:
            series = list(harness.measure(benchmark, directory, arguments.rounds))
            new = harness.compare(benchmark, series, kind)
            print("\n".join(lines(new)), flush=True)
            rows += new
    if arguments.json:
        records = [described, *(asdict(row) | {"reached": row.reached} for row in rows)]
        arguments.json.write_text("".join(json.dumps(record) + "\n" for record in records))
    if any(row.problem.startswith("failed") for row in rows):
        return 2
    return 1 if any(row.reached is False for row in rows) else 0


if __name__ == "__main__":
    sys.exit(main())
