"""Reader of tables with a header line (CSV), separated by commas, semicolons or tabs."""

import csv
import io
import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from equipoise.diagnosis.training_log import STEP_COLUMNS, LogFile, TrainingLog, Values, normalise_name

__all__ = ["Table"]

SEPARATORS = (",", ";", "\t")
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
        names, rows = parsed
        columns = {name: _parse_cells(cells) for name, cells in zip(names, zip(*rows, strict=True), strict=True)}
        units = {name: unit for name in names if (unit := STEP_COLUMNS.get(normalise_name(name)))}
        counter = min(units, key=lambda name: PREFERRED_UNITS.index(units[name]), default=None)
        if counter is None:
            steps, has_step = np.arange(1, len(rows) + 1, dtype=np.float64), np.ones(len(rows), bool)
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


def _parse(text: str) -> tuple[list[str], list[list[str]]] | None:
    """Split a table into column names and rows; None if the first line is not a header or there are no rows."""
    head, _, _ = text.partition("\n")
    separator = max(SEPARATORS, key=head.count)
    try:
        rows = list(csv.reader(io.StringIO(text), delimiter=separator))
    except csv.Error:
        return None
    names = [name.strip().lstrip("\ufeff") for name in rows[0]] if rows else []
    if len(names) < 2 or any(_parse_cell(name) is not None or not name.isprintable() for name in names):
        return None
    body = [row for row in rows[1:] if len(row) == len(names)]
    return (names, body) if body else None


def _parse_cells(cells: Sequence[str]) -> tuple[Values, npt.NDArray[np.bool_]]:
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
