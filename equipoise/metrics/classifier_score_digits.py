"""How surely a small network names samples as digits, and how many digits there are: higher is better, 10 the most.

The formula of the Inception score (Salimans et al. 2016) on the ten logits of a network that is shipped with the
package (`scripts/train_digits_classifier.py` rebuilds it). It looks at no reals, and does not compare with published
Inception scores.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import Tensor

from equipoise.core.data import DataSpec
from equipoise.core.metric import Bootstrap, MetricResult, ReferenceSet
from equipoise.metrics import _naming
from equipoise.metrics._choice import readable
from equipoise.metrics._comparing import Compares
from equipoise.metrics._features_digits import DigitNames

__all__ = ["ClassifierScoreDigits"]


@dataclass(frozen=True, slots=True)
class ClassifierScoreDigits(Compares):
    """Between 1 and 10. A picture of each digit is enough for 10: it sees names, and no variety within one."""

    better: ClassVar[Literal["lower", "higher"]] = "higher"

    @property
    def features(self) -> DigitNames:
        """Of the shipped network."""
        return DigitNames()

    def suits(self, spec: DataSpec) -> bool:
        """Grey or colour images of any size."""
        return readable(spec)

    def compare(self, real: ReferenceSet, fake: Tensor, draws: Bootstrap) -> MetricResult:
        """Logits (N, 10) of samples, all in one split, as the bias of small ones has it lower."""
        result = _naming.score(fake, 1, draws)
        return MetricResult(result.value, result.drawn)
