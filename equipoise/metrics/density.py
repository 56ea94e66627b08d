"""Number of balls around reals that contain a sample, relative to the expected number: higher is better.

Naeem et al. 2020, "Reliable Fidelity and Diversity Metrics for Generative Models", equations 3 and 4: the radius of a
ball is the distance to the fifth nearest real neighbour; the number of balls around a sample is divided by five. About
1 for reals; it can exceed 1.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import Tensor

from equipoise.core import validation
from equipoise.core.metric import Bootstrap, MetricResult, ReferenceSet
from equipoise.metrics._feature_metric import FeatureKind, SelectableFeaturesMixin
from equipoise.metrics._manifold import count_balls, count_warnings, radii

__all__ = ["Density"]


@dataclass(frozen=True, slots=True)
class Density(SelectableFeaturesMixin):
    """Mean number of balls per sample, a measure of fidelity that is robust to outliers among the reals."""

    features_from: FeatureKind = "efficientnet_lite0"
    """digits, efficientnet_lite0, mobilenet_v2, inception, pixels or samples"""
    neighbours: int = 5
    """k of the k-th nearest neighbour that defines the radius of a ball"""

    better: ClassVar[Literal["lower", "higher"]] = "higher"

    def __post_init__(self) -> None:
        validation.check_at_least(1, neighbours=self.neighbours)
        self.check_features("density")

    def compute(self, real: ReferenceSet, fake: Tensor, bootstrap: Bootstrap) -> MetricResult:
        """Compute the metric from features (M, D) of reals and (N, D) of samples; samples are resampled.

        Raises DataError for too few samples or reals.
        """
        counts = count_balls(fake, real.real, radii(real.real, self.neighbours), border=False)
        return MetricResult.from_mean(counts / self.neighbours, bootstrap, warnings=count_warnings(real.real, fake))
