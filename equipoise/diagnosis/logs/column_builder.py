"""Columns of a log that is read piece by piece, in bounded memory however long it is."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from equipoise.diagnosis.columns.column_names import classify_name
from equipoise.diagnosis.logs.log_columns import Column

BLOCK_ROWS = 10_000
"""Number of rows after which lists of numbers become arrays."""
MAX_ROWS = 2**19
"""Number of rows from which two rows become one, again and again; a diagnosis has 2,000 readings of a log."""

_Rows = npt.NDArray[np.int64]
_Values = npt.NDArray[np.float64]
_Mask = npt.NDArray[np.bool_]


class ColumnPart(NamedTuple):
    """A column in a block of rows: its values (rows,), and a mask of those that exist; None for all."""

    name: str
    values: _Values
    mask: _Mask | None = None


class ColumnBuilder:
    """Collects the numbers of columns row by row, or in blocks of rows.

    Beyond MAX_ROWS, every `stride` consecutive rows of the log are one: the mean of their values, of a counter the
    last. Columns with values in the same rows share one array of them.
    """

    def __init__(self) -> None:
        self.stride = 1
        self._row = 0
        self._flushed = 0
        self._rows: dict[str, list[int]] = defaultdict(list)
        self._values: dict[str, list[float]] = defaultdict(list)
        self._blocks: dict[str, list[Column]] = defaultdict(list)
        self._shared: dict[bytes, _Rows] = {}

    @property
    def row_count(self) -> int:
        """Number of rows up to now, of which each is `stride` rows of the log."""
        return -(-self._row // self.stride)

    def add(self, name: str, value: float) -> None:
        """Add a value of the current row; a second one in the same row replaces the first."""
        rows = self._rows[name]
        if rows and rows[-1] == self._row:
            self._values[name][-1] = value
            return
        rows.append(self._row)
        self._values[name].append(value)

    def end_row(self) -> None:
        """Begin the next row."""
        self._row += 1
        if self._row - self._flushed >= BLOCK_ROWS:
            self._flush()

    def add_rows(self, count: int, columns: Sequence[ColumnPart]) -> None:
        """Add `count` rows."""
        self._flush()
        rows = np.arange(self._row, self._row + count)
        for name, values, mask in columns:
            if mask is None or mask.all():
                self._append(name, rows, values)
            elif mask.any():
                self._append(name, rows[mask], values[mask])
        self._row += count
        self._flush()

    def build(self) -> dict[str, Column]:
        """Return the columns with at least one value, in the order of their first ones."""
        self._flush()
        self._merge_blocks()
        return {name: block for name, (block,) in self._blocks.items()}

    def notes(self, row_name: str) -> Iterator[str]:
        """Yield a sentence if rows were combined."""
        if self.stride > 1:
            yield f"{self._row:,} {row_name}s are read as means over {self.stride} consecutive ones."

    def _flush(self) -> None:
        for name, rows in self._rows.items():
            if rows:
                self._append(name, np.array(rows, np.int64), np.array(self._values[name], np.float64))
        self._rows.clear()
        self._values.clear()
        self._shared.clear()
        self._flushed = self._row
        while self.row_count > MAX_ROWS:
            self._merge_blocks(divisor=2)
            self.stride *= 2

    def _append(self, name: str, rows: _Rows, values: _Values) -> None:
        block = _combine(name, rows // self.stride, values) if self.stride > 1 else Column(rows, values)
        self._blocks[name].append(self._share_rows(block))

    def _share_rows(self, column: Column) -> Column:
        return Column(self._shared.setdefault(column.rows.tobytes(), column.rows), column.values)

    def _merge_blocks(self, divisor: int = 1) -> None:
        """Make one block of those of each column, with `divisor` rows in one."""
        for name, blocks in self._blocks.items():
            rows = np.concatenate([block.rows for block in blocks]) if len(blocks) > 1 else blocks[0].rows
            values = np.concatenate([block.values for block in blocks]) if len(blocks) > 1 else blocks[0].values
            combined = _combine(name, rows // divisor if divisor > 1 else rows, values)
            self._blocks[name] = [self._share_rows(combined)]
        self._shared.clear()


def _combine(name: str, rows: _Rows, values: _Values) -> Column:
    """Combine the values of equal rows into one: the last of a counter, otherwise the mean."""
    is_first = np.diff(rows, prepend=-1) > 0
    if is_first.all():
        return Column(rows, values)
    starts = np.flatnonzero(is_first)
    if name.startswith("#") or classify_name(name).kind == "counter":
        return Column(rows[starts], values[np.append(starts[1:], len(rows)) - 1])
    with np.errstate(invalid="ignore", over="ignore"):
        means = np.add.reduceat(values, starts) / np.diff(np.append(starts, len(rows)))
    return Column(rows[starts], means)
