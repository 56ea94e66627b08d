"""Share of samples that are valid sentences of the data, for data that can be enumerated: higher is better.

For the `sentences` data: one subject, one verb, one preposition and one object, and nothing after them.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import Tensor

from equipoise.core.data import DataSpec
from equipoise.core.metric import Bootstrap, MetricResult, ReferenceSet
from equipoise.metrics._feature_metric import FeatureMetricMixin
from equipoise.metrics._sentences import SentenceMetricMixin, is_enumerable, require_distribution

__all__ = ["Validity"]


@dataclass(frozen=True, slots=True)
class Validity(SentenceMetricMixin, FeatureMetricMixin):
    """Share of valid samples, from 0 to 1. One valid sentence repeated scores 1: see novelty."""

    better: ClassVar[Literal["lower", "higher"]] = "higher"
    suited_to: ClassVar[str] = "sentences of a known distribution that can be enumerated"

    def suits(self, spec: DataSpec) -> bool:
        """Return whether the data are sentences that can be enumerated."""
        return is_enumerable(spec)

    def compute(self, real: ReferenceSet, fake: Tensor, bootstrap: Bootstrap) -> MetricResult:
        """Compute the metric from samples (N, T) int64.

        Raises DataError for data without a known distribution.
        """
        return MetricResult.from_mean(
            require_distribution(real, "validity").log_probability(fake).isfinite(), bootstrap
        )
