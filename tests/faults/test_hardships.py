"""A full disk, files that may not grow, too few descriptors, a directory read-only or gone (D6).

Real ones: nothing is made to fail here but by the system itself.
"""

from __future__ import annotations

import errno
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.bench import Bench
from tests.faults.laboratory import REFUSED, Experiment, Laboratory, Outcome
from tests.faults.runs import RUNS, node, write_library
from tests.faults.scenarios import DESCRIPTORS, INSTANCE, observe
from tests.faults.test_errors import told
from tests.modules.engine_support import stored

DISK_SIZE, BALLAST_SIZE = 64 * 1024, 32 * 1024
DURABILITIES = [{"OCTO_DURABILITY": name} for name in ("process", "power")]


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A small file system, in which there is a file `ballast`."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK_SIZE}", "tmpfs", str(place)]
    try:
        subprocess.run(mount, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("needs to mount a small file system; a limit on files is tried everywhere")
    (place / "ballast").write_bytes(bytes(BALLAST_SIZE))
    try:
        yield place
    finally:
        subprocess.run(["umount", str(place)], check=True)


def run(laboratory: Laboratory, scenario: str, work: Path, environment: dict[str, str]) -> Outcome:
    return laboratory.run(Experiment(scenario, work, environment=environment))


def check_refused(outcome: Outcome, work: Path, error: int) -> None:
    """It ended in an error that names the place and this cause."""
    assert outcome.code == REFUSED and told(outcome, work, error), outcome


# --- the disk -------------------------------------------------------------------------------------


@pytest.mark.parametrize("environment", DURABILITIES, ids=str)
def test_on_a_full_disk_the_parameter_file_stays_at_what_was_acknowledged(
    laboratory: Laboratory, disk: Path, environment: dict[str, str]
) -> None:
    run(laboratory, "empty", disk, environment)
    outcome = run(laboratory, "grow", disk, environment)
    check_grown(outcome, disk, errno.ENOSPC)
    (disk / "ballast").unlink()
    assert run(laboratory, "use_parameters", disk, environment).code == 0
    assert not list((disk / INSTANCE).glob(".*.tmp"))


@pytest.mark.parametrize("environment", DURABILITIES, ids=str)
def test_on_a_full_disk_the_event_log_stays_whole_and_goes_on_when_there_is_room(
    laboratory: Laboratory, disk: Path, environment: dict[str, str]
) -> None:
    run(laboratory, "empty", disk, environment)
    outcome = run(laboratory, "append_much", disk, environment)
    check_log(outcome, disk, errno.ENOSPC)
    (disk / "ballast").unlink()
    assert run(laboratory, "use_events", disk, environment).code == 0
    assert observe(disk)["events"][-1] == [outcome.acknowledged[-1] + 1, "used"]


def test_on_a_full_disk_a_run_says_so_and_goes_on_when_there_is_room(
    laboratory: Laboratory, disk: Path
) -> None:
    write_library(disk, RUNS["quiet"].library)
    run(laboratory, "instance", disk, {})
    fill(disk)
    outcome = run(laboratory, "command_run", disk, {})
    check_refused(outcome, disk, errno.ENOSPC)
    (disk / "ballast").unlink()
    assert run(laboratory, "command_run", disk, {}).code == 0
    assert stored(disk / INSTANCE)["global_parameters"]["step_engine_state"] == "COMPLETE_SUCCESS"


@pytest.mark.parametrize("environment", DURABILITIES, ids=str)
def test_a_limit_on_the_size_of_files_ends_in_an_error_with_nothing_lost(
    laboratory: Laboratory, work: Path, environment: dict[str, str]
) -> None:
    run(laboratory, "empty", work, environment)
    outcome = run(laboratory, "grow in small files", work, environment)
    check_grown(outcome, work, errno.EFBIG)
    outcome = run(laboratory, "append_much in small files", work, environment)
    check_log(outcome, work, errno.EFBIG)
    assert run(laboratory, "use_parameters", work, environment).code == 0
    assert not list((work / INSTANCE).glob(".*.tmp"))


def check_grown(outcome: Outcome, work: Path, error: int) -> None:
    check_refused(outcome, work, error)
    assert outcome.acknowledged[1:]
    assert len(stored(work / INSTANCE)["grown"]["text"]) == outcome.acknowledged[-1]


def check_log(outcome: Outcome, work: Path, error: int) -> None:
    check_refused(outcome, work, error)
    assert [number for number, _ in observe(work)["events"]] == outcome.acknowledged


def fill(disk: Path) -> None:
    """Let the ballast take all the room that there is."""
    with (disk / "ballast").open("ab", buffering=0) as ballast:
        try:
            while ballast.write(bytes(1024)):
                pass
        except OSError as error:
            assert error.errno == errno.ENOSPC


# --- rights, descriptors, directories -------------------------------------------------------------


@pytest.mark.parametrize(
    ("before", "scenario"),
    [
        ("parameters", "update"),
        ("parameters", "command_update"),
        ("bad_parameters", "repair"),
        ("events", "append"),
        ("instance", "command_run"),
    ],
)
def test_where_one_may_not_write_one_is_told_so(
    laboratory: Laboratory, work: Path, before: str, scenario: str
) -> None:
    write_library(work, RUNS["quiet"].library)
    bench = Bench(laboratory, work, before)
    bench.begin()
    state = observe(work)
    work.parent.chmod(0o755)
    outcome = bench.run(f"{scenario} as nobody")
    check_refused(outcome, work, errno.EACCES)
    assert observe(work) == state and not bench.strays()


@pytest.mark.parametrize(
    ("before", "scenario"),
    [
        ("parameters", "update"),
        ("parameters", "command_update"),
        ("events", "append"),
        ("instance", "command_run"),
    ],
)
def test_with_too_few_descriptors_it_is_told_that_there_are_too_few(
    laboratory: Laboratory, work: Path, before: str, scenario: str
) -> None:
    write_library(work, RUNS["quiet"].library)
    bench = Bench(laboratory, work, before)
    for number in range(1, 100):
        bench.begin()
        state = observe(work)
        bench.environment = {DESCRIPTORS: str(number)}
        outcome = bench.run(f"{scenario} with few descriptors")
        if outcome.code == 0:
            break
        check_refused(outcome, work, errno.EMFILE)
        if not outcome.acknowledged and before != "instance":
            assert observe(work) == state
        bench.environment = {}
        bench.must("run_fresh" if before == "instance" else scenario)
        assert not bench.strays()
    assert 1 < number < 99


def test_a_directory_that_disappears_while_it_is_run_in_ends_the_run_with_an_error(
    laboratory: Laboratory, work: Path
) -> None:
    gone = "import shutil; shutil.rmtree(os.getcwd()); return 0"
    write_library(work, {"a": node("a", {"go": "b"}, step_execute=gone), "b": node("b")})
    bench = Bench(laboratory, work, "instance")
    bench.begin()
    outcome = bench.run("command_run")
    check_refused(outcome, work, errno.ENOENT)
    assert not (work / INSTANCE).exists()
    assert "step_advance" not in (work.parent / "ledger").read_text()
