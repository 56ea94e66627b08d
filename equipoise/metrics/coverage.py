"""Share of reals that have a sample nearby: higher is better, at most 1.

Naeem et al. 2020, "Reliable Fidelity and Diversity Metrics for Generative Models", equations 3 and 4: a real counts if
a sample is closer than its fifth nearest real neighbour. Perfect samples, as many as reals, reach 1 - 1/2^5 = 97 %.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import Tensor

from equipoise.core import validation
from equipoise.core.metric import Bootstrap, MetricResult, ReferenceSet
from equipoise.metrics._feature_metric import FeatureKind, SelectableFeaturesMixin
from equipoise.metrics._manifold import count_warnings, nearest_neighbours, radii

__all__ = ["Coverage"]


@dataclass(frozen=True, slots=True)
class Coverage(SelectableFeaturesMixin):
    """Share of covered reals, a measure of variety that is robust to outliers among the samples."""

    features_from: FeatureKind = "efficientnet_lite0"
    """digits, efficientnet_lite0, mobilenet_v2, inception, pixels or samples"""
    neighbours: int = 5
    """k of the k-th nearest neighbour that defines the radius of a ball"""

    better: ClassVar[Literal["lower", "higher"]] = "higher"

    def __post_init__(self) -> None:
        validation.check_at_least(1, neighbours=self.neighbours)
        self.check_features("coverage")

    def compute(self, real: ReferenceSet, fake: Tensor, bootstrap: Bootstrap) -> MetricResult:
        """Compute the metric from features (M, D) of reals and (N, D) of samples; reals are resampled.

        Raises DataError for too few samples or reals.
        """
        is_covered = nearest_neighbours(real.real, fake, 1).distance[:, 0] < radii(real.real, self.neighbours)
        return MetricResult.from_mean(is_covered.double(), bootstrap, side=0, warnings=count_warnings(real.real, fake))
