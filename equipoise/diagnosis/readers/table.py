"""Reader of tables, with a header line or without: CSV, other separators, columns aligned by spaces."""

import csv
import io
import itertools
from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from equipoise.core.printing import format_count, format_names, printable
from equipoise.diagnosis.logs.column_builder import BLOCK_ROWS, ColumnBuilder, ColumnPart
from equipoise.diagnosis.logs.log_columns import LogColumns
from equipoise.diagnosis.logs.log_file import LogFile
from equipoise.diagnosis.parsing.number_blocks import MISSING, parse_block
from equipoise.diagnosis.parsing.table_layout import (
    MAX_TAGS,
    MISSING_CELLS,
    SAMPLE_ROWS,
    LogTableLayout,
    find_layout,
    find_long_columns,
    name_series,
    parse_cell,
    replace_borders,
    split_cells,
)

__all__ = ["Table"]

MAX_QUOTED = 8 * 2**20
"""Number of characters after which a quote without an end is taken as a character."""
TAIL, SHOWN = 4096, 80
"""Number of characters before the last row that it is compared with, and of those that a note shows."""
WORDS_SAMPLE = 50
"""Number of different cells by which a block of a column is recognised as words, such as dates."""


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
        layout = find_layout(file.head, file.path.name)
        if layout is None:
            return None
        names = name_series(layout.names, file.path.name)
        builder, omitted = ColumnBuilder(), _Omissions()
        for text in _texts(file, layout, omitted):
            numbers = parse_block(text, layout.separator, layout.width, layout.decimal_comma)
            if numbers is not None and find_long_columns(names) is None:
                present = (ColumnPart(name, numbers[:, at]) for at, name in enumerate(names) if name)
                builder.add_rows(len(numbers), [_without_missing(part) for part in present])
                continue
            for block in _blocks(_cells(text, layout, omitted), layout, omitted):
                builder.add_rows(len(block), list(_convert(block, names, layout, omitted)))
        columns = builder.build()
        omitted.columns = [name for name in names if name and name not in columns] if columns else []
        notes = (*omitted.notes(), *builder.notes("row"))
        return LogColumns(
            "table", columns, builder.row_count, notes=notes, examples=layout.examples, stride=builder.stride
        )


def _without_missing(part: ColumnPart) -> ColumnPart:
    mask = part.values != MISSING
    return ColumnPart(part.name, np.ascontiguousarray(part.values), None if mask.all() else mask)


class _Omissions:
    """What is left out of a table: rows by their kind, cells with words in columns of numbers, columns of words."""

    def __init__(self) -> None:
        self.wrong_length = self.headers = self.damaged = self.words = 0
        self.cut = self.word = ""
        self.columns: list[str] = []

    def notes(self) -> Iterator[str]:
        """Yield a sentence on each kind that occurs."""
        if count := self.wrong_length:
            yield f"{count:,} row{'s have' if count > 1 else ' has'} another number of cells than the header; skipped."
        if count := self.headers:
            yield f"The header occurs {count + 1:,} times: several parts were written to the file."
        if self.columns:
            yield f"{format_count(len(self.columns), 'column')} without numbers: {format_names(self.columns, most=8)}."
        if self.words:
            words, example = format_count(self.words, "cell"), printable(self.word)[:SHOWN]
            yield f"{words} with a word in place of a number, such as '{example}': taken as missing."
        if self.cut:
            yield f"The last row was cut while it was written and was left out: '{printable(self.cut)[:SHOWN]}'."
        if self.damaged:
            yield "The table is damaged: a quote has no end, or a cell is longer than 128 KiB."


def _texts(file: LogFile, layout: LogTableLayout, counts: "_Omissions") -> Iterator[str]:
    """Yield the text below the header in blocks of whole rows; a quoted cell may contain ends of lines."""
    pending, before, skipped = "", "", 0
    for block in map(replace_borders, file.text_blocks()):
        while skipped < layout.first_row and block:
            _, _, block = block.partition("\n")
            skipped += 1
        pending += block
        if pending.endswith("\n") and (pending.count('"') % 2 == 0 or len(pending) > MAX_QUOTED):
            yield pending
            before, pending = pending[-TAIL:], ""
    if pending and not pending.endswith("\n"):
        whole, _, last = pending.rpartition("\n")
        pending = f"{whole}\n" if whole else ""
        if _is_whole(last, f"{before}{pending}", layout):
            pending += f"{last}\n"
        else:
            counts.cut = last
    if pending:
        yield pending


