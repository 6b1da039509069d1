"""Tries for real what the file system of a directory can do, and tells what holds there.

What docs/guarantees.md promises rests on locks, renames and syncs that do what they say, and on
some network or memory file systems they don't. All trials happen in a temporary directory inside
the directory, which is removed afterwards.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Timer
from typing import Literal

from octo_atomic_file import exchange_files, replace_file, sync_descriptor
from octo_errors import LockTimeoutError, OctoError
from octo_lock import FileLock

TRIAL_PREFIX = ".octo_doctor_"
PATIENCE_S = 10.0  # for a second process that tries a lock
LITTLE_SPACE, NO_SPACE = 16 * 2**20, 2**20

NETWORK = re.compile(
    r"nfs\d?|cifs|smb\w*|9p|afs|ceph|lustre|beegfs|gpfs|davfs\d?|ncpfs|ocfs2|gfs2|virtiofs|vboxsf"
    r"|fuse\.(sshfs|glusterfs|s3fs|rclone|gcsfuse|davfs2|ceph|cvmfs)"
)
IN_MEMORY = {"tmpfs", "ramfs"}

Verdict = Literal["ok", "note", "wrong"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was tried or looked at. A `note` is worth knowing, and no fault."""

    subject: str
    verdict: Verdict
    text: str
    hint: str = ""


@dataclass(frozen=True, slots=True)
class FileSystem:
    """What the system says of the file system; `type` is empty where it doesn't say."""

    type: str
    mount: str
    options: str
    read_only: bool

    @property
    def is_network(self) -> bool:
        """Whether other machines may use it at the same time."""
        return NETWORK.fullmatch(self.type) is not None

    @property
    def locks_stay_local(self) -> bool:
        """Whether it is mounted so that other machines don't see the locks."""
        return bool(re.search(r"(^|,)(nolock|nobrl|local_lock=(all|posix))(,|$)", self.options))

    def __str__(self) -> str:
        kind = self.type or "of a type that this system doesn't tell"
        where = "network" if self.is_network else "in memory" if self.type in IN_MEMORY else "local"
        return f"{kind}, {where}, mounted at {self.mount}" if self.type else kind


@dataclass(frozen=True, slots=True)
class Guarantee:
    """A line of docs/guarantees.md, and whether it holds in this directory."""

    name: str
    holds: bool
    text: str


def file_system_of(path: Path) -> FileSystem:
    """What /proc/self/mountinfo says of the mount that the path is on; Linux only."""
    found = FileSystem("", "", "", read_only=False)
    with suppress(OSError):
        for line in Path("/proc/self/mountinfo").read_text(errors="replace").splitlines():
            left, _, right = line.partition(" - ")
            mount = left.split()[4].replace("\\040", " ")
            kind, _, options = (*right.split(), "", "")[:3]
            if path.is_relative_to(mount) and len(mount) >= len(found.mount):
                options = f"{left.split()[5]},{options}"
                found = FileSystem(kind, mount, options, read_only="ro" in options.split(","))
    return found


def _told_of(file_system: FileSystem) -> Finding:
    what = "file system"
    if file_system.read_only:
        return Finding(what, "wrong", f"{file_system}, read-only", "use another directory")
    if file_system.is_network and file_system.locks_stay_local:
        return Finding(
            what,
            "wrong",
            f"{file_system}; its locks are not seen by other machines",
            "mount it without nolock, nobrl and local_lock, or use it from one machine only",
        )
    if file_system.is_network:
        return Finding(what, "note", f"{file_system}", "use an instance from one machine at a time")
    if file_system.type in IN_MEMORY:
        return Finding(what, "note", f"{file_system}: gone when the machine stops")
    return Finding(what, "ok", f"{file_system}")


def try_directory(path: Path, file_system: FileSystem) -> Iterator[Finding]:
    """What was found out about a directory; where nothing can be written, there is no more."""
    yield _told_of(file_system)
    try:
        trial = Path(tempfile.mkdtemp(prefix=TRIAL_PREFIX, dir=path))
    except OSError as error:
        hint = "use another directory, or get the right to write there"
        yield Finding("writing", "wrong", f"nothing can be made here: {error.strerror}", hint)
        return
    try:
        yield Finding("writing", "ok", "files can be made")
        yield _space(shutil.disk_usage(path).free)
        for subject, try_it in _TRIALS.items():
            try:
                yield try_it(trial)
            except (OSError, OctoError) as error:
                reason = error.strerror if isinstance(error, OSError) else error
                yield Finding(subject, "wrong", f"fails: {reason}", "use another directory")
    finally:
        shutil.rmtree(trial, ignore_errors=True)


def _space(free: int) -> Finding:
    if free < LITTLE_SPACE:
        verdict: Verdict = "wrong" if free < NO_SPACE else "note"
        return Finding("space", verdict, f"{free // 1024} KiB are free", "make room")
    return Finding("space", "ok", f"{free // 2**20} MiB are free")


def _try_locking(trial: Path) -> Finding:
    lock = FileLock(trial / "lock", timeout=0)
    with lock, _second_process(lock.path) as answer:
        if answer != "refused":
            return _no_lock(f"a second process is not kept out (it said {answer!r})")
    with _second_process(lock.path) as answer:
        if answer != "taken":
            return _no_lock(f"a free lock can't be taken by a second process ({answer!r})")
        if _can_take(lock):
            return _no_lock("the lock of a second process keeps nobody out")
    try:  # it has been killed
        lock.acquire(PATIENCE_S)
    except LockTimeoutError:
        return _no_lock("the lock of a process that was killed stays locked")
    lock.release()
    return Finding("locking", "ok", "keeps a second process out; free when its holder is killed")


