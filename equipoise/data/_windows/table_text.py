"""Text of tables: its encoding, the separator of fields, lines that are no rows, and numbers as people write them."""

import csv
import io
import re
from collections.abc import Sequence
from typing import NamedTuple

from equipoise.data._windows.columns import DATE_OR_TIME, is_missing, is_number
from equipoise.errors import DataError

REMEDY = "repair the file, or remove it"
SEPARATORS = (";", "\t", "|", ",")
"""Separators, tried in this order; a comma is a decimal point with all but the last. Without them: whitespace."""
SAMPLED = 20
"""Number of lines from which the separator is found."""
MAX_HEADER = 5
"""Largest number of lines of a header, such as those of names and of units."""
MAX_PREAMBLE = 40
"""Largest number of lines before the header."""

_SIGNS = r"$€£¥"
_SPACES = "'’\u00a0\u202f "
FORMATTED = re.compile(
    rf"\([^()\n]*\d\)|\"[^\"\n,]*\d,\d|\d ?[%{_SIGNS}]|[{_SIGNS}] ?\d|\d[{_SPACES[:-1]}]\d{{3}}(?!\d)|\u2212\d",
    re.ASCII,
)
"""What shows that a table has numbers with separated thousands, quoted decimal commas, currencies or percentages."""
GROUPED = re.compile(
    r"\d\.\d{3},\d|\d,\d{3}\.\d|\d,\d{3},\d{3}(?!\d)|\d\.\d{3}\.\d{3}(?![\d.])|\d \d{3}(?!\d)", re.ASCII
)
"""What shows separated thousands in tables whose fields are not separated by commas or spaces."""
NUMBER = re.compile(
    rf"([+-]?) ?[{_SIGNS}]? ?([+-]?(?:\d{{1,3}}(?:([.,{_SPACES}])\d{{3}}(?:\3\d{{3}})*)?|\d*)(?:[.,]\d+)?)"
    rf"(e[+-]?\d+)? ?[%{_SIGNS}]?",
    re.ASCII | re.IGNORECASE,
)
COMMA_IS_DECIMAL = re.compile(r"[+-]?(\d{1,3}(\.\d{3})+,\d+|\d{1,3}(\.\d{3}){2,}|\d+,(\d{1,2}|\d{4,}))", re.ASCII)
POINT_IS_DECIMAL = re.compile(r"[+-]?(\d{1,3}(,\d{3})+\.\d+|\d{1,3}(,\d{3}){2,}|\d+\.(\d{1,2}|\d{4,}))", re.ASCII)

NumberedLine = tuple[int, str]
"""Number of a line in the file, from 1, and its text."""


class TableLines(NamedTuple):
    """The lines of a table. `separator`: of the fields of rows, None for whitespace. `names`: of the header, or empty.

    `rows`: lines that are rows, with decimal points. `comments`: whether there are lines that start with #. `more`:
    number of lines of the header after the first, and of lines before it.
    """

    separator: str | None
    names: tuple[str, ...]
    rows: list[NumberedLine]
    comments: bool
    more: int


def read_lines(content: bytes, name: str) -> TableLines:
    """Separate the header of a table from its rows. Raises DataError for a file without rows, or that is no text."""
    every = _split_lines(content, name)
    lines = [line for line in every if not line[1].startswith("#")]
    chosen = None
    if len(lines) > 1 and re.fullmatch(r'"?sep=.(?:"|)', lines[0][1].strip("\r\n"), re.IGNORECASE):
        chosen, lines = lines[0][1].strip('"\r\n')[4], lines[1:]  # Spreadsheets write this line.
    if not lines:
        raise DataError(f"{name} contains no numbers; {REMEDY}")
    separator = chosen or _find_separator([text for _, text in lines])
    first, names, start = _find_header(lines, separator)
    rows, separator = _plain_numbers(lines[start:], separator)
    return TableLines(separator, names, rows, len(lines) < len(every), first + max(0, start - first - 1))


def split_fields(line: str, separator: str | None) -> list[str]:
    """Split a line into fields; those in double quotes may contain the separator."""
    if '"' in line and separator is not None:
        return [field.strip() for field in next(csv.reader(io.StringIO(line), delimiter=separator))]
    return [field.strip().strip('"') for field in line.split(separator)]


def _split_lines(content: bytes, name: str) -> list[NumberedLine]:
    """Return the lines that are not empty."""
    text = _decode(content, name)
    lines = [(number, line) for number, line in enumerate(re.split(r"\r\n|\n|\r", text), 1) if line.strip()]
    if not lines:
        raise DataError(f"{name} is empty; {REMEDY}")
    return lines


def _decode(content: bytes, name: str) -> str:
    """Decode UTF-8, UTF-16 with a byte order mark, or Windows-1252, which spreadsheets write."""
    is_wide = content[:2] in (b"\xff\xfe", b"\xfe\xff")
    for encoding in ("utf-16",) if is_wide else ("utf-8-sig", "cp1252"):
        try:
            text = content.decode(encoding)
        except UnicodeDecodeError:
            continue
        if "\0" not in text:
            return text
    line = content[: content.find(b"\0")].count(b"\n") + 1
    raise DataError(f"{name}, line {line}: not UTF-8 text; save the file as CSV in UTF-8")


