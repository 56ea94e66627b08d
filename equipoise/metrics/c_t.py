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
from equipoise.core.data import Batch
from equipoise.core.metric import Bootstrap, MetricResult, ReferenceSet, extract_features
from equipoise.errors import DataError, UndefinedMetricError
from equipoise.metrics._feature_metric import FeatureKind, SelectableFeaturesMixin
from equipoise.metrics._memorisation import (
    NearestDistances,
    copying_score,
    feature_warnings,
    kmeans_centres,
    nearest_distances,
)

__all__ = ["CT"]

MIN_HELD_OUT = 50
"""Smallest number of held-out reals: with 20, copies reach scores from -2.8 to -4 (benchmarks/metrics/copies.md)."""


@dataclass(frozen=True, slots=True)
class CT(SelectableFeaturesMixin):
    """Test for copies: a mean z score over k-means cells of the training reals."""

    features_from: FeatureKind = "pixels"
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

        NaN for too few samples. Raises DataError without training reals, UndefinedMetricError for too few reals that
        were not trained on.
        """
        if real.train is None:
            raise DataError("c_t needs the training reals; name the training data with --against")
        _check_held_out(real)
        warnings = feature_warnings("c_t", self.features_from)
        if not fake.isfinite().all():
            return MetricResult(math.nan)
        means = kmeans_centres(real.train, self.cells, self.seed)
        held_out, samples = (nearest_distances(features, real.train, means) for features in (real.real, fake))
        value = copying_score(samples, held_out, self.least)
        if math.isnan(value):
            reason = f"no cell with a held-out real has {self.least} samples, there are {len(fake)}: increase --count"
            return MetricResult(math.nan, warnings=(reason,))
        if not bootstrap.count:
            return MetricResult(value, warnings=warnings)
        pairs = zip(bootstrap.weights(len(real.real), 0).long(), bootstrap.weights(len(fake), 1).long(), strict=True)
        resampled = [
            copying_score(_repeat(samples, second), _repeat(held_out, first), self.least) for first, second in pairs
        ]
        return MetricResult(value, torch.tensor(resampled, dtype=torch.float64), warnings)

    def statistics(self, real: Batch) -> ReferenceSet:
        """Return the features of the reals. Raises UndefinedMetricError for too few that were not trained on."""
        if isinstance(real, ReferenceSet):
            _check_held_out(real)
        return extract_features(self.features, real)


def _check_held_out(real: ReferenceSet) -> None:
    """Raise UndefinedMetricError if fewer than MIN_HELD_OUT reals are held out, or not all of them."""
    available = len(real) if real.held_out is None else real.held_out
    if available < MIN_HELD_OUT or real.held_out is not None:
        raise UndefinedMetricError(
            f"c_t needs at least {MIN_HELD_OUT} held-out reals, and no other ones; there are {available}: use "
            "auth_pct:pixels and --neighbours, which need none"
        )


def _repeat(rows: NearestDistances, times: Tensor) -> NearestDistances:
    """Repeat each row as often as it was resampled."""
    return NearestDistances(rows.distance.repeat_interleave(times), rows.cell.repeat_interleave(times))
