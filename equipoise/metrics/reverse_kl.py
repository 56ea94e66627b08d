"""How unevenly good samples fall on the modes of a mixture, in nats: lower is better.

KL(p || uniform) with p the share of each mode among the good samples, as in PacGAN (Lin et al. 2018). A perfect sampler
has about (K - 1) / (2 N), for K modes and N samples.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from equipoise.core.data import DataSpec
from equipoise.core.metric import Bootstrap, MetricResult, ReferenceSet
from equipoise.metrics import _mixture
from equipoise.metrics._comparing import Compares
from equipoise.metrics._features_samples import Flat

__all__ = ["ReverseKl"]


@dataclass(frozen=True, slots=True)
class ReverseKl(Compares):
    """ln K if all samples fall on one mode, or none is good."""

    better: ClassVar[Literal["lower", "higher"]] = "lower"

    @property
    def features(self) -> Flat:
        """Coordinates."""
        return Flat()

    def suits(self, spec: DataSpec) -> bool:
        """Labelled points in the plane."""
        return spec.shape == (2,) and spec.classes > 0

    def compare(self, real: ReferenceSet, fake: Tensor, draws: Bootstrap) -> MetricResult:
        """Labelled reals (M, 2), which tell the modes, and samples (N, 2). Raises DataError without labels."""
        good = _mixture.assigned(_mixture.mixture(real), fake)
        value = _mixture.tally(good, torch.ones(1, len(fake))).reverse_kl.item()
        if not draws.count:
            return MetricResult(value)
        return MetricResult(value, _mixture.tally(good, draws.weights(len(fake), 1)).reverse_kl)
