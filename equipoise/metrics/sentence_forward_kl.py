"""What a generator misses of the data, KL(data || generator) in nats, by enumeration: lower is better, 0 the least.

sum p (log p - log p_G) over all sentences that the data allow, p their law: large where one of them is never written.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal

from equipoise.core.data import DataSpec
from equipoise.core.metric import Bootstrap, LogLikelihood, MetricResult, ReferenceSet
from equipoise.metrics._enumeration import all_can_be_written, weighed
from equipoise.metrics._sentences import ByLikelihood

__all__ = ["SentenceForwardKL"]


@dataclass(frozen=True, slots=True)
class SentenceForwardKL(ByLikelihood):
    """Nats per sentence; what is given to sentences that are not allowed counts, for it is missing elsewhere."""

    better: ClassVar[Literal["lower", "higher"]] = "lower"

    def suits(self, spec: DataSpec) -> bool:
        """Sentences that can all be written down."""
        return all_can_be_written(spec)

    def given(self, log_likelihood: LogLikelihood, real: ReferenceSet, draws: Bootstrap) -> MetricResult:
        """Exact, so without an interval."""
        result = weighed(log_likelihood, real, "sentence_forward_kl")
        return MetricResult((result.distribution.exp() * (result.distribution - result.log_likelihood)).sum().item())
