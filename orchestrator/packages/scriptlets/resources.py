"""What a step used: time, processor time, memory."""

from __future__ import annotations

import sys
import time
from typing import Any

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]

MAXRSS_UNIT = 1 if sys.platform == "darwin" else 1024
"""Of `ru_maxrss`, in bytes."""


class Usage:
    """Counts from when it is made.

    Args:
        own_process: The step has this process for itself: then the processor time of all threads
            and of the child processes that have ended counts, else that of the calling thread.
    """

    __slots__ = ("_cpu", "_own_process", "_wall")

    def __init__(self, own_process: bool = False) -> None:
        self._own_process = own_process
        self._cpu = _processor_time(own_process)
        self._wall = time.perf_counter()

    def facts(self) -> dict[str, Any]:
        """What was used until now.

        `wall_s` and `cpu_s` are seconds. `peak_memory_bytes` is the most that this process ever
        had in memory at once (with a process of its own: or one of its children), so of steps that
        run in one process only a first large one shows.
        """
        wall = time.perf_counter() - self._wall
        cpu = _processor_time(self._own_process) - self._cpu
        return {
            "wall_s": round(wall, 6),
            "cpu_s": round(cpu, 6),
            "peak_memory_bytes": _peak_memory(self._own_process),
        }


def _processor_time(own_process: bool) -> float:
    if not own_process:
        return time.thread_time()
    if resource is None:
        return time.process_time()
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


def _peak_memory(own_process: bool) -> int:
    if resource is None:
        import psutil

        memory = psutil.Process().memory_info()
        return int(getattr(memory, "peak_wset", memory.rss))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    if own_process:
        peak = max(peak, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
    return peak * MAXRSS_UNIT
