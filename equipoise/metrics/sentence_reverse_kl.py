"""KL(generator || data) in nats over valid sentences, by enumeration: lower is better, at least 0.

sum q (log q - log p) with q = p_G / mass, over the support of the data: outside, the divergence would be
infinite; `sentence_mass` reports the probability inside.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal

from equipoise.core.data import DataSpec
from equipoise.core.metric import Bootstrap, LogLikelihood, MetricResult, ReferenceSet
from equipoise.metrics._sentences import LikelihoodMetricMixin, enumerate_likelihoods, is_enumerable

__all__ = ["SentenceReverseKL"]


@dataclass(frozen=True, slots=True)
class SentenceReverseKL(LikelihoodMetricMixin):
    """Reverse KL divergence in nats per sentence."""

    better: ClassVar[Literal["lower", "higher"]] = "lower"
    suited_to: ClassVar[str] = "sentences of a known distribution that can be enumerated"

    def suits(self, spec: DataSpec) -> bool:
        """Return whether the data are sentences that can be enumerated."""
        return is_enumerable(spec)

    def compute_from_likelihood(
        self, log_likelihood: LogLikelihood, real: ReferenceSet, bootstrap: Bootstrap
    ) -> MetricResult:
        """Compute the exact value, without an interval."""
        result = enumerate_likelihoods(log_likelihood, real, "sentence_reverse_kl")
        return MetricResult((result.model.exp() * (result.model - result.distribution)).sum().item())
