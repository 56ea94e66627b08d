"""Fréchet distance to held-out reals, on ImageNet features of MobileNetV2: lower is better.

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
from equipoise.metrics._features_mobilenet import MobilenetFeatures, require_weights

__all__ = ["FdMobilenetV2"]


@dataclass(frozen=True, slots=True)
class FdMobilenetV2(FeatureMetricMixin):
    """Fréchet distance, strongly biased upward below about 5,000 samples: use kd_mobilenet_v2 there."""

    better: ClassVar[Literal["lower", "higher"]] = "lower"
    suited_to: ClassVar[str] = "grey or colour images"

    def __post_init__(self) -> None:
        require_weights("fd_mobilenet_v2")

    @property
    def features(self) -> MobilenetFeatures:
        """Features of MobileNetV2."""
        return MobilenetFeatures()

    def suits(self, spec: DataSpec) -> bool:
        """Return whether the data are grey or colour images, of any size."""
        return is_grey_or_colour(spec)

    def compute(self, real: ReferenceSet, fake: Tensor, bootstrap: Bootstrap) -> MetricResult:
        """Compute the metric from features (M, D) of reals and (N, D) of samples.

        Raises DataError for fewer than 2 samples or reals.
        """
        return _frechet.compute(real.real, fake, bootstrap, alternative="kd_mobilenet_v2")
