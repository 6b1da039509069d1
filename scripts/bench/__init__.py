"""The benchmark: what the project costs, beside its peers, in one run on one machine.

`python scripts/bench --help` tells how it is started; docs/performance.md shows a run.
"""
