"""Steps that a log has several times: those of several processes, or of a counter that is too coarse."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from equipoise.diagnosis.columns.column_words import StepUnit
from equipoise.diagnosis.columns.nested_counters import MIN_EPOCHS, SAME_LENGTH, Counter
from equipoise.diagnosis.logs.log_columns import LogColumns

REPEATED_SHARE = 0.5
"""Share of values that repeat the step of their predecessor above which rows are counted instead: more than half of the
values would be superseded otherwise, as where a log of many rows an epoch has the epoch alone."""
MAX_PROCESSES = 16
"""Largest number of processes whose lines are recognised by equally many repetitions of each step."""

_Steps = npt.NDArray[np.float64]


def compute_repeated_share(log: LogColumns, steps: _Steps, unit: StepUnit, counters: Sequence[str]) -> float:
    """Return the share of values with the step of their predecessor in the same column.

    0 up to REPEATED_SHARE, and where several processes repeat each step: the steps are those of the log then.
    """
    repeated = total = 0
    for name, column in log.columns.items():
        if name not in counters and len(column.rows) > 1:
            whole = np.floor(steps[column.rows])
            repeated += int((np.diff(whole) == 0).sum())
            total += len(whole)
    share = repeated / total if total else 0.0
    if share <= REPEATED_SHARE or (unit == "step" and _repeats_regularly(log, steps, counters)):
        return 0.0
    return share


def _repeats_regularly(log: LogColumns, steps: _Steps, counters: Sequence[str]) -> bool:
    """Return whether every column has each step equally often, up to MAX_PROCESSES times: processes print it too."""
    for name, column in log.columns.items():
        if name not in counters and len(column.rows):
            counts = np.unique(steps[column.rows], return_counts=True)[1]
            if len(counts) < MAX_PROCESSES or not (counts == counts[0]).all() or counts[0] > MAX_PROCESSES:
                return False
    return True


def is_rank(counter: Counter, others: Sequence[Counter]) -> bool:
    """Return whether a number is that of a process that prints the same steps, as in "0: step 10", "1: step 10".

    Each step of a named counter then has the same numbers from 0, in any order.
    """
    rows = np.flatnonzero(np.isfinite(counter.values))
    if counter.total is not None or len(rows) < MIN_EPOCHS:
        return False
    ranks = counter.values[rows]
    processes = int(ranks.max()) + 1
    if processes < 2 or len(np.unique(ranks)) != processes or len(rows) < MIN_EPOCHS * processes:
        return False
    for other in others:
        steps = other.values[rows]
        if other.name.startswith("#") or other.unit != "step" or not np.isfinite(steps).all():
            continue
        pairs, counts = np.unique(np.stack([steps, ranks]), axis=1, return_counts=True)
        sizes = np.unique(pairs[0], return_counts=True)[1]
        if (counts == 1).all() and float((sizes == processes).mean()) > 1 - SAME_LENGTH:
            return True
    return False
