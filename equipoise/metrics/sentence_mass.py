"""Probability that a generator gives to all sentences that the data allow, by enumeration: higher is better.

What `validity` estimates from samples, exactly: the sum of p_G over all of them, 1 the most.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal

from equipoise.base import DataSpec
from equipoise.metrics._enumeration import all_can_be_written, weighed
from equipoise.metrics._sentences import ByLikelihood
from equipoise.quality import Draws, Figure, LogLikelihood, Reals

__all__ = ["SentenceMass"]


@dataclass(frozen=True, slots=True)
class SentenceMass(ByLikelihood):
    """0 to 1."""

    better: ClassVar[Literal["lower", "higher"]] = "higher"

    def suits(self, spec: DataSpec) -> bool:
        """Sentences that can all be written down."""
        return all_can_be_written(spec)

    def given(self, log_likelihood: LogLikelihood, real: Reals, draws: Draws) -> Figure:
        """Exact, so without an interval."""
        return Figure(weighed(log_likelihood, real, "sentence_mass").mass)