def _is_whole(row: str, before: str, layout: LogTableLayout) -> bool:
    """Return whether a last row without an end has all cells, and a last number with as many decimals as before."""
    cells = split_cells(row, layout.separator, layout.starts)
    rows = [split_cells(line, layout.separator, layout.starts) for line in before.split("\n")[-SAMPLE_ROWS:] if line]
    decimals = {len(earlier[-1].partition(".")[2]) for earlier in rows if len(earlier) == len(cells) and earlier[-1]}
    own = len(cells[-1].partition(".")[2]) if cells else 0
    return len(cells) == layout.width and (not decimals or not cells[-1] or own >= min(decimals))


def _cells(text: str, layout: LogTableLayout, counts: "_Omissions") -> Iterator[list[str]]:
    """Yield the cells of every row; a quote without an end is a character like others."""
    if layout.separator == " ":
        yield from (split_cells(line, " ", layout.starts) for line in text.split("\n"))
    elif layout.separator == "|":
        yield from ([cell.strip() for cell in line.strip().strip("|").split("|")] for line in text.split("\n"))
    else:
        is_damaged = text.count('"') % 2 == 1
        counts.damaged += is_damaged
        lines = io.StringIO(text.replace('"', "") if is_damaged else text, newline="\n")
        try:
            yield from csv.reader(lines, delimiter=layout.separator, skipinitialspace=True)
        except csv.Error:
            counts.damaged += 1


def _blocks(rows: Iterator[list[str]], layout: LogTableLayout, counts: _Omissions) -> Iterator[list[list[str]]]:
    """Yield blocks of complete rows; others are counted."""
    width = layout.width
    while block := list(itertools.islice(rows, BLOCK_ROWS)):
        complete = [row for row in block if len(row) == width]
        if len(complete) < len(block):
            counts.wrong_length += sum(0 < len(row) != width and not _is_rule(row) for row in block)
        if any(row[0] == layout.cells[0] for row in complete if layout.cells):
            counts.headers += sum(row == layout.cells for row in complete)
            complete = [row for row in complete if row != layout.cells]
        if layout.separator == "|":
            complete = [row for row in complete if not _is_rule(row)]
        if complete:
            yield complete


def _is_rule(row: Sequence[str]) -> bool:
    """Return whether a row is a comment, or a line between the rows of a table."""
    return row[0].startswith("#") or set("".join(row)) <= set("|-:=+ ")


def _convert(
    rows: Sequence[Sequence[str]], names: Sequence[str], layout: LogTableLayout, omitted: _Omissions
) -> Iterator[ColumnPart]:
    """Yield name, numbers, and a mask of the cells that hold one, of each column with numbers."""
    columns = list(zip(*rows, strict=True))
    long = find_long_columns(names)
    for position, (name, cells) in enumerate(zip(names, columns, strict=True)):
        if not name:
            continue
        try:
            values, mask = np.fromiter(map(float, cells), np.float64, len(cells)), None
        except ValueError:
            if not _holds_numbers(cells, layout):
                continue
            values, mask = _convert_sparse(cells, layout, omitted)
        if long and position == long[1]:
            yield from _split_by_tag(columns[long[0]], values, mask)
        else:
            yield ColumnPart(name, values, mask)


def _split_by_tag(
    tags: Sequence[str], values: npt.NDArray[np.float64], mask: npt.NDArray[np.bool_] | None
) -> Iterator[ColumnPart]:
    """Yield a column for each name in a column of names; beyond MAX_TAGS they are no names."""
    kinds = dict.fromkeys(tag.strip() for tag in tags)
    words = np.array([tag.strip() for tag in tags])
    for tag in list(kinds)[:MAX_TAGS]:
        own = words == tag
        yield ColumnPart(tag, values, own if mask is None else own & mask)


def _holds_numbers(cells: Sequence[str], layout: LogTableLayout) -> bool:
    """Return whether one of the first different cells holds a number."""
    filled = (cell for cell in dict.fromkeys(cells) if cell.lower() not in MISSING_CELLS)
    return any(parse_cell(cell, layout.decimal_comma) is not None for cell in itertools.islice(filled, WORDS_SAMPLE))


def _convert_sparse(
    cells: Sequence[str], layout: LogTableLayout, omitted: _Omissions
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.bool_]]:
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
    words = [cell for cell, number in zip(cells, numbers, strict=True) if number is None]
    words = [word for word in words if word.strip().lower() not in MISSING_CELLS]
    omitted.words += len(words)
    omitted.word = omitted.word or (words[0] if words else "")
    return np.array([np.nan if number is None else number for number in numbers]), mask
