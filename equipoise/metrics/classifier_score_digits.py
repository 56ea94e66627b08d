"""Inception score with a small digits classifier: higher is better, at most 10.

The formula of Salimans et al. 2016 on the ten logits of a network shipped with the package (reproduced by
`scripts/train_digits_classifier.py`). It uses no reals, and is not comparable with published inception scores.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import Tensor

from equipoise.core.data import DataSpec
from equipoise.core.metric import Bootstrap, MetricResult, ReferenceSet
from equipoise.metrics import _digits_classifier
from equipoise.metrics._feature_metric import FeatureMetricMixin, is_grey_or_colour
from equipoise.metrics._features_small import DigitLogits

__all__ = ["ClassifierScoreDigits"]


@dataclass(frozen=True, slots=True)
class ClassifierScoreDigits(FeatureMetricMixin):
    """Between 1 and 10. One image per digit suffices for 10: it does not measure variety within a class."""

    better: ClassVar[Literal["lower", "higher"]] = "higher"

    @property
    def features(self) -> DigitLogits:
        """Logits of the shipped network."""
        return DigitLogits()

    def suits(self, spec: DataSpec) -> bool:
        """Grey or colour images of any size."""
        return is_grey_or_colour(spec)

    def compute(self, real: ReferenceSet, fake: Tensor, bootstrap: Bootstrap) -> MetricResult:
        """Compute from logits (N, 10) of samples, in a single split because small splits lower the score."""
        result = _digits_classifier.compute_score(fake, 1, bootstrap)
        return MetricResult(result.value, result.resampled)
