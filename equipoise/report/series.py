"""Curves over training steps, and their reduction to the resolution of a plot, extremes included."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

CurveValues = npt.NDArray[np.float64]


@dataclass(frozen=True)
class CurveSeries:
    """Mean, minimum and maximum of an interval at each step, arrays (N,) in order of steps. NaN leaves a gap."""

    steps: CurveValues
    mean: CurveValues
    low: CurveValues
    high: CurveValues

    @classmethod
    def of(
        cls,
        steps: Sequence[float],
        mean: Sequence[float],
        low: Sequence[float] | None = None,
        high: Sequence[float] | None = None,
    ) -> "CurveSeries":
        """Build a series from lists, sorted by step. `low` and `high` default to the mean."""
        all_steps, means = np.asarray(steps, dtype=np.float64), np.asarray(mean, dtype=np.float64)
        lowest = means if low is None else np.fmin(np.asarray(low, dtype=np.float64), means)
        highest = means if high is None else np.fmax(np.asarray(high, dtype=np.float64), means)
        order = np.argsort(all_steps, kind="stable")
        return cls(all_steps[order], means[order], lowest[order], highest[order])

    def __bool__(self) -> bool:
        """Whether the series has a finite value to draw."""
        return bool(np.isfinite(self.mean).any())

    @property
    def last(self) -> float:
        """The last finite mean; NaN if there is none."""
        finite = self.mean[np.isfinite(self.mean)]
        return float(finite[-1]) if finite.size else float("nan")

    def decimated(self, bins: int) -> "CurveSeries":
        """Reduce to at most `bins` values: mean, minimum and maximum within bins of equal width in steps."""
        if len(self.steps) <= bins:
            return self
        starts = _bin_starts(self.steps, bins)
        finite = np.isfinite(self.mean)
        counts = np.add.reduceat(finite.astype(np.float64), starts)
        sums = np.add.reduceat(np.where(finite, self.mean, 0.0), starts)
        mean = np.divide(sums, counts, out=np.full_like(sums, np.nan), where=counts > 0)
        sizes = np.diff(np.append(starts, len(self.steps)))
        steps = np.add.reduceat(self.steps, starts) / sizes
        return CurveSeries(steps, mean, np.fmin.reduceat(self.low, starts), np.fmax.reduceat(self.high, starts))


def corner_positions(steps: CurveValues, values: CurveValues, bins: int) -> npt.NDArray[np.intp]:
    """Return indices that preserve the shape of a step function: first, lowest, highest and last value of each bin."""
    if len(steps) <= 4 * bins:
        return np.arange(len(steps))
    starts = _bin_starts(steps, bins)
    ends = np.append(starts[1:], len(steps))
    positions = {
        position
        for start, end in zip(starts.tolist(), ends.tolist(), strict=True)
        for position in (start, start + np.argmin(values[start:end]), start + np.argmax(values[start:end]), end - 1)
    }
    return np.array(sorted(positions), dtype=np.intp)


def _bin_starts(steps: CurveValues, bins: int) -> npt.NDArray[np.intp]:
    """Return the index of the first value of each bin that is not empty."""
    width = max(float(steps[-1] - steps[0]), 1e-12) / bins
    bin_of_step = np.minimum((steps - steps[0]) // width, bins - 1)
    return np.flatnonzero(np.diff(bin_of_step, prepend=-1.0))
