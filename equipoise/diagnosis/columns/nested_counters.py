"""Counters inside others, such as batches in an epoch: one counter for both."""

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from equipoise.diagnosis.columns.column_words import StepUnit
from equipoise.diagnosis.logs.training_log import MAX_STEP

MIN_EPOCHS = 4
"""Number of times that a counter without an epoch must begin, at the same length, to be taken as one of epochs: fewer
may be runs that were written to the same file."""
SAME_LENGTH = 0.05
"""Relative difference of the lengths of epochs."""


class Counter(NamedTuple):
    """A column that counts: `values` (rows,) with nan in rows without one. `total`: planned last value."""

    name: str
    values: npt.NDArray[np.float64]
    unit: StepUnit
    total: float | None = None


class CombinedSteps(NamedTuple):
    """One counter for two: `steps` (rows,), of `epochs` epochs of `length` steps; `total` planned steps."""

    steps: npt.NDArray[np.float64]
    length: int
    epochs: int
    total: int | None = None


def fill_forward(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return values (N,) in which nan is replaced by the last number before it."""
    known = np.isfinite(values)
    if known.all():
        return values
    last = np.maximum.accumulate(np.where(known, np.arange(len(values)), -1))
    return np.where(last >= 0, values[last], np.nan)


def follows_its_rows(counter: Counter) -> bool:
    """Return whether a counter stands in the last row of each block of rows, as in "| d_loss | 0.7 |", "| step | 5 |".

    The log then begins with as many rows without it as there are between two of them, and ends with one.
    """
    rows = np.flatnonzero(np.isfinite(counter.values))
    if len(rows) < MIN_EPOCHS or rows[-1] != len(counter.values) - 1 or rows[0] == 0:
        return False
    return bool((np.diff(rows) == rows[0] + 1).all())


def combine_counters(outer: Counter, inner: Counter) -> CombinedSteps | None:
    """Combine an outer counter and one that begins again when the outer one moves: outer * length + inner.

    None if they are not nested: the inner one has to go back at most where the outer one moves.
    """
    inner_rows = np.flatnonzero(np.isfinite(inner.values))
    numbers = inner.values[inner_rows]
    if len(numbers) < 1 or not np.isfinite(outer.values).any():
        return None
    epochs = np.array(fill_forward(outer.values))
    missing = ~np.isfinite(epochs)
    first = epochs[~missing][0]
    has_no_header = bool(missing[inner_rows[0]])  # the header of the first epoch is missing, or follows its end
    epochs[missing] = first - 1 if has_no_header else first
    is_nested = (np.diff(numbers) >= 0) | (np.diff(epochs[inner_rows]) != 0)
    if not is_nested.all() and not _are_runs(numbers, is_nested):
        return None
    if (np.diff(numbers) > 0).all() and len(np.unique(epochs[inner_rows])) >= MIN_EPOCHS:
        return None  # it goes on across epochs
    length = _inner_length(inner, numbers)
    batches = _fill_within(inner.values, epochs, float(numbers.min()))
    starts_at_one = epochs.min() == 1 == epochs[inner_rows[0]] and numbers[0] <= _stride(numbers)
    epochs -= 1 if starts_at_one else min(0.0, float(epochs.min()))
    steps = epochs * length + batches
    total = None if outer.total is None else int(min(outer.total * length, MAX_STEP))
    return CombinedSteps(steps, length, len(np.unique(epochs)), total)


def _are_runs(numbers: npt.NDArray[np.float64], is_nested: npt.NDArray[np.bool_]) -> bool:
    """Return whether the exceptions from nesting are few, as those of a run that was resumed within an epoch."""
    back = int((np.diff(numbers) < 0).sum())
    return int((~is_nested).sum()) <= max(1, back // 10)


def _inner_length(inner: Counter, numbers: npt.NDArray[np.float64]) -> int:
    """Return the number of inner steps in an outer one: the planned number, or what the numbers reach."""
    span = float(numbers.max() - numbers.min())
    if inner.total is not None and inner.total >= numbers.max():
        return max(1, math.ceil(inner.total))
    return max(1, math.ceil(span + _stride(numbers)))


def _stride(numbers: npt.NDArray[np.float64]) -> float:
    """Return the usual distance of consecutive numbers; 1 if they never rise."""
    changes = np.diff(numbers)
    rises = changes[changes > 0]
    return float(np.median(rises)) if len(rises) else 1.0


def _fill_within(
    values: npt.NDArray[np.float64], epochs: npt.NDArray[np.float64], first: float
) -> npt.NDArray[np.float64]:
    """Fill an inner counter forward within its epoch; rows of an epoch before its first number have `first`."""
    known = np.isfinite(values)
    if known.all():
        return values
    rows = np.arange(len(values))
    last = np.maximum.accumulate(np.where(known, rows, -1))
    starts = np.maximum.accumulate(np.where(np.diff(epochs, prepend=epochs[:1]) != 0, rows, 0))
    return np.where(last >= starts, values[np.maximum(last, 0)], first)


def count_lengths(counter: Counter, is_short: bool) -> CombinedSteps | None:
    """Number the epochs of a counter that begins again in each, without a column of epochs; None if it does not.

    `is_short`: the name says that it counts within an epoch; otherwise, MIN_EPOCHS of the same length are needed.
    """
    rows = np.flatnonzero(np.isfinite(counter.values))
    numbers = counter.values[rows]
    back = np.flatnonzero(np.diff(numbers) < 0)
    if not len(back):
        return None
    tops, bottoms = numbers[back], numbers[back + 1]
    begins = bottoms <= numbers.min() + _stride(numbers)
    is_regular = begins.all() and float(np.ptp(tops)) <= SAME_LENGTH * float(tops.max())
    if not begins.all() or not (is_short or (len(back) + 1 >= MIN_EPOCHS and is_regular)):
        return None
    epochs = np.full(len(counter.values), np.nan)
    epochs[rows] = np.cumsum(np.diff(numbers, prepend=numbers[:1]) < 0)
    length = _inner_length(counter, numbers)
    steps = fill_forward(epochs) * length + fill_forward(counter.values)
    return CombinedSteps(steps, length, len(back) + 1)
