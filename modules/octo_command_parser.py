"""What command lines are made with: a parser whose mistakes are UsageErrors, commands by name."""

from __future__ import annotations

import argparse
import os
import re
import sys

from octo_errors import UsageError, did_you_mean
from octo_typed_commands import started_command
from octo_version import VERSION

TYPE_CHECKING = False  # as in typing, which is slow to load
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any, NoReturn


def program_name() -> str:
    """What the user has started."""
    return os.path.basename(sys.argv[0])  # noqa: PTH119  (pathlib is slow to load)


class Parser(argparse.ArgumentParser):
    """A parser that raises UsageError, and takes no abbreviations."""

    def __init__(self, **options: Any) -> None:
        formatter = argparse.RawDescriptionHelpFormatter
        super().__init__(allow_abbrev=False, formatter_class=formatter, **options)
        # What looks so is a value and no option. Before Python 3.14, `-1e5` doesn't.
        self._negative_number_matcher = re.compile(r"-\.?\d")

    def add_version(self) -> None:
        """Let `--version` tell the version: an option of programs, and not of their commands."""
        self.add_argument("--version", action="version", version=f"%(prog)s {VERSION}")

    def parse_words(self, words: Sequence[str]) -> argparse.Namespace:
        """What the words say; options may stand between arguments: `INSTANCE --no-wait NODE`.

        Raises:
            UsageError: They don't fit; says the nearest right names.
        """
        parsed, extra = self.parse_known_intermixed_args(words)
        if extra:
            self.refuse(extra[0].partition("=")[0])
        return parsed

    def error(self, message: str) -> NoReturn:
        """Raise UsageError."""
        raise UsageError(message, hint=self._see_help())

    def refuse(self, word: str) -> NoReturn:
        """Raise UsageError for a word that no option or argument of this parser takes."""
        if not word.startswith("-") or word in self._option_string_actions:  # after a `--`
            self.error(f"one word too many: {word!r}")
        options = [name for name in self._option_string_actions if name.startswith("--")]
        hint = did_you_mean(word, options) or self._see_help()
        raise UsageError(f"{self.prog} has no option {word!r}", hint=hint)

    def _see_help(self) -> str:
        command = self.prog.split()[1:]
        return f"see: {started_command(*command, '--help')}"


class Commands:
    """The commands of a program. To start fast, only the parser of the one at hand is made.

    Args:
        table: Name -> a line that says what the command does, perhaps more about it in the lines
            below, and what adds its options to a parser.
        usage: What follows the name of the program in its usage.
        description: Of the program.
        epilog: What `--help` ends with.
        others: Words that people type, and that are no commands of this program -> what to do.
    """

    def __init__(
        self,
        table: Mapping[str, tuple[str, Callable[[Parser], None]]],
        *,
        usage: str,
        description: str,
        epilog: str,
        others: Mapping[str, str] | None = None,
    ) -> None:
        self._table = table
        self._usage = usage
        self._description = description
        self._epilog = epilog
        self._others = others or {}

    def parse(self, words: Sequence[str]) -> argparse.Namespace:
        """The parsed command line; `command` names the command.

        Raises:
            UsageError: It doesn't fit the grammar; says the nearest right names.
        """
        if not words:
            raise UsageError("a command is missing", hint=f"one of: {', '.join(self._table)}")
        name, *rest = words
        if name.startswith("-"):
            self.parser().parse_args([name])  # --help ends here
        if name not in self._table:
            raise UsageError(f"no command {name!r}", hint=self._right_words(name, rest))
        parser = Parser(prog=f"{program_name()} {name}", description=self._about(name))
        self._table[name][1](parser)
        parsed = parser.parse_words(rest)
        parsed.command = name
        return parsed

    def parser(self) -> Parser:
        """The parser of all commands, for `--help` and the man page."""
        program = program_name()
        parser = Parser(
            prog=program,
            usage=f"%(prog)s {self._usage}",  # argparse would end it in ` ...`
            description=self._description,
            epilog=self._epilog,
        )
        parser.add_version()
        group = parser.add_subparsers(
            prog=program, dest="command", metavar=self._usage, title="commands"
        )
        for name, (summary, add_options) in self._table.items():
            command = group.add_parser(
                name, help=summary.partition("\n")[0], description=self._about(name)
            )
            add_options(command)
        return parser

    def _right_words(self, name: str, rest: Sequence[str]) -> str:
        """What to type instead of a command that there is not, with the words after it."""
        for place, word in enumerate(rest):
            if word in self._table:
                words = [word, name, *rest[:place], *rest[place + 1 :]]
                return f"the command comes first: {started_command(*words)}"
        if name == "help":
            return f"see: {started_command('--help')}"
        near = self._others.get(name) or did_you_mean(name, self._table)
        return near or f"the commands are: {', '.join(self._table)}"

    def _about(self, name: str) -> str:
        summary, _, more = self._table[name][0].partition("\n")
        return f"{summary[0].upper()}{summary[1:]}." + (f"\n\n{more}" if more else "")


# --- the types of arguments -----------------------------------------------------------------------


def name(text: str) -> str:
    """The name of something. An empty one, as of an unset variable in a shell, is not `.`."""
    if not text:
        raise argparse.ArgumentTypeError("'' names nothing")
    return text


def seconds(text: str) -> float:
    """A span of time; it may be infinite."""
    try:
        value = float(text)
    except ValueError:
        value = -1
    if not value >= 0:  # neither is NaN
        raise argparse.ArgumentTypeError(f"{text!r} is no number of seconds, 0 or more")
    return value


def positive(text: str) -> int:
    """A whole number above 0; one that no count can reach is as good as the greatest that can."""
    number = int(text) if text.isdecimal() else 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number above 0")
    return min(number, sys.maxsize)


def one_of(choices: Sequence[str]) -> Callable[[str], str]:
    """What takes one of these words."""

    def check(text: str) -> str:
        if text not in choices:
            hint = did_you_mean(text, choices)
            raise argparse.ArgumentTypeError(f"{text!r} is none of {choice(choices)}; {hint}")
        return text

    return check


def choice(choices: Sequence[str]) -> str:
    """The words to choose from, as `--help` shows them."""
    return "{" + ",".join(choices) + "}"
