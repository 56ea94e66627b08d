"""Entropy of the generator over valid sentences, in nats, by enumeration: higher is more diverse.

The entropy of p_G conditioned on the support of the data, -sum q log q with q = p_G / mass; at most ln 10,000 = 9.21
for the `sentences` data, whose sentences are all equally likely.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal

from equipoise.core.data import DataSpec
from equipoise.core.metric import Bootstrap, LogLikelihood, MetricResult, ReferenceSet
from equipoise.metrics._sentences import LikelihoodMetricMixin, enumerate_likelihoods, is_enumerable

__all__ = ["SentenceEntropy"]


@dataclass(frozen=True, slots=True)
class SentenceEntropy(LikelihoodMetricMixin):
    """Entropy in nats per sentence."""

    better: ClassVar[Literal["lower", "higher"]] = "higher"
    suited_to: ClassVar[str] = "sentences of a known distribution that can be enumerated"

    def suits(self, spec: DataSpec) -> bool:
        """Return whether the data are sentences that can be enumerated."""
        return is_enumerable(spec)

    def compute_from_likelihood(
        self, log_likelihood: LogLikelihood, real: ReferenceSet, bootstrap: Bootstrap
    ) -> MetricResult:
        """Compute the exact value, without an interval."""
        log_q = enumerate_likelihoods(log_likelihood, real, "sentence_entropy").model
        return MetricResult(-(log_q.exp() * log_q).sum().item())
