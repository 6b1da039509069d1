"""The commands that look and change nothing: `status`, `history`, `graph`, `doctor`.

`status` is asked often and starts fast: what only the others need is imported inside them.
"""

from __future__ import annotations

import sys
from argparse import Namespace
from pathlib import Path

from octo_instance_dir import InstanceDir
from octo_step_status import (
    Status,
    read_status,
    status_line,
    status_lines,
    watch_status,
)
from octo_typed_commands import launcher_command


def status(arguments: Namespace) -> int:
    """Where an instance stands; with --watch, until no engine runs it."""
    instance = InstanceDir(arguments.instance)
    if arguments.watch:
        return _watch(instance, as_json=arguments.json)
    found = read_status(instance)
    if arguments.json:
        text = _json_line(found)
    else:
        text = "\n".join(status_lines(found, launcher_command(instance.path)))
    sys.stdout.write(f"{text}\n")
    return 0


def _watch(instance: InstanceDir, *, as_json: bool) -> int:
    from octo_step_console import has_rich, is_foreground, show_status

    launcher = launcher_command(instance.path)
    if not as_json and is_foreground(1) and has_rich():
        show_status(watch_status(instance), lambda found: status_lines(found, launcher))
        return 0
    for found in filter(None, watch_status(instance)):
        sys.stdout.write(f"{_json_line(found) if as_json else status_line(found)}\n")
        sys.stdout.flush()
    return 0


def _json_line(found: Status) -> str:
    import json

    return json.dumps(found.as_dict(), ensure_ascii=False)


def history(arguments: Namespace) -> int:
    """The events in the log."""
    import json

    from octo_step_events import read_events
    from octo_step_history import history_line

    instance = InstanceDir(arguments.instance)
    for event in read_events(instance.path, last=arguments.last):
        line = json.dumps(event, ensure_ascii=False) if arguments.json else history_line(event)
        sys.stdout.write(f"{line}\n")
    return 0


def graph(arguments: Namespace) -> int:
    """The graph, with the states of the run."""
    from octo_graph_steps import Progress, draw, file_suffix, write_graph
    from octo_step_events import read_events
    from octo_step_history import fates, marks
    from octo_step_program import load_program

    instance = InstanceDir(arguments.instance)
    found = read_status(instance)
    steps = load_program(instance).graph
    current = {each.node: each.state for each in found.active}
    progress = Progress(current, marks(found, fates(read_events(instance.path))))
    title = f"{instance.path.name}: {found.condition.replace('_', ' ')}"
    form = arguments.format or ""
    if arguments.output == "-":
        sys.stdout.buffer.write(draw(steps, form or "svg", progress, title=title))
        return 0
    name = f"{instance.path.name}.{file_suffix(form or 'svg')}"
    file = Path(arguments.output or instance.path / name)
    write_graph(file, steps, progress, format=form, title=title)
    sys.stdout.write(f"drawn: {file}\n")
    return 0


def doctor(arguments: Namespace) -> int:
    """What a directory can do, who is at work there, and whether its state is sound."""
    import json

    from octo_doctor import examine, report_lines

    report = examine(Path(arguments.instance))
    if arguments.json:
        sys.stdout.write(json.dumps(report.as_dict(), ensure_ascii=False) + "\n")
    else:
        sys.stdout.writelines(f"{line}\n" for line in report_lines(report))
    return 1 if report.wrong else 0
