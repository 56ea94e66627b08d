"""N-gram overlap of samples with held-out sentences, up to 4-grams: higher is better.

BLEU (Papineni et al. 2002) of each sample against all held-out sentences, at most --count, averaged over samples, as in
Texygen (Zhu et al. 2018); smoothing method 1 of Chen and Cherry 2014, as in nltk. It depends on the number of
references.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from equipoise.core.metric import Bootstrap, MetricResult, ReferenceSet
from equipoise.errors import SettingError
from equipoise.metrics._feature_metric import FeatureMetricMixin
from equipoise.metrics._ngrams import ReferenceNgrams
from equipoise.metrics._sentences import SentenceMetricMixin, require_sentences, strip_endings

__all__ = ["BLEU"]


@dataclass(frozen=True, slots=True)
class BLEU(SentenceMetricMixin, FeatureMetricMixin):
    """Mean BLEU of samples, from 0 to 1. Raises SettingError for `order` below 1."""

    order: int = 4
    """the longest n-grams; all lengths have equal weight"""

    better: ClassVar[Literal["lower", "higher"]] = "higher"
    presets: ClassVar[Mapping[str, Mapping[str, int]]] = {str(order): {"order": order} for order in (2, 3, 4, 5)}

    def __post_init__(self) -> None:
        if self.order < 1:
            raise SettingError(f"order = {self.order}: it must be at least 1")

    def compute(self, real: ReferenceSet, fake: Tensor, bootstrap: Bootstrap) -> MetricResult:
        """Compute the metric from held-out sentences (M, T) int64 and samples (N, T) int64."""
        ends = require_sentences(real, "bleu")
        references = ReferenceNgrams.build(strip_endings(real.real, ends), self.order)
        return MetricResult.from_mean(
            torch.tensor([references.bleu(sentence) for sentence in strip_endings(fake, ends)]), bootstrap
        )
