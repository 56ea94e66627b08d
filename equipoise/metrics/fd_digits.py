"""Fréchet distance to held-out reals, on the features of a small network that knows digits: lower is better.

The distance that FID is (Heusel et al. 2017), on 64 features of a network that is shipped with the package
(`scripts/train_digits_classifier.py` rebuilds it). Numbers compare with each other, not with any published FID.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import Tensor

from equipoise.core.data import DataSpec
from equipoise.core.metric import Bootstrap, MetricResult, ReferenceSet
from equipoise.metrics import _frechet
from equipoise.metrics._choice import readable
from equipoise.metrics._comparing import Compares
from equipoise.metrics._features_digits import DigitFeatures

__all__ = ["FdDigits"]


@dataclass(frozen=True, slots=True)
class FdDigits(Compares):
    """Biased upward by few samples: 10,000 perfect ones beside 1,000 reals are still above 0."""

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
        return _frechet.compare(real.real, fake, draws, instead="kd_digits")
