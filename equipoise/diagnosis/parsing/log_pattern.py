"""Reading of a log with a user's regular expression with named groups: one match is one row.

A regular expression can take time that grows exponentially with the length of a line. It is matched in another process,
which is ended if a block takes too long.
"""

import json
import math
import re
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence

from equipoise.core.printing import printable
from equipoise.diagnosis.logs.column_builder import ColumnBuilder
from equipoise.diagnosis.logs.log_columns import LogColumns
from equipoise.diagnosis.logs.log_file import LogFile
from equipoise.diagnosis.parsing.line_tokens import NumberForm, has_decimal_commas, parse_digits
from equipoise.errors import DataError

BLOCK_SECONDS = 10
"""Time for one block of about 1 MiB: a hundred times what an ordinary regular expression takes."""
SHOWN_LINES = 3
SHOWN_WIDTH = 100
_THOUSANDS = re.compile(r"[-+]?[1-9]\d{0,2}(?:,\d{3})+(?:\.\d+)?")
_MATCH_BLOCKS = """
import json, re, sys
pattern = re.compile(json.loads(sys.stdin.readline()), re.MULTILINE)
for block in sys.stdin:
    matches = [match.groupdict() for match in pattern.finditer(json.loads(block))]
    print(json.dumps(matches), flush=True)
"""


def read_with_pattern(file: LogFile, pattern: str) -> LogColumns:
    """Read a log with a regular expression; the names of its groups are the columns.

    Raises DataError if the pattern is invalid, has no named group, matches nothing that has a number, or takes too
    long.
    """
    names = _group_names(pattern)
    decimal_comma = has_decimal_commas(file.head)
    builder, examples, words_without_number = ColumnBuilder(), list[str](), 0
    for match in _matches(file, pattern):
        values = {name: _to_number(match[name], decimal_comma) for name in names}
        for name, value in values.items():
            if value is not None:
                builder.add(name, value)
        words_without_number += sum(value is None and bool(match[name]) for name, value in values.items())
        if len(examples) < SHOWN_LINES:
            examples.append(", ".join(f"{name} {match[name]}" for name in names))
        builder.end_row()
    columns = builder.build()
    if not columns:
        matched = f"matches {builder.row_count:,} times, but never a number" if builder.row_count else "matches nothing"
        raise DataError(
            f"the pattern '{printable(pattern)}' {matched} in {file.path}; its first lines are {_show(file)}"
        )
    notes = (
        (f"{words_without_number:,} words that the pattern matched are not numbers.",) if words_without_number else ()
    )
    return LogColumns("pattern", columns, builder.row_count, "match", notes=notes, examples=tuple(examples))


def _group_names(pattern: str) -> Sequence[str]:
    shown = printable(pattern)
    try:
        names = list(re.compile(pattern, re.MULTILINE).groupindex)
    except (re.error, RecursionError, OverflowError) as error:
        raise DataError(f"the pattern '{shown}' is not a regular expression: {error}; correct it") from error
    if not names:
        raise DataError(
            f"the pattern '{shown}' has no named group; write (?P<loss_d>\\S+) in the place of the number of loss_d"
        )
    return names


def _matches(file: LogFile, pattern: str) -> Iterator[dict[str, str | None]]:
    """Yield the groups of each match by their names."""
    command = [sys.executable, "-I", "-c", _MATCH_BLOCKS]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, encoding="ascii"
    ) as process:
        if process.stdin is None or process.stdout is None:  # both are pipes
            return
        try:
            process.stdin.write(json.dumps(pattern) + "\n")
            for text in file.text_blocks():
                limit = threading.Timer(BLOCK_SECONDS, process.kill)
                limit.start()
                try:
                    process.stdin.write(json.dumps(text) + "\n")
                    process.stdin.flush()
                    answer = process.stdout.readline()
                finally:
                    limit.cancel()
                if not answer:
                    raise BrokenPipeError
                yield from json.loads(answer)
        except BrokenPipeError as error:
            raise DataError(
                f"the pattern '{printable(pattern)}' takes more than {BLOCK_SECONDS} s for a part of {file.path}; "
                "avoid repetitions within repetitions such as (a+)+, and use \\S+ or [^,]* in the place of .*"
            ) from error
        finally:
            process.kill()


def _to_number(word: str | None, decimal_comma: bool) -> float | None:
    """Return the number in a word; None if it is none. A percent sign and brackets around it are ignored."""
    form: NumberForm = "comma" if decimal_comma else "plain"
    stripped = (word or "").strip(" \t%,;:[](){}'\"")
    value = parse_digits(stripped, "thousands" if _THOUSANDS.fullmatch(stripped) and not decimal_comma else form)
    return None if math.isnan(value) and stripped.lower().lstrip("+-") != "nan" else value


def _show(file: LogFile) -> str:
    lines = [printable(line.strip()) for line in file.head[:100_000].split("\n") if line.strip()][:SHOWN_LINES]
    return " | ".join(line if len(line) <= SHOWN_WIDTH else f"{line[:SHOWN_WIDTH]}…" for line in lines)
