"""A Python program with steps: `python program.py INSTANCE`."""

from __future__ import annotations

import sys

from tasks import work  # type: ignore[import-not-found]  # it is beside this file

from scriptlets.framework import ExecutionContext

if __name__ == "__main__":
    with ExecutionContext(sys.argv[1]) as run:
        first = run.add("first", work, {"word": "first"})
        run.add("middle", work, {"word": "middle"}, depends_on=[first], retries=1)
        run.add("last", work, {"word": "last"}, depends_on=["middle"])
        run.execute()
