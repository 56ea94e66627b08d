"""Share of samples that are unique and not training sentences: higher is better.

It decreases with the number of samples, faster where there are few possible sentences: compare at equal counts.
"""

from collections import Counter
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from equipoise.core.metric import Bootstrap, MetricResult, ReferenceSet
from equipoise.metrics._feature_metric import FeatureMetricMixin
from equipoise.metrics._sentences import SentenceMetricMixin, require_train, sentence_keys

__all__ = ["Novelty"]


@dataclass(frozen=True, slots=True)
class Novelty(SentenceMetricMixin, FeatureMetricMixin):
    """Number of distinct samples that were not trained on, divided by all samples, from 0 to 1. Noise is novel too."""

    better: ClassVar[Literal["lower", "higher"]] = "higher"
    needs_train: ClassVar[bool] = True

    def compute(self, real: ReferenceSet, fake: Tensor, bootstrap: Bootstrap) -> MetricResult:
        """Compute the metric from training sentences (T, T') int64 and samples (N, T') int64.

        Raises DataError without training sentences.
        """
        train, keys = set(sentence_keys(require_train(real, "novelty"))), sentence_keys(fake)
        counts = Counter(keys)
        shares = [0.0 if key in train else 1 / counts[key] for key in keys]
        return MetricResult.from_mean(torch.tensor(shares, dtype=torch.float64), bootstrap)
