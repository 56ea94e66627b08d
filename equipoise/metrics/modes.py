"""Number of modes of a mixture that have a good sample: higher is better.

Counted as in PacGAN (Lin et al. 2018): a sample is good if it lies within three standard deviations of the nearest
mean. Published values use 2,500 samples.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from equipoise.core.data import DataSpec
from equipoise.core.metric import Bootstrap, MetricResult, ReferenceSet
from equipoise.metrics import _mixture
from equipoise.metrics._feature_metric import FeatureMetricMixin
from equipoise.metrics._features_small import FlattenedSamples

__all__ = ["Modes"]


@dataclass(frozen=True, slots=True)
class Modes(FeatureMetricMixin):
    """Number of covered modes, at most 8 for the ring, 25 for the grid."""

    better: ClassVar[Literal["lower", "higher"]] = "higher"
    suited_to: ClassVar[str] = "labelled points in the plane"

    @property
    def features(self) -> FlattenedSamples:
        """The coordinates of the points."""
        return FlattenedSamples()

    def suits(self, spec: DataSpec) -> bool:
        """Return whether the data are labelled points in the plane."""
        return spec.shape == (2,) and spec.classes > 0

    def compute(self, real: ReferenceSet, fake: Tensor, bootstrap: Bootstrap) -> MetricResult:
        """Compute the metric from labelled reals (M, 2), which define the modes, and samples (N, 2).

        Raises DataError without labels.
        """
        good = _mixture.assign_modes(_mixture.fit_mixture(real), fake)
        value = _mixture.mode_statistics(good, torch.ones(1, len(fake))).modes.item()
        if not bootstrap.count:
            return MetricResult(value)
        return MetricResult(value, _mixture.mode_statistics(good, bootstrap.weights(len(fake), 1)).modes)