def _can_take(lock: FileLock) -> bool:
    try:
        lock.acquire(0)
    except LockTimeoutError:
        return False
    lock.release()
    return True


def _no_lock(text: str) -> Finding:
    return Finding("locking", "wrong", text, "use another directory: here, writes can be lost")


_TAKE_LOCK = """\
import sys
sys.path.insert(0, sys.argv[1])
from octo_errors import LockTimeoutError
from octo_lock import FileLock
lock = FileLock(sys.argv[2])
try:
    lock.acquire(0)
except LockTimeoutError:
    print("refused", flush=True)
else:
    print("taken", flush=True)
    sys.stdin.read()
"""


@contextmanager
def _second_process(lock: str) -> Iterator[str]:
    """What a second process says that tries the lock; when the block ends, it is killed."""
    modules = str(Path(__file__).resolve().parent)
    with subprocess.Popen(
        [sys.executable, "-c", _TAKE_LOCK, modules, lock],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        guard = Timer(PATIENCE_S, process.kill)
        guard.start()
        try:
            yield process.stdout.readline().strip() if process.stdout is not None else ""
        finally:
            guard.cancel()
            process.kill()


def _try_rename(trial: Path) -> Finding:
    file = trial / "file"
    replace_file(str(file), b"old", None, sync=False)
    with file.open("rb") as reader:
        replace_file(str(file), b"new", file.stat(), sync=False)
        if (reader.read(), file.read_bytes()) != (b"old", b"new"):
            text = "a file that is replaced is not seen whole, old or new"
            return Finding("rename", "wrong", text, "use another directory")
    return Finding("rename", "ok", "a file is replaced whole; who has it open reads the old one")


def _try_exchange(trial: Path) -> Finding:
    one, other = trial / "one", trial / "other"
    one.write_bytes(b"1")
    other.write_bytes(b"2")
    if exchange_files(str(one), str(other)) and one.read_bytes() == b"2":
        return Finding("exchange", "ok", "names can be exchanged (RENAME_EXCHANGE): fast writes")
    return Finding("exchange", "note", "names can't be exchanged: files are renamed, more slowly")


def _try_fsync(trial: Path) -> Finding:
    file = trial / "synced"
    replace_file(str(file), b"old", None, sync=True)
    began = time.perf_counter()
    with file.open("r+b") as opened:
        opened.write(b"new")
        opened.flush()
        sync_descriptor(opened.fileno())
    return Finding("fsync", "ok", f"file and directory; {time.perf_counter() - began:.4f} s a file")


def _try_append(trial: Path) -> Finding:
    file = trial / "log"
    for line in (b"1\n", b"2\n", b"torn"):
        with file.open("ab", buffering=0) as opened:
            opened.write(line)
    with file.open("r+b") as opened:
        opened.truncate(4)
    if file.read_bytes() != b"1\n2\n":
        text = "what is appended does not stay in its place"
        return Finding("append", "wrong", text, "use another directory")
    return Finding("append", "ok", "a log grows at its end, and can be cut")


_TRIALS: dict[str, Callable[[Path], Finding]] = {
    "locking": _try_locking,
    "rename": _try_rename,
    "exchange": _try_exchange,
    "fsync": _try_fsync,
    "append": _try_append,
}


# --- what holds there -----------------------------------------------------------------------------


def guarantees_of(file_system: FileSystem, trials: list[Finding]) -> list[Guarantee]:
    """Each of D1 to D9 of docs/guarantees.md, by what it rests on."""
    fine = {trial.subject for trial in trials if trial.verdict != "wrong"}
    if "locking" not in {trial.subject for trial in trials}:
        fine |= {"locking", "rename", "fsync", "append"}  # not tried: see "writing"
    kept = {**_REASONS}
    if file_system.type in IN_MEMORY:
        fine.discard("fsync")
        kept["fsync"] = "the file system is in memory"
    if file_system.is_network and file_system.locks_stay_local:
        fine.discard("locking")
        kept["locking"] = "other machines don't see the locks"
    guarantees = []
    for name, needs in _RESTS_ON.items():
        missing = [kept[need] for need in needs if need not in fine]
        text = _PROMISES[name]
        if file_system.is_network and "locking" in needs and not missing:
            text += "; among several machines as far as the server keeps their locks apart"
        if missing:
            text += f": not here, {'; '.join(missing)}"
        guarantees.append(Guarantee(name, not missing, text))
    return guarantees


_RESTS_ON: dict[str, tuple[str, ...]] = {
    "D1 process": ("writing", "locking", "rename"),
    "D1 power": ("writing", "locking", "rename", "fsync"),
    "D2": ("writing", "rename"),
    "D3": ("writing", "locking", "rename"),
    "D4": ("writing", "locking", "rename"),
    "D5": ("writing", "locking", "append"),
    "D6": (),
    "D7": (),
    "D8": (),
    "D9": (),
}
_REASONS = {
    "writing": "nothing can be written",
    "locking": "locks don't work",
    "rename": "files can't be replaced whole",
    "fsync": "nothing is surely on disk",
    "append": "a log can't be appended to",
}
_PROMISES = {
    "D1 process": "an acknowledged write survives kill -9",
    "D1 power": "with durability `power`, it survives the loss of power",
    "D2": "the parameter file is one committed version at every instant",
    "D3": "no increment is lost",
    "D4": "a finished hook is not run again, an interrupted one is reported",
    "D5": "the event log has no gap; at most its last line is torn, and mended",
    "D6": "an error of the system ends in a message, and leaves the old state",
    "D7": "unreadable state is never overwritten",
    "D8": "no process of a step outlives its run unreported",
    "D9": "recovery is bounded",
}
