"""How various the allowed sentences of a generator are, in nats, by enumeration: higher is more diverse.

The entropy of p_G among sentences that the data allow, -sum q log q with q = p_G / mass; ln 10,000 = 9.21 at the most
for the `sentences` lab, whose sentences are all equally likely.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal

from equipoise.core.data import DataSpec
from equipoise.core.metric import Bootstrap, LogLikelihood, MetricResult, ReferenceSet
from equipoise.metrics._enumeration import all_can_be_written, weighed
from equipoise.metrics._sentences import ByLikelihood

__all__ = ["SentenceEntropy"]


@dataclass(frozen=True, slots=True)
class SentenceEntropy(ByLikelihood):
    """Nats per sentence."""

    better: ClassVar[Literal["lower", "higher"]] = "higher"

    def suits(self, spec: DataSpec) -> bool:
        """Sentences that can all be written down."""
        return all_can_be_written(spec)

    def given(self, log_likelihood: LogLikelihood, real: ReferenceSet, draws: Bootstrap) -> MetricResult:
        """Exact, so without an interval."""
        result = weighed(log_likelihood, real, "sentence_entropy").model
        return MetricResult(-(result.exp() * result).sum().item())
