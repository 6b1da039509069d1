"""Shows a run while it goes on: what hooks print, and what the engine does between them.

    PlainView   a line for each node that is done, fails or is tried again; for pipes and log files
    LiveView    the same, above a display of what is active; for a terminal, needs `rich`
    QuietView   what hooks print, and what goes wrong
    JsonView    the events as JSON lines on stdout, what hooks print on stderr

Rules that hold here:

- What hooks print is passed on byte by byte, as it comes. The live display steps aside for it, and
  waits while a line is unfinished: a prompt or a progress bar of a hook works as it does alone.
- Views write to duplicates of stdout and stderr, since the engine points the descriptors themselves
  at log files while a hook runs.
- `event` and `output` may be called from several threads, `notice` from a signal handler.
- A reader that has gone (`| head`) or a full disk silences a view; the run goes on. The latter is
  known to the stream, for whoever tells it when the run has ended.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from octo_errors import count
from octo_shown_text import duration_text, local_time, printable, seconds_between
from octo_step_history import event_text, way_text
from octo_step_status import ActiveNode, Status

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table

Event = dict[str, Any]
MARK = "==> "  # begins each line of the engine's own among what hooks print
TROUBLE = {
    "step_error",
    "interrupted",
    "jump_refused",
    "library_changed",
    "left_running",
    "log_mended",
}
QUIET = {"state", "join_wait", "run_start", "resume"}  # shown if verbose
REFRESH_S = 0.125
ROWS = 12  # of the live display
BAR_WIDTH = 24


class Stream:
    """A duplicate of a standard stream, that hooks can neither redirect nor close.

    Attributes:
        error: What kept it from being written, unless the reader had enough of it.
    """

    def __init__(self, descriptor: int) -> None:
        stream = sys.stdout if descriptor == 1 else sys.stderr
        self.encoding = getattr(stream, "encoding", None) or "utf-8"
        self.at_line_start = True
        self.error: OSError | None = None
        try:
            if stream is not None:
                stream.flush()
            self._fd = os.dup(descriptor)
        except (OSError, ValueError):  # started with a closed stream
            self._fd = -1

    def write(self, data: bytes) -> None:
        """Write all of it; nothing once that has failed."""
        if not data:
            return
        self.at_line_start = data.endswith(b"\n")
        while data and self._fd >= 0:
            try:
                data = data[os.write(self._fd, data) :]
            except BlockingIOError:  # whoever started us made the descriptor so
                time.sleep(0.01)
            except OSError as error:
                self.error = None if isinstance(error, BrokenPipeError) else error
                self.close()

    def encoded(self, text: str) -> bytes:
        """The text as a line in the stream's encoding."""
        return f"{text}\n".encode(self.encoding, "backslashreplace")

    @property
    def columns(self) -> int:
        """The width of the terminal, less one: some wrap a line that fills it."""
        try:
            width = os.get_terminal_size(self._fd).columns
        except OSError:
            width = 0
        return max(20, (width or 80) - 1)  # 0: nobody told the terminal

    def close(self) -> None:
        """Give the duplicate back."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


class PlainView:
    """A line for each node that is done, fails or is tried again.

    Args:
        verbose: A line for each event.
        descriptor: Where it shows the run: 1 (stdout), or 2 for a command that writes a document
            of its own to stdout.
    """

    def __init__(self, *, verbose: bool = False, descriptor: int = 1) -> None:
        self.out, self.err = Stream(descriptor), Stream(2)
        self.failed: dict[str, str] = {}  # node -> the state that failed, till it succeeds
        self.began = False
        self.steps = 0
        self._verbose = verbose
        self._started = time.monotonic()
        self._spent: dict[str, float] = {}
        self._first = ""  # when the engine began, as the log tells
        self._items_since: dict[str, str] = {}  # node -> when the list of its items was made
        self._skipped: set[str] = set()
        self._not_kept: dict[str, str] = {}  # node -> what its result is that JSON can't hold
        self._traceback = ""
        self._lock = threading.RLock()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        self.out.close()
        self.err.close()

    @property
    def elapsed(self) -> float:
        """Seconds since this command began."""
        return time.monotonic() - self._started

    def event(self, event: Event) -> None:
        """Show an event of the engine."""
        with self._lock:
            self._count(event)
            if self._is_shown(event):
                self.say(self._text(event), bad=_is_trouble(event))

    def output(self, node: str, data: bytes) -> None:
        """Pass on what a hook wrote."""
        with self._lock:
            self._write(data)

    def say(self, text: str, *, bad: bool = False) -> None:
        """A line of the engine's own, further ones indented below it."""
        with self._lock:
            newline = b"" if self.out.at_line_start else b"\n"
            self._write(newline + self.out.encoded(self._marked(text, bad)))

    def notice(self, text: str) -> None:
        """A line to stderr; takes no lock, so that a signal handler may call it."""
        self.err.write(self.err.encoded(f"\n{MARK}{text}"))

    def ending(self, text: str, *, bad: bool) -> None:
        """The last words about a run."""
        self.say(text, bad=bad)

    def _marked(self, text: str, bad: bool) -> str:
        return MARK + text.replace("\n", "\n" + " " * len(MARK))

    def _write(self, data: bytes) -> None:
        self.out.write(data)

    def _count(self, event: Event) -> None:
        kind, node, state = event.get("event"), event.get("node", ""), event.get("state", "")
        if kind == "state":
            if state == "ENTER":
                self._spent.pop(node, None)
                self._skipped.discard(node)
                self._not_kept.pop(node, None)
            if state in ("ENTER", self.failed.get(node)):
                self.failed.pop(node, None)
            if state == "EXECUTE" and event.get("skipped"):
                self._skipped.add(node)
            if "result_not_kept" in event:
                self._not_kept[node] = event["result_not_kept"]
            if state == "JUMP":
                self.steps += 1
        elif kind == "step_error":
            self.failed[node] = state
        elif kind in ("run_start", "resume"):
            self.began, self._first = True, event.get("ts", "")
        elif kind == "items":
            self._items_since[node] = event.get("ts", "")
        self._spend(node, event)

    def _spend(self, node: str, event: Event) -> None:
        """Count the time of a hook, or from the list of a node's items to the end of the last."""
        seconds = event.get("duration_s", 0.0)
        is_over = event.get("event") == "step_error" or event.get("state") == "EXECUTE"
        if "items" in event and is_over:
            since = self._items_since.pop(node, self._first)  # before that, it was another engine's
            seconds += seconds_between(since, event.get("ts", ""))
        if seconds:
            self._spent[node] = self._spent.get(node, 0.0) + seconds

    def _is_shown(self, event: Event) -> bool:
        """Does the event make a line? Asked first, since most don't."""
        kind = event.get("event")
        if kind in ("pause", "run_end"):
            return False  # told by `ending`
        is_quiet = kind in QUIET and not (event.get("state") == "JUMP" or event.get("crashed"))
        return self._verbose or not is_quiet

    def _text(self, event: Event) -> str:
        kind, node, state = event.get("event"), event.get("node", ""), event.get("state", "")
        if kind == "state" and state == "JUMP" and not self._verbose:
            way = f" {way_text(event)}" if "arrow" in event else ""
            if node in self._not_kept:
                way += f"; its result is not kept: {self._not_kept[node]}"
            return f"{node}: {self._how(node)}, {duration_text(self._spent.get(node, 0.0))}{way}"
        place = ": ".join(filter(None, (f"{node} {state}".strip(), event_text(event))))
        return "\n".join([place, *self._details(event)])

    def _how(self, node: str) -> str:
        """How it went, at the time when the node is left."""
        return "failed" if node in self.failed else "skipped" if node in self._skipped else "done"

    def _details(self, event: Event) -> list[str]:
        """The traceback, or else what the error says below its first line, unless it was just
        shown; processes that a time-out left.
        """
        below = str(event.get("error", "")).partition("\n")[2]
        traceback = str(event.get("traceback", "") or below).rstrip()
        shown = [] if traceback == self._traceback else traceback.splitlines()
        self._traceback = traceback or self._traceback
        return [printable(line) for line in [*shown, *map(str, event.get("survivors", []))]]


