"""Numbers over steps, and how a long run becomes few enough points to draw without losing its extremes."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True)
class StepSeries:
    """Readings in order of steps, each (N,): a mean, and the lowest and highest behind it. NaN leaves a gap."""

    steps: FloatArray
    mean: FloatArray
    low: FloatArray
    high: FloatArray

    @classmethod
    def of(
        cls,
        steps: Sequence[float],
        mean: Sequence[float],
        low: Sequence[float] | None = None,
        high: Sequence[float] | None = None,
    ) -> "StepSeries":
        """From lists; without `low` and `high` there is nothing behind the mean."""
        at, middle = np.asarray(steps, dtype=np.float64), np.asarray(mean, dtype=np.float64)
        lowest = middle if low is None else np.fmin(np.asarray(low, dtype=np.float64), middle)
        highest = middle if high is None else np.fmax(np.asarray(high, dtype=np.float64), middle)
        order = np.argsort(at, kind="stable")
        return cls(at[order], middle[order], lowest[order], highest[order])

    def __bool__(self) -> bool:
        """Whether there is anything to draw."""
        return bool(np.isfinite(self.mean).any())

    @property
    def last(self) -> float:
        """The last finite mean; NaN if there is none."""
        finite = self.mean[np.isfinite(self.mean)]
        return float(finite[-1]) if finite.size else float("nan")

    def decimated(self, columns: int) -> "StepSeries":
        """At most `columns` readings, each the mean, lowest and highest of all within an equal share of the steps."""
        if len(self.steps) <= columns:
            return self
        starts = _starts(self.steps, columns)
        finite = np.isfinite(self.mean)
        counts = np.add.reduceat(finite.astype(np.float64), starts)
        sums = np.add.reduceat(np.where(finite, self.mean, 0.0), starts)
        mean = np.divide(sums, counts, out=np.full_like(sums, np.nan), where=counts > 0)
        sizes = np.diff(np.append(starts, len(self.steps)))
        steps = np.add.reduceat(self.steps, starts) / sizes
        return StepSeries(steps, mean, np.fmin.reduceat(self.low, starts), np.fmax.reduceat(self.high, starts))


def corner_positions(steps: FloatArray, values: FloatArray, columns: int) -> npt.NDArray[np.intp]:
    """Positions to draw of a line that goes by steps: first, lowest, highest and last of each of `columns` shares."""
    if len(steps) <= 4 * columns:
        return np.arange(len(steps))
    starts = _starts(steps, columns)
    ends = np.append(starts[1:], len(steps))
    kept = {
        position
        for start, end in zip(starts.tolist(), ends.tolist(), strict=True)
        for position in (start, start + np.argmin(values[start:end]), start + np.argmax(values[start:end]), end - 1)
    }
    return np.array(sorted(kept), dtype=np.intp)


def _starts(steps: FloatArray, columns: int) -> npt.NDArray[np.intp]:
    """Where each share that holds anything begins."""
    width = max(float(steps[-1] - steps[0]), 1e-12) / columns
    share = np.minimum((steps - steps[0]) // width, columns - 1)
    return np.flatnonzero(np.diff(share, prepend=-1.0))
