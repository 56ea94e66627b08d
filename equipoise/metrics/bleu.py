"""How much of samples stands in held-out sentences word for word, by n-grams up to 4: higher is better.

BLEU (Papineni et al. 2002) of each sample against held-out sentences, all of them up to --count, and the mean over
samples, as Texygen (Zhu 2018) has it; smoothing method 1 of Chen and Cherry 2014, as nltk has it. It hangs on the
number of references.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from equipoise.core.metric import Bootstrap, MetricResult, ReferenceSet
from equipoise.errors import SettingError
from equipoise.metrics._comparing import Compares
from equipoise.metrics._ngrams import References
from equipoise.metrics._sentences import OfSentences, cut, ends_of, mean_figure

__all__ = ["BLEU"]


@dataclass(frozen=True, slots=True)
class BLEU(OfSentences, Compares):
    """0 to 1. Raises SettingError for n-grams of nothing."""

    order: int = 4
    """the longest n-grams; all up to them count alike"""

    better: ClassVar[Literal["lower", "higher"]] = "higher"
    presets: ClassVar[Mapping[str, Mapping[str, int]]] = {str(order): {"order": order} for order in (2, 3, 4, 5)}

    def __post_init__(self) -> None:
        if self.order < 1:
            raise SettingError(f"order = {self.order}: it must be at least 1")

    def compare(self, real: ReferenceSet, fake: Tensor, draws: Bootstrap) -> MetricResult:
        """Held-out sentences (M, T) int64 and samples (N, T) int64."""
        ends = ends_of(real, "bleu")
        references = References.of(cut(real.real, ends), self.order)
        return mean_figure(torch.tensor([references.bleu(sentence) for sentence in cut(fake, ends)]), draws)
