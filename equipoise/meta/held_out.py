"""Distance of points to held-out reals, the objective of policies: lower is better, about 0 for perfect samples.

    MMD² = E k(x, x') + E k(y, y') - 2 E k(x, y),   k(x, y) = mean over s of exp(-|x - y|² / (2 s²))

The unbiased squared maximum mean discrepancy (Gretton 2012, lemma 6) with Gaussian kernels of six widths s, from twice
the median distance of reals to a sixteenth of it, each half the previous one, so that both the width of a mode and a
missing mode matter. The reals are held out, so that copies of training reals do not have a distance of 0.
"""

import math
from dataclasses import dataclass
from typing import ClassVar, Literal, NamedTuple

import torch
from torch import Tensor

from equipoise.core.data import Batch, DataSpec

__all__ = ["HeldOutDistance"]

WIDEST, HALVINGS = 2.0, 5
COUNT = 512
"""Maximum number of compared reals and samples. The distance of perfect samples has a standard deviation of 0.0005."""


class ReferenceKernel(NamedTuple):
    """Reals (N, D); `within`: mean kernel of two different reals; `width`: s of the widest kernel."""

    real: Tensor
    within: float
    width: float


@dataclass(frozen=True, slots=True)
class HeldOutDistance:
    """Squared maximum mean discrepancy of points in a few dimensions; no network, no labels."""

    better: ClassVar[Literal["lower", "higher"]] = "lower"

    @property
    def features_digest(self) -> None:
        """None: there is no network."""

    def suits(self, spec: DataSpec) -> bool:
        """Whether the data are points."""
        return len(spec.shape) == 1

    def statistics(self, real: Batch) -> ReferenceKernel:
        """Return the statistics of the first COUNT of reals (N, D)."""
        points = real.real[:COUNT].float()
        median = float(torch.pdist(points).median())
        width = WIDEST * max(median, 1e-6)
        return ReferenceKernel(points, _within(points, width), width)

    def value(self, statistics: ReferenceKernel, fake: Tensor) -> float:
        """Return the MMD² of the first COUNT of fake (N, D); NaN if any is not finite."""
        points = fake[:COUNT].float()
        if not points.isfinite().all():
            return math.nan
        across = float(points_kernel(statistics.real, points, statistics.width).mean())
        return statistics.within + _within(points, statistics.width) - 2 * across


def _within(points: Tensor, width: float) -> float:
    """Return the mean kernel of two different points of (N, D)."""
    count = len(points)
    return float((points_kernel(points, points, width).sum(dtype=torch.float64) - count) / (count * (count - 1)))


def points_kernel(first: Tensor, second: Tensor, width: float) -> Tensor:
    """Compute the kernels (N, M) of (N, D) and (M, D). Halving s is the fourth power, so one exponential suffices."""
    distances = torch.cdist(first, second, compute_mode="donot_use_mm_for_euclid_dist")
    kernel = distances.square_().div_(-2 * width**2).exp_()
    total = kernel.clone()
    for _ in range(HALVINGS):
        total += kernel.square_().square_()
    return total.div_(HALVINGS + 1)
