"""A lock that keeps out processes, threads and forked children, frees itself, and names its holder.

Every test of `path` runs for both ways to lock: the open file locks of Linux, and fasteners'.
"""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import fasteners
import pytest

import octo_lock
from octo_errors import LockFileError, LockTimeoutError
from octo_lock import FileLock, held_here, is_locked
from tests.modules.parameter_support import AS_NOBODY, Python, needs_posix

HOLDER = """
    import octo_lock
    if sys.argv[2] == "fasteners":
        octo_lock._has_open_file_locks = lambda descriptor: False
    with octo_lock.FileLock(sys.argv[1]):
        print("held", flush=True)
        input()
    print("released", flush=True)
"""

FOREIGN_HOLDER = """
    import fasteners
    with fasteners.InterProcessLock(sys.argv[1]):
        print("held", flush=True)
        input()
"""

FIRST_WAITER = """
    import fcntl
    file = open(sys.argv[1], "a")
    fcntl.lockf(file, fcntl.LOCK_EX, 1, 1)  # the turnstile
    print("first", flush=True)
    input()
"""

forks = pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")


@pytest.fixture(params=["open file locks", "fasteners"])
def mechanism(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    name: str = request.param
    if name == "fasteners":
        monkeypatch.setattr(octo_lock, "_has_open_file_locks", lambda descriptor: False)
    elif sys.platform != "linux":
        pytest.skip("Linux only")
    return name


@pytest.fixture
def path(mechanism: str, tmp_path: Path) -> Path:
    return tmp_path / "state.lock"


def is_free(path: Path) -> bool:
    lock = FileLock(path)
    try:
        lock.acquire(timeout=0)
    except LockTimeoutError:
        return False
    lock.release()
    return True


def is_free_for_others(path: Path) -> bool:
    """What another program says, that locks with fasteners."""
    code = "import sys, fasteners; print(fasteners.InterProcessLock(sys.argv[1]).acquire(False))"
    done = subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True)
    return done.stdout.strip() == "True"


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


# --- who is kept out ---


def test_a_second_object_for_the_same_file_is_kept_out(path: Path) -> None:
    with FileLock(path) as lock:
        assert lock.is_held
        assert held_here(path)
        found = []
        thread = threading.Thread(target=lambda: found.append(is_free(path)))
        thread.start()
        thread.join()
        assert found == [False]
    assert not lock.is_held
    assert not held_here(path)
    assert is_free(path)


def test_two_names_of_one_file_are_one_lock(path: Path, tmp_path: Path) -> None:
    other_name = tmp_path / "alias"
    other_name.symlink_to(tmp_path)
    with FileLock(path):
        assert held_here(other_name / path.name)
        with pytest.raises(LockTimeoutError, match="this thread holds the lock already"):
            FileLock(other_name / path.name).acquire()


def test_other_programs_are_kept_out_and_keep_out(path: Path) -> None:
    with FileLock(path):
        assert not is_free_for_others(path)
    assert is_free_for_others(path)
    with Python(FOREIGN_HOLDER, path) as other:
        assert other.line() == "held"
        assert not is_free(path)
        other.go_on()
        FileLock(path, timeout=60).acquire()


def test_another_process_is_kept_out_and_lets_in_when_it_is_done(
    path: Path, mechanism: str
) -> None:
    with Python(HOLDER, path, mechanism) as other:
        assert other.line() == "held"
        assert not is_free(path)
        other.go_on()
        assert other.line() == "released"
        assert is_free(path)


def test_threads_never_overlap_and_all_get_their_turns(path: Path) -> None:
    inside: list[int] = []
    done: list[int] = []

    def work(number: int) -> None:
        lock = FileLock(path, timeout=60)
        for _ in range(50):
            with lock:
                inside.append(number)
                done.append(len(inside))
                inside.remove(number)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert done == [1] * 300


def test_a_thread_that_holds_the_lock_is_told_so_at_once(path: Path) -> None:
    lock = FileLock(path)
    with lock, pytest.raises(LockTimeoutError, match="this thread holds the lock already"):
        lock.acquire()
    assert is_free(path)


