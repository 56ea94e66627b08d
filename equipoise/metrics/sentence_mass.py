"""Probability that the generator assigns to all valid sentences, by enumeration: higher is better, at most 1.

The exact value of what `validity` estimates from samples: the sum of p_G over the support of the data.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal

from equipoise.core.data import DataSpec
from equipoise.core.metric import Bootstrap, LogLikelihood, MetricResult, ReferenceSet
from equipoise.metrics._sentences import LikelihoodMetricMixin, enumerate_likelihoods, is_enumerable

__all__ = ["SentenceMass"]


@dataclass(frozen=True, slots=True)
class SentenceMass(LikelihoodMetricMixin):
    """Probability of all valid sentences, from 0 to 1."""

    better: ClassVar[Literal["lower", "higher"]] = "higher"
    suited_to: ClassVar[str] = "sentences of a known distribution that can be enumerated"

    def suits(self, spec: DataSpec) -> bool:
        """Return whether the data are sentences that can be enumerated."""
        return is_enumerable(spec)

    def compute_from_likelihood(
        self, log_likelihood: LogLikelihood, real: ReferenceSet, bootstrap: Bootstrap
    ) -> MetricResult:
        """Compute the exact value, without an interval."""
        return MetricResult(enumerate_likelihoods(log_likelihood, real, "sentence_mass").mass)
