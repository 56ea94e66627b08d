"""Merging of the files of one run, such as losses and metrics that were written apart."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from equipoise.core.printing import printable
from equipoise.diagnosis.columns.column_words import StepUnit
from equipoise.diagnosis.columns.counters import StepAssignment, assign_steps, counter_unit
from equipoise.diagnosis.logs.log_columns import Column, LogColumns

SAME_RANGE = 0.5
"""Share of the steps of a log that another one of the same run reaches at least."""
COUNTER_NAMES: Mapping[StepUnit, str] = {"step": "step", "image": "images", "epoch": "epoch"}


def merge_logs(logs: Sequence[LogColumns], counter: str) -> LogColumns:
    """Merge logs with a common column `counter` into one, with rows in its order.

    Rows without the counter take the place after the row before them. Of a column that several logs have, the values of
    the first are kept. The first log gives format and row name.
    """
    steps = np.concatenate([_row_steps(log, counter) for log in logs])
    order = np.argsort(steps, kind="stable")
    place = np.empty(len(order), np.int64)
    place[order] = np.arange(len(order))
    columns: dict[str, Column] = {counter: Column(np.arange(len(order)), steps[order])}
    start = 0
    for log in logs:
        for name, (rows, values) in log.columns.items():
            if name not in columns:
                places = place[rows + start]
                sequence = np.argsort(places, kind="stable")
                columns[name] = Column(places[sequence], values[sequence])
        start += log.row_count
    totals = {name: total for log in reversed(logs) for name, total in log.totals.items()}
    notes = tuple(dict.fromkeys(note for log in logs for note in log.notes))
    percent = frozenset().union(*(log.percent for log in logs))
    first = logs[0]
    return LogColumns(first.log_format, columns, len(order), first.row_name, totals, percent, notes, first.examples)


def _row_steps(log: LogColumns, counter: str) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Return the counter of each row (rows,), that of the row before where it is missing, at first -1."""
    rows, values = log.columns[counter]
    finite = np.isfinite(values)
    last = np.searchsorted(rows[finite], np.arange(log.row_count), "right") - 1
    return np.where(last >= 0, values[finite][np.maximum(last, 0)] if finite.any() else -1.0, -1.0)


def add_log(log: LogColumns, other: LogColumns, name: str) -> LogColumns | None:
    """Add the columns of another log of the same run, in a file of that `name`; None if the counters do not fit.

    Both have to count in the same unit, over about the same range, without going back.
    """
    steps, other_steps = assign_steps(log), assign_steps(other)
    if steps.unit != other_steps.unit or steps.unit == "row":
        return None
    last, other_last = np.nanmax(steps.steps), np.nanmax(other_steps.steps)
    if not SAME_RANGE * last <= other_last <= last / SAME_RANGE or _goes_back(steps) or _goes_back(other_steps):
        return None
    counter = COUNTER_NAMES[steps.unit]
    merged = merge_logs((_with_counter(log, steps, counter), _with_counter(other, other_steps, counter)), counter)
    return replace(merged, notes=(*merged.notes, f"The columns of {printable(name)} were added."))


def _goes_back(assignment: StepAssignment) -> bool:
    known = assignment.steps[np.isfinite(assignment.steps)]
    return bool((np.diff(known) < 0).any())


def _with_counter(log: LogColumns, assignment: StepAssignment, counter: str) -> LogColumns:
    """Replace the counters of a log by their common one."""
    rows = np.flatnonzero(np.isfinite(assignment.steps))
    columns = {name: column for name, column in log.columns.items() if name not in assignment.counters}
    columns = {name: column for name, column in columns.items() if counter_unit(name) is None}
    columns[counter] = Column(rows, assignment.steps[rows])
    totals = {} if assignment.total is None else {counter: float(assignment.total)}
    return replace(log, columns=columns, totals=totals, notes=(*log.notes, *assignment.notes))
