"""An instance's directory, for those who may change it and for those who may only look."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from octo_instance_dir import InstanceDir
from octo_instance_setup import create_instance
from tests.modules.parameter_support import AS_NOBODY, Python, needs_posix

LOOKS = f"""
    import os, octo_step_instance
    instance = sys.argv[1]
    def look():
        status = octo_step_instance.main(["status", instance])
        graph = octo_step_instance.main(["graph", instance, "-o", "-", "--format", "dot"])
        print("ended with", status, graph, flush=True)
    look()  # loads what it takes
    {AS_NOBODY}
    assert not os.access(instance, os.W_OK)
    look()
"""


@pytest.fixture
def instance(open_place: Path) -> Iterator[InstanceDir]:
    library = open_place / "step_library"
    library.mkdir()
    (library / "step_node_a.py").write_text("class step_node_a: ...")
    yield create_instance(open_place / "x", library)[0]
    for path in (open_place / "x", *(open_place / "x").iterdir()):
        path.chmod(0o755)  # so that it can be removed


@needs_posix
def test_who_may_only_read_an_instance_sees_its_status_and_its_graph(instance: InstanceDir) -> None:
    with instance.run_lock():
        for path in (*instance.path.iterdir(), instance.path):
            path.chmod(path.stat().st_mode & ~0o222)
        with Python(LOOKS, instance.path) as other:
            said = other.output()
        instance.path.chmod(0o755)
    assert said.count(f"run by pid {os.getpid()} ") == 2
    assert said.count("ended with 0 0") == 2
