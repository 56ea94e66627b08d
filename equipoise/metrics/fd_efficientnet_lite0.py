"""Fréchet distance to held-out reals, on ImageNet features of EfficientNet-Lite0: lower is better.

The formula of FID (Heusel et al. 2017), on 1,280 features, of images resized to 96 x 96. Values are comparable with
each other, not with any published FID.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import Tensor

from equipoise.core.data import DataSpec
from equipoise.core.metric import Bootstrap, MetricResult, ReferenceSet
from equipoise.metrics import _frechet
from equipoise.metrics._feature_metric import FeatureMetricMixin, is_grey_or_colour
from equipoise.metrics._features_efficientnet import EfficientNetFeatures

__all__ = ["FdEfficientnetLite0"]


@dataclass(frozen=True, slots=True)
class FdEfficientnetLite0(FeatureMetricMixin):
    """Fréchet distance, strongly biased upward below about 5,000 samples: use kd_efficientnet_lite0 there."""

    better: ClassVar[Literal["lower", "higher"]] = "lower"
    suited_to: ClassVar[str] = "grey or colour images"

    @property
    def features(self) -> EfficientNetFeatures:
        """Features of EfficientNet-Lite0."""
        return EfficientNetFeatures()

    def suits(self, spec: DataSpec) -> bool:
        """Return whether the data are grey or colour images, of any size."""
        return is_grey_or_colour(spec)

    def compute(self, real: ReferenceSet, fake: Tensor, bootstrap: Bootstrap) -> MetricResult:
        """Compute the metric from features (M, D) of reals and (N, D) of samples.

        Raises DataError for fewer than 2 samples or reals.
        """
        return _frechet.compute(real.real, fake, bootstrap, alternative="kd_efficientnet_lite0")
