"""Share of modes covered times share of samples near one, for points of a mixture: higher is better, 1 the most.

Counts as in PacGAN (Lin et al. 2018): a sample is good if it lies within three standard deviations of the nearest
mean, a mode is covered by one good sample. A perfect sampler reaches 1 - exp(-9/2) = 98.89 %.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from equipoise.core.data import Batch, DataSpec
from equipoise.core.metric import Bootstrap, MetricResult, ReferenceSet
from equipoise.metrics import _mixture
from equipoise.metrics._features_samples import Flat
from equipoise.metrics._mixture import Counts, Mixture, Tally

__all__ = ["MixtureModes"]


@dataclass(frozen=True, slots=True)
class MixtureModes:
    """For points in the plane whose labels are the modes."""

    better: ClassVar[Literal["lower", "higher"]] = "higher"
    needs_train: ClassVar[bool] = False

    @property
    def features(self) -> Flat:
        """Coordinates."""
        return Flat()

    @property
    def features_digest(self) -> None:
        """No network."""

    def suits(self, spec: DataSpec) -> bool:
        """Labelled points in the plane."""
        return spec.shape == (2,) and spec.classes > 0

    def statistics(self, real: Batch) -> Mixture:
        """Mean of each label and the pooled standard deviation of real (N, 2); 1,000 give the latter within 2 %.

        Raises DataError if there are no labels, a label below the greatest has no sample, or there are too few.
        """
        return _mixture.mixture(real)

    def value(self, statistics: Mixture, fake: Tensor) -> float:
        """Covered share of the modes times good share of fake (N, 2); a sample that is not finite is not good."""
        counts = self.counts(statistics, fake)
        return counts.modes / len(statistics.means) * counts.high_quality

    def counts(self, statistics: Mixture, fake: Tensor) -> Counts:
        """How fake (N, 2) falls on the modes."""
        return _mixture.counts(_mixture.assigned(statistics, fake))

    def compare(self, real: ReferenceSet, fake: Tensor, draws: Bootstrap) -> MetricResult:
        """As `value`, of labelled reals (M, 2) and samples (N, 2)."""
        good = _mixture.assigned(_mixture.mixture(real), fake)
        value = _product(_mixture.tally(good, torch.ones(1, len(fake))), good.shape[1]).item()
        if not draws.count:
            return MetricResult(value)
        return MetricResult(value, _product(_mixture.tally(good, draws.weights(len(fake), 1)), good.shape[1]))


def _product(tally: Tally, modes: int) -> Tensor:
    return tally.modes / modes * tally.high_quality
