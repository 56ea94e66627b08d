"""How unlikely samples are by the law that the data were drawn from, in nats per token: lower is better.

NLL_oracle of Yu 2017 (SeqGAN), section 4.1: -E log G_oracle(y) / T over samples y. Reals get the entropy of the oracle
itself; a generator that gets less writes what is likely, again and again: look at nll_gen and novelty, too.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import Tensor

from equipoise.core.data import DataSpec
from equipoise.core.metric import Bootstrap, MetricResult, ReferenceSet
from equipoise.metrics._comparing import Compares
from equipoise.metrics._sentences import OfSentences, law_of, mean_figure

__all__ = ["NLLOracle"]


@dataclass(frozen=True, slots=True)
class NLLOracle(OfSentences, Compares):
    """Published figures are of 9,984 samples and of one oracle: they compare with those of no other."""

    better: ClassVar[Literal["lower", "higher"]] = "lower"

    def suits(self, spec: DataSpec) -> bool:
        """Sentences of a law that allows all of them, more or less."""
        return spec.vocabulary is not None and spec.distribution is not None and spec.distribution.support() is None

    def compare(self, real: ReferenceSet, fake: Tensor, draws: Bootstrap) -> MetricResult:
        """Samples (N, T) int64. Raises DataError for data whose law is not known."""
        return mean_figure(-law_of(real, "nll_oracle").log_probability(fake) / fake.shape[1], draws)
