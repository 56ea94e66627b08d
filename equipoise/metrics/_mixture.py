"""Which mode of a mixture a sample belongs to, and what a tally of modes says."""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from equipoise.core.data import Batch
from equipoise.errors import DataError

GOOD_WITHIN = 3.0
"""Standard deviations around a mean within which a sample is good, as in PacGAN (Lin et al. 2018)."""


class Mixture(NamedTuple):
    """What reals tell of a mixture: `means` (K, 2) float64 by label, `std` of all modes and directions."""

    means: Tensor
    std: float


class Counts(NamedTuple):
    """How samples fall on the modes.

    `modes`: how many have a good sample. `high_quality`: share of samples that are good, 0 to 1. `reverse_kl`:
    KL(p || uniform) in nats, p the share of each mode of the good samples; ln K, its greatest value, if there is none.
    Its floor for N samples of a perfect sampler is about (K - 1) / (2 N).
    """

    modes: int
    high_quality: float
    reverse_kl: float


class Tally(NamedTuple):
    """The same of many draws: each (R,) float64."""

    modes: Tensor
    high_quality: Tensor
    reverse_kl: Tensor


def mixture(real: Batch) -> Mixture:
    """Mean of each label and the pooled standard deviation of real (N, 2); 1,000 give the latter within 2 %.

    Raises DataError if there are no labels, a label below the greatest has no sample, or there are too few.
    """
    if real.condition is None:
        raise DataError("counting modes needs labels that name the modes; this data has none")
    points, labels = real.real.double().cpu(), real.condition.cpu()
    sizes = torch.bincount(labels)
    if not sizes.all():
        absent = int(sizes.argmin())
        raise DataError(f"mode {absent} is not among the {len(points)} held-out samples; measure on more of them")
    if len(points) <= len(sizes):
        raise DataError(f"{len(points)} held-out samples of {len(sizes)} modes are too few; measure on more of them")
    means = torch.zeros(len(sizes), 2, dtype=torch.float64).index_add_(0, labels, points) / sizes[:, None]
    squares = (points - means[labels]).square().sum()
    return Mixture(means, math.sqrt(squares / (2 * (len(points) - len(sizes)))))


def assigned(of: Mixture, fake: Tensor) -> Tensor:
    """(N, K) float64: 1 where fake (N, 2) is a good sample of a mode, which is the nearest one, else 0."""
    offsets = fake.double().cpu()[:, None] - of.means
    distance, mode = offsets.square().sum(dim=2).sqrt().min(dim=1)
    good = distance < GOOD_WITHIN * of.std
    return torch.nn.functional.one_hot(mode, len(of.means)).double() * good[:, None]


def tally(good: Tensor, weights: Tensor) -> Tally:
    """What `good` (N, K), 1 for a good sample of a mode, comes to, its rows counted as `weights` (R, N) say."""
    sizes = weights.double() @ good
    share = sizes / sizes.sum(dim=1, keepdim=True)
    modes = good.shape[1]
    reverse_kl = torch.special.xlogy(share, share * modes).sum(dim=1).nan_to_num(math.log(modes))
    return Tally((sizes > 0).sum(dim=1).double(), sizes.sum(dim=1) / weights.double().sum(dim=1), reverse_kl)


def counts(good: Tensor) -> Counts:
    """What `good` (N, K) comes to."""
    result = tally(good, torch.ones(1, len(good)))
    return Counts(int(result.modes.item()), result.high_quality.item(), result.reverse_kl.item())
