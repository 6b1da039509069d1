"""How a program ends: its exit code, and what people are told of what went wrong."""

from __future__ import annotations

import codecs
import io
import os
import sys

from octo_errors import OctoError, UsageError

TYPE_CHECKING = False  # as in typing, which is slow to load
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TextIO

EXIT_INTERRUPTED = 130
THREADS_MAY_TAKE_S = 2.0
NEEDED_BY_RECIPES = ("jinja2", "pydantic", "yaml")
"""Packages, beside those that the engine needs."""


def exit_code_of(command: Callable[[], int]) -> int:
    """Carry out a command, and return its exit code; whatever goes wrong has been told."""
    _open_standard_streams()
    escape_unknown_characters(sys.stdout, sys.stderr)
    code = _carry_out(command)
    if "octo_step_engine" in sys.modules:  # hooks may have been called
        _leave_in_spite_of_threads(code)
    return code


def _carry_out(command: Callable[[], int]) -> int:
    try:
        code = command()
        sys.stdout.flush()
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except BrokenPipeError:  # `history | head`: the reader has had enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 0
    except OctoError as error:
        return _told(error)
    except ModuleNotFoundError as error:
        return _told_missing(error)
    except OSError as error:
        return _told(_error_of_system(error))
    except Exception as error:
        # Python 3.11 makes a RuntimeError of an interrupt that comes while a class is made.
        return EXIT_INTERRUPTED if isinstance(error.__cause__, KeyboardInterrupt) else _told_bug()
    return code


def _leave_in_spite_of_threads(code: int) -> None:
    """Let no thread that a hook left behind keep this process from ending with `code`."""
    import threading
    import time

    main = threading.main_thread()
    left = [each for each in threading.enumerate() if not each.daemon and each is not main]
    if not left:
        return

    def leave() -> None:
        main.join()
        time.sleep(THREADS_MAY_TAKE_S)  # the idle threads of a pool end by themselves
        names = ", ".join(each.name for each in left if each.is_alive())
        sys.stderr.write(f"warning: hooks left threads running ({names}); ended without them\n")
        sys.stderr.flush()
        os._exit(code)

    threading.Thread(target=leave, name="octo-leave", daemon=True).start()


# --- what went wrong ------------------------------------------------------------------------------


def _told(error: OctoError) -> int:
    """Tell an error, and return the exit code for it."""
    sys.stderr.write(f"error: {error}\n")
    return error.exit_code


def _error_of_system(error: OSError) -> OctoError:
    """What to say of an error that no file has told of: it is the output's, or the directory's."""
    if error.filename is None and isinstance(error, FileNotFoundError) and _is_nowhere():
        return UsageError("the current directory is gone", hint="change to one that exists")
    place = error.filename or "the output can't be written"
    return OctoError(f"{place}: {error.strerror or error}")


def _is_nowhere() -> bool:
    try:
        os.getcwd()  # noqa: PTH109  (pathlib is slow to load)
    except FileNotFoundError:
        return True
    return False


def _told_bug() -> int:
    import traceback

    traceback.print_exc()
    hint = "please report it, with the above"
    return _told(OctoError("this is a bug in the Octo Step Engine", hint=hint))


def _told_missing(error: ModuleNotFoundError) -> int:
    """Say what this Python lacks, and how to come by it."""
    from importlib.util import find_spec
    from pathlib import Path

    from octo_launcher import NEEDED

    missing = [name for name in (*NEEDED, *NEEDED_BY_RECIPES) if find_spec(name) is None]
    if error.name not in missing:
        return _told_bug()
    message = f"{sys.executable} lacks what this program needs: {', '.join(missing)}"
    project = Path(__file__).resolve().parent.parent
    python = project / (".venv/Scripts/python.exe" if os.name == "nt" else ".venv/bin/python")
    if python.exists():
        hint = f"use the project's own Python: {python} {' '.join(sys.argv)}"
    elif (project / "scripts" / "quickstart.py").exists():
        hint = f"set the project up: {sys.executable} {project / 'scripts' / 'quickstart.py'}"
    else:
        hint = f"install it: {sys.executable} -m pip install octo-step-engine"
    return _told(UsageError(message, hint=hint))


# --- the standard streams -------------------------------------------------------------------------


def _open_standard_streams() -> None:
    """Make those that the caller has closed (`>&-`) lead nowhere: the next file must not be one."""
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(descriptor, True)
    os.close(descriptor)
    for name in ("stdin", "stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "r+", encoding="utf-8"))  # noqa: PTH123, SIM115


def escape_unknown_characters(*streams: TextIO) -> None:
    r"""Let them write characters that their encoding lacks as JSON escapes them, `\u00e9`.

    So text can be read, and a document in JSON stays one.
    """
    codecs.register_error("octo_json_escapes", _json_escapes)
    for stream in streams:
        if isinstance(stream, io.TextIOWrapper):  # what tests put in its place takes any character
            stream.reconfigure(errors="octo_json_escapes")


def _json_escapes(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    data = error.object[error.start : error.end].encode("utf-16-be", "surrogatepass")
    units = (data[at : at + 2].hex() for at in range(0, len(data), 2))
    return "".join(f"\\u{unit}" for unit in units), error.end
