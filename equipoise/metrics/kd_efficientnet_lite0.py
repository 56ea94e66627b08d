"""Kernel distance to held-out reals, on ImageNet features of EfficientNet-Lite0: lower is better.

The formula of KID (Bińkowski et al. 2018), on 1,280 features, of images resized to 96 x 96, over all pairs. Values are
comparable with each other, not with any published KID.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import Tensor

from equipoise.core.data import DataSpec
from equipoise.core.metric import Bootstrap, MetricResult, ReferenceSet
from equipoise.metrics import _kernel
from equipoise.metrics._feature_metric import FeatureMetricMixin, is_grey_or_colour
from equipoise.metrics._features_efficientnet import EfficientNetFeatures

__all__ = ["KdEfficientnetLite0"]


@dataclass(frozen=True, slots=True)
class KdEfficientnetLite0(FeatureMetricMixin):
    """Kernel distance, unbiased: few samples make it uncertain, not larger. It can be negative."""

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
        return _kernel.compute(real.real, fake, bootstrap)
