"""Whether samples are closer to the training reals than held-out reals are: higher is better, 0 is ideal.

C_T of Meehan, Chaudhuri and Dasgupta 2020, "A Non-Parametric Test to Detect Data-Copying in Generative Models". Below
-3, samples are copies to a degree that chance does not explain; far above 0, they are farther away than reals.

Distances are to the nearest of all training reals. The authors' program takes the nearest in the sample's own cell, and
applies a continuity correction of one half to the mean of U: for 1,000 points in five clusters, fresh, copied, half
copied and noisy, the scores were -0.27, -16.1, -8.97 and 8.94 here, and -0.25, -16.0, -8.95 and 8.94 with those two
rules.
"""

import math
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from equipoise.core import validation
from equipoise.core.metric import Bootstrap, MetricResult, ReferenceSet
from equipoise.errors import DataError
from equipoise.metrics._feature_metric import FeatureKind, SelectableFeaturesMixin
from equipoise.metrics._memorisation import NearestDistances, copying_score, kmeans_centres, nearest_distances

__all__ = ["CT"]


@dataclass(frozen=True, slots=True)
class CT(SelectableFeaturesMixin):
    """Test for copies: a mean z score over k-means cells of the training reals."""

    features_from: FeatureKind = "efficientnet_lite0"
    """digits, efficientnet_lite0, mobilenet_v2, inception, pixels or samples"""
    cells: int = 5
    """number of cells; each should hold a hundred held-out reals"""
    least: int = 20
    """cells with fewer samples are skipped"""
    seed: int = 0
    """seed of the cells"""

    better: ClassVar[Literal["lower", "higher"]] = "higher"
    needs_train: ClassVar[bool] = True

    def __post_init__(self) -> None:
        validation.check_at_least(1, cells=self.cells, least=self.least)
        validation.check_seeds(seed=self.seed)
        self.check_features("c_t")

    def compute(self, real: ReferenceSet, fake: Tensor, bootstrap: Bootstrap) -> MetricResult:
        """Compute the metric from features (M, D) and (T, D) of reals and (N, D) of samples.

        Raises DataError without training reals.
        """
        if real.train is None:
            raise DataError("c_t needs the training reals; name the training data with --against")
        if not fake.isfinite().all():
            return MetricResult(math.nan)
        means = kmeans_centres(real.train, self.cells, self.seed)
        held_out, samples = (nearest_distances(features, real.train, means) for features in (real.real, fake))
        value = copying_score(samples, held_out, self.least)
        if not bootstrap.count:
            return MetricResult(value)
        pairs = zip(bootstrap.weights(len(real.real), 0).long(), bootstrap.weights(len(fake), 1).long(), strict=True)
        resampled = [
            copying_score(_repeat(samples, second), _repeat(held_out, first), self.least) for first, second in pairs
        ]
        return MetricResult(value, torch.tensor(resampled, dtype=torch.float64))


def _repeat(rows: NearestDistances, times: Tensor) -> NearestDistances:
    """Repeat each row as often as it was resampled."""
    return NearestDistances(rows.distance.repeat_interleave(times), rows.cell.repeat_interleave(times))
