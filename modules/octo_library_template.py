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

from octo_step_engine_parameters import octo_step_engine_parameters


# A step node is a class whose name starts with step_node_, in a file of the same name.
class step_node_add:
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

    def __init__(self, name, verbose_flag=False):
        self.name = name
        self.verbose_flag = verbose_flag  # true in `run -v`
        self.params = octo_step_engine_parameters()
        self.file = (
            self.params.get_default_param_dict(),
            self.params.get_default_param_file_name(),
            self.params.get_default_param_lock_file_name(),
        )

    # The hooks, in the order in which they are called; each may be left out. Return 0 (or nothing)
    # for success. Anything else, or an exception, is a failure: it is tried again, see max_retries.

    def step_entry(self):
        if self.verbose_flag:
            print("This is printed by `run -v` only.")
        return 0

    def step_execute(self):
        """The work. After a crash it may run again: let it do no harm twice."""
        numbers = self.params.read_json_dict(*self.file)["step_node_add"]["numbers"]
        self.params.update_json_dict(*self.file, "step_node_add", "sum", sum(numbers))
        print(f"The sum of {numbers} is {sum(numbers)}.")
        return 0

    # def step_advance(self):
    #     return "to_report"  # an arrow key; a list of keys starts several nodes at once

    # def step_exit(self):
    #     return 0

    # def step_make_safe(self):  # switch off what step_execute switched on, when a run fails
    #     return 0
'''

SECOND = '''\
"""The second step: writes what the first one found out into a file."""

from pathlib import Path

from octo_step_engine_parameters import octo_step_engine_parameters


class step_node_report:
    """Writes report.txt. No arrow leads on from here, so the run ends with success."""

    def step_execute(self):
        params = octo_step_engine_parameters()
        values = params.read_json_dict(
            params.get_default_param_dict(),
            params.get_default_param_file_name(),
            params.get_default_param_lock_file_name(),
        )
        # Hooks run in the directory of the instance: this file is made there.
        Path("report.txt").write_text(f"sum: {values['step_node_add']['sum']}\\n")
        print("Wrote report.txt.")
        return 0
'''

FILES = {"step_node_add.py": FIRST, "step_node_report.py": SECOND}


def make_library(path: Path) -> list[Path]:
    """Make the directory `path` with the files of the template, or nothing at all.

    Returns:
        The files.

    Raises:
        UsageError: There is something at `path` already.
        OSError: It can't be written.
    """
    if path.exists():
        raise UsageError(f"{path} exists already", hint="choose another name")
    path.parent.mkdir(parents=True, exist_ok=True)
    building = path.with_name(f".{path.name}.{os.getpid()}.new")
    building.mkdir()
    try:
        for name, text in FILES.items():
            (building / name).write_text(text, encoding="utf-8")
        building.rename(path)
    finally:
        shutil.rmtree(building, ignore_errors=True)
    return [path / name for name in FILES]
