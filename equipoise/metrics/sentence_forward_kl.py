"""KL(data || generator) in nats, by enumeration: lower is better, at least 0.

sum p (log p - log p_G) over the support of the data, p its distribution: large if the generator never produces one of
the sentences.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal

from equipoise.core.data import DataSpec
from equipoise.core.metric import Bootstrap, LogLikelihood, MetricResult, ReferenceSet
from equipoise.metrics._sentences import LikelihoodMetricMixin, enumerate_likelihoods, is_enumerable

__all__ = ["SentenceForwardKL"]


@dataclass(frozen=True, slots=True)
class SentenceForwardKL(LikelihoodMetricMixin):
    """Forward KL divergence in nats per sentence. Probability assigned to invalid sentences increases it."""

    better: ClassVar[Literal["lower", "higher"]] = "lower"
    suited_to: ClassVar[str] = "sentences of a known distribution that can be enumerated"

    def suits(self, spec: DataSpec) -> bool:
        """Return whether the data are sentences that can be enumerated."""
        return is_enumerable(spec)

    def compute_from_likelihood(
        self, log_likelihood: LogLikelihood, real: ReferenceSet, bootstrap: Bootstrap
    ) -> MetricResult:
        """Compute the exact value, without an interval."""
        result = enumerate_likelihoods(log_likelihood, real, "sentence_forward_kl")
        return MetricResult((result.distribution.exp() * (result.distribution - result.log_likelihood)).sum().item())
