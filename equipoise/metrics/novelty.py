"""Share of samples that are new: neither trained on nor written before, each counted once: higher is better.

It falls with the number of samples, more so where there are few sentences to write: compare at the same one.
"""

from collections import Counter
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from equipoise.core.metric import Bootstrap, MetricResult, ReferenceSet
from equipoise.metrics._comparing import Compares
from equipoise.metrics._sentences import OfSentences, keys, mean_figure, train_of

__all__ = ["Novelty"]


@dataclass(frozen=True, slots=True)
class Novelty(OfSentences, Compares):
    """0 to 1: different samples that were not trained on, over all samples. Noise is new, too."""

    better: ClassVar[Literal["lower", "higher"]] = "higher"
    needs_train: ClassVar[bool] = True

    def compare(self, real: ReferenceSet, fake: Tensor, draws: Bootstrap) -> MetricResult:
        """Sentences trained on (T, T') int64 and samples (N, T') int64. Raises DataError without the former."""
        known, written = set(keys(train_of(real, "novelty"))), keys(fake)
        times = Counter(written)
        shares = [0.0 if key in known else 1 / times[key] for key in written]
        return mean_figure(torch.tensor(shares, dtype=torch.float64), draws)
