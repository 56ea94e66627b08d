"""Arguments that commands share, and one-line messages for errors in them.

Based on argparse alone: see docs/decisions/0001-argparse.md. Nothing in this module imports torch.
"""

import argparse
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from equipoise.errors import EquipoiseError, SettingError, nearest


class UsageError(EquipoiseError):
    """The command line cannot be parsed."""


class Parser(argparse.ArgumentParser):
    """An argument parser that raises an error of one line instead of printing the usage and exiting."""

    def error(self, message: str) -> NoReturn:
        """Raise UsageError; called by argparse."""
        raise UsageError(f"{message}; see {self.prog} --help")


def make_parser(
    command: str, summary: str, add_arguments: Callable[[Parser], None], examples: Sequence[str] = ()
) -> Parser:
    """Create the parser of one command. `examples`: commands at the end of its help."""
    parser = Parser(
        prog=f"equipoise {command}",
        description=summary,
        epilog="\n  ".join(("examples:", *examples)) if examples else None,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add_arguments(parser)
    return parser


def parse(parser: Parser, words: Sequence[str]) -> argparse.Namespace:
    """Parse the words after the command, and keep them as `words`.

    Raises UsageError; for an unknown flag it suggests the most similar one.
    """
    result, unknown = parser.parse_known_args(words)
    if unknown:
        flags = [flag for action in parser._actions for flag in action.option_strings if flag.startswith("--")]
        wrong = next((word for word in unknown if word.startswith("-")), unknown[0])
        suggestion = nearest(wrong.partition("=")[0], flags) if wrong.startswith("-") else ""
        raise UsageError(f"unknown argument '{wrong}'{suggestion or f'; see {parser.prog} --help'}")
    _require_not_empty(parser, result)
    result.words = tuple(words)
    return result


def _require_not_empty(parser: Parser, args: argparse.Namespace) -> None:
    """Raise UsageError for an argument without a single character: the current folder is named with "."."""
    for action in parser._actions:
        value = getattr(args, action.dest, None)
        if isinstance(value, str) and not value.strip():
            name = action.option_strings[0] if action.option_strings else action.metavar or action.dest
            raise UsageError(f"{name} is empty; give it a value or omit it; see {parser.prog} --help")


def add_json_flag(parser: Parser) -> None:
    """Add the flag --json, for results that a program can read."""
    parser.add_argument(
        "--json", action="store_true", help="print the result, or the error, as one line of JSON and nothing else"
    )


def add_output_flags(parser: Parser) -> None:
    """Add the flags of commands that take long: --verbose, --quiet and --json."""
    group = parser.add_mutually_exclusive_group()
    group.add_argument("--verbose", action="store_true", help="print every change of a knob, and more details")
    group.add_argument("--quiet", action="store_true", help="print nothing but errors and the result")
    add_json_flag(parser)


def number_or_text(text: str) -> int | str:
    """Return a whole number, or the text if it is none, such as 64x96."""
    return int(text) if text.removeprefix("-").isdecimal() else text


def output_folder(text: str | None) -> Path | None:
    """Return the folder that --out names; None without the flag."""
    return None if text is None else Path(text).expanduser()


def parse_pairs(words: Sequence[str], flag: str) -> dict[str, str]:
    """Parse `name=value` words into a mapping.

    Raises SettingError for a word without an equals sign, and for a name that is given two values.
    """
    result: dict[str, str] = {}
    for word in words:
        name, equals, value = (part.strip() for part in word.partition("="))
        if not equals or not name:
            raise SettingError(f"{flag} takes name=value, not '{word}'")
        if result.setdefault(name, value) != value:
            raise SettingError(f"{flag} sets {name} twice, to {result[name]} and to {value}; remove one of them")
    return result


if TYPE_CHECKING:
    from equipoise.inference.latent_space import SampleId


def parse_sample_ids(text: str, seed: int, flag: str) -> "list[SampleId]":
    """Parse "3,17,5/22": samples 3 and 17 of `seed`, and 22 of seed 5. Raises SettingError for anything else."""
    from equipoise.inference.latent_space import SampleId

    result = []
    for word in text.split(","):
        first, slash, second = word.strip().partition("/")
        numbers = (first, second) if slash else (str(seed), first)
        if not all(number.isascii() and number.isdigit() for number in numbers):
            raise SettingError(
                f"{flag} takes sample numbers, such as 3,17, or 5/3 for sample 3 of seed 5, not '{word}'"
            )
        result.append(SampleId(*map(int, numbers)))
    return result


def output_path(out: str, extensions: Collection[str]) -> Path:
    """Return the path of an output file. Raises SettingError if its extension is not one of these."""
    path = Path(out)
    if path.suffix.lower() not in extensions:
        raise SettingError(
            f"{path.name} has no supported extension; use a file name ending in {' or '.join(extensions)}"
        )
    return path


def write_file(path: Path, content: bytes) -> None:
    """Write a file atomically, and create its folder if necessary."""
    from equipoise.runs.artifacts import write_bytes

    path.parent.mkdir(parents=True, exist_ok=True)
    write_bytes(path, content)
