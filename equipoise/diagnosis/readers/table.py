"""Reader of tables, with a header line or without: CSV, other separators, columns aligned by spaces."""

import csv
import itertools
from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from equipoise.diagnosis.column_builder import BLOCK_ROWS, ColumnBuilder
from equipoise.diagnosis.log_columns import LogColumns
from equipoise.diagnosis.log_file import LogFile
from equipoise.diagnosis.table_layout import (
    MAX_TAGS,
    TableLayout,
    find_layout,
    find_long_columns,
    name_series,
    parse_cell,
)

__all__ = ["Table"]

Values = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]
WORDS_SAMPLE = 50
"""Number of cells by which a block of a column is recognised as words, such as dates, and is not converted."""


class Table:
    """Reads a table with at least two columns.

    An empty cell, or a word in place of a number, is a missing value. Rows whose length differs from the header's, such
    as a truncated one, are counted. Lines before the header and comments ("#") are skipped. A column without a name,
    and every column of a table without a header, is called by its position: "#1".
    """

    name = "CSV or another table"
    contents = (
        "tables with or without a header, separated by commas, semicolons, tabs, bars or spaces: CSV of Lightning, "
        "Keras, W&B and TensorBoard"
    )
    order = 80
    folder_files: tuple[str, ...] = ("metrics.csv", "progress.csv")

    def read(self, files: Sequence[LogFile]) -> LogColumns | None:
        """Read one file; None if it is not a table."""
        file = files[0]
        layout = find_layout(file.head)
        if layout is None:
            return None
        names = name_series(layout.names, file.path.name)
        builder, rows = ColumnBuilder(), _RowCounts()
        try:
            for block in _blocks(_cells(file, layout), layout, rows):
                builder.add_rows(len(block), list(_convert(block, names, layout)))
        except csv.Error:
            if not builder.row_count:
                return None
            rows.damaged += 1
        columns = {name: column for name, column in builder.build().items() if name}
        return LogColumns("table", columns, builder.row_count, notes=tuple(rows.notes()), examples=layout.examples)


class _RowCounts:
    """Rows that are no data, by their kind."""

    def __init__(self) -> None:
        self.wrong_length = self.headers = self.damaged = 0

    def notes(self) -> Iterator[str]:
        """Yield a sentence on each kind that occurs."""
        if count := self.wrong_length:
            yield f"{count:,} row{'s have' if count > 1 else ' has'} another number of cells than the header; skipped."
        if count := self.headers:
            yield f"The header occurs {count + 1:,} times: several parts were written to the file."
        if self.damaged:
            yield "The table is damaged (a quote without an end); the rows before the damage are read."


def _cells(file: LogFile, layout: TableLayout) -> Iterator[list[str]]:
    """Yield the cells of every row below the header."""
    lines = (line for block in file.text_blocks() for line in block.splitlines(keepends=True))
    body = itertools.islice(lines, layout.first_row, None)
    if layout.separator == " ":
        return (line.split() for line in body)
    if layout.separator == "|":
        return ([cell.strip() for cell in line.strip().strip("|").split("|")] for line in body)
    return csv.reader(body, delimiter=layout.separator, skipinitialspace=True)


def _blocks(rows: Iterator[list[str]], layout: TableLayout, counts: _RowCounts) -> Iterator[list[list[str]]]:
    """Yield blocks of complete rows; others are counted."""
    width = layout.width
    while block := list(itertools.islice(rows, BLOCK_ROWS)):
        complete = [row for row in block if len(row) == width]
        if len(complete) < len(block):
            counts.wrong_length += sum(0 < len(row) != width and not row[0].startswith("#") for row in block)
        if any(row[0] == layout.cells[0] for row in complete if layout.cells):
            counts.headers += sum(row == layout.cells for row in complete)
            complete = [row for row in complete if row != layout.cells]
        if layout.separator == "|":
            complete = [row for row in complete if not all(set(cell) <= set("-:=+ ") for cell in row)]
        if complete:
            yield complete


def _convert(
    rows: Sequence[Sequence[str]], names: Sequence[str], layout: TableLayout
) -> Iterator[tuple[str, Values, Mask | None]]:
    """Yield name, numbers, and a mask of the cells that hold one, of each column with numbers."""
    columns = list(zip(*rows, strict=True))
    long = find_long_columns(names)
    for position, (name, cells) in enumerate(zip(names, columns, strict=True)):
        if not name:
            continue
        try:
            values, mask = np.fromiter(map(float, cells), np.float64, len(cells)), None
        except ValueError:
            if all(parse_cell(cell, layout.decimal_comma) is None for cell in _sample(cells)):
                continue
            values, mask = _convert_sparse(cells, layout)
        if long and position == long[1]:
            yield from _split_by_tag(columns[long[0]], values, mask)
        else:
            yield name, values, mask


def _split_by_tag(tags: Sequence[str], values: Values, mask: Mask | None) -> Iterator[tuple[str, Values, Mask]]:
    """Yield a column for each name in a column of names; beyond MAX_TAGS they are no names."""
    kinds = dict.fromkeys(tag.strip() for tag in tags)
    words = np.array([tag.strip() for tag in tags])
    for tag in list(kinds)[:MAX_TAGS]:
        own = words == tag
        yield tag, values, own if mask is None else own & mask


def _sample(cells: Sequence[str]) -> Iterator[str]:
    """Yield the first cells that are not empty, and the last ones."""
    filled = (cell for cell in cells if cell)
    yield from itertools.islice(filled, WORDS_SAMPLE)
    yield from cells[-WORDS_SAMPLE:]


def _convert_sparse(cells: Sequence[str], layout: TableLayout) -> tuple[Values, Mask]:
    """Convert cells of which some hold no number; nan and inf are numbers."""
    values = np.full(len(cells), np.nan)
    mask = np.array([bool(cell) for cell in cells])
    filled = [cell for cell in cells if cell]
    try:
        values[mask] = np.fromiter(map(float, filled), np.float64, len(filled))
        return values, mask
    except ValueError:
        numbers = [parse_cell(cell, layout.decimal_comma) for cell in cells]
        mask = np.array([number is not None for number in numbers])
        return np.array([np.nan if number is None else number for number in numbers]), mask
