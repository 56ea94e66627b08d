"""Share of modes covered times share of samples near one, for points of a mixture: higher is better, at most 1.

Counted as in PacGAN (Lin et al. 2018): a sample is good if it lies within three standard deviations of the nearest
mean; a mode is covered by one good sample. A perfect generator reaches 1 - exp(-9/2) = 98.89 %.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from equipoise.core.data import Batch, DataSpec
from equipoise.core.metric import Bootstrap, MetricResult, ReferenceSet
from equipoise.metrics import _mixture
from equipoise.metrics._features_small import FlattenedSamples
from equipoise.metrics._mixture import GaussianMixture, ModeCounts, ModeStatistics

__all__ = ["MixtureModes"]


@dataclass(frozen=True, slots=True)
class MixtureModes:
    """Product of the shares of covered modes and of good samples, for points in the plane labelled by mode."""

    better: ClassVar[Literal["lower", "higher"]] = "higher"
    suited_to: ClassVar[str] = "labelled points in the plane"
    needs_train: ClassVar[bool] = False

    @property
    def features(self) -> FlattenedSamples:
        """The coordinates of the points."""
        return FlattenedSamples()

    @property
    def features_digest(self) -> None:
        """None, because there is no network."""

    def suits(self, spec: DataSpec) -> bool:
        """Return whether the data are labelled points in the plane."""
        return spec.shape == (2,) and spec.classes > 0

    def statistics(self, real: Batch) -> GaussianMixture:
        """Estimate the mean of each label and the pooled standard deviation of real (N, 2); within 2 % for 1,000 reals.

        Raises DataError if there are no labels, a label below the largest has no sample, or there are too few samples.
        """
        return _mixture.fit_mixture(real)

    def value(self, statistics: GaussianMixture, fake: Tensor) -> float:
        """Return the covered share of modes times the good share of fake (N, 2); non-finite samples are not good."""
        counts = self.counts(statistics, fake)
        return counts.modes / len(statistics.means) * counts.high_quality

    def counts(self, statistics: GaussianMixture, fake: Tensor) -> ModeCounts:
        """Count how fake (N, 2) is distributed over the modes."""
        return _mixture.count_modes(_mixture.assign_modes(statistics, fake))

    def compute(self, real: ReferenceSet, fake: Tensor, bootstrap: Bootstrap) -> MetricResult:
        """Compute the same as `value`, from labelled reals (M, 2) and samples (N, 2)."""
        good = _mixture.assign_modes(_mixture.fit_mixture(real), fake)
        value = _product(_mixture.mode_statistics(good, torch.ones(1, len(fake))), good.shape[1]).item()
        if not bootstrap.count:
            return MetricResult(value)
        return MetricResult(
            value, _product(_mixture.mode_statistics(good, bootstrap.weights(len(fake), 1)), good.shape[1])
        )


def _product(statistics: ModeStatistics, modes: int) -> Tensor:
    return statistics.modes / modes * statistics.high_quality
