"""What all commands share of their arguments, and one line for what cannot be understood.

argparse alone: see docs/decisions/0001-argparse.md. Nothing here imports torch.
"""

import argparse
from collections.abc import Callable, Sequence
from typing import NoReturn

from equipoise.errors import EquipoiseError, SettingError, nearest


class UsageError(EquipoiseError):
    """The command line cannot be understood."""


class Parser(argparse.ArgumentParser):
    """An argument parser that raises one line for people instead of printing usage and leaving."""

    def error(self, message: str) -> NoReturn:
        """Called by argparse, which words it well but for unknown flags."""
        raise UsageError(f"{message}; see {self.prog} --help")


def parser(command: str, summary: str, add_arguments: Callable[[Parser], None]) -> Parser:
    """The parser of one command."""
    made = Parser(prog=f"equipoise {command}", description=summary, allow_abbrev=False)
    add_arguments(made)
    return made


def parse(made: Parser, words: Sequence[str]) -> argparse.Namespace:
    """Read the words after the command. Raises UsageError, with the nearest flag for one that does not exist."""
    result, unknown = made.parse_known_args(words)
    if unknown:
        flags = [flag for action in made._actions for flag in action.option_strings if flag.startswith("--")]
        wrong = next((word for word in unknown if word.startswith("-")), unknown[0])
        offer = nearest(wrong.partition("=")[0], flags) if wrong.startswith("-") else ""
        raise UsageError(f"{made.prog} does not take '{wrong}'{offer}")
    return result


def json_flag(made: Parser) -> None:
    """Answers that a program can read."""
    made.add_argument("--json", action="store_true", help="answer in JSON")


def pairs(words: Sequence[str], flag: str) -> dict[str, str]:
    """`name=value` words as a mapping. Raises SettingError for a word without an equals sign."""
    result = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not equals or not name:
            raise SettingError(f"{flag} takes name=value, not '{word}'")
        result[name.strip()] = value.strip()
    return result
