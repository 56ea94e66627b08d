"""Tables of numbers in text: commas, semicolons, tabs or blanks between them, names above them or none."""

import re
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from equipoise.errors import DataError

LARGEST = float(np.finfo(np.float32).max)
SEPARATORS = (";", "\t", ",")
"""Looked for in this order; where the first two part numbers, a comma is a decimal point. Without any, blanks do."""
WAY_OUT = "mend that file, or move it out"

Line = tuple[int, str]
"""Its number in the file, from 1, and its text."""


class Table(NamedTuple):
    """`values`: (rows, columns) float32, finite. `lines`: the line of every row, from 1.

    `header`, `row_names`: whether names stood above the columns, or before the rows, and were left out.
    """

    values: npt.NDArray[np.float32]
    lines: list[int]
    header: bool
    row_names: bool


def parsed(content: bytes, name: str) -> Table:
    """The table in the content of a file, in UTF-8. Raises DataError, naming the file and the line.

    A header is a line without a number, or lines that begin with #, or, above a square, the numbers 0, 1, 2, …, which
    pandas writes where columns have no names. Where it begins with an empty name, names of rows come first.
    """
    whole = _lines(content, name)
    lines = [line for line in whole if not line[1].startswith("#")]
    if not lines:
        raise DataError(f"{name} holds no numbers; {WAY_OUT}")
    separator = next((mark for mark in SEPARATORS if mark in lines[min(1, len(lines) - 1)][1]), None)
    names = _fields(_pointed(lines[0][1], separator), separator)
    header = len(lines) > 1 and _is_header(names, len(lines) - 1)
    row_names = header and separator is not None and names[0] == ""
    body = lines[1:] if header else lines
    texts = [text.partition(separator)[2] if row_names and separator else text for _, text in body]
    texts = [_pointed(text, separator) for text in texts]
    numbers = [number for number, _ in body]
    values = _numbers(texts, separator)
    if values is None:
        raise DataError(f"{name}, {_first_fault(texts, numbers, separator)}; {WAY_OUT}")
    return Table(values.astype(np.float32), numbers, header or len(lines) < len(whole), row_names)


def _lines(content: bytes, name: str) -> list[Line]:
    """The lines that are not blank."""
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise DataError(f"{name}, line {line}: this is no text in UTF-8; save the file as CSV in UTF-8") from error
    if "\0" in text:
        raise DataError(f"{name}, line 1: this is no text in UTF-8; save the file as CSV in UTF-8")
    lines = [(number, line) for number, line in enumerate(re.split(r"\r\n|\n|\r", text), 1) if line.strip()]
    if not lines:
        raise DataError(f"{name} is empty; {WAY_OUT}")
    return lines


def _pointed(text: str, separator: str | None) -> str:
    """Decimal points for decimal commas."""
    return text if separator == "," else text.replace(",", ".")


def _fields(line: str, separator: str | None) -> list[str]:
    return [field.strip() for field in line.split(separator)]


def _is_header(names: list[str], rows: int) -> bool:
    """Whether the first line names the columns of so many rows."""
    if names[0] == "" and len(names) > 1:
        names = names[1:]
        rows = len(names)  # an empty name above the rows' own says enough: only pandas counts there
    counts = rows == len(names) and names == [str(column) for column in range(rows)]
    return counts or not any(field == "" or _is_number(field) for field in names)


def _is_number(field: str) -> bool:
    """Whether a field reads as a number, finite or not."""
    try:
        float(field)
    except ValueError:
        return False
    return field.isascii() and "_" not in field


def _numbers(texts: list[str], separator: str | None) -> npt.NDArray[np.float64] | None:
    """(rows, columns) float64; None if something is wrong with a line."""
    try:
        values = np.loadtxt(texts, delimiter=separator, dtype=np.float64, ndmin=2, comments=None)
    except ValueError:
        return None
    return values if bool((np.abs(values) <= LARGEST).all()) else None  # nan is not, either


def _first_fault(texts: list[str], numbers: list[int], separator: str | None) -> str:
    """The first line that is wrong, and how."""
    columns = len(_fields(texts[0], separator))
    for number, text in zip(numbers, texts, strict=True):
        fields = _fields(text, separator)
        for place, field in enumerate(fields, 1):
            if fault := _fault(field):
                return f"line {number}: number {place} {fault}"
        if len(fields) != columns:
            return f"line {number}: {len(fields)} numbers, where line {numbers[0]} has {columns}"
    raise AssertionError("numpy cannot read what Python can")


def _fault(field: str) -> str | None:
    if field == "":
        return "is missing"
    if not _is_number(field):
        return f"is '{field[:20]}', which is no number"
    if not abs(float(field)) <= LARGEST:
        return f"is {field[:20]}, which is not finite, or larger than {LARGEST:.1e}"
    return None
