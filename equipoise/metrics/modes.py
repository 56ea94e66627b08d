"""How many modes of a mixture have a good sample: higher is better.

Counts as in PacGAN (Lin et al. 2018): a sample is good if it lies within three standard deviations of the nearest mean.
Published figures are of 2,500 samples.
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

__all__ = ["Modes"]


@dataclass(frozen=True, slots=True)
class Modes(Compares):
    """8 of the ring, 25 of the grid, at the most."""

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
        value = _mixture.tally(good, torch.ones(1, len(fake))).modes.item()
        if not draws.count:
            return MetricResult(value)
        return MetricResult(value, _mixture.tally(good, draws.weights(len(fake), 1)).modes)
