"""Kernel distance to held-out reals, on features of a small digits classifier: lower is better.

The kernel distance of Bińkowski et al. 2018 (called KID on Inception features), on 64 features of a network shipped
with the package (reproduced by `scripts/train_digits_classifier.py`). Values are comparable with each other, not with
any published KID.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import Tensor

from equipoise.core.data import DataSpec
from equipoise.core.metric import Bootstrap, MetricResult, ReferenceSet
from equipoise.metrics import _kernel
from equipoise.metrics._feature_metric import FeatureMetricMixin, is_grey_or_colour
from equipoise.metrics._features_small import DigitFeatures

__all__ = ["KdDigits"]


@dataclass(frozen=True, slots=True)
class KdDigits(FeatureMetricMixin):
    """Kernel distance: about 0 for perfect samples, 4 to 8 for a single class. It can be negative.

    The estimate is unbiased for independent samples, but the 1,000 held-out digits contain exactly 100 of each class,
    which is more even than chance, so 1,000 perfect samples score -0.006 ± 0.001. Values below 0 are never better than
    real.
    """

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
        return _kernel.compute(real.real, fake, bootstrap)
