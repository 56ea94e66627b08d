"""Parsing of numeric tables in text: separated by commas, semicolons, tabs or spaces, with or without a header.

A table is parsed in two steps, because which columns are used is decided from the first file: :func:`parse_text` finds
separator, header and fields, :func:`to_numbers` reads the numbers of the selected columns.
"""

from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from equipoise.data._windows.columns import ColumnSelection, is_missing, is_number
from equipoise.data._windows.table_text import REMEDY, read_lines, split_fields
from equipoise.errors import DataError

MissingRule = Literal["refuse", "interpolate"]
"""What to do about missing values: refuse the file, or interpolate linearly between the rows before and after."""

MAX_FLOAT32 = float(np.finfo(np.float32).max)
MISSING_REMEDY = "use --option data.missing=interpolate; or repair the file, or remove it"


class TextTable(NamedTuple):
    """A table before its numbers are read. `name`: of the file, for messages.

    `separator`: None for whitespace. `names`: fields of the header, or empty. `header`: whether there are lines that
    are no rows. `row_names`: whether rows start with their names, of which `names` holds none. `lines`: line number of
    each row, from 1. `texts`: the rows, without their names, with decimal points. `array`: (rows, columns) of a file of
    numbers that is no text; then there are no texts. `more`: number of further lines of the header, or before it.
    """

    name: str
    separator: str | None
    names: tuple[str, ...]
    header: bool
    row_names: bool
    lines: list[int]
    texts: list[str]
    array: npt.NDArray[np.float64] | None = None
    more: int = 0

    def fields(self, row: int) -> list[str]:
        """Return the fields of a row."""
        if self.array is not None:
            return [repr(value) for value in self.array[row].tolist()]
        return split_fields(self.texts[row], self.separator)


class NumberTable(NamedTuple):
    """Numbers of a file. `values`: (rows, columns) float64, in the range of float32. `lines`: of the rows, from 1.

    `header`, `row_names`: whether names above the columns, or before the rows, were removed. `names`: of the columns,
    or empty. `labels`, `groups`: text of the label and of the recording of each row, or empty. `interpolated`: number
    of missing values. `more`: number of further lines of the header, or before it.
    """

    values: npt.NDArray[np.float64]
    lines: list[int]
    header: bool = False
    row_names: bool = False
    names: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    interpolated: int = 0
    more: int = 0


def parse_table(content: bytes, name: str) -> NumberTable:
    """Parse the content of a file. Raises DataError, which names the file and the line.

    A header is a line without numbers, lines that start with #, or, above a square, the numbers 0, 1, 2, …, which
    pandas writes for unnamed columns. If it starts with an empty name, rows start with their names.
    """
    return to_numbers(parse_text(content, name), ColumnSelection())


def parse_text(content: bytes, name: str) -> TextTable:
    """Find the separator, the header and the rows of a file. Raises DataError for a file without rows."""
    lines = read_lines(content, name)
    names, separator = lines.names, lines.separator
    row_names = bool(names) and separator is not None and names[0] == ""
    texts = [text.partition(separator)[2] if row_names and separator else text for _, text in lines.rows]
    return TextTable(
        name=name,
        separator=separator,
        names=names[1:] if row_names else names,
        header=bool(names) or lines.comments,
        row_names=row_names,
        lines=[number for number, _ in lines.rows],
        texts=texts,
        more=lines.more,
    )


def to_numbers(table: TextTable, selection: ColumnSelection, missing: MissingRule = "refuse") -> NumberTable:
    """Read the numbers of the selected columns. Raises DataError, which names the file and the line."""
    positions = selection.positions
    if table.array is not None:
        return _from_array(table, table.array, selection, missing)
    names = table.names if positions is None else tuple(table.names[i] for i in positions if i < len(table.names))
    labels: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    texts, separator, interpolated = table.texts, table.separator, 0
    if positions is not None:
        rows = [table.fields(row) for row in range(len(table.texts))]
        _check_lengths(table, rows)
        labels = () if selection.label is None else tuple(_label(row[selection.label]) for row in rows)
        groups = () if selection.group is None else tuple(row[selection.group] for row in rows)
        texts, separator = ["\t".join(row[position] for position in positions) for row in rows], "\t"
    values = _numbers(texts, separator)
    if values is None and missing == "interpolate":
        values, interpolated = _interpolated(texts, separator)
    if values is None:
        raise DataError(f"{table.name}, {_first_error(table, texts, separator, positions)}")
    return NumberTable(
        values, table.lines, table.header, table.row_names, names, labels, groups, interpolated, table.more
    )


