"""What the tests of the runner share: recipes in a few lines, runs as processes of their own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from octo_step_events import read_events
from tests.modules.engine_support import DEADLINE_S, stored, wait_for
from tests.support import PROJECT

RUNNER = PROJECT / "orchestrator" / "runner.py"
WORK = """\
import os, subprocess, sys, time

def note(word):
    '''Write down that a step was performed.'''
    log = os.open("log.txt", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(log, f"{word}\\n".encode())
    os.close(log)
    return word

def fail(word="it"):
    note(word)
    raise ValueError(f"{word} went wrong")

def hold(word):
    '''Be at work until there is a file that is called so.'''
    note(word)
    while not os.path.exists(f"{word}.go"):
        time.sleep(0.01)

def until(path, word):
    '''Fail until there is a file.'''
    note(word)
    if not os.path.exists(path):
        raise FileNotFoundError(path)

def count(context, times=1):
    for _ in range(times):
        context.increment("count")

def put(key, value, context):
    context.set(key, value)

def hang():
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    with open("child.pid", "w") as file:
        file.write(str(child.pid))
    child.wait()
"""
"""A module with what steps of tests do; each step that is performed is a line of log.txt."""


@dataclass(frozen=True)
class Place:
    """A working directory with recipes, and the runs in it."""

    path: Path

    def write(self, name: str, text: str) -> Path:
        file = self.path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(textwrap.dedent(text), encoding="utf-8")
        return file

    def recipe(self, *steps: str, head: str = "", name: str = "r") -> None:
        """Write `<name>.yaml`, with each step as what is between its braces."""
        lines = [f"  - {{{step}}}" for step in steps]
        above = textwrap.dedent(head).strip()
        text = "\n".join([*([above] if above else []), "steps:", *lines])
        self.write(f"{name}.yaml", f"{text}\n")

    def run(
        self, *words: object, env: dict[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run the runner as a user's shell would."""
        return subprocess.run(
            [sys.executable, str(RUNNER), *map(str, words)],
            cwd=self.path,
            env={**os.environ, **(env or {})},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            timeout=DEADLINE_S,
            check=False,
        )

    @contextmanager
    def running(self, *words: object) -> Iterator[subprocess.Popen[str]]:
        """The runner as a process that does not outlive the block; its words are in out.txt."""
        with (self.path / "out.txt").open("w") as out:
            process = subprocess.Popen(
                [sys.executable, str(RUNNER), *map(str, words)],
                cwd=self.path,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                text=True,
            )
        try:
            yield process
        finally:
            process.kill()
            process.wait()

    def killed_when(self, happened: Callable[[], object], *words: object) -> None:
        """Run, and kill the runner with -9 when something has happened."""
        with self.running(*words) as process:
            wait_for(happened, "what the kill waits for")
            process.kill()
            assert process.wait(DEADLINE_S) == -signal.SIGKILL

    def log(self) -> list[str]:
        """What steps have written down."""
        file = self.path / "log.txt"
        return file.read_text().split() if file.exists() else []

    def out(self) -> str:
        return (self.path / "out.txt").read_text()

    def go(self, *words: str) -> None:
        """Let steps that hold go on."""
        for word in words:
            (self.path / f"{word}.go").touch()

    def instance(self, name: str = "r") -> Path:
        return self.path / "step_instances" / name

    def parameters(self, name: str = "r") -> dict[str, Any]:
        return stored(self.instance(name))

    def events(self, *kinds: str, name: str = "r") -> list[dict[str, Any]]:
        return [each for each in read_events(self.instance(name)) if each["event"] in kinds]

    def performed(self, name: str = "r") -> list[str]:
        """The steps whose EXECUTE is done, in order."""
        found = self.events("state", name=name)
        return [each["node"] for each in found if each["state"] == "EXECUTE"]

    def files_with(self, text: str) -> list[str]:
        """The files of all instances that a text is in."""
        files = [each for each in (self.path / "step_instances").rglob("*") if each.is_file()]
        return [str(each) for each in files if text.encode() in each.read_bytes()]


def result_of(ended: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    """The one JSON object on stdout."""
    found: dict[str, Any] = json.loads(ended.stdout)
    return found


def is_alive(pid: int) -> bool:
    """Whether a process runs; one that only waits to be reaped doesn't."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def work(step: str, function: str, *args: object, more: str = "") -> str:
    """A step that calls something of WORK."""
    given = json.dumps([*args])
    extra = f", {more}" if more else ""
    return f"name: {step}, module: work, function: {function}, args: {given}{extra}"


def note(step: str, more: str = "") -> str:
    """A step that writes its name down."""
    return work(step, "note", step, more=more)
