"""The worker process: calls hooks, one at a time, as the engine asks it to.

    python octo_step_worker.py ENGINE_PID

Requests come as JSON lines on standard input, replies leave as JSON lines on standard output, both
duplicated to descriptors that hooks don't know; a hook's standard input is empty. The first line
describes where nodes come from (see `NodeSource.description`), then there are

    {"node": ..., "hook": ..., "directory": ..., "logs": [...], "timed": bool}    call this hook
    null                                                                          end

    {"ready": true}       once, when requests are read
    {"started": true}     the hook of a timed request begins
    {"result": {...}}     the fields of a `HookResult`

SIGTERM raises SystemExit in the hook, so that its `finally` blocks run. When the engine is gone
(its end of the pipe closed, or another parent) the process group is killed at once.
"""

from __future__ import annotations

import json
import os
import select
import signal
import sys
import threading
from types import FrameType
from typing import Any, BinaryIO, Final

from octo_step_hooks import HookResult, NodeObjects, source_from
from octo_step_output import OPEN_LOG, Redirection
from octo_step_processes import kill_own_group, wait_for_end

_LOOK_EVERY_MS: Final = 1000

_terminated = threading.Event()


def main() -> None:
    """Serves requests until told to end."""
    engine = sys.argv[1]
    requests, replies = _take_pipes()
    threading.Thread(
        target=_watch_engine, args=(requests.fileno(), int(engine)), daemon=True
    ).start()
    signal.signal(signal.SIGTERM, _on_sigterm)
    redirection = Redirection()
    objects = NodeObjects(source_from(json.loads(requests.readline() or "null")).make)
    _reply(replies, {"ready": True})
    for line in requests:
        request = json.loads(line)
        if request is None:
            break
        result = _serve(request, objects, redirection, replies)
        if _terminated.is_set():
            break
        _reply(replies, {"result": {name: getattr(result, name) for name in HookResult.__slots__}})


def _serve(
    request: dict[str, Any],
    objects: NodeObjects,
    redirection: Redirection,
    replies: int,
) -> HookResult:
    """Calls the hook that a request asks for."""
    node, hook = request["node"], request["hook"]
    try:
        os.chdir(request["directory"])
        log = _open_first(request["logs"])
    except OSError as exc:
        return HookResult(node, hook, error=f"{hook} can't be called: {exc}")
    redirection.begin(log)
    os.close(log)
    try:
        return objects.perform(
            node, hook, (lambda: _reply(replies, {"started": True})) if request["timed"] else None
        )
    finally:
        redirection.end()


def _take_pipes() -> tuple[BinaryIO, int]:
    """Takes the pipes away from descriptors 0 and 1: input becomes empty, output goes to stderr."""
    requests, replies = os.fdopen(os.dup(0), "rb"), os.dup(1)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    os.dup2(2, 1)
    return requests, replies


def _reply(replies: int, message: dict[str, Any]) -> None:
    data = json.dumps(message).encode() + b"\n"
    while data:
        data = data[os.write(replies, data) :]


def _open_first(paths: list[str]) -> int:
    """Opens the log; it may get its final name, the last in the list, at any moment."""
    for path in paths[:-1]:
        try:
            return os.open(path, OPEN_LOG)
        except FileNotFoundError:
            continue
    return os.open(paths[-1], OPEN_LOG)


def _on_sigterm(number: int, frame: FrameType | None) -> None:
    _terminated.set()
    raise SystemExit(128 + number)


def _watch_engine(requests: int, engine: int) -> None:
    """Kills this process and its group when the engine is gone; runs in a thread of its own."""
    if hasattr(select, "poll"):
        poll = select.poll()
        poll.register(requests, 0)  # tells of the other end's closing only, and reads nothing
        # The engine's end may live on in a process that a hook forked: hence the second look.
        while os.getppid() == engine and not poll.poll(_LOOK_EVERY_MS):
            pass
    else:
        wait_for_end(engine)
    try:
        kill_own_group()
    finally:
        os._exit(1)


if __name__ == "__main__":
    main()
