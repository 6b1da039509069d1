"""What a reset keeps while others go on writing."""

from __future__ import annotations

import threading
from pathlib import Path

from octo_instance_setup import create_instance, reset_instance
from octo_parameter_schema import LOCK_FILE_NAME, PARAMETER_FILE_NAME
from octo_step_engine_parameters import octo_step_engine_parameters
from tests.modules.engine_support import node_text, stored
from tests.support import MakeLibrary

RESETS = 40


def test_what_is_written_during_a_reset_is_in_the_archive_or_in_the_file(
    make_library: MakeLibrary, tmp_path: Path
) -> None:
    instance = tmp_path / "i"
    made, _ = create_instance(instance, make_library({"a": node_text("a")}))
    store = octo_step_engine_parameters()
    file, lock = str(instance / PARAMETER_FILE_NAME), str(instance / LOCK_FILE_NAME)
    over = threading.Event()
    counted = 0

    def count() -> None:
        nonlocal counted
        while not over.is_set():
            store.increment_json_dict({}, file, lock, "mine", "count", True)
            counted += 1

    counter = threading.Thread(target=count)
    counter.start()
    try:
        archives = [reset_instance(made) for _ in range(RESETS)]
    finally:
        over.set()
        counter.join()
    kept = [stored(place).get("mine", {}).get("count", 0) for place in [instance, *archives]]
    assert sum(kept) == counted
    assert sum(map(bool, kept)) > 1, "nothing was written between two resets"
