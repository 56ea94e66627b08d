"""Probability that a generator gives to all sentences that the data allow, by enumeration: higher is better.

What `validity` estimates from samples, exactly: the sum of p_G over all of them, 1 the most.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal

from equipoise.core.data import DataSpec
from equipoise.core.metric import Bootstrap, LogLikelihood, MetricResult, ReferenceSet
from equipoise.metrics._enumeration import all_can_be_written, weighed
from equipoise.metrics._sentences import ByLikelihood

__all__ = ["SentenceMass"]


@dataclass(frozen=True, slots=True)
class SentenceMass(ByLikelihood):
    """0 to 1."""

    better: ClassVar[Literal["lower", "higher"]] = "higher"

    def suits(self, spec: DataSpec) -> bool:
        """Sentences that can all be written down."""
        return all_can_be_written(spec)

    def given(self, log_likelihood: LogLikelihood, real: ReferenceSet, draws: Bootstrap) -> MetricResult:
        """Exact, so without an interval."""
        return MetricResult(weighed(log_likelihood, real, "sentence_mass").mass)
