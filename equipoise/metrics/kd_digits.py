"""Kernel distance to held-out digits, on the features of a small network that knows digits: lower is better.

The kernel distance of Bińkowski et al. 2018 (there on Inception features and called KID), on 64 features of a network
that is shipped with the package (`scripts/train_digits_classifier.py` rebuilds it). Numbers compare with each other,
not with any published KID.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import Tensor

from equipoise.core.data import DataSpec
from equipoise.core.metric import Bootstrap, MetricResult, ReferenceSet
from equipoise.metrics import _kernel
from equipoise.metrics._choice import readable
from equipoise.metrics._comparing import Compares
from equipoise.metrics._features_digits import DigitFeatures

__all__ = ["KdDigits"]


@dataclass(frozen=True, slots=True)
class KdDigits(Compares):
    """From about 0 for perfect samples, over 4 for a single class, to below 8. It can be negative.

    The estimate is unbiased for independent samples, but the 1,000 held-out digits are exactly 100 of each class,
    which is more even than chance, so 1,000 perfect samples come out at -0.006 ± 0.001. Values below 0 are never
    better than real.
    """

    better: ClassVar[Literal["lower", "higher"]] = "lower"

    @property
    def features(self) -> DigitFeatures:
        """Of the shipped network."""
        return DigitFeatures()

    def suits(self, spec: DataSpec) -> bool:
        """Grey or colour images of any size."""
        return readable(spec)

    def compare(self, real: ReferenceSet, fake: Tensor, draws: Bootstrap) -> MetricResult:
        """Features (M, D) of reals, (N, D) of samples. Raises DataError for fewer than 2 of either."""
        return _kernel.compare(real.real, fake, draws)
