"""The errors of the project: each leaf says what was wrong, where, and what to do next.

The tree:

    OctoError
        UsageError              a command or call that can't be carried out as given
        ParameterError
            ParameterFileError  the parameter file can't be read, parsed or written
            ParameterKeyError   no such group or key
            ParameterValueError a value that JSON can't hold, or that is not of the type needed
            ConflictError       a conditional update whose condition did not hold
            WaitTimeoutError    a parameter that did not get the awaited value in time
        LockTimeoutError        a lock stayed held by another for longer than the timeout
        LockFileError           a lock file that can't be opened or locked
        EngineBusyError         another engine runs this instance
        InstanceError           a directory that is no instance, or already is one
        InstanceFileError       a file or directory of an instance that can't be used
        LibraryError            a step library with problems; carries them all
        RecipeError             a recipe with problems; carries them all
        ScriptletError          a scriptlet that can't be registered or called as it was
        EventLogError           the event log can't be read or appended to
        IllegalMoveError        the machine was asked for a move that its table doesn't have
        GraphRenderError        a picture that can't be drawn here
"""

from __future__ import annotations

TYPE_CHECKING = False  # as in typing, which is slow to load
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any


class OctoError(Exception):
    """Base of every error that a user can cause or mend.

    Args:
        message: What was wrong and where, without a full stop at the end of the last line.
        hint: What to do next; empty when the message says it all.
        details: Facts for programs (path, line, holder, ...), kept in `details`.

    Errors are picklable, since they cross process borders. `exit_code` is what a command line of
    instances ends with; the parameter command line ends with 1 for all of them but usage.
    """

    exit_code = 1

    def __init__(self, message: str, *, hint: str = "", **details: Any) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.details = details

    def __str__(self) -> str:
        return "\n  ".join([self.message, *self.hint.splitlines()])

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (type(self), self.message, self.hint, self.details)


def _rebuild(kind: type[OctoError], message: str, hint: str, details: dict[str, Any]) -> OctoError:
    return kind(message, hint=hint, **details)


class UsageError(OctoError):
    exit_code = 2


class ParameterError(OctoError):
    pass


class ParameterFileError(ParameterError):
    pass


class ParameterKeyError(ParameterError):
    pass


class ParameterValueError(ParameterError):
    pass


class ConflictError(ParameterError):
    pass


class WaitTimeoutError(ParameterError):
    pass


class LockTimeoutError(OctoError):
    pass


class LockFileError(OctoError):
    pass


class EngineBusyError(OctoError):
    exit_code = 4


class InstanceError(OctoError):
    exit_code = 2


class InstanceFileError(OctoError):
    pass


class LibraryError(OctoError):
    exit_code = 2


class RecipeError(OctoError):
    exit_code = 2


class ScriptletError(OctoError):
    exit_code = 2


class EventLogError(OctoError):
    pass


class IllegalMoveError(OctoError):
    pass


class GraphRenderError(OctoError):
    pass


def file_error(kind: type[OctoError], path: str, what: str, error: OSError) -> OctoError:
    """The error that a file can't be `what`, since the system refuses it: why, and which file.

    That is told where it is another one than `path`, a temporary one say.
    """
    cause = error.strerror or str(error)
    if isinstance(error.filename, str) and error.filename != path:
        cause += f": {error.filename}"
    return kind(
        f"{path}: can't be {what}: {cause}",
        hint="look at the free space, at what lies there, and at who may write there",
        path=path,
        errno=error.errno,
    )


def did_you_mean(word: str, candidates: Iterable[str]) -> str:
    """The hint for a misspelt name: `did you mean 'x'?`, or the few names there are, or nothing."""
    names = [str(name) for name in candidates]
    if (near := nearest_hint(word, names)) or not 0 < len(names) <= 12:
        return near
    shown = (name if name.isprintable() else repr(name) for name in names)
    return f"there are: {', '.join(shown)}"


def nearest_hint(word: str, candidates: Iterable[str]) -> str:
    """The same where only names that are much like it are of help; else nothing."""
    near = near_names(word, candidates)
    return f"did you mean {' or '.join(map(repr, near))}?" if near else ""


def near_names(word: str, candidates: Iterable[str]) -> list[str]:
    """The names that a misspelt one may be meant for: the most alike, and those nearly as alike.

    Small letters and capitals are alike, and the dashes of options don't count.
    """
    import difflib  # only a mistake pays for it

    word, names = _compared(word), {_compared(name): name for name in candidates}
    near = difflib.get_close_matches(word, names, n=3, cutoff=0.6)
    likeness = {name: difflib.SequenceMatcher(None, name, word).ratio() for name in near}
    return [names[name] for name in near if likeness[name] > likeness[near[0]] - 0.1]


def _compared(name: str) -> str:
    return name.casefold().lstrip("-")


def count(number: int, what: str) -> str:
    """A number of things, as messages tell it: `1 step`, `2 steps`."""
    return f"{number} {what}{'' if number == 1 else 's'}"
