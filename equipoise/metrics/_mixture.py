"""Assignment of samples to the modes of a Gaussian mixture, and statistics of the counts."""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from equipoise.core.data import Batch
from equipoise.errors import DataError, UndefinedMetricError

GOOD_WITHIN = 3.0
"""Radius in standard deviations around a mean within which a sample is good, as in PacGAN (Lin et al. 2018)."""


class GaussianMixture(NamedTuple):
    """A mixture estimated from reals. `means`: (K, 2) float64, by label. `std`: common to all modes and directions."""

    means: Tensor
    std: float


class ModeCounts(NamedTuple):
    """Distribution of samples over modes.

    `modes`: number of modes with a good sample. `high_quality`: share of good samples, 0 to 1. `reverse_kl`: KL(p ||
    uniform) in nats, p the share of each mode among good samples; ln K, its maximum, without any. For N samples of a
    perfect generator it is about (K - 1) / (2 N).
    """

    modes: int
    high_quality: float
    reverse_kl: float


class ModeStatistics(NamedTuple):
    """Statistics of :class:`ModeCounts` for each resample, (R,) float64 each."""

    modes: Tensor
    high_quality: Tensor
    reverse_kl: Tensor


def fit_mixture(real: Batch) -> GaussianMixture:
    """Estimate the mean of each label and the pooled standard deviation of real (N, 2); within 2 % for 1,000 reals.

    Raises DataError if there are no labels, a label below the largest has no sample, or there are too few samples.
    """
    if real.condition is None:
        raise DataError("counting modes needs labels of the modes, but this data has no labels; omit the metric")
    points, labels = real.real.double().cpu(), real.condition.cpu()
    sizes = torch.bincount(labels)
    if not sizes.all():
        absent = int(sizes.argmin())
        raise UndefinedMetricError(
            f"mode {absent} has no sample among {len(points)} held-out samples; use more samples"
        )
    if len(points) <= len(sizes):
        raise UndefinedMetricError(
            f"{len(points)} held-out samples are too few for {len(sizes)} modes; use more samples"
        )
    means = torch.zeros(len(sizes), 2, dtype=torch.float64).index_add_(0, labels, points) / sizes[:, None]
    squares = (points - means[labels]).square().sum()
    return GaussianMixture(means, math.sqrt(squares / (2 * (len(points) - len(sizes)))))


def assign_modes(mixture: GaussianMixture, fake: Tensor) -> Tensor:
    """Assign good samples of fake (N, 2) to their nearest mode: (N, K) float64, 1 for that mode, else 0."""
    offsets = fake.double().cpu()[:, None] - mixture.means
    distance, mode = offsets.square().sum(dim=2).sqrt().min(dim=1)
    good = distance < GOOD_WITHIN * mixture.std
    return torch.nn.functional.one_hot(mode, len(mixture.means)).double() * good[:, None]


def mode_statistics(good: Tensor, weights: Tensor) -> ModeStatistics:
    """Return the statistics of `good` (N, K), 1 for a good sample of a mode, with rows weighted by `weights` (R, N)."""
    sizes = weights.double() @ good
    share = sizes / sizes.sum(dim=1, keepdim=True)
    modes = good.shape[1]
    reverse_kl = torch.special.xlogy(share, share * modes).sum(dim=1).nan_to_num(math.log(modes))
    return ModeStatistics((sizes > 0).sum(dim=1).double(), sizes.sum(dim=1) / weights.double().sum(dim=1), reverse_kl)


def count_modes(good: Tensor) -> ModeCounts:
    """Count modes from `good` (N, K), the result of :func:`assign_modes`."""
    result = mode_statistics(good, torch.ones(1, len(good)))
    return ModeCounts(int(result.modes.item()), result.high_quality.item(), result.reverse_kl.item())
