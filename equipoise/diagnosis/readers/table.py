"""Reader of tables with a header line (CSV), separated by commas, semicolons or tabs."""

import csv
import io
import itertools
import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from equipoise.diagnosis.log_file import LogFile
from equipoise.diagnosis.training_log import STEP_COLUMNS, TrainingLog, Values, normalise_name

__all__ = ["Table"]

SEPARATORS = (",", ";", "\t")
BLOCK = 10_000
"""Number of rows that are converted at once."""
_Column = tuple[Values, npt.NDArray[np.bool_]]
"""Values (N,), and a mask of the rows that have one."""
PREFERRED_UNITS = ("step", "image", "epoch")


class Table:
    """Reads a table with at least two columns, which the first line names.

    An empty cell, or a word in place of a number, is a missing value. Rows whose length differs from the header's, such
    as a truncated one, are skipped. Without a column of steps, images or epochs, the row number is the step.
    """

    name = "CSV with a header"
    contents = "any table with a header, separated by commas, semicolons or tabs"
    order = 90
    folder_files: tuple[str, ...] = ()

    def read(self, files: Sequence[LogFile]) -> TrainingLog | None:
        """Read one file; None without a header or without rows."""
        parsed = _parse(files[0].text)
        if parsed is None:
            return None
        names, columns = parsed
        rows = len(next(iter(columns.values()))[0])
        units = {name: unit for name in names if (unit := STEP_COLUMNS.get(normalise_name(name)))}
        counter = min(units, key=lambda name: PREFERRED_UNITS.index(units[name]), default=None)
        if counter is None:
            steps, has_step = np.arange(1, rows + 1, dtype=np.float64), np.ones(rows, bool)
        else:
            steps, has_step = columns[counter]
            if normalise_name(counter).endswith(("kimg", "kimgs")):
                steps = steps * 1000
        valid = np.isfinite(steps) & has_step
        selected = {
            name: (steps[valid & has_value].round(), values[valid & has_value])
            for name, (values, has_value) in columns.items()
            if name not in units and (valid & has_value).any()
        }
        return TrainingLog.from_columns("table", selected, unit=units[counter] if counter else "row")


def _parse(text: str) -> tuple[list[str], dict[str, _Column]] | None:
    """Return column names and columns of a table; None if the first line is not a header or there are no rows.

    Rows are converted in blocks, because the text of the cells takes ten times the memory of their numbers.
    """
    head, _, _ = text.partition("\n")
    reader = csv.reader(io.StringIO(text), delimiter=max(SEPARATORS, key=head.count))
    try:
        names = [name.strip().lstrip("\ufeff") for name in next(reader, [])]
        if len(names) < 2 or any(_parse_cell(name) is not None or not name.isprintable() for name in names):
            return None
        blocks: list[list[_Column]] = []
        while block := list(itertools.islice(reader, BLOCK)):
            rows = [row for row in block if len(row) == len(names)]
            blocks += [[_parse_cells(cells) for cells in zip(*rows, strict=True)]] if rows else []
    except csv.Error:
        return None
    if not blocks:
        return None
    parts = (zip(*column, strict=True) for column in zip(*blocks, strict=True))
    columns = [(np.concatenate(list(values)), np.concatenate(list(masks))) for values, masks in parts]
    return names, dict(zip(names, columns, strict=True))


def _parse_cells(cells: Sequence[str]) -> _Column:
    """Return the numbers of a column, and a mask of cells that contain one; nan and inf are numbers."""
    try:
        return np.fromiter(map(float, cells), np.float64, len(cells)), np.ones(len(cells), bool)
    except ValueError:
        values = [_parse_cell(cell) for cell in cells]
        has_value = np.array([value is not None for value in values])
        return np.array([math.nan if value is None else value for value in values]), has_value


def _parse_cell(cell: str) -> float | None:
    try:
        return float(cell)
    except ValueError:
        return None
