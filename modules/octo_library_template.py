"""The library that `new-library` makes: two step nodes with comments, to change into one's own.

It works as it is: the first node adds numbers up, the second writes the sum into a file.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from octo_errors import UsageError

FIRST = '''\
"""The first step: adds up the numbers that the parameter file holds."""

from stepnode_baseclass import stepnode_baseclass


# A step node is a class whose name starts with step_node_, in a file whose name does so, too. The
# base class is a help, not a must: it brings get, set and increment for the parameter file.
class step_node_add(stepnode_baseclass):
    """Adds numbers up."""  # shown by `octo_step_instance.py list` and in the drawn graph

    # How the node is drawn and run. Every key may be left out.
    step_node_graph_dict = {
        "step_node_add": {
            "dg_node_attr_dict": {"label": "add up"},  # graphviz attributes
            "first_node_step_bool": 1,  # a run begins here
            "max_retries": 2,  # after a failure, try again at most so often
            "retry_delay_seconds": 1,
            # "timeout_seconds": 60,  # end the step, and the programs that it started, after that
            # "error_arrow_key": "give_up",  # follow this arrow when no attempt succeeded
        },
    }

    # Where the run can go from here: arrow key -> node. With one arrow, that one is followed;
    # with several, step_advance below has to choose.
    step_arrow_graph_dict = {
        "to_report": {"arrow_step_name_string": "step_node_report"},
    }

    # Written into the parameter file when an instance is created, and never over a value there.
    step_node_params_dict_init = {"step_node_add": {"numbers": [1, 2, 3]}}

    # The hooks, in the order in which they are called; each may be left out. Return 0 (or nothing)
    # for success. Anything else, or an exception, is a failure: it is tried again, see max_retries.

    def step_entry(self):
        if self.verbose_flag:
            print("This is printed by `run -v` only.")

    def step_execute(self):
        """The work. After a crash it may run again: let it do no harm twice."""
        numbers = self.get("step_node_add", "numbers")
        self.set("step_node_add", "sum", sum(numbers))
        print(f"The sum of {numbers} is {sum(numbers)}.")

    # def step_advance(self):
    #     return "to_report"  # an arrow key; a list of keys starts several nodes at once

    # def step_exit(self):
    #     ...

    # def step_make_safe(self):  # switch off what step_execute switched on, when a run fails
    #     ...
'''

SECOND = '''\
"""The second step: writes what the first one found out into a file."""

from pathlib import Path

from stepnode_baseclass import stepnode_baseclass


class step_node_report(stepnode_baseclass):
    """Writes report.txt. No arrow leads on from here, so the run ends with success."""

    def step_execute(self):
        # Hooks run in the directory of the instance: this file is made there.
        Path("report.txt").write_text(f"sum: {self.get('step_node_add', 'sum')}\\n")
        print("Wrote report.txt.")
'''

FILES = {"step_node_add.py": FIRST, "step_node_report.py": SECOND}


def make_library(path: Path) -> list[Path]:
    """Make the directory `path` with the files of the template, or nothing at all.

    Returns:
        The files.

    Raises:
        UsageError: There is something at `path` already, or it can't be written.
    """
    if path.exists():
        raise UsageError(f"{path} exists already", hint="choose another name")
    building = path.with_name(f".{path.name}.{os.getpid()}.new")
    try:
        building.mkdir(parents=True)
        for name, text in FILES.items():
            (building / name).write_text(text, encoding="utf-8")
        building.rename(path)
    except OSError as error:
        raise UsageError(
            f"{path}: can't be made: {error.strerror}",
            hint="choose a directory that you may write to",
        ) from error
    finally:
        shutil.rmtree(building, ignore_errors=True)
    return [path / name for name in FILES]
