"""Distance of points to held-out reals, as policies are trained by it: lower is better, 0 for samples as good as reals.

    MMD² = E k(x, x') + E k(y, y') - 2 E k(x, y),   k(x, y) = mean over s of exp(-|x - y|² / (2 s²))

The unbiased squared maximum mean discrepancy (Gretton 2012, lemma 6) with Gaussian kernels of six widths s, from a
sixteenth of the median distance of reals to twice that, each half the last, so that both the width of a mode and the
lack of one count. It sees fresh reals, not those that were trained on: a copy of those is no perfect sample here.
"""

import math
from dataclasses import dataclass
from typing import ClassVar, Literal, NamedTuple

import torch
from torch import Tensor

from equipoise.core.data import Batch, DataSpec

__all__ = ["HeldOut"]

WIDEST, HALVINGS = 2.0, 5
COUNT = 512
"""Reals and samples a side at the most: the distance of perfect samples scatters by about 0.0005."""


class Statistics(NamedTuple):
    """`real` (N, D), `within`: their own mean kernel, `width`: s of the widest kernel."""

    real: Tensor
    within: float
    width: float


@dataclass(frozen=True, slots=True)
class HeldOut:
    """For points in a few dimensions; no network, no labels."""

    better: ClassVar[Literal["lower", "higher"]] = "lower"

    @property
    def features_digest(self) -> None:
        """No network."""

    def suits(self, spec: DataSpec) -> bool:
        """Points."""
        return len(spec.shape) == 1

    def statistics(self, real: Batch) -> Statistics:
        """Of reals (N, D); the first COUNT count."""
        points = real.real[:COUNT].float()
        median = float(torch.pdist(points).median())
        width = WIDEST * max(median, 1e-6)
        return Statistics(points, _within(points, width), width)

    def value(self, statistics: Statistics, fake: Tensor) -> float:
        """MMD² of fake (N, D); not a number if they are not."""
        points = fake[:COUNT].float()
        if not points.isfinite().all():
            return math.nan
        across = float(_kernel(statistics.real, points, statistics.width).mean())
        return statistics.within + _within(points, statistics.width) - 2 * across


def _within(points: Tensor, width: float) -> float:
    """Mean kernel of two different points."""
    count = len(points)
    return float((_kernel(points, points, width).sum(dtype=torch.float64) - count) / (count * (count - 1)))


def _kernel(first: Tensor, second: Tensor, width: float) -> Tensor:
    """(N, D), (M, D) -> (N, M). The kernel of half the width is the fourth power: one exponential serves all."""
    apart = torch.cdist(first, second, compute_mode="donot_use_mm_for_euclid_dist")
    one = apart.square_().div_(-2 * width**2).exp_()
    total = one.clone()
    for _ in range(HALVINGS):
        total += one.square_().square_()
    return total.div_(HALVINGS + 1)
