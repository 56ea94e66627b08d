"""The values that -1 and 1 represent: one range for all columns of a table, or one per column."""

import math
from collections.abc import Sequence
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from equipoise.core.data import Bound
from equipoise.core.printing import format_names
from equipoise.errors import SettingError

RangeRule = Literal["auto", "all", "column"]
"""One range for all columns, one per column, or as the measured ranges suggest."""

SERIES_SHARE = 0.5
"""Columns of a narrow table, or with names, get ranges of their own if one of them uses less than this share of all."""
WIDE_SHARE = 0.02
"""Columns of other tables do if half of them use less than this share: those of spectrograms use more."""
MAX_NAMED = 4


class ValueBounds(NamedTuple):
    """The values that -1 and 1 represent, for all columns or one per column, and a note for the user, or None."""

    low: Bound
    high: Bound
    note: str | None = None


def single_bound(name: str, value: Bound | None) -> Bound | None:
    """Return an option that may be one value or one per column. Raises SettingError for a value that is not finite."""
    values = value if isinstance(value, tuple) else () if value is None else (value,)
    if not all(map(math.isfinite, values)):
        raise SettingError(f"{name} = {value}: it must be a finite number")
    return float(values[0]) if len(values) == 1 else value


def choose_bounds(
    lowest: Tensor,
    highest: Tensor,
    bounds: tuple[Bound | None, Bound | None],
    rule: RangeRule,
    names: Sequence[str],
    is_series: bool,
) -> ValueBounds:
    """Choose the values that -1 and 1 represent.

    `lowest`, `highest`: (C,) of each column, in the training windows. `bounds`: low and high of the user, None for the
    measured values. `names`: of the columns, or empty. `is_series`: whether the columns are few series, not pixels.
    Raises SettingError if the number of values is not that of the columns.
    """
    count = len(lowest)
    for name, bound in zip(("low", "high"), bounds, strict=True):
        if isinstance(bound, tuple) and len(bound) != count:
            raise SettingError(f"{name} has {len(bound)} values, but there are {count} columns; give one for each")
    is_one = all(isinstance(bound, float) for bound in bounds)
    if any(isinstance(bound, tuple) for bound in bounds) or (rule == "column" and count > 1 and not is_one):
        per_column = True
    else:
        per_column = rule == "auto" and not is_one and count > 1 and _differ(lowest, highest, is_series or bool(names))
    low, high = (_fill(bound, measured) for bound, measured in zip(bounds, (lowest, highest), strict=True))
    if not per_column:
        minimum, maximum = bounds
        lows = float(lowest.min()) if minimum is None else minimum
        highs = float(highest.max()) if maximum is None else maximum
        return ValueBounds(lows, highs, None if count == 1 else _note_of_one(lowest, highest, lows, highs))
    labels = [names[i] if len(names) == count else f"column {i + 1}" for i in range(count)]
    parts = [f"{label} {a:g} to {b:g}" for label, a, b in zip(labels, low, high, strict=True)]
    return ValueBounds(low, high, f"one range per column: {format_names(parts, MAX_NAMED)} (data.scale=all for one)")


def _fill(bound: Bound | None, measured: Tensor) -> tuple[float, ...]:
    if isinstance(bound, tuple):
        return bound
    return tuple(measured.tolist()) if bound is None else (bound,) * len(measured)


def _shares(lowest: Tensor, highest: Tensor) -> Tensor:
    """Return the share of the common range that each column uses; those that are constant are left out."""
    spans = (highest - lowest).double()
    shares = spans / (highest.max() - lowest.min()).double().clamp_min(torch.finfo(torch.float64).tiny)
    return shares[spans > 0]


def _differ(lowest: Tensor, highest: Tensor, is_series: bool) -> bool:
    """Return whether columns are of different kinds: some use only a small part of the common range."""
    shares = _shares(lowest, highest)
    if len(shares) < 1:
        return False
    return bool(shares.min() < SERIES_SHARE) if is_series else bool(shares.median() < WIDE_SHARE)


def _note_of_one(lowest: Tensor, highest: Tensor, low: Bound, high: Bound) -> str:
    """Describe one range for all columns, and the column that uses least of it."""
    text = f"one range for all {len(lowest)} columns: {low:g} to {high:g}"
    shares = _shares(lowest, highest)
    if len(shares) and shares.min() < 0.1:
        text += f"; one column uses only {shares.min():.2g} of it (data.scale=column for one range per column)"
    return text
