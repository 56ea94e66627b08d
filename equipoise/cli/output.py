"""Printing of results and errors, the exit codes of all commands, and output streams that survive any text."""

import argparse
import codecs
import enum
import io
import json
import math
import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from equipoise.core.printing import printable

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

FAILURE, USAGE_ERROR, UNHEALTHY, INTERRUPTED = 1, 2, 3, 130
"""Exit codes. 1: an unexpected error. 2: an error that the user can correct. 3: a run ended unhealthy, or a run of a
comparison failed. 130: interrupted by Ctrl-C, SIGTERM or SIGHUP. 0 means success."""

ASCII_FORMS = {
    **{"→": "->", "−": "-", "–": "-", "—": "-", "×": "x", "…": "...", "·": "|", "±": "+/-", "≥": ">=", "≤": "<="},
    **{"↓": "v", "↑": "^", "²": "^2", "½": "1/2", "•": "*", "“": '"', "”": '"', "‘": "'", "’": "'"},
}
"""What is printed for the characters of messages where the encoding of the output lacks them; "?" for all others."""


class Verbosity(enum.Enum):
    """How much a command prints in addition to its result."""

    QUIET = "quiet"
    NORMAL = "normal"
    VERBOSE = "verbose"


def verbosity_of(args: argparse.Namespace) -> Verbosity:
    """Return the verbosity that the flags request; --json prints the result alone."""
    if args.json or args.quiet:
        return Verbosity.QUIET
    return Verbosity.VERBOSE if args.verbose else Verbosity.NORMAL


def print_result(as_json: bool, result: object, text: str | Sequence[str]) -> None:
    """Print `text`, or `result` as one line of JSON. In a sequence each text is a line: its line breaks are escaped."""
    lines = printable(text, keep="\n") if isinstance(text, str) else "\n".join(map(printable, text))
    print(json.dumps(without_non_finite(result), allow_nan=False) if as_json else lines)


def without_non_finite(value: object) -> object:
    """Replace NaN and infinity, which JSON lacks, by None, anywhere in a result."""
    if isinstance(value, dict):
        return {key: without_non_finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [without_non_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def print_error(message: str, code: int = USAGE_ERROR, *, as_json: bool = False) -> int:
    """Print an error in one line on standard error, or as JSON on standard output; return the exit code."""
    if as_json:
        print(json.dumps({"error": message, "exit_code": code}))
    else:
        print(f"equipoise: {printable(message)}", file=sys.stderr)
    return code


def prepare_streams() -> None:
    """Make standard output and standard error usable if they are closed, or their encoding lacks characters.

    A closed stream is replaced by the null device, so that no file takes its number. Standard error may be closed while
    a command runs, such as by a terminal that disappears: its text is dropped then, and the command continues.
    """
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(descriptor, True)
    os.close(descriptor)
    codecs.register_error("ascii_forms", _replace_characters)
    if sys.stdout is None:
        sys.stdout = io.TextIOWrapper(io.FileIO(1, "w", closefd=False), encoding="utf-8")
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="ascii_forms")
    encoding = sys.stderr.encoding if sys.stderr else "utf-8"
    buffer = io.BufferedWriter(_LossyFile(2, "w", closefd=False))
    sys.stderr = io.TextIOWrapper(buffer, encoding, "ascii_forms", line_buffering=True, write_through=True)


def discard_output() -> None:
    """Send what is still written to standard output to the null device: its reader has closed it."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


class _LossyFile(io.FileIO):
    """A file that drops what cannot be written."""

    def write(self, content: "ReadableBuffer") -> int:
        try:
            return super().write(content)
        except OSError:
            return memoryview(content).nbytes


def _replace_characters(error: UnicodeError) -> tuple[str, int]:
    """Replace characters that an encoding lacks: the error function of the codec, see ``codecs.register_error``."""
    assert isinstance(error, UnicodeEncodeError)
    text = "".join(_ascii_form(character) for character in error.object[error.start : error.end])
    return text, error.end


def _ascii_form(character: str) -> str:
    escaped = printable(character)
    return escaped if escaped != character else ASCII_FORMS.get(character, "?")
