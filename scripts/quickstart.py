"""From a fresh clone to a finished run and its picture: `python3 scripts/quickstart.py`.

Sets up `.venv`, creates an instance of the library `bringup`, runs it and draws its graph. Started
again, it runs the same instance afresh; the engine archives what was there before.
"""

import sys

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

Try next, there:

  {activate}
  octo-step-instance status step_instances/bringup
  octo-step-instance history step_instances/bringup
  octo-step-instance run step_instances/bringup --fresh --max-steps 2    (pauses after two steps)
  octo-step-instance graph step_instances/bringup -o now.svg             (shows where it stands)
  octo-step-instance run step_instances/bringup                          (goes on)
  octo-step-engine-parameters step_instances/bringup global_parameters current_step_node

docs/tutorial.md leads from here to steps of your own.
"""


def main() -> int:
    """Return 0, or the exit code of the command that did not succeed."""
    python = project_environment.prepare("all")
    if (PROJECT / INSTANCE).exists():
        commands = [["run", INSTANCE, "--fresh"]]
    else:
        commands = [["create", INSTANCE, "--library", "bringup"], ["run", INSTANCE]]
    for command in [*commands, ["graph", INSTANCE, "-o", f"{INSTANCE}/bringup.svg"]]:
        print(f"\n$ octo-step-instance {' '.join(command)}")
        code = project_environment.run([python, "modules/octo_step_instance.py", *command])
        if code:
            print(f"\nThat ended with exit code {code}; the lines above say why.", file=sys.stderr)
            return code
    activate = ".venv\\Scripts\\activate" if sys.platform == "win32" else ". .venv/bin/activate"
    print(WHAT_NOW.format(project=PROJECT, activate=activate))
    return 0


if __name__ == "__main__":
    sys.exit(main())
