"""Agreement of the suite's distance with a metric on trained features, over sets of samples.

Random features cost milliseconds, but are they right? Where a metric on features of a trained network exists, such as
`kd_digits`, both should rank the same generators equally: Spearman 1904, "The Proof and Measurement of Association
between Two Things", with mean ranks for ties.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from equipoise.comparison.aggregate import mean_ranks
from equipoise.comparison.suite.distance import RandomFeatureDistance
from equipoise.comparison.suite.episode import REPORTED_SEED
from equipoise.comparison.suite.records import RunArray
from equipoise.core import catalog
from equipoise.core.metric import Metric, ReferenceSet


@dataclass(frozen=True, slots=True)
class DistanceAgreement:
    """Distances of the same sets of samples. `reported`: on random features. `trained`: of the metric to compare."""

    reported: tuple[float, ...]
    trained: tuple[float, ...]

    @property
    def correlation(self) -> float:
        """Rank correlation, from -1 to 1."""
        return rank_correlation(np.array(self.reported), np.array(self.trained))


def measure_agreement(reals: Tensor, samples: Sequence[Tensor], metric: str = "kd_digits") -> DistanceAgreement:
    """Measure sets of samples (N, ...) against the same reals by the reported distance and by a metric, by name."""
    random_features = RandomFeatureDistance(REPORTED_SEED)
    other: Metric = catalog.build("metrics", metric)
    reference = ReferenceSet(reals)
    random_statistics, statistics = random_features.statistics(reference), other.statistics(reference)
    return DistanceAgreement(
        tuple(random_features.value(random_statistics, part) for part in samples),
        tuple(float(other.value(statistics, part)) for part in samples),
    )


def rank_correlation(first: RunArray, second: RunArray) -> float:
    """Return Spearman's rank correlation of (N,) and (N,); NaN if either has equal values only."""
    ranks = [mean_ranks(values) - (len(values) + 1) / 2 for values in (first, second)]
    scale = math.sqrt(float((ranks[0] ** 2).sum() * (ranks[1] ** 2).sum()))
    return float((ranks[0] * ranks[1]).sum()) / scale if scale else math.nan