class QuietView(PlainView):
    """What hooks print, and on stderr what goes wrong."""

    def _is_shown(self, event: Event) -> bool:
        return _is_trouble(event)

    def say(self, text: str, *, bad: bool = False) -> None:  # noqa: D102
        if bad:
            with self._lock:
                self.err.write(self.err.encoded(self._marked(text, bad)))


class JsonView(PlainView):
    """The events as JSON lines on stdout; what hooks print, and nothing else, on stderr."""

    def event(self, event: Event) -> None:  # noqa: D102
        import json

        with self._lock:
            self._count(event)
            line = json.dumps(event, ensure_ascii=False, separators=(",", ":"))
            self.out.write(line.encode() + b"\n")

    def output(self, node: str, data: bytes) -> None:  # noqa: D102
        with self._lock:
            self.err.write(data)

    def say(self, text: str, *, bad: bool = False) -> None:
        """Not for machines."""


class LiveView(PlainView):
    """Plain lines above a display of what is active, for how long, and how much is done.

    Args:
        active: What is active now; asked several times a second, in a thread of the view's own.
        progress: How many nodes of how many are done, where that can be told: shown as a bar.
        verbose: A line for each event.
        descriptor: Where the display is: a terminal.
    """

    def __init__(
        self,
        active: Callable[[], list[ActiveNode]],
        *,
        progress: Callable[[], tuple[int, int]] | None = None,
        verbose: bool = False,
        descriptor: int = 1,
    ) -> None:
        super().__init__(verbose=verbose, descriptor=descriptor)
        self._active = active
        self._progress = progress
        self._area = Area(self.out)
        self._notice = ""
        self._since: dict[str, float] = {}  # node -> when its present state began
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._refresh, name="octo-display", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        self._end_display()
        super().__exit__(kind, error, _)

    def notice(self, text: str) -> None:  # noqa: D102
        self._notice = text
        if not self._area.is_shown:
            super().notice(text)

    def ending(self, text: str, *, bad: bool) -> None:  # noqa: D102
        self._end_display()
        super().ending(text, bad=bad)

    def _count(self, event: Event) -> None:
        super()._count(event)
        if event.get("state") == "JUMP":
            self._since.pop(event.get("node", ""), None)  # it may come again, from itself even
        elif event.get("event") in ("state", "step_error"):
            self._since[event.get("node", "")] = time.monotonic()

    def _end_display(self) -> None:
        self._ended.set()
        if self._thread.is_alive():
            self._thread.join()
        with self._lock:
            self._area.clear()

    def _marked(self, text: str, bad: bool) -> str:
        plain = super()._marked(text, bad)
        if os.environ.get("NO_COLOR"):
            return plain
        return f"\x1b[{31 if bad else 32}m{MARK}\x1b[0m{plain[len(MARK) :]}"

    def _write(self, data: bytes) -> None:
        self._area.write_above(data)

    def _refresh(self) -> None:
        while not self._ended.wait(REFRESH_S):
            try:
                active = self._active()
            except Exception:  # the file is being repaired, say: the display can wait
                continue
            table = self._table(active)
            with self._lock:
                if not self._ended.is_set():
                    self._area.draw(table)

    def _table(self, active: list[ActiveNode]) -> Table:
        from rich.table import Table
        from rich.text import Text

        now = time.monotonic()
        spinner = "|/-\\"[int(now / REFRESH_S) % 4]
        rows = Table.grid(padding=(0, 2))
        for each in active[:ROWS]:
            due = local_time(each.retry_due)
            waiting = f"{now - self._since.setdefault(each.node, now):.1f} s"
            cells: list[RenderableType] = [
                spinner,
                Text(each.node, "bold"),
                each.state,
                f"attempt {each.attempt}" if each.attempt > 1 else "",
                f"due at {due:%H:%M:%S}" if due else waiting,
            ]
            rows.add_row(*cells)
        whole = Table.grid()
        whole.add_row(rows)
        whole.add_row(self._bottom(len(active)))
        return whole

    def _bottom(self, active: int) -> Table:
        """The last line: a bar where it is known how many nodes there are, and figures."""
        from rich.progress_bar import ProgressBar
        from rich.table import Table
        from rich.text import Text

        facts = [f"... and {active - ROWS} more active"] if active > ROWS else []
        cells: list[RenderableType] = []
        if self._progress is None:
            facts.append(f"{count(self.steps, 'step')} done")
        else:
            done, total = self._progress()
            cells.append(ProgressBar(max(1, total), done, width=BAR_WIDTH))
            facts.append(f"{done} of {count(total, 'step')} done")
        facts.append(f"{self.elapsed:.1f} s")
        facts += [f"{len(self.failed)} failing"] if self.failed else []
        cells.append(Text(", ".join(facts) + f"  {self._notice}", "dim", overflow="ellipsis"))
        line = Table.grid(padding=(0, 2))
        for _ in cells:
            line.add_column(no_wrap=True)
        line.add_row(*cells)
        return line


