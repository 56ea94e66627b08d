"""Share of modes covered times share of samples near one, for points of a mixture: higher is better, 1 the most.

Counts as in PacGAN (Lin et al. 2018): a sample is good if it lies within three standard deviations of the nearest
mean, a mode is covered by one good sample. A perfect sampler reaches 1 - exp(-9/2) = 98.89 %.
"""

import math
from dataclasses import dataclass
from typing import ClassVar, Literal, NamedTuple

import torch
from torch import Tensor

from equipoise.base import Batch, DataSpec
from equipoise.errors import DataError

__all__ = ["MixtureModes"]

GOOD_WITHIN = 3.0


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


@dataclass(frozen=True, slots=True)
class MixtureModes:
    """For points in the plane whose labels are the modes."""

    better: ClassVar[Literal["lower", "higher"]] = "higher"

    def suits(self, spec: DataSpec) -> bool:
        """Labelled points in the plane."""
        return spec.shape == (2,) and spec.classes > 0

    def statistics(self, real: Batch) -> Mixture:
        """Mean of each label and the pooled standard deviation of real (N, 2); 1,000 give the latter within 2 %.

        Raises DataError if there are no labels, a label below the greatest has no sample, or there are too few.
        """
        if real.condition is None:
            raise DataError("mixture_modes needs labels that name the modes; this data has none")
        points, labels = real.real.double().cpu(), real.condition.cpu()
        sizes = torch.bincount(labels)
        if not sizes.all():
            absent = int(sizes.argmin())
            raise DataError(f"mode {absent} is not among the {len(points)} held-out samples; measure on more of them")
        if len(points) <= len(sizes):
            raise DataError(
                f"{len(points)} held-out samples of {len(sizes)} modes are too few; measure on more of them"
            )
        means = torch.zeros(len(sizes), 2, dtype=torch.float64).index_add_(0, labels, points) / sizes[:, None]
        squares = (points - means[labels]).square().sum()
        return Mixture(means, math.sqrt(squares / (2 * (len(points) - len(sizes)))))

    def value(self, statistics: Mixture, fake: Tensor) -> float:
        """Covered share of the modes times good share of fake (N, 2); a sample that is not finite is not good."""
        counts = self.counts(statistics, fake)
        return counts.modes / len(statistics.means) * counts.high_quality

    def counts(self, statistics: Mixture, fake: Tensor) -> Counts:
        """How fake (N, 2) falls on the modes."""
        offsets = fake.double().cpu()[:, None] - statistics.means
        distance, mode = offsets.square().sum(dim=2).sqrt().min(dim=1)
        good = distance < GOOD_WITHIN * statistics.std
        sizes = torch.bincount(mode[good], minlength=len(statistics.means)).double()
        if not good.any():
            return Counts(0, 0.0, math.log(len(sizes)))
        share = sizes / sizes.sum()
        reverse_kl = torch.special.xlogy(share, share * len(sizes)).sum()
        return Counts(int((sizes > 0).sum()), good.double().mean().item(), reverse_kl.item())
