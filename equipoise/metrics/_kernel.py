"""The kernel distance between two sets of features.

    k(x, y) = (x·y / d + 1)³
    MMD² = Σ_{i≠j} k(x_i, x_j) / (m (m - 1)) + Σ_{i≠j} k(y_i, y_j) / (n (n - 1)) - 2 Σ_{i,j} k(x_i, y_j) / (m n)

the unbiased squared maximum mean discrepancy with a cubic kernel (Bińkowski et al. 2018, "Demystifying MMD GANs"). 0 on
average for sets of the same distribution, so often a little below it.
"""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from equipoise.core.metric import Bootstrap, MetricResult
from equipoise.errors import DataError

ROWS = 1024
"""Rows of the kernel at once: 80 MB for 10,000 samples."""


class Pairs(NamedTuple):
    """Mean of k over pairs: of the samples, and of each draw, (R,) float64."""

    mean: float
    drawn: Tensor


def kernel_distance(first: Tensor, second: Tensor) -> float:
    """MMD² of `first` (m, d) and `second` (n, d), any float type, computed in float64 over all pairs.

    The paper takes the mean over blocks instead, which costs less and says less. Raises DataError for fewer than two
    rows.
    """
    return compare(first, second, Bootstrap()).value


def compare(real: Tensor, fake: Tensor, draws: Bootstrap) -> MetricResult:
    """MMD² between features (m, d) and (n, d), with its draws. Raises DataError for fewer than two rows."""
    if min(len(real), len(fake)) < 2:
        raise DataError(f"a kernel distance needs 2 samples a side or more, not {len(real)} and {len(fake)}")
    real, fake = real.double(), fake.double()
    ours, theirs = draws.weights(len(real), 0), draws.weights(len(fake), 1)
    within = _within(real, ours), _within(fake, theirs)
    across = _across(real, fake, ours, theirs)
    value = within[0].mean + within[1].mean - 2 * across.mean
    if not draws.count:
        return MetricResult(value)
    return MetricResult(value, within[0].drawn + within[1].drawn - 2 * across.drawn)


def kernel(first: Tensor, second: Tensor) -> Tensor:
    """k of each with each: (m, n)."""
    products = (first @ second.T).div_(first.shape[1]).add_(1)
    return products.square().mul_(products)


def _pieces(first: Tensor, second: Tensor) -> Iterator[tuple[slice, Tensor]]:
    """The kernel, some rows at a time."""
    for start in range(0, len(first), ROWS):
        rows = slice(start, start + ROWS)
        yield rows, kernel(first[rows], second)


def _within(features: Tensor, weights: Tensor) -> Pairs:
    """Over all pairs of two different rows. A draw that holds a row twice does not pair it with itself."""
    count = len(features)
    total, drawn = 0.0, torch.zeros(len(weights), dtype=torch.float64)
    for rows, piece in _pieces(features, features):
        own = piece[:, rows].diagonal()
        total += float(piece.sum() - own.sum())
        if len(weights):
            products = ((weights[:, rows] @ piece.float()) * weights).sum(dim=1, dtype=torch.float64)
            drawn += products - weights[:, rows].double().square() @ own
    pairs = count**2 - weights.double().square().sum(dim=1)
    return Pairs(total / (count * (count - 1)), drawn / pairs)


def _across(first: Tensor, second: Tensor, ours: Tensor, theirs: Tensor) -> Pairs:
    """Over all pairs of a row of the one with a row of the other."""
    total, drawn = 0.0, torch.zeros(len(ours), dtype=torch.float64)
    for rows, piece in _pieces(first, second):
        total += float(piece.sum())
        if len(ours):
            drawn += ((ours[:, rows] @ piece.float()) * theirs).sum(dim=1, dtype=torch.float64)
    size = len(first) * len(second)
    return Pairs(total / size, drawn / size)
