"""Mean LPIPS distance between samples: higher is more diverse.

LPIPS of Zhang et al. 2018, "The Unreasonable Effectiveness of Deep Features as a Perceptual Metric", version 0.1,
between pairs of samples. Compare with the real-vs-real reference: noise is diverse too. Needs the extra `metrics`.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import Tensor

from equipoise.core import validation
from equipoise.core.data import DataSpec
from equipoise.core.metric import Bootstrap, MetricResult, ReferenceSet
from equipoise.metrics import _features_lpips, _image_distances
from equipoise.metrics._feature_metric import FeatureMetricMixin, is_grey_or_colour
from equipoise.metrics._features_small import RawSamples

__all__ = ["Lpips"]

MIN_SIDE = 32
"""Pixels a side that AlexNet's layers need."""


@dataclass(frozen=True, slots=True)
class Lpips(FeatureMetricMixin):
    """Mean LPIPS distance. The weights, 233 MB (AlexNet) or 528 MB (VGG-16), are downloaded once."""

    backbone: _features_lpips.Backbone = "alex"
    """alex or vgg"""
    weights: str | None = None
    """path of the backbone's weights; default: torch's hub folder, downloaded if missing"""
    pairs: int = 1000
    """largest number of pairs of samples"""

    better: ClassVar[Literal["lower", "higher"]] = "higher"
    suited_to: ClassVar[str] = f"grey or colour images of at least {MIN_SIDE} pixels a side"

    def __post_init__(self) -> None:
        validation.check_at_least(1, pairs=self.pairs)
        _features_lpips.require_packages("lpips")

    @property
    def features(self) -> RawSamples:
        """The images themselves, which are compared in pairs."""
        return RawSamples(_features_lpips.BACKBONES[self.backbone].published.digest)

    def suits(self, spec: DataSpec) -> bool:
        """Return whether the data are grey or colour images of at least 32 pixels a side."""
        return is_grey_or_colour(spec) and min(spec.shape[1:]) >= MIN_SIDE

    def compute(self, real: ReferenceSet, fake: Tensor, bootstrap: Bootstrap) -> MetricResult:
        """Compute the metric from samples (N, C, H, W); reals are not used.

        Raises DataError for a single sample.
        """
        return _image_distances.diversity(self.distance, fake, self.pairs, bootstrap)

    def distance(self, first: Tensor, second: Tensor) -> Tensor:
        """Return (B,) float32 for images (B, 1 or 3, H, W) in [-1, 1]. Raises DataError without the weights."""
        return _features_lpips.load(self.backbone, self.weights).distance(first, second)