def _label(text: str) -> str:
    """Return the text of a label; those that are numbers without superfluous digits: 1 for 1.000."""
    return f"{float(text):g}" if is_number(text) else text


def _from_array(
    table: TextTable, array: npt.NDArray[np.float64], selection: ColumnSelection, missing: MissingRule
) -> NumberTable:
    """Select columns of an array, and its labels. Raises DataError, which names the file and the row."""
    labels = () if selection.label is None else tuple(f"{value:g}" for value in array[:, selection.label])
    values = array if selection.positions is None else array[:, list(selection.positions)]
    interpolated = 0
    valid = np.abs(values) <= MAX_FLOAT32
    if not valid.all():
        filled, interpolated = interpolate(values) if missing == "interpolate" else (None, 0)
        if filled is None:
            row, column = (int(index[0]) for index in np.nonzero(~valid))
            remedy = MISSING_REMEDY if np.isnan(values[row, column]) else REMEDY
            raise DataError(
                f"{table.name}, row {row + 1}: value {column + 1} is {values[row, column]}, not finite; {remedy}"
            )
        values = filled
    return NumberTable(values, table.lines, labels=labels, interpolated=interpolated)


def _numbers(texts: list[str], separator: str | None) -> npt.NDArray[np.float64] | None:
    """Parse lines to (rows, columns) float64; None if a line is invalid."""
    try:
        values = np.loadtxt(texts, delimiter=separator, dtype=np.float64, ndmin=2, comments=None, quotechar='"')
    except ValueError:
        return None
    return values if bool((np.abs(values) <= MAX_FLOAT32).all()) else None  # False for NaN too.


def _interpolated(texts: list[str], separator: str | None) -> tuple[npt.NDArray[np.float64] | None, int]:
    """Parse lines with missing values, and interpolate them per column; None for lines that are invalid otherwise.

    Returns the number of interpolated values as well. Before the first and after the last value, that value is used.
    """
    rows = [split_fields(text, separator) for text in texts]
    filled = ["\t".join("nan" if is_missing(field) else field for field in row) for row in rows]
    try:
        values = np.loadtxt(filled, delimiter="\t", dtype=np.float64, ndmin=2, comments=None)
    except ValueError:
        return None, 0
    return interpolate(values)


def interpolate(values: npt.NDArray[np.float64]) -> tuple[npt.NDArray[np.float64] | None, int]:
    """Replace NaN in (rows, columns) by linear interpolation along columns; None for an empty column or infinity."""
    gaps = np.isnan(values)
    if not bool((np.abs(values[~gaps]) <= MAX_FLOAT32).all()) or bool(gaps.all(axis=0).any()):
        return None, 0
    rows, result = np.arange(len(values)), values.copy()
    for column in np.flatnonzero(gaps.any(axis=0)):
        known = ~gaps[:, column]
        result[:, column] = np.interp(rows, rows[known], values[known, column])
    return result, int(gaps.sum())


def _check_lengths(table: TextTable, rows: Sequence[Sequence[str]]) -> None:
    """Raise DataError for a row with another number of fields than the first."""
    for number, row in zip(table.lines, rows, strict=True):
        if len(row) != len(rows[0]):
            raise DataError(
                f"{table.name}, line {number}: {len(row)} values instead of {len(rows[0])} as in line "
                f"{table.lines[0]}; {REMEDY}"
            )


def _first_error(table: TextTable, texts: list[str], separator: str | None, positions: tuple[int, ...] | None) -> str:
    """Describe the first invalid line, with the remedy."""
    columns = len(split_fields(texts[0], separator))
    for number, text in zip(table.lines, texts, strict=True):
        fields = split_fields(text, separator)
        for column, field in enumerate(fields):
            if problem := _field_error(field):
                position = column if positions is None else positions[column]
                remedy = MISSING_REMEDY if is_missing(field) else REMEDY
                return f"line {number}: value {position + 1} {problem}; {remedy}"
        if len(fields) != columns:
            return f"line {number}: {len(fields)} values instead of {columns} as in line {table.lines[0]}; {REMEDY}"
    return f"a column has no values; {REMEDY}"


def _field_error(field: str) -> str | None:
    if field == "":
        return "is missing"
    if is_missing(field):
        return f"is {field}, which marks a missing value"
    if not is_number(field):
        return f"is '{field[:20]}', which is not a number"
    if not abs(float(field)) <= MAX_FLOAT32:
        return f"is {field[:20]}, which is not finite, or larger than {MAX_FLOAT32:.1e}"
    return None
