"""An executor over a library of one-node modules, for the tests of executors and workers."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from octo_step_executors import Executor, HookCall, HookResult, make_executor
from octo_step_hooks import LibrarySource
from octo_step_output import StepOutput

DEADLINE_S = 30

needs_groups = pytest.mark.skipif(not hasattr(os, "killpg"), reason="needs process groups")


class Bench:
    """One executor over a library of one-node modules, and what it showed."""

    def __init__(self, kind: str, library: Path, directory: Path, workers: int | None) -> None:
        self.directory = directory
        self.shown: list[tuple[str, bytes]] = []
        nodes = [path.stem.removeprefix("step_node_") for path in library.glob("step_node_*.py")]
        source = LibrarySource(
            library, {f"step_node_{node}": f"step_node_{node}" for node in nodes}
        )
        self.output = StepOutput(directory, lambda node, data: self.shown.append((node, data)))
        self.executor: Executor = make_executor(kind, source, directory, workers, self.output)

    def submit(self, node: str, hook: str, timeout_s: float | None = None) -> None:
        self.executor.submit(HookCall(f"step_node_{node}", hook, timeout_s))

    def wait(self, count: int = 1) -> list[HookResult]:
        """So many results, in the order of the nodes' names."""
        results: list[HookResult] = []
        deadline = time.monotonic() + DEADLINE_S
        while len(results) < count:
            assert time.monotonic() < deadline, f"only {results} came back"
            results += self.executor.wait(1)
        assert len(results) == count
        return sorted(results, key=lambda result: result.node)

    def call(self, node: str, hook: str, timeout_s: float | None = None) -> HookResult:
        self.submit(node, hook, timeout_s)
        return self.wait()[0]

    def printed(self, node: str | None = None) -> bytes:
        return b"".join(data for name, data in self.shown if node in (None, name))

    def log(self, node: str) -> bytes:
        return (self.directory / "logs" / f"{node}.log").read_bytes()

    def close(self) -> list[str]:
        left_behind = self.executor.close()
        self.output.close()
        return left_behind


MakeBench = Callable[..., Bench]


HEAD = """
import io, json, os, signal, subprocess, sys, threading, time
from pathlib import Path
"""
INIT = """
def __init__(self, name, verbose_flag=False):
    self.count = 0
"""


def node_module(node: str, body: str) -> str:
    """The text of a module with one node, whose class has this body."""
    lines = [f"    {line}" for line in body.strip("\n").splitlines()]
    return "\n".join([HEAD, f"class step_node_{node}:", *lines])


def runs(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def until(condition: Callable[[], bool]) -> None:
    """Waits for the condition."""
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def returning(expression: str, hook: str = "step_execute") -> str:
    return f"{INIT}\ndef {hook}(self):\n    return {expression}\n"


def doing(*statements: str, hook: str = "step_execute") -> str:
    return "\n".join([INIT, f"def {hook}(self):", *(f"    {line}" for line in statements)])
