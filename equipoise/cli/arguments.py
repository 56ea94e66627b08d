"""Arguments shared by all commands, and errors of the command line in one line.

Based on argparse alone: see docs/decisions/0001-argparse.md. Nothing in this module imports torch.
"""

import argparse
from collections.abc import Callable, Sequence
from typing import NoReturn

from equipoise.errors import EquipoiseError, SettingError, nearest


class UsageError(EquipoiseError):
    """The command line cannot be parsed."""


class Parser(argparse.ArgumentParser):
    """An argument parser that raises an error of one line instead of printing the usage and exiting."""

    def error(self, message: str) -> NoReturn:
        """Raise UsageError; called by argparse."""
        raise UsageError(f"{message}; see {self.prog} --help")


def make_parser(command: str, summary: str, add_arguments: Callable[[Parser], None]) -> Parser:
    """Create the parser of one command."""
    parser = Parser(prog=f"equipoise {command}", description=summary, allow_abbrev=False)
    add_arguments(parser)
    return parser


def parse(parser: Parser, words: Sequence[str]) -> argparse.Namespace:
    """Parse the words after the command. Raises UsageError, which suggests the most similar flag for an unknown one."""
    result, unknown = parser.parse_known_args(words)
    if unknown:
        flags = [flag for action in parser._actions for flag in action.option_strings if flag.startswith("--")]
        wrong = next((word for word in unknown if word.startswith("-")), unknown[0])
        suggestion = nearest(wrong.partition("=")[0], flags) if wrong.startswith("-") else ""
        raise UsageError(f"{parser.prog} does not take '{wrong}'{suggestion}")
    return result


def add_json_flag(parser: Parser) -> None:
    """Add the flag --json, for results that a program can read."""
    parser.add_argument("--json", action="store_true", help="print the result as JSON")


def parse_pairs(words: Sequence[str], flag: str) -> dict[str, str]:
    """Parse `name=value` words into a mapping. Raises SettingError for a word without an equals sign."""
    result = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not equals or not name:
            raise SettingError(f"{flag} takes name=value, not '{word}'")
        result[name.strip()] = value.strip()
    return result
