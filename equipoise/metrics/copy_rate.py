"""Share of samples that are sentences trained on, word for word: lower is better, down to what reals get.

A perfect generator writes some of them, too, where there are few sentences to write: of the `sentences` lab 18 %.
"""

import math
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from equipoise.core.metric import Bootstrap, MetricResult, ReferenceSet
from equipoise.metrics._comparing import Compares
from equipoise.metrics._sentences import OfSentences, keys, mean_figure, train_of

__all__ = ["CopyRate"]


@dataclass(frozen=True, slots=True)
class CopyRate(OfSentences, Compares):
    """0 to 1."""

    better: ClassVar[Literal["lower", "higher"]] = "lower"
    needs_train: ClassVar[bool] = True

    def compare(self, real: ReferenceSet, fake: Tensor, draws: Bootstrap) -> MetricResult:
        """Sentences trained on (T, T') int64 and samples (N, T') int64. Raises DataError without the former."""
        if (fake < 0).any():
            return MetricResult(math.nan)  # what is no word is no copy, but nothing better either
        known = set(keys(train_of(real, "copy_rate")))
        return mean_figure(torch.tensor([key in known for key in keys(fake)]), draws)
