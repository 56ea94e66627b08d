"""Share of samples that are training sentences, word for word: lower is better, down to the real-vs-real reference.

A perfect generator also produces some where there are few possible sentences: 18 % for the `sentences` data.
"""

import math
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from equipoise.core.metric import Bootstrap, MetricResult, ReferenceSet
from equipoise.metrics._feature_metric import FeatureMetricMixin
from equipoise.metrics._sentences import SentenceMetricMixin, require_train, sentence_keys

__all__ = ["CopyRate"]


@dataclass(frozen=True, slots=True)
class CopyRate(SentenceMetricMixin, FeatureMetricMixin):
    """Share of copied samples, from 0 to 1."""

    better: ClassVar[Literal["lower", "higher"]] = "lower"
    needs_train: ClassVar[bool] = True

    def compute(self, real: ReferenceSet, fake: Tensor, bootstrap: Bootstrap) -> MetricResult:
        """Compute the metric from training sentences (T, T') int64 and samples (N, T') int64.

        Raises DataError without training sentences.
        """
        if (fake < 0).any():
            return MetricResult(math.nan)  # Invalid tokens are not copies, but not better than copies.
        train = set(sentence_keys(require_train(real, "copy_rate")))
        return MetricResult.from_mean(torch.tensor([key in train for key in sentence_keys(fake)]), bootstrap)
