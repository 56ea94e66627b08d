"""Mean absolute pixel difference of each sample from its target: lower is better.

The reconstruction term of pix2pix (Isola et al. 2017, equation 3), in the range of the data, on held-out pairs. A
blurred mean of all plausible outputs scores well: report a distance of distributions as well.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import Tensor

from equipoise.core.data import DataSpec
from equipoise.core.metric import Bootstrap, MetricResult, ReferenceSet
from equipoise.metrics import _image_distances
from equipoise.metrics._feature_metric import FeatureMetricMixin
from equipoise.metrics._features_small import FlattenedSamples

__all__ = ["PairedL1"]


@dataclass(frozen=True, slots=True)
class PairedL1(FeatureMetricMixin):
    """Mean absolute difference of pixels in [-1, 1], from 0 to 2."""

    better: ClassVar[Literal["lower", "higher"]] = "lower"
    suited_to: ClassVar[str] = "images with paired held-out inputs"
    is_paired: ClassVar[Literal[True]] = True

    @property
    def features(self) -> FlattenedSamples:
        """The pixels as a vector."""
        return FlattenedSamples()

    def suits(self, spec: DataSpec) -> bool:
        """Return whether held-out inputs are paired with their targets."""
        return "held_out" in spec.paired

    def compute(self, real: ReferenceSet, fake: Tensor, bootstrap: Bootstrap) -> MetricResult:
        """Compute the metric from pixels (M, D) of reals and (N, D) of samples in the same order.

        Raises DataError if there are fewer reals than samples.
        """
        differences = (_image_distances.matching_reals(real.real, fake) - fake).abs().double().mean(dim=1)
        return MetricResult.from_mean(differences, bootstrap)
