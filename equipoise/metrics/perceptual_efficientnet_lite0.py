"""Mean perceptual distance between samples, on ImageNet features: higher is more diverse.

The uncalibrated distance of Zhang et al. 2018 on five layers of EfficientNet-Lite0: LPIPS without weights fitted to
human judgements. Needs no download; values are not comparable with LPIPS.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import Tensor

from equipoise.core import validation
from equipoise.core.data import DataSpec
from equipoise.core.metric import Bootstrap, MetricResult, ReferenceSet
from equipoise.metrics import _image_distances
from equipoise.metrics._feature_metric import FeatureMetricMixin, is_grey_or_colour
from equipoise.metrics._features_efficientnet import perceptual_distance
from equipoise.metrics._features_small import RawSamples
from equipoise.nn.efficientnet import DIGEST

__all__ = ["PerceptualEfficientnetLite0"]


@dataclass(frozen=True, slots=True)
class PerceptualEfficientnetLite0(FeatureMetricMixin):
    """Mean perceptual distance. Compare with the real-vs-real reference: noise is diverse too."""

    pairs: int = 1000
    """largest number of pairs of samples"""

    better: ClassVar[Literal["lower", "higher"]] = "higher"
    suited_to: ClassVar[str] = "grey or colour images"

    def __post_init__(self) -> None:
        validation.check_at_least(1, pairs=self.pairs)

    @property
    def features(self) -> RawSamples:
        """The images themselves, which are compared in pairs."""
        return RawSamples(DIGEST)

    def suits(self, spec: DataSpec) -> bool:
        """Return whether the data are grey or colour images, of any size."""
        return is_grey_or_colour(spec)

    def compute(self, real: ReferenceSet, fake: Tensor, bootstrap: Bootstrap) -> MetricResult:
        """Compute the metric from samples (N, C, H, W); reals are not used.

        Raises DataError for a single sample.
        """
        return _image_distances.diversity(self.distance, fake, self.pairs, bootstrap)

    def distance(self, first: Tensor, second: Tensor) -> Tensor:
        """Return (B,) float32 for images (B, 1 or 3, H, W) in [-1, 1]."""
        return perceptual_distance(first, second)
