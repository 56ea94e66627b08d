"""Columns of a log that is read piece by piece, in little more memory than their numbers take."""

from collections import defaultdict
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from equipoise.diagnosis.log_columns import Column

BLOCK_ROWS = 10_000
"""Number of rows after which lists of numbers become arrays."""

Rows = npt.NDArray[np.int64]
Values = npt.NDArray[np.float64]


class ColumnBuilder:
    """Collects the numbers of columns row by row, or in blocks of rows.

    Columns with values in the same rows share one array of them. `row_count`: number of rows up to now.
    """

    def __init__(self) -> None:
        self.row_count = 0
        self._rows: dict[str, list[int]] = defaultdict(list)
        self._values: dict[str, list[float]] = defaultdict(list)
        self._blocks: dict[str, list[Column]] = defaultdict(list)
        self._flushed = 0
        self._shared: dict[bytes, Rows] = {}

    def add(self, name: str, value: float) -> None:
        """Add a value of the current row; a second one in the same row replaces the first."""
        rows = self._rows[name]
        if rows and rows[-1] == self.row_count:
            self._values[name][-1] = value
            return
        rows.append(self.row_count)
        self._values[name].append(value)

    def end_row(self) -> None:
        """Begin the next row."""
        self.row_count += 1
        if self.row_count - self._flushed >= BLOCK_ROWS:
            self._flush()

    def add_rows(self, count: int, columns: Sequence[tuple[str, Values, npt.NDArray[np.bool_] | None]]) -> None:
        """Add `count` rows: of each column its values (count,), and a mask of those that exist (None: all)."""
        self._flush()
        rows = np.arange(self.row_count, self.row_count + count)
        for name, values, mask in columns:
            if mask is None or mask.all():
                self._append(name, rows, values)
            elif mask.any():
                self._append(name, rows[mask], values[mask])
        self.row_count += count
        self._flushed = self.row_count

    def build(self) -> dict[str, Column]:
        """Return the columns with at least one value, in the order of their first ones."""
        self._flush()
        columns, shared = {}, dict[tuple[int, ...], Rows]()
        for name in list(self._blocks):
            blocks = self._blocks.pop(name)
            key = tuple(id(block.rows) for block in blocks)
            if key not in shared:
                shared[key] = np.concatenate([block.rows for block in blocks]) if len(blocks) > 1 else blocks[0].rows
            values = np.concatenate([block.values for block in blocks]) if len(blocks) > 1 else blocks[0].values
            columns[name] = Column(shared[key], values)
        return columns

    def _flush(self) -> None:
        for name, rows in self._rows.items():
            if rows:
                self._append(name, np.array(rows, np.int64), np.array(self._values[name], np.float64))
        self._rows.clear()
        self._values.clear()
        self._shared.clear()
        self._flushed = self.row_count

    def _append(self, name: str, rows: Rows, values: Values) -> None:
        self._blocks[name].append(Column(self._shared.setdefault(rows.tobytes(), rows), values))