def _find_separator(lines: Sequence[str]) -> str | None:
    """Return the first separator that all of some lines have outside of quotes, else that of the one in the middle."""
    body = lines[len(lines) // 3 :]
    sample = [re.sub(r'"[^"]*"', '""', line) for line in body[:: max(1, len(body) // SAMPLED)]]
    everywhere = (mark for mark in SEPARATORS if all(mark in line for line in sample))
    middle = (mark for mark in SEPARATORS if mark in sample[len(sample) // 2])
    separator = next(everywhere, next(middle, None))
    is_one_column = separator == "," and "," not in lines[0] and not is_number(lines[0].strip())
    if is_one_column and all(re.fullmatch(r"\s*[+-]?\d*,\d+\s*", line) for line in lines[1:]):
        return None  # One column with decimal commas.
    return separator


def _find_header(lines: Sequence[NumberedLine], separator: str | None) -> tuple[int, tuple[str, ...], int]:
    """Return the position of the header, its names, which are empty without one, and the position of the first row.

    Without a header, both positions are the same.
    """
    middle = split_fields(lines[(len(lines) + 1) // 2 if len(lines) > 2 else -1][1], separator)
    head = [split_fields(text, separator) for _, text in lines[:MAX_PREAMBLE]]
    fitting = (i for i, row in enumerate(head) if len(row) == len(middle) or _width(row) == _width(middle))
    first = next(fitting, 0)
    if first == 1 and len(head[0]) == len(middle) - 1 and _is_header(head[0], 0) and not _is_header(head[1], 0):
        return 0, ("", *head[0]), 1  # Names of rows without a name of their own, as R writes them.
    has_header = len(lines) > first + 1 and _is_header(_points(head[first], separator), len(lines) - first - 1)
    if first and not has_header and any(is_number(field) for row in head[:first] for field in row):
        first, has_header = 0, False  # Numbers that are no rows: the line is reported.
    if not has_header and first and _is_header(_points(head[first - 1], separator), 0):
        return first - 1, tuple(head[first - 1]), first
    if not has_header:
        return first, (), first
    start = first + 1
    for row in head[start : start + MAX_HEADER - 1]:
        if not _describes(_points(row, separator), _points(middle, separator)):
            break
        start += 1
    return first, tuple(head[first]), start if start < len(lines) else first + 1


def _points(fields: list[str], separator: str | None) -> list[str]:
    """Replace decimal commas by decimal points."""
    return fields if separator == "," else [field.replace(",", ".") for field in fields]


def _width(fields: Sequence[str]) -> int:
    """Return the number of fields without empty ones at the end, which a separator at the end of lines makes."""
    return max((index + 1 for index, field in enumerate(fields) if field), default=0)


def _is_header(names: Sequence[str], rows: int) -> bool:
    """Return whether the first line names the columns of a table with this number of rows."""
    width = max(1, _width(names))
    names = names[:width]
    if names[0] == "" and len(names) > 1:
        names = names[1:]
        rows = len(names)  # An empty name above row names suffices: only pandas writes it.
    is_numbered = rows == len(names) and list(names) == [str(column) for column in range(rows)]
    is_unnamed = any(field == "" or is_number(field) or is_missing(field) for field in names)
    is_value = any(NUMBER.fullmatch(field) and field[-1:].isdigit() for field in names)
    return is_numbered or not (is_unnamed or is_value or DATE_OR_TIME.fullmatch(names[0]))


def _describes(fields: Sequence[str], row: Sequence[str]) -> bool:
    """Return whether a line below the names describes them, as units do: texts above numbers and dates only."""
    texts = [index for index, field in enumerate(fields) if not is_missing(field) and index < len(row)]
    if not texts or any(is_number(fields[i]) or _is_value(fields[i]) for i in texts):
        return False
    return any(_is_value(row[i]) for i in range(len(row))) and all(_is_value(row[i]) or not row[i] for i in texts)


def _is_value(field: str) -> bool:
    """Return whether a field is a number, as people write it, or a date."""
    is_written = any(sign.isdigit() for sign in field) and NUMBER.fullmatch(field) is not None
    return is_number(field) or is_written or DATE_OR_TIME.fullmatch(field) is not None


def _plain_numbers(lines: list[NumberedLine], separator: str | None) -> tuple[list[NumberedLine], str | None]:
    """Return rows whose numbers have a decimal point and no other marks, and the separator of their fields."""
    text = "\n".join(line for _, line in lines)
    if not FORMATTED.search(text) and (separator in (",", None) or not GROUPED.search(text)):
        return (lines if separator == "," else [(n, line.replace(",", ".")) for n, line in lines]), separator
    rows = [split_fields(line, separator) for _, line in lines]
    values = [field.strip(f"%{_SIGNS} ") for row in rows for field in row]
    commas = sum(COMMA_IS_DECIMAL.fullmatch(value) is not None for value in values)
    points = sum(POINT_IS_DECIMAL.fullmatch(value) is not None for value in values)
    decimal = "," if commas > points or (commas == points and separator != ",") else "."
    plain = ["\t".join(_plain(field, decimal).replace("\t", " ") for field in row) for row in rows]
    return [(number, row) for (number, _), row in zip(lines, plain, strict=True)], "\t"


def _plain(field: str, decimal: str) -> str:
    """Return a number as Python writes it; other fields unchanged. `decimal`: the decimal point of the table."""
    text = field.replace("\u2212", "-")
    if (inner := re.fullmatch(r"[$€£¥]?\(([^()]+)\)", text)) is not None:
        text = f"-{inner[1]}"  # Negative numbers of accounts.
    match = NUMBER.fullmatch(text)
    if match is None or not any(sign.isdigit() for sign in field):
        return field
    sign, digits, mark, exponent = match.groups(default="")
    if mark and (mark != decimal or digits.count(mark) > 1):
        digits = digits.replace(mark, "")
    return sign + digits.replace(",", ".") + exponent
