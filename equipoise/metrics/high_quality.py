"""Share of samples near a mode of a mixture: higher is better, 1 the most.

Counts as in PacGAN (Lin et al. 2018): within three standard deviations of the nearest mean. A perfect sampler reaches
1 - exp(-9/2) = 98.89 %.
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

__all__ = ["HighQuality"]


@dataclass(frozen=True, slots=True)
class HighQuality(Compares):
    """It says nothing of missing modes: see `modes`."""

    better: ClassVar[Literal["lower", "higher"]] = "higher"

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
        value = _mixture.tally(good, torch.ones(1, len(fake))).high_quality.item()
        if not draws.count:
            return MetricResult(value)
        return MetricResult(value, _mixture.tally(good, draws.weights(len(fake), 1)).high_quality)
