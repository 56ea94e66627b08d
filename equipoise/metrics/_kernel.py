"""Kernel distance between two sets of features.

    k(x, y) = (x·y / d + 1)³
    MMD² = Σ_{i≠j} k(x_i, x_j) / (m (m - 1)) + Σ_{i≠j} k(y_i, y_j) / (n (n - 1)) - 2 Σ_{i,j} k(x_i, y_j) / (m n)

the unbiased squared maximum mean discrepancy with a cubic kernel (Bińkowski et al. 2018, "Demystifying MMD GANs"). Its
expectation for sets of the same distribution is 0, so it is often slightly negative.
"""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from equipoise.core.metric import Bootstrap, MetricResult
from equipoise.errors import UndefinedMetricError

ROWS = 1024
"""Number of kernel rows computed at once: 80 MB for 10,000 samples."""


class PairMeans(NamedTuple):
    """Mean of k over pairs. `mean`: of the samples. `resampled`: of each resample, (R,) float64."""

    mean: float
    resampled: Tensor


def kernel_distance(first: Tensor, second: Tensor) -> float:
    """Return MMD² of `first` (m, d) and `second` (n, d), any float dtype, in float64 over all pairs.

    The paper averages over blocks instead, which is cheaper and less precise. Raises DataError for fewer than two rows.
    """
    return compute(first, second, Bootstrap()).value


def compute(real: Tensor, fake: Tensor, bootstrap: Bootstrap) -> MetricResult:
    """Compute MMD² between features (m, d) and (n, d). Raises DataError for fewer than two rows."""
    if min(len(real), len(fake)) < 2:
        raise UndefinedMetricError(
            f"a kernel distance needs at least 2 samples on each side, not {len(real)} and {len(fake)}"
        )
    real, fake = real.double(), fake.double()
    real_weights, fake_weights = bootstrap.weights(len(real), 0), bootstrap.weights(len(fake), 1)
    within = _within(real, real_weights), _within(fake, fake_weights)
    across = _across(real, fake, real_weights, fake_weights)
    value = within[0].mean + within[1].mean - 2 * across.mean
    if not bootstrap.count:
        return MetricResult(value)
    return MetricResult(value, within[0].resampled + within[1].resampled - 2 * across.resampled)


def kernel(first: Tensor, second: Tensor) -> Tensor:
    """Compute k of each row (m, d) with each row (n, d): (m, n)."""
    products = (first @ second.T).div_(first.shape[1]).add_(1)
    return products.square().mul_(products)


def _blocks(first: Tensor, second: Tensor) -> Iterator[tuple[slice, Tensor]]:
    """Yield the kernel matrix in blocks of rows."""
    for start in range(0, len(first), ROWS):
        rows = slice(start, start + ROWS)
        yield rows, kernel(first[rows], second)


def _within(features: Tensor, weights: Tensor) -> PairMeans:
    """Average over pairs of two different rows. A resample that contains a row twice does not pair it with itself."""
    count = len(features)
    total, resampled = 0.0, torch.zeros(len(weights), dtype=torch.float64)
    for rows, block in _blocks(features, features):
        diagonal = block[:, rows].diagonal()
        total += float(block.sum() - diagonal.sum())
        if len(weights):
            products = ((weights[:, rows] @ block.float()) * weights).sum(dim=1, dtype=torch.float64)
            resampled += products - weights[:, rows].double().square() @ diagonal
    pairs = count**2 - weights.double().square().sum(dim=1)
    return PairMeans(total / (count * (count - 1)), resampled / pairs)


def _across(first: Tensor, second: Tensor, first_weights: Tensor, second_weights: Tensor) -> PairMeans:
    """Average over all pairs of a row of one set with a row of the other."""
    total, resampled = 0.0, torch.zeros(len(first_weights), dtype=torch.float64)
    for rows, block in _blocks(first, second):
        total += float(block.sum())
        if len(first_weights):
            resampled += ((first_weights[:, rows] @ block.float()) * second_weights).sum(dim=1, dtype=torch.float64)
    size = len(first) * len(second)
    return PairMeans(total / size, resampled / size)
