"""Reduction of curves to the resolution of a plot: the lowest, highest and last value in each column of pixels."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Numbers = npt.NDArray[np.float64]
"""An array (N,) of float64; NaN where there is no value."""


@dataclass(frozen=True)
class CurvePoints:
    """Points of a curve in order of steps, arrays (N,).

    `low`, `high`: the range that a value stands for, such as of a loss since the reading before; None for the value
    alone. `is_held`: whether a value holds until the next one, as that of a knob does.
    """

    steps: Numbers
    values: Numbers
    low: Numbers | None = None
    high: Numbers | None = None
    is_held: bool = False


@dataclass(frozen=True)
class Bins:
    """Lowest, highest and last value of a curve in each bin, arrays (bins,); NaN in a bin without values."""

    low: Numbers
    high: Numbers
    last: Numbers


@dataclass(frozen=True)
class BinnedCurves:
    """Curves in the same bins. `x`, `steps`: (bins,), the last place and the last step of each bin."""

    x: Numbers
    steps: Numbers
    curves: Mapping[str, Bins]


@dataclass(frozen=True)
class Axis:
    """The horizontal axis: places `x` of some `steps`, (N,) each, increasing; other steps are interpolated.

    `low`, `high`: first and last step that is shown, None for all.
    """

    steps: Numbers
    x: Numbers
    low: float | None = None
    high: float | None = None

    def place(self, steps: Numbers) -> Numbers:
        """Return the places of steps."""
        return np.interp(steps, self.steps, self.x) if len(self.steps) else steps

    def contains(self, steps: Numbers) -> npt.NDArray[np.bool_]:
        """Return which steps are shown."""
        low = -np.inf if self.low is None else self.low
        high = np.inf if self.high is None else self.high
        return (steps >= low) & (steps <= high)


def bin_curves(curves: Mapping[str, CurvePoints], axis: Axis, pixels: int) -> BinnedCurves:
    """Reduce curves to at most `pixels` bins of equal width; each place is a bin of its own if there are few.

    No minimum or maximum is lost. Bins without a value of any curve are left out.
    """
    shown = {name: axis.contains(points.steps) for name, points in curves.items()}
    distinct = {id(points.steps): points.steps[shown[name]] for name, points in curves.items()}
    steps = np.concatenate([*distinct.values(), np.zeros(0)])
    if any(points.is_held for points in curves.values()):
        steps = np.concatenate([steps, axis.steps[axis.contains(axis.steps)]])
    x = axis.place(steps)
    grid = _Grid.of(x, pixels)
    index = grid.index(x)
    last_x, last_step = np.full(grid.count, -np.inf), np.full(grid.count, -np.inf)
    np.maximum.at(last_x, index, x)
    np.maximum.at(last_step, index, steps)
    used = np.isfinite(last_x)
    result = {}
    for name, points in curves.items():
        bins = _reduce(points, grid.index(axis.place(points.steps[shown[name]])), shown[name], grid.count)
        bins = Bins(bins.low[used], bins.high[used], bins.last[used])
        result[name] = _hold(bins, _value_before(points, axis)) if points.is_held else bins
    return BinnedCurves(last_x[used], last_step[used], result)


@dataclass(frozen=True)
class _Grid:
    """Bins of the places of all curves: each place of few places, otherwise bins of equal width."""

    places: Numbers | None
    low: float
    width: float
    count: int

    @classmethod
    def of(cls, x: Numbers, pixels: int) -> "_Grid":
        places = np.unique(x)
        if len(places) <= pixels:
            return cls(places, 0.0, 1.0, len(places))
        low, high = float(places[0]), float(places[-1])
        return cls(None, low, (high - low) / pixels, pixels)

    def index(self, x: Numbers) -> npt.NDArray[np.intp]:
        if self.places is not None:
            return np.searchsorted(self.places, x)
        return np.clip(((x - self.low) / self.width).astype(np.intp), 0, self.count - 1)


def _reduce(points: CurvePoints, index: npt.NDArray[np.intp], shown: npt.NDArray[np.bool_], count: int) -> Bins:
    """Compute lowest, highest and last finite value in each of `count` bins."""
    values = points.values[shown]
    low = values if points.low is None else np.fmin(points.low[shown], values)
    high = values if points.high is None else np.fmax(points.high[shown], values)
    finite = np.isfinite(values)
    lowest, highest, last = np.full(count, np.inf), np.full(count, -np.inf), np.full(count, np.nan)
    np.minimum.at(lowest, index[finite], np.where(np.isfinite(low), low, values)[finite])
    np.maximum.at(highest, index[finite], np.where(np.isfinite(high), high, values)[finite])
    last[index[finite]] = values[finite]  # of several, the last assignment stays
    empty = np.isnan(last)
    return Bins(np.where(empty, np.nan, lowest), np.where(empty, np.nan, highest), last)


def _value_before(points: CurvePoints, axis: Axis) -> float:
    """Return the value that holds at the first step that is shown; NaN if there is none."""
    before = np.flatnonzero(points.steps < (-np.inf if axis.low is None else axis.low))
    return float(points.values[before[-1]]) if len(before) else float("nan")


def _hold(bins: Bins, value: float) -> Bins:
    """Continue each value through the bins without one."""
    last = np.concatenate([[value], bins.last])
    known = np.maximum.accumulate(np.where(np.isnan(last), 0, np.arange(len(last))))
    held = last[known]
    before = held[:-1]  # a bin with a change also contains the value from before it
    return Bins(np.fmin(bins.low, before), np.fmax(bins.high, before), held[1:])