def test_it_may_be_released_by_another_thread_and_twice(path: Path) -> None:
    lock = FileLock(path)
    lock.acquire()
    thread = threading.Thread(target=lock.release)
    thread.start()
    thread.join()
    lock.release()
    assert is_free_for_others(path)


# --- what frees it ---


@needs_posix
def test_a_killed_holder_frees_it(path: Path, mechanism: str) -> None:
    with Python(HOLDER, path, mechanism) as other:
        assert other.line() == "held"
        other.process.kill()
        FileLock(path, timeout=60).acquire()


def test_an_exception_in_the_block_frees_it(path: Path) -> None:
    with pytest.raises(ZeroDivisionError), FileLock(path):
        1 / 0  # noqa: B018
    assert is_free_for_others(path)


def test_an_interrupted_wait_leaves_nothing_behind(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(seconds: float) -> None:
        raise KeyboardInterrupt

    with Python(FOREIGN_HOLDER, path) as other:
        assert other.line() == "held"
        with monkeypatch.context() as patched:
            patched.setattr(octo_lock, "sleep", interrupt)
            with pytest.raises(KeyboardInterrupt):
                FileLock(path).acquire()
    assert is_free(path)


def test_an_object_that_is_forgotten_frees_it_and_its_descriptor(path: Path) -> None:
    gc.collect()  # what earlier tests left open
    before = len(list(Path("/proc/self/fd").iterdir())) if sys.platform == "linux" else 0
    lock = FileLock(path)
    lock.acquire()
    del lock
    gc.collect()
    assert is_free_for_others(path)
    assert not before or len(list(Path("/proc/self/fd").iterdir())) == before


def test_what_is_closed_is_opened_again_and_what_is_held_stays_so(path: Path) -> None:
    lock, other = FileLock(path), FileLock(path)
    with lock:
        other.close()
        lock.close()
        assert not is_free_for_others(path)
    lock.close()
    gc.collect()
    status = path.stat()
    assert (status.st_dev, status.st_ino) not in octo_lock._open_files
    with lock:
        assert not is_free_for_others(path)
    assert is_free_for_others(path)


def test_the_lock_file_stays(path: Path) -> None:
    with FileLock(path):
        identity = path.stat().st_ino
    with FileLock(path):
        assert path.stat().st_ino == identity


@pytest.mark.skipif(sys.platform != "linux", reason="Linux only")
def test_closing_another_descriptor_of_the_file_does_not_free_it(tmp_path: Path) -> None:
    path = tmp_path / "state.lock"
    with FileLock(path):
        path.read_bytes()
        assert not is_free_for_others(path)


@needs_posix
def test_a_lock_file_that_was_replaced_is_not_relied_on(path: Path) -> None:
    lock = FileLock(path)
    with lock:
        pass
    path.rename(path.with_suffix(".old"))
    with lock:
        assert not is_free_for_others(path)
        path.unlink()
        with FileLock(path):  # a new file, and a new lock: nobody else can know of the old one
            assert not is_free_for_others(path)


# --- fork ---


@needs_posix
@forks
def test_a_forked_child_holds_nothing_and_takes_nothing_away(path: Path) -> None:
    lock = FileLock(path)
    lock.acquire()
    child = os.fork()
    if child == 0:
        wrong = lock.is_held or held_here(path) or is_free(path)
        lock.release()
        os._exit(1 if wrong else 0)
    assert os.waitpid(child, 0)[1] == 0
    assert lock.is_held
    assert not is_free_for_others(path)
    lock.release()
    assert is_free_for_others(path)


@needs_posix
@forks
def test_a_forked_child_can_take_it_when_the_parent_is_done(path: Path) -> None:
    lock = FileLock(path, timeout=60)
    lock.acquire()
    child = os.fork()
    if child == 0:
        with lock:
            os._exit(0 if lock.is_held else 1)
    lock.release()
    assert os.waitpid(child, 0)[1] == 0


@needs_posix
@forks
def test_a_fork_while_another_thread_waits_leaves_the_child_able_to_lock(path: Path) -> None:
    with Python(FOREIGN_HOLDER, path) as other:
        assert other.line() == "held"
        waiting = threading.Thread(target=lambda: FileLock(path, timeout=60).acquire())
        waiting.start()
        until(lambda: any(file._threads.locked() for file in octo_lock._open_files.values()))
        child = os.fork()
        if child == 0:
            os._exit(1 if is_free(path) else 0)
        assert os.waitpid(child, 0)[1] == 0
        other.go_on()
        waiting.join()


# --- waiting ---


@needs_posix
def test_a_stopped_holder_is_named_when_the_time_is_over(path: Path, mechanism: str) -> None:
    with Python(HOLDER, path, mechanism) as other:
        assert other.line() == "held"
        os.kill(other.pid, signal.SIGSTOP)
        with pytest.raises(LockTimeoutError) as caught:
            FileLock(path).acquire(timeout=0.05)
        assert str(path) in str(caught.value)
        assert "0.05 s" in str(caught.value)
        if sys.platform in ("linux", "darwin"):
            assert caught.value.details["holder_pid"] == other.pid
            assert f"pid {other.pid}" in str(caught.value)
        if sys.platform == "linux":
            assert " -c import sys" in str(caught.value)  # the holder's command line
        os.kill(other.pid, signal.SIGCONT)


@needs_posix
def test_a_holder_that_uses_fasteners_is_named_too(path: Path) -> None:
    with Python(FOREIGN_HOLDER, path) as other:
        assert other.line() == "held"
        with pytest.raises(LockTimeoutError, match=f"pid {other.pid} "):
            FileLock(path).acquire(timeout=0)


def test_a_thread_that_holds_it_is_named_as_such(path: Path) -> None:
    errors: list[LockTimeoutError] = []

    def wait() -> None:
        try:
            FileLock(path).acquire(timeout=0.02)
        except LockTimeoutError as error:
            errors.append(error)

    with FileLock(path):
        thread = threading.Thread(target=wait)
        thread.start()
        thread.join()
    assert f"another thread of this process (pid {os.getpid()})" in str(errors[0])


@pytest.mark.skipif(sys.platform != "linux", reason="only there waiters have an order")
def test_a_newcomer_leaves_the_free_lock_to_a_waiter_that_was_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "state.lock"
    naps: list[float] = []
    with Python(FIRST_WAITER, path) as other:
        assert other.line() == "first"

        def nap(seconds: float) -> None:
            naps.append(seconds)
            if len(naps) == 3:
                other.process.kill()
                other.process.wait()

        monkeypatch.setattr(octo_lock, "sleep", nap)
        FileLock(path).acquire(timeout=60)
    assert len(naps) == 3


@pytest.mark.skipif(sys.platform != "linux", reason="only there waiters have an order")
def test_a_waiter_that_hangs_does_not_keep_the_others_out_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(octo_lock, "COURTESY", 0.01)
    path = tmp_path / "state.lock"
    with Python(FIRST_WAITER, path) as other:
        assert other.line() == "first"
        os.kill(other.pid, signal.SIGSTOP)
        FileLock(path).acquire(timeout=60)


@pytest.mark.parametrize("mixed", ["one kind", "both kinds"])
def test_processes_and_threads_never_overlap(mixed: str, tmp_path: Path) -> None:
    """Two detectors: a file that only one may make at a time, and a count that must be exact."""
    worker = """
        import os, threading, octo_lock
        path, kind = sys.argv[1:]
        if kind == "fasteners":
            octo_lock._has_open_file_locks = lambda descriptor: False
        def work():
            lock = octo_lock.FileLock(path, timeout=60)
            for _ in range(25):
                with lock:
                    os.close(os.open(path + ".inside", os.O_CREAT | os.O_EXCL))
                    with open(path + ".count", "r+") as file:
                        count = int(file.read())
                        file.seek(0)
                        file.write(str(count + 1))
                    os.unlink(path + ".inside")
        threads = [threading.Thread(target=work) for _ in range(3)]
        for thread in threads: thread.start()
        for thread in threads: thread.join()
    """
    path = tmp_path / "state.lock"
    count = tmp_path / "state.lock.count"
    count.write_text("0")
    kinds = ["fasteners" if mixed == "both kinds" and number % 2 else "" for number in range(4)]
    others = [Python(worker, path, kind) for kind in kinds]
    try:
        for other in others:
            other.output()
    finally:
        for other in others:
            other.process.kill()
    assert count.read_text() == "300"


# --- what can lie at its name ---


@needs_posix
@pytest.mark.parametrize(
    ("plant", "cause"),
    [
        (lambda path: os.mkfifo(path), "not a regular file"),
        (lambda path: path.mkdir(), "directory"),
        (lambda path: path.symlink_to("/etc/passwd"), "symbolic link"),
        (lambda path: path.symlink_to("/nowhere/at/all"), "symbolic link"),
    ],
)
def test_what_is_no_lock_file_is_an_error_that_names_it(
    plant: Callable[[Path], None], cause: str, path: Path
) -> None:
    plant(path)
    with pytest.raises(LockFileError, match=cause) as caught:
        FileLock(path).acquire()
    assert str(path) in str(caught.value)


def test_a_missing_directory_is_an_error_that_names_it(path: Path) -> None:
    with pytest.raises(LockFileError, match="No such file or directory"):
        FileLock(path / "below" / "state.lock").acquire()
    assert not held_here(path / "below" / "state.lock")


def test_a_relative_name_stays_where_it_was_given(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    lock = FileLock("state.lock")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    with lock:
        assert not is_free_for_others(path)


# --- a look at it ---

LOOKS = f"""
    import os, fasteners, octo_lock, octo_lock_holder
    if sys.argv[2] == "fasteners":
        octo_lock._has_open_file_locks = lambda descriptor: False
    {AS_NOBODY}
    while True:
        print(octo_lock.is_locked(sys.argv[1]), os.access(sys.argv[1], os.W_OK), flush=True)
        input()
"""


def test_a_look_tells_whether_it_is_held_here(path: Path) -> None:
    lock = FileLock(path)
    for _ in range(2):
        with lock:
            assert is_locked(path)
            assert not is_free_for_others(path)  # also after the look
        assert not is_locked(path)
        assert is_free_for_others(path)


def test_a_look_tells_whether_another_process_holds_it(path: Path, mechanism: str) -> None:
    with Python(HOLDER, path, mechanism) as holder:
        assert holder.line() == "held"
        assert is_locked(path)
        holder.go_on()
        assert holder.line() == "released"
        assert not is_locked(path)


@needs_posix
def test_who_may_only_read_it_can_look(mechanism: str, open_place: Path) -> None:
    path = open_place / "state.lock"
    with Python(HOLDER, path, mechanism) as holder:
        assert holder.line() == "held"
        path.chmod(0o444)
        with Python(LOOKS, path, mechanism) as nobody:
            assert nobody.line() == "True False"
            holder.go_on()
            assert holder.line() == "released"
            nobody.go_on()
            assert nobody.line() == "False False"


def test_a_look_at_open_file_locks_never_takes_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if sys.platform != "linux":
        pytest.skip("Linux only")
    (tmp_path / "state.lock").touch()
    monkeypatch.setattr(octo_lock._OpenFileLocks, "try_lock", None)
    assert not is_locked(tmp_path / "state.lock")


def test_fasteners_itself_lets_a_second_object_in(tmp_path: Path) -> None:
    """Why there is a thread lock in front; when this fails, fasteners has learnt it."""
    first = fasteners.InterProcessLock(tmp_path / "plain.lock")
    second = fasteners.InterProcessLock(tmp_path / "plain.lock")
    assert first.acquire(blocking=False)
    assert second.acquire(blocking=False)
    second.release()
    first.release()
