"""Common representation of training logs: signals and metrics by step, and the readings that a live run would have."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from equipoise.core.observations import Better, MetricReading, SignalReading, Signals
from equipoise.diagnosis.columns.column_words import StepUnit
from equipoise.errors import DataError

MAX_READINGS = 2000
"""Maximum number of readings of a log: the first DENSE_ROWS rows, then means over equal numbers of rows."""
DENSE_ROWS = 100
MAX_STEP = 2**53
"""Upper limit of steps: above it float64 does not distinguish a step from the next."""
DESCENDING_SHARE = 0.9
"""Share of falling steps above which a log has its newest rows first; runs are not resumed that often."""

_Steps = npt.NDArray[np.int64]
_Values = npt.NDArray[np.float64]


class StepSeries(NamedTuple):
    """One column of a log: `steps` (N,), increasing, and `values` (N,), which may contain nan and inf."""

    steps: _Steps
    values: _Values


class MetricSeries(NamedTuple):
    """A column with a metric, and which direction is better."""

    series: StepSeries
    better: Better


class LossKind(NamedTuple):
    """Whether the level of the discriminator's loss shows how well it does, and the reason in words.

    "bounded": never negative, so a value near 0 means that it classifies everything correctly (cross-entropy, hinge,
    least squares). "unbounded": a Wasserstein loss; "composite": it may include a classification or contrastive term:
    neither has a level with a meaning. "none": the log has no such loss.
    """

    kind: Literal["bounded", "unbounded", "composite", "none"] = "none"
    reason: str = "the log has no loss of the discriminator"

    @property
    def caveat(self) -> str:
        """The reason why the level of the loss says nothing; "" if it does, or if there is no loss."""
        return self.reason if self.kind in ("unbounded", "composite") else ""


NO_LOSS = LossKind()


@dataclass(frozen=True, slots=True)
class TrainingLog:
    """One game of a training log: `signals` by the names of Signals, `metrics` by their own names.

    `log_format`: name of the format. `total`: planned length in `unit`s, None if unknown. `ignored`: names of
    columns that are neither signals nor metrics, or that another column was preferred to. `game`: label of the game,
    "A" of D_A and G_A, "" if the log has one. `sources`: signal or metric -> the columns that it comes from; a loss
    from several is their sum. `notes`: full sentences on what was dropped or not read literally.
    `learning_rates`: the last one of each player, "lr_d" and "lr_g", or "lr" of both, as far as the log has them.
    """

    log_format: str
    signals: Mapping[str, StepSeries] = field(default_factory=dict)
    metrics: Mapping[str, MetricSeries] = field(default_factory=dict)
    total: int | None = None
    unit: StepUnit = "step"
    ignored: tuple[str, ...] = ()
    game: str = ""
    sources: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    loss_kind: LossKind = NO_LOSS
    learning_rates: Mapping[str, float] = field(default_factory=dict)

    @property
    def steps(self) -> _Steps:
        """All steps that have a value, (N,), increasing."""
        parts = [*self.signals.values(), *(metric.series for metric in self.metrics.values())]
        steps = parts[0].steps if parts else np.zeros(0, np.int64)
        for series in parts[1:]:
            if series.steps is not steps and not np.array_equal(series.steps, steps):  # most have the same steps
                steps = np.union1d(steps, series.steps)
        return steps


class StepOrder(NamedTuple):
    """Which entries of a column are valid: `steps` (N,), increasing, and the `rows` of the column that have them.

    `repeated`: number of entries that the next one superseded because it has the same step.
    """

    steps: _Steps
    rows: slice | npt.NDArray[np.int64]
    repeated: int = 0

    def take(self, values: _Values) -> StepSeries:
        """Return the series of a column with these steps. Values that all are valid are not copied."""
        return StepSeries(self.steps, values[self.rows])


def order_steps(steps: npt.ArrayLike) -> StepOrder:
    """Return the valid entries of a column whose steps (N,) are in the order of the log.

    A step that is not larger than the previous one means that the run was resumed from there: earlier entries from that
    step on are dropped. Rows in descending order, newest first, are reversed. Raises DataError for steps beyond
    MAX_STEP.
    """
    try:
        exact = np.asarray(steps, np.float64)
    except OverflowError as error:
        raise DataError(f"a step or value is too large for a 64-bit float; steps must be below {MAX_STEP:,}") from error
    if not (np.abs(exact) < MAX_STEP).all():
        raise DataError(f"a step is not a number below {MAX_STEP:,}; correct that line")
    whole = exact.astype(np.int64)
    is_increasing = whole[1:] > whole[:-1]
    if is_increasing.all():
        return StepOrder(whole, slice(None))
    descending = len(whole) > 2 and float((whole[1:] < whole[:-1]).mean()) > DESCENDING_SHARE
    order = np.arange(len(whole))
    if descending:
        order = order[::-1][np.argsort(whole[::-1], kind="stable")]
    ordered = whole[order]
    later = np.minimum.accumulate(ordered[::-1])[::-1]
    rows = order[np.append(ordered[:-1] < later[1:], True)]
    return StepOrder(whole[rows], rows, int((ordered[1:] == ordered[:-1]).sum()))


def build_series(steps: npt.ArrayLike, values: npt.ArrayLike) -> StepSeries:
    """Build a series from steps (N,) and values (N,) in the order of the log: see :func:`order_steps`."""
    try:
        return order_steps(steps).take(np.asarray(values, np.float64))
    except OverflowError as error:
        raise DataError(f"a step or value is too large for a 64-bit float; steps must be below {MAX_STEP:,}") from error


def compute_readings(log: TrainingLog) -> Iterator[SignalReading]:
    """Yield the readings that a live run would have, in order.

    Progress is the share of the planned length, or of the last step if that is unknown or larger.
    """
    steps = log.steps
    if not len(steps):
        return
    ends = _last_steps(steps)
    columns = {name: _means(series, ends) for name, series in log.signals.items()}
    non_finite = sum((column.non_finite for column in columns.values()), start=np.zeros(len(ends), np.int64))
    length = max(log.total or 0, int(steps[-1]), 1)
    metrics = {
        name: (metric, np.searchsorted(metric.series.steps, ends, "right")) for name, metric in log.metrics.items()
    }
    for row, end in enumerate(ends.tolist()):
        readings = {
            name: MetricReading(
                float(metric.series.values[last - 1]), int(end - metric.series.steps[last - 1]), metric.better
            )
            for name, (metric, lasts) in metrics.items()
            if (last := int(lasts[row]))
        }
        signals = {name: float(column.means[row]) for name, column in columns.items() if np.isfinite(column.means[row])}
        yield SignalReading(end, end / length, Signals(**signals, non_finite=int(non_finite[row]), metrics=readings))


def _last_steps(steps: _Steps) -> _Steps:
    """Return the last step of each reading."""
    rows = len(steps)
    if rows <= MAX_READINGS:
        return steps
    later = np.linspace(DENSE_ROWS, rows, MAX_READINGS - DENSE_ROWS, endpoint=False).astype(np.int64)
    ends: _Steps = np.concatenate([np.arange(1, DENSE_ROWS), later, [rows]])
    return steps[ends - 1]


class _Means(NamedTuple):
    """Mean of the finite values in each reading, (readings,), nan if there are none; and the number of others."""

    means: _Values
    non_finite: _Steps


def _means(series: StepSeries, ends: _Steps) -> _Means:
    """Return the mean of a series in each reading.

    Sums are computed reading by reading: a difference of running sums would lose all digits after a huge value.
    """
    bounds = np.searchsorted(series.steps, ends, "right")
    count = np.diff(bounds, prepend=0)
    filled = np.flatnonzero(count)
    starts = (bounds - count)[filled]
    finite = np.isfinite(series.values)
    values = series.values if finite.all() else np.where(finite, series.values, 0.0)
    sums, counts = np.full(len(ends), np.nan), np.zeros(len(ends), np.int64)
    if len(filled):
        sums[filled] = np.add.reduceat(values, starts)
        counts[filled] = np.add.reduceat(finite, starts, dtype=np.int64)
    with np.errstate(invalid="ignore", divide="ignore"):
        return _Means(sums / counts, count - counts)
