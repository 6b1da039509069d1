"""The project's own Python environment, `.venv`: made, filled and mended by `prepare()`.

For the scripts that a newcomer starts first. So it needs the standard library only, and must parse
on Python 3.6 upwards: an old Python gets a sentence instead of a syntax error. It deletes nothing
that it did not make: the file STAMP marks an environment as made here and says which extras are
installed in it. While it lists none, the making was interrupted.
"""

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).resolve().parent.parent
VENV = PROJECT / ".venv"
PYTHON = VENV / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
STAMP = VENV / "octo_step_engine.json"
OLDEST = (3, 11)

if sys.version_info < OLDEST:
    names = [f"python3.{minor}" for minor in range(20, 10, -1)]
    newer = next(filter(shutil.which, names), "python3.12")
    sys.exit(
        "The Octo Step Engine needs Python 3.11 or newer; this is Python "
        f"{sys.version_info[0]}.{sys.version_info[1]} ({sys.executable}).\n"
        f"  Start it with a newer one: {newer} {sys.argv[0]}"
    )


def prepare(extras: str) -> Path:
    """Return the Python of `.venv`, with the project and its `extras` ("all,dev") installed.

    Does nothing, and needs no network, where they are installed already. Ends the program with a
    plain explanation (SystemExit) where they can't be installed. A kill at any instant leaves what
    the next call mends.
    """
    pyproject = (PROJECT / "pyproject.toml").read_bytes()
    wanted = {"project": str(PROJECT), "pyproject": hashlib.sha256(pyproject).hexdigest()}
    stamp = _read_stamp()
    usable = _runs_pip() and stamp.get("extras") != []
    installed = set(stamp.get("extras", [])) if usable else set()
    needed = installed | set(extras.split(","))
    if installed == needed and wanted.items() <= stamp.items():
        return PYTHON
    try:
        if not usable:
            _create()
        _install(",".join(sorted(needed)))
    except KeyboardInterrupt:
        sys.exit("\nInterrupted while installing. Start again: it mends what is unfinished.")
    _write_stamp({**wanted, "extras": sorted(needed)})
    return PYTHON


def run(arguments: Sequence[object]) -> int:
    """Run a command in the project's directory and return its exit code, as a shell does.

    Ctrl-C reaches the command by itself, and the command decides what it means: wait for it.
    """
    sys.stdout.flush()
    process = subprocess.Popen([str(argument) for argument in arguments], cwd=PROJECT)
    while True:
        try:
            return process.wait()
        except KeyboardInterrupt:
            continue


def _create() -> None:
    if VENV.exists() and not STAMP.exists():
        sys.exit(
            f"{VENV} is there, but its Python does not run, is older than 3.11 or has no pip.\n"
            "  This script did not make it and leaves it alone: delete it, then start again."
        )
    print(f"Making the environment {VENV} with Python {sys.version.split()[0]} ...", flush=True)
    try:
        if VENV.exists():
            shutil.rmtree(VENV)
        VENV.mkdir()
        _write_stamp({"extras": []})
    except OSError as error:
        sys.exit(f"{VENV} can't be made: {error}\n  May you write to this directory?")
    made = _run_quietly(sys.executable, "-m", "venv", VENV)
    if made.returncode:
        sys.exit(
            f"{_last_lines(made)}\n\n{sys.executable} can't make environments (see above).\n"
            "  Debian, Ubuntu: sudo apt install python3-venv, then start again.\n"
            "  Elsewhere: start again with a Python 3.11 or newer from python.org."
        )


def _install(extras: str) -> None:
    print("Installing what the project needs; a minute or so the first time ...", flush=True)
    options = ("--quiet", "--no-input", "--disable-pip-version-check")
    done = _run_quietly(PYTHON, "-m", "pip", "install", *options, "--editable", f".[{extras}]")
    if not done.returncode:
        return
    explanation = (
        "pip found no way to its package index.\n"
        "  Connect to the network (behind a proxy: set HTTPS_PROXY), then start again."
        if any(sign in done.stdout + done.stderr for sign in _SIGNS_OF_NO_NETWORK)
        else "pip could not install the project (see above).\n"
        f"  If starting again does not help, delete {VENV} first."
    )
    sys.exit(f"{_last_lines(done)}\n\n{explanation}")


_SIGNS_OF_NO_NETWORK = (
    "NewConnectionError",
    "ConnectTimeoutError",
    "ProxyError",
    "name resolution",
    "No matching distribution found",  # what is left to say when every connection has failed
)


def _run_quietly(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [str(argument) for argument in arguments]
    return subprocess.run(
        command, cwd=PROJECT, capture_output=True, text=True, errors="replace", check=False
    )


def _last_lines(done: subprocess.CompletedProcess[str]) -> str:
    return "\n".join((done.stdout + done.stderr).strip().splitlines()[-15:])


def _runs_pip() -> bool:
    probe = (
        "import importlib.util, sys\n"
        f"sys.exit(sys.version_info < {OLDEST} or importlib.util.find_spec('pip') is None)"
    )
    try:
        return _run_quietly(PYTHON, "-I", "-c", probe).returncode == 0
    except OSError:
        return False


def _read_stamp() -> dict[str, Any]:
    try:
        return dict(json.loads(STAMP.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return {}


def _write_stamp(stamp: dict[str, Any]) -> None:
    STAMP.write_text(json.dumps(stamp), encoding="utf-8")
