"""Fréchet distance to held-out reals, on features of a small digits classifier: lower is better.

The formula of FID (Heusel et al. 2017), on 64 features of a network shipped with the package (reproduced by
`scripts/train_digits_classifier.py`). Values are comparable with each other, not with any published FID.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import Tensor

from equipoise.core.data import DataSpec
from equipoise.core.metric import Bootstrap, MetricResult, ReferenceSet
from equipoise.metrics import _frechet
from equipoise.metrics._feature_metric import FeatureMetricMixin, is_grey_or_colour
from equipoise.metrics._features_small import DigitFeatures

__all__ = ["FdDigits"]


@dataclass(frozen=True, slots=True)
class FdDigits(FeatureMetricMixin):
    """Fréchet distance, biased upward for few samples: 10,000 perfect samples against 1,000 reals are above 0."""

    better: ClassVar[Literal["lower", "higher"]] = "lower"
    suited_to: ClassVar[str] = "grey or colour images"

    @property
    def features(self) -> DigitFeatures:
        """Features of the shipped network."""
        return DigitFeatures()

    def suits(self, spec: DataSpec) -> bool:
        """Return whether the data are grey or colour images, of any size."""
        return is_grey_or_colour(spec)

    def compute(self, real: ReferenceSet, fake: Tensor, bootstrap: Bootstrap) -> MetricResult:
        """Compute the metric from features (M, D) of reals and (N, D) of samples.

        Raises DataError for fewer than 2 samples or reals.
        """
        return _frechet.compute(real.real, fake, bootstrap, alternative="kd_digits")