class Area:
    """The lowest lines of a terminal, redrawn in place; what is written goes above them.

    Shows nothing while the line above it is unfinished.
    """

    def __init__(self, out: Stream) -> None:
        self._out = out
        self._drawn = b""  # as it would be drawn
        self._height = 0  # lines on the screen now

    @property
    def is_shown(self) -> bool:
        """Is it on the screen at present?"""
        return self._height > 0

    def draw(self, renderable: RenderableType) -> None:
        """Show something that `rich` can render in place of what was shown."""
        from rich.console import Console

        console = Console(width=self._out.columns, force_terminal=True, highlight=False)
        with console.capture() as capture:
            console.print(renderable, no_wrap=True, overflow="ellipsis", markup=False)
        self._drawn = capture.get().encode(self._out.encoding, "replace")
        self.write_above(b"")

    def clear(self) -> None:
        """Take it away."""
        self._drawn = b""
        self.write_above(b"")

    def write_above(self, data: bytes) -> None:
        """Write above the area, and draw it again below where a line has ended."""
        erase = b"\r\x1b[%dA\x1b[J" % self._height if self._height else b""
        at_line_start = data.endswith(b"\n") if data else self._out.at_line_start
        area = self._drawn if at_line_start else b""
        self._height = area.count(b"\n")
        if erase or data or area:
            self._out.write(erase + data + area)
        self._out.at_line_start = at_line_start


def show_status(statuses: Iterable[Status | None], lines: Callable[[Status], list[str]]) -> None:
    """Keep `lines` of the latest status up to date on a terminal; None: there is no newer one."""
    from rich.text import Text

    out = Stream(1)
    area = Area(out)
    latest: list[str] = []
    try:
        for status in statuses:
            latest = lines(status) if status else latest
            area.draw(Text("\n".join(latest)))
    finally:
        area.clear()
        out.write(out.encoded("\n".join(latest)))
        out.close()


def _is_trouble(event: Event) -> bool:
    return event.get("event") in TROUBLE or (event.get("event") == "make_safe" and "error" in event)


def is_foreground(descriptor: int) -> bool:
    """Can a display be kept up to date there: a terminal, and we are in its foreground?"""
    if not os.isatty(descriptor) or os.environ.get("TERM") == "dumb":
        return False
    try:
        return not hasattr(os, "tcgetpgrp") or os.tcgetpgrp(descriptor) == os.getpgrp()
    except OSError:  # a terminal, but not ours
        return False


def has_rich() -> bool:
    """Is the package `rich` (extra `progress`) installed?"""
    from importlib.util import find_spec

    return find_spec("rich") is not None
