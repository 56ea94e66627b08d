"""Share of samples that the law of the data allows, for sentences that can all be written down: higher is better.

Of the `sentences` lab: one subject, one verb, one preposition and one object, and nothing after that.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import Tensor

from equipoise.core.data import DataSpec
from equipoise.core.metric import Bootstrap, MetricResult, ReferenceSet
from equipoise.metrics._comparing import Compares
from equipoise.metrics._enumeration import all_can_be_written
from equipoise.metrics._sentences import OfSentences, law_of, mean_figure

__all__ = ["Validity"]


@dataclass(frozen=True, slots=True)
class Validity(OfSentences, Compares):
    """0 to 1. One sentence, written again and again, is valid: look at novelty, too."""

    better: ClassVar[Literal["lower", "higher"]] = "higher"

    def suits(self, spec: DataSpec) -> bool:
        """Sentences that can all be written down."""
        return all_can_be_written(spec)

    def compare(self, real: ReferenceSet, fake: Tensor, draws: Bootstrap) -> MetricResult:
        """Samples (N, T) int64. Raises DataError for data whose law is not known."""
        return mean_figure(law_of(real, "validity").log_probability(fake).isfinite(), draws)
