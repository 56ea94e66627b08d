"""Share of reals that lie on the manifold of samples: higher is better, at most 1.

Kynkäänniemi et al. 2019, "Improved Precision and Recall Metric for Assessing Generative Models", equation 2: a real
counts if it lies in a ball around a sample whose radius is the distance to the third nearest neighbour among the
samples. More samples have smaller balls.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import Tensor

from equipoise.core import validation
from equipoise.core.metric import Bootstrap, MetricResult, ReferenceSet
from equipoise.metrics._feature_metric import FeatureKind, SelectableFeaturesMixin
from equipoise.metrics._manifold import count_balls, count_warnings, radii

__all__ = ["Recall"]


@dataclass(frozen=True, slots=True)
class Recall(SelectableFeaturesMixin):
    """Recall, a measure of variety. Compare only with equal numbers of samples, features and neighbours."""

    features_from: FeatureKind = "efficientnet_lite0"
    """digits, efficientnet_lite0, mobilenet_v2, inception, pixels or samples"""
    neighbours: int = 3
    """k of the k-th nearest neighbour that defines the radius of a ball"""

    better: ClassVar[Literal["lower", "higher"]] = "higher"
    scored: ClassVar[Literal["samples", "reals"]] = "reals"

    def __post_init__(self) -> None:
        validation.check_at_least(1, neighbours=self.neighbours)
        self.check_features("recall")

    def compute(self, real: ReferenceSet, fake: Tensor, bootstrap: Bootstrap) -> MetricResult:
        """Compute the metric from features (M, D) of reals and (N, D) of samples; reals are resampled.

        Raises DataError for too few samples or reals.
        """
        counts = count_balls(real.real, fake, radii(fake, self.neighbours), border=True)
        return MetricResult.from_mean(
            (counts > 0).double(), bootstrap, side=0, warnings=count_warnings(real.real, fake)
        )
