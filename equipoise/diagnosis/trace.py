"""The form that every log comes to: named numbers by step. From it come readings, as a live run has them."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from equipoise.core.observations import MetricReading, Signals
from equipoise.errors import DataError

READINGS = 2000
"""A longer log is taken in so many readings, each of the first EAGER rows and then means over equal numbers of rows."""
EAGER = 100
MOST_STEPS = 2**53
"""From there on float64 does not tell a step from the next."""

Steps = npt.NDArray[np.int64]
Values = npt.NDArray[np.float64]


class Series(NamedTuple):
    """One column: `steps` (N,), rising, and `values` (N,); values that are not finite were written so."""

    steps: Steps
    values: Values


class Metric(NamedTuple):
    """A column that is a metric, and which way is up."""

    series: Series
    better: Literal["lower", "higher"]


class Reading(NamedTuple):
    """What is known at a step."""

    step: int
    progress: float
    signals: Signals


@dataclass(frozen=True, slots=True)
class Trace:
    """A log, read. `form`: what kind it was. `signals` by the names of Signals, `metrics` by their own.

    `total`: the planned length in `unit`s, None if the log does not say. `ignored`: columns that mean nothing here.
    """

    form: str
    signals: Mapping[str, Series] = field(default_factory=dict)
    metrics: Mapping[str, Metric] = field(default_factory=dict)
    total: int | None = None
    unit: Literal["step", "image", "epoch", "row"] = "step"
    ignored: tuple[str, ...] = ()

    @property
    def steps(self) -> Steps:
        """Every step of which something is known, (N,), rising."""
        result = np.zeros(0, np.int64)
        for each in (*self.signals.values(), *(metric.series for metric in self.metrics.values())):
            if not np.array_equal(each.steps, result):  # most columns have the steps of the others
                result = np.union1d(result, each.steps)
        return result


def series(steps: Any, values: Any) -> Series:
    """A column from numbers in the order in which they were written.

    Where a step is not above the one before, a run was taken up again: what stands before it from that step on no
    longer counts. Raises DataError for a step that cannot be one.
    """
    try:
        counted, result = np.asarray(steps, np.float64), np.asarray(values, np.float64)
    except OverflowError as error:
        raise DataError("it counts more steps than there can be; mend that line") from error
    if not (np.abs(counted) < MOST_STEPS).all():
        raise DataError("it counts more steps than there can be; mend that line")
    at = counted.astype(np.int64)
    later = np.minimum.accumulate(at[::-1])[::-1]
    kept = np.append(at[:-1] < later[1:], True) if len(at) else np.zeros(0, bool)
    return Series(at[kept], result[kept])


def readings(trace: Trace) -> Iterator[Reading]:
    """What a live run would have read, in order. Progress is the share of the planned length, or of what there is."""
    steps = trace.steps
    if not len(steps):
        return
    starts = _starts(len(steps))
    ends = steps[np.append(starts[1:], len(steps)) - 1]
    columns = {name: _means(column, ends) for name, column in trace.signals.items()}
    bad = sum(
        (_counts(column, ends, ~np.isfinite(column.values)) for column in trace.signals.values()),
        start=np.zeros(len(ends), np.int64),
    )
    length = max(trace.total or 0, int(steps[-1]), 1)
    metrics = {name: (each, np.searchsorted(each.series.steps, ends, "right")) for name, each in trace.metrics.items()}
    for row, end in enumerate(ends.tolist()):
        known = {
            name: MetricReading(
                float(each.series.values[last - 1]), int(end - each.series.steps[last - 1]), each.better
            )
            for name, (each, lasts) in metrics.items()
            if (last := int(lasts[row]))
        }
        numbers = {name: float(means[row]) for name, means in columns.items() if np.isfinite(means[row])}
        yield Reading(end, end / length, Signals(**numbers, non_finite=int(bad[row]), metrics=known))


def _starts(rows: int) -> Steps:
    """The first row of each reading."""
    if rows <= READINGS:
        return np.arange(rows)
    return np.concatenate(
        [np.arange(EAGER), np.linspace(EAGER, rows, READINGS - EAGER, endpoint=False).astype(np.int64)]
    )


def _means(column: Series, ends: Steps) -> Values:
    """Means of a column over each reading; nan where it has none that is finite."""
    finite = np.isfinite(column.values)
    totals = np.concatenate([[0.0], np.cumsum(np.where(finite, column.values, 0.0))])
    last = np.searchsorted(column.steps, ends, "right")
    count = _counts(column, ends, finite)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.diff(totals[last], prepend=0.0) / count


def _counts(column: Series, ends: Steps, chosen: npt.NDArray[np.bool_]) -> Steps:
    """How many of the chosen values fall into each reading."""
    totals = np.concatenate([[0], np.cumsum(chosen)])
    return np.diff(totals[np.searchsorted(column.steps, ends, "right")], prepend=0)
