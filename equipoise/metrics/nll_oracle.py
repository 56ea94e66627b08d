"""Negative log-likelihood of samples under the distribution of the data, in nats per token: lower is better.

NLL_oracle of Yu et al. 2017 (SeqGAN), section 4.1: -E log G_oracle(y) / T over samples y. For reals it is the entropy
of the oracle; a lower value means that likely sentences are repeated: see nll_gen and novelty.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import Tensor

from equipoise.core.data import DataSpec
from equipoise.core.metric import Bootstrap, MetricResult, ReferenceSet
from equipoise.metrics._feature_metric import FeatureMetricMixin
from equipoise.metrics._sentences import SentenceMetricMixin, require_distribution

__all__ = ["NLLOracle"]


@dataclass(frozen=True, slots=True)
class NLLOracle(SentenceMetricMixin, FeatureMetricMixin):
    """Negative log-likelihood in nats per token. Published values use 9,984 samples; compare only for one oracle."""

    better: ClassVar[Literal["lower", "higher"]] = "lower"
    suited_to: ClassVar[str] = "sentences of a known distribution that cannot be enumerated"

    def suits(self, spec: DataSpec) -> bool:
        """Return whether the data are sentences of a known distribution that cannot be enumerated."""
        return spec.vocabulary is not None and spec.distribution is not None and spec.distribution.support() is None

    def compute(self, real: ReferenceSet, fake: Tensor, bootstrap: Bootstrap) -> MetricResult:
        """Compute the metric from samples (N, T) int64.

        Raises DataError for data without a known distribution.
        """
        return MetricResult.from_mean(
            -require_distribution(real, "nll_oracle").log_probability(fake) / fake.shape[1], bootstrap
        )
