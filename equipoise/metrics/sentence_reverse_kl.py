"""How unevenly a generator writes allowed sentences, KL(generator || data) in nats, by enumeration: lower is better.

sum q (log q - log p) with q = p_G / mass, among sentences that the data allow: beyond them it would be infinite, and
`sentence_mass` says how much lies there.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal

from equipoise.core.data import DataSpec
from equipoise.core.metric import Bootstrap, LogLikelihood, MetricResult, ReferenceSet
from equipoise.metrics._enumeration import all_can_be_written, weighed
from equipoise.metrics._sentences import ByLikelihood

__all__ = ["SentenceReverseKL"]


@dataclass(frozen=True, slots=True)
class SentenceReverseKL(ByLikelihood):
    """Nats per sentence."""

    better: ClassVar[Literal["lower", "higher"]] = "lower"

    def suits(self, spec: DataSpec) -> bool:
        """Sentences that can all be written down."""
        return all_can_be_written(spec)

    def given(self, log_likelihood: LogLikelihood, real: ReferenceSet, draws: Bootstrap) -> MetricResult:
        """Exact, so without an interval."""
        result = weighed(log_likelihood, real, "sentence_reverse_kl")
        return MetricResult((result.model.exp() * (result.model - result.distribution)).sum().item())
