"""Perceptual distance of each sample from its target, on ImageNet features: lower is better.

The uncalibrated distance of Zhang et al. 2018 on five layers of EfficientNet-Lite0: LPIPS without weights fitted to
human judgements. Needs no download; values are not comparable with LPIPS.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import Tensor

from equipoise.core.data import DataSpec
from equipoise.core.metric import Bootstrap, MetricResult, ReferenceSet
from equipoise.metrics import _image_distances
from equipoise.metrics._feature_metric import FeatureMetricMixin, is_grey_or_colour
from equipoise.metrics._features_efficientnet import perceptual_distance
from equipoise.metrics._features_small import RawSamples
from equipoise.nn.efficientnet import DIGEST

__all__ = ["PairedEfficientnetLite0"]


@dataclass(frozen=True, slots=True)
class PairedEfficientnetLite0(FeatureMetricMixin):
    """Mean perceptual distance. Unlike pixel differences, it compares edges and textures with the target."""

    better: ClassVar[Literal["lower", "higher"]] = "lower"
    suited_to: ClassVar[str] = "grey or colour images with paired held-out inputs"
    is_paired: ClassVar[Literal[True]] = True

    @property
    def features(self) -> RawSamples:
        """The images themselves, which are compared in pairs."""
        return RawSamples(DIGEST)

    def suits(self, spec: DataSpec) -> bool:
        """Return whether the data are grey or colour images with paired held-out inputs."""
        return is_grey_or_colour(spec) and "held_out" in spec.paired

    def compute(self, real: ReferenceSet, fake: Tensor, bootstrap: Bootstrap) -> MetricResult:
        """Compute the metric from images (M, C, H, W) and (N, C, H, W) in the same order.

        Raises DataError if there are fewer reals than samples.
        """
        target = _image_distances.matching_reals(real.real, fake)
        return MetricResult.from_mean(
            _image_distances.distances_in_batches(perceptual_distance, fake, target), bootstrap
        )
