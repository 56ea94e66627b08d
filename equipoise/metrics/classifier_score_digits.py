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
    """Inception score from 1 to 10. One image per digit suffices for 10: variety within a class is not measured."""

    better: ClassVar[Literal["lower", "higher"]] = "higher"
    suited_to: ClassVar[str] = "grey or colour images"

    @property
    def features(self) -> DigitLogits:
        """Logits of the shipped network."""
        return DigitLogits()

    def suits(self, spec: DataSpec) -> bool:
        """Return whether the data are grey or colour images, of any size."""
        return is_grey_or_colour(spec)

    def compute(self, real: ReferenceSet, fake: Tensor, bootstrap: Bootstrap) -> MetricResult:
        """Compute the metric from logits (N, 10) of samples, in one split, because small splits lower the score."""
        result = _digits_classifier.compute_score(fake, 1, bootstrap)
        return MetricResult(result.value, result.resampled)
