"""N-gram overlap of samples with each other: lower is more diverse; compare with the real-vs-real reference.

Self-BLEU (Zhu et al. 2018, Texygen, section 3.2.4): the mean BLEU of each sample against all others, excluding itself.
A value below the real-vs-real reference is not an advantage: noise repeats nothing.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from equipoise.core.metric import Bootstrap, MetricResult, ReferenceSet
from equipoise.errors import SettingError, UndefinedMetricError
from equipoise.metrics._feature_metric import FeatureMetricMixin
from equipoise.metrics._ngrams import ReferenceNgrams
from equipoise.metrics._sentences import SentenceMetricMixin, require_sentences, strip_endings

__all__ = ["SelfBLEU"]


@dataclass(frozen=True, slots=True)
class SelfBLEU(SentenceMetricMixin, FeatureMetricMixin):
    """Self-BLEU, from 0 to 1; it increases with the number of samples. Raises SettingError for `order` below 1."""

    order: int = 4
    """the longest n-grams; all lengths have equal weight"""

    better: ClassVar[Literal["lower", "higher"]] = "lower"
    presets: ClassVar[Mapping[str, Mapping[str, int]]] = {str(order): {"order": order} for order in (2, 3, 4, 5)}

    def __post_init__(self) -> None:
        if self.order < 1:
            raise SettingError(f"order = {self.order}: it must be at least 1")

    def compute(self, real: ReferenceSet, fake: Tensor, bootstrap: Bootstrap) -> MetricResult:
        """Compute the metric from samples (N, T) int64; warns of empty ones.

        Raises DataError for fewer than two samples.
        """
        if len(fake) < 2:
            raise UndefinedMetricError(
                f"self_bleu compares samples with each other: {len(fake)} is too few; use at least 2"
            )
        sentences = strip_endings(fake, require_sentences(real, "self_bleu"))
        references = ReferenceNgrams.build(sentences, self.order)
        values = [references.bleu(sentence, owner) for owner, sentence in enumerate(sentences)]
        empty = sum(not sentence for sentence in sentences) / len(sentences)
        warnings = (f"{empty:.1%} of samples are empty: each counts as 0, the best value",) if empty else ()
        return MetricResult.from_mean(torch.tensor(values), bootstrap, warnings)
