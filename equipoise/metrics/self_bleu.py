"""How much of samples stands in other samples word for word: lower is more diverse; look at what reals get.

Self-BLEU (Zhu et al. 2018, Texygen, section 3.2.4): the mean BLEU of each sample against all others, never itself.
Lower than that of as many reals is no merit: noise repeats nothing.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from equipoise.core.metric import Bootstrap, MetricResult, ReferenceSet
from equipoise.errors import DataError, SettingError
from equipoise.metrics._comparing import Compares
from equipoise.metrics._ngrams import References
from equipoise.metrics._sentences import OfSentences, cut, ends_of, mean_figure

__all__ = ["SelfBLEU"]


@dataclass(frozen=True, slots=True)
class SelfBLEU(OfSentences, Compares):
    """0 to 1; it rises with the number of samples. Raises SettingError for n-grams of nothing."""

    order: int = 4
    """the longest n-grams; all up to them count alike"""

    better: ClassVar[Literal["lower", "higher"]] = "lower"
    presets: ClassVar[Mapping[str, Mapping[str, int]]] = {str(order): {"order": order} for order in (2, 3, 4, 5)}

    def __post_init__(self) -> None:
        if self.order < 1:
            raise SettingError(f"order = {self.order}: it must be at least 1")

    def compare(self, real: ReferenceSet, fake: Tensor, draws: Bootstrap) -> MetricResult:
        """Samples (N, T) int64. Raises DataError for fewer than two; doubts a figure that empty ones make better."""
        if len(fake) < 2:
            raise DataError(f"self_bleu compares samples with each other: {len(fake)} is too few; give two or more")
        sentences = cut(fake, ends_of(real, "self_bleu"))
        references = References.of(sentences, self.order)
        values = [references.bleu(sentence, owner) for owner, sentence in enumerate(sentences)]
        empty = sum(not sentence for sentence in sentences) / len(sentences)
        doubts = (f"{empty:.1%} of samples are empty: each counts as 0, the best there is",) if empty else ()
        return mean_figure(torch.tensor(values), draws, doubts)
