"""Counters of logs: which columns count, and the step of every row.

Pairs such as epoch and batch are combined into one counter; rows without a counter take it from the rows before them.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from equipoise.diagnosis.log_columns import LogColumns
from equipoise.diagnosis.training_log import STEP_COLUMNS, StepUnit, normalise_name


class StepAssignment(NamedTuple):
    """The step of each row of a log.

    `steps`: (rows,) float64, nan for rows without a counter. `counters`: names of the columns that were used. `total`:
    planned length in `unit`s, None if unknown. `notes`: full sentences on rows that were dropped or taken otherwise.
    """

    steps: npt.NDArray[np.float64]
    unit: StepUnit
    counters: tuple[str, ...]
    total: int | None = None
    notes: tuple[str, ...] = ()


def assign_steps(log: LogColumns, step_from: str | None = None) -> StepAssignment:
    """Choose the counter of a log and compute the step of each row.

    Raises DataError if `step_from` is not a column.
    """
    names = [name for name in log.columns if normalise_name(name) in STEP_COLUMNS]
    name = step_from or (names[0] if names else None)
    if name is None:
        return StepAssignment(np.arange(1, log.row_count + 1, dtype=np.float64), "row", ())
    steps = np.full(log.row_count, np.nan)
    steps[log.columns[name].rows] = log.columns[name].values
    return StepAssignment(steps, STEP_COLUMNS.get(normalise_name(name), "step"), (name,))
