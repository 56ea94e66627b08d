"""How surely Inception names samples, and how many names it has for them: higher is better.

    IS = exp E_x KL(p(y|x) || p(y))

Salimans et al. 2016, "Improved Techniques for Training GANs", on the logits of Inception v3 without their bias and over
ten splits of shuffled samples, as torch-fidelity has it. It does not look at reals at all.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import Tensor

from equipoise.core import validation as bounds
from equipoise.core.data import DataSpec
from equipoise.core.metric import Bootstrap, MetricResult, ReferenceSet
from equipoise.metrics._choice import readable
from equipoise.metrics._comparing import Compares
from equipoise.metrics._features_inception import POOLED, InceptionFeatures
from equipoise.metrics._naming import USUAL as USUAL
from equipoise.metrics._naming import score

__all__ = ["InceptionScore"]


@dataclass(frozen=True, slots=True)
class InceptionScore(Compares):
    """Between 1 and 1,008; published figures are of 50,000 samples. Biased downward by small splits."""

    weights: str | None = None
    """path of the weights; left out: torch's folder, or downloaded into it"""
    splits: int = 10
    """parts that the score is the mean of"""

    better: ClassVar[Literal["lower", "higher"]] = "higher"

    def __post_init__(self) -> None:
        bounds.at_least(1, splits=self.splits)

    @property
    def features(self) -> InceptionFeatures:
        """Of Inception."""
        return InceptionFeatures(self.weights)

    def suits(self, spec: DataSpec) -> bool:
        """Grey or colour images of any size."""
        return readable(spec)

    def compare(self, real: ReferenceSet, fake: Tensor, draws: Bootstrap) -> MetricResult:
        """Features (N, 3056) of samples. Raises DataError for fewer samples than splits."""
        return score(fake[:, POOLED:], self.splits, draws)
