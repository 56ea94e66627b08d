"""Parsing of numeric tables in text: separated by commas, semicolons, tabs or spaces, with or without a header."""

import re
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from equipoise.errors import DataError

LARGEST = float(np.finfo(np.float32).max)
SEPARATORS = (";", "\t", ",")
"""Separators, tried in this order; with the first two, a comma is a decimal point. Without them: whitespace."""
REMEDY = "repair the file, or remove it"

NumberedLine = tuple[int, str]
"""Number of a line in the file, from 1, and its text."""


class NumberTable(NamedTuple):
    """Numbers of a file. `values`: (rows, columns) float32, finite. `lines`: the line number of every row, from 1.

    `header`, `row_names`: whether names above the columns, or before the rows, were removed.
    """

    values: npt.NDArray[np.float32]
    lines: list[int]
    header: bool
    row_names: bool


def parse_table(content: bytes, name: str) -> NumberTable:
    """Parse the content of a file in UTF-8. Raises DataError, which names the file and the line.

    A header is a line without numbers, lines that start with #, or, above a square, the numbers 0, 1, 2, …, which
    pandas writes for unnamed columns. If it starts with an empty name, rows start with their names.
    """
    all_lines = _split_lines(content, name)
    lines = [line for line in all_lines if not line[1].startswith("#")]
    if not lines:
        raise DataError(f"{name} contains no numbers; {REMEDY}")
    separator = next((mark for mark in SEPARATORS if mark in lines[min(1, len(lines) - 1)][1]), None)
    names = _fields(_replace_decimal_commas(lines[0][1], separator), separator)
    header = len(lines) > 1 and _is_header(names, len(lines) - 1)
    row_names = header and separator is not None and names[0] == ""
    body = lines[1:] if header else lines
    texts = [text.partition(separator)[2] if row_names and separator else text for _, text in body]
    texts = [_replace_decimal_commas(text, separator) for text in texts]
    numbers = [number for number, _ in body]
    values = _numbers(texts, separator)
    if values is None:
        raise DataError(f"{name}, {_first_error(texts, numbers, separator)}; {REMEDY}")
    return NumberTable(values.astype(np.float32), numbers, header or len(lines) < len(all_lines), row_names)


def _split_lines(content: bytes, name: str) -> list[NumberedLine]:
    """Return the lines that are not empty."""
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise DataError(f"{name}, line {line}: not UTF-8 text; save the file as CSV in UTF-8") from error
    if "\0" in text:
        raise DataError(f"{name}, line 1: not UTF-8 text; save the file as CSV in UTF-8")
    lines = [(number, line) for number, line in enumerate(re.split(r"\r\n|\n|\r", text), 1) if line.strip()]
    if not lines:
        raise DataError(f"{name} is empty; {REMEDY}")
    return lines


def _replace_decimal_commas(text: str, separator: str | None) -> str:
    """Replace decimal commas by decimal points."""
    return text if separator == "," else text.replace(",", ".")


def _fields(line: str, separator: str | None) -> list[str]:
    return [field.strip() for field in line.split(separator)]


def _is_header(names: list[str], rows: int) -> bool:
    """Return whether the first line names the columns of a table with this number of rows."""
    if names[0] == "" and len(names) > 1:
        names = names[1:]
        rows = len(names)  # An empty name above row names suffices: only pandas writes it.
    is_numbered = rows == len(names) and names == [str(column) for column in range(rows)]
    return is_numbered or not any(field == "" or _is_number(field) for field in names)


def _is_number(field: str) -> bool:
    """Return whether a field is a number, finite or not."""
    try:
        float(field)
    except ValueError:
        return False
    return field.isascii() and "_" not in field


def _numbers(texts: list[str], separator: str | None) -> npt.NDArray[np.float64] | None:
    """Parse lines to (rows, columns) float64; None if a line is invalid."""
    try:
        values = np.loadtxt(texts, delimiter=separator, dtype=np.float64, ndmin=2, comments=None)
    except ValueError:
        return None
    return values if bool((np.abs(values) <= LARGEST).all()) else None  # False for NaN too.


def _first_error(texts: list[str], numbers: list[int], separator: str | None) -> str:
    """Describe the first invalid line."""
    columns = len(_fields(texts[0], separator))
    for number, text in zip(numbers, texts, strict=True):
        fields = _fields(text, separator)
        for column, field in enumerate(fields, 1):
            if problem := _field_error(field):
                return f"line {number}: value {column} {problem}"
        if len(fields) != columns:
            return f"line {number}: {len(fields)} values instead of {columns} as in line {numbers[0]}"
    raise AssertionError("numpy cannot read what Python can")


def _field_error(field: str) -> str | None:
    if field == "":
        return "is missing"
    if not _is_number(field):
        return f"is '{field[:20]}', which is not a number"
    if not abs(float(field)) <= LARGEST:
        return f"is {field[:20]}, which is not finite, or larger than {LARGEST:.1e}"
    return None
