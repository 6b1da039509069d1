"""From a fresh clone to a finished run and its picture: `python3 scripts/quickstart.py`.

Sets up `.venv`, creates an instance of the library `bringup`, runs it and draws its graph. Started
again, it runs the same instance afresh; the engine archives what was there before. An instance from
the time before the project was moved is put aside.
"""

import argparse
import json
import os
import shlex
import sys
import time

import project_environment
from project_environment import PROJECT

INSTANCE = "step_instances/bringup"

WHAT_NOW = """
It is done. In {project} you find

  step_instances/bringup/                the instance: one run of one library
    .octo_step_engine_parameters.json    its whole state, to read and to change
    .octo_step_engine_events.jsonl       what happened, one event a line
    logs/                                what each step printed
    bringup.svg                          the graph; open it in a browser
  step_library/bringup/                  the steps: one small Python class each

Try next:

  cd {instance}
  {start}octo_step_instance.py status
  {start}octo_step_instance.py history
  {start}octo_step_instance.py run --fresh --max-steps 2    # pauses after two steps
  {start}octo_step_instance.py graph -o now.svg             # shows where it stands
  {start}octo_step_engine_parameters.py . global_parameters current_step_node
  {start}octo_step_instance.py run                          # goes on

docs/tutorial/1_hello.md leads from here to steps of your own.
"""


def main() -> int:
    """Return 0, or the exit code of the command that did not succeed."""
    argparse.ArgumentParser(description=__doc__).parse_args()
    python = project_environment.prepare("all")
    if _is_of_another_place():
        aside = f"{INSTANCE}.{time.strftime('%Y-%m-%dT%H%M%S')}"
        (PROJECT / INSTANCE).rename(PROJECT / aside)
        print(f"{INSTANCE} was made where the project is no more: it is {aside} now")
    if (PROJECT / INSTANCE).exists():
        commands = [["run", INSTANCE, "--fresh"]]
    else:
        commands = [["create", INSTANCE, "--library", "bringup"], ["run", INSTANCE]]
    print("\nThe self-test fails while the instrument is cold: watch the engine try it again.")
    commands.append(["graph", INSTANCE, "-o", f"{INSTANCE}/bringup.svg"])
    for command in commands:
        words = ["modules/octo_step_instance.py", *command]
        print("\n$", os.path.relpath(python, PROJECT), *words)
        code = project_environment.run([python, *words])
        if code:
            print(f"\nThat ended with exit code {code}; the lines above say why.", file=sys.stderr)
            return code
    start = "python " if sys.platform == "win32" else "./"
    instance = shlex.quote(str(PROJECT / INSTANCE))
    print(WHAT_NOW.format(project=PROJECT, instance=instance, start=start))
    return 0


def _is_of_another_place() -> bool:
    """Whether the instance that is there runs the library of another checkout."""
    try:
        text = (PROJECT / INSTANCE / ".octo_step_engine_parameters.json").read_text("utf-8")
        library = json.loads(text)["global_parameters"]["step_engine_library_path"]
    except (OSError, ValueError, LookupError, TypeError):
        return False  # no instance, or one of which the engine will tell what is wrong
    return bool(library != str(PROJECT / "step_library" / "bringup"))


if __name__ == "__main__":
    sys.exit(main())
