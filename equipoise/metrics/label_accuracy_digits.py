"""Share of samples whose label a small digits classifier confirms: higher is better, at most 1.

It measures control by labels: a generator that ignores them reaches 0.1 with ten classes of equal size. The
classifier is shipped with the package, and makes mistakes on reals, too: compare with the real-vs-real reference. It
does not measure quality; bad digits can be recognisable ones.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import Tensor

from equipoise.core.data import DataSpec
from equipoise.core.metric import Bootstrap, MetricResult
from equipoise.errors import UndefinedMetricError
from equipoise.metrics._digits_classifier import DIGEST, digit_logits
from equipoise.metrics._feature_metric import is_grey_or_colour

__all__ = ["LabelAccuracyDigits"]

DIGIT_NAMES = tuple("0123456789")


@dataclass(frozen=True, slots=True)
class LabelAccuracyDigits:
    """Accuracy of the labels from 0 to 1, of samples that were generated from labels."""

    better: ClassVar[Literal["lower", "higher"]] = "higher"
    suited_to: ClassVar[str] = "images with the digits 0 to 9 as classes"

    @property
    def features_digest(self) -> str:
        """Digest of the shipped network."""
        return DIGEST

    def suits(self, spec: DataSpec) -> bool:
        """Return whether the data are images with ten classes, without names or with those of the digits."""
        is_digits = spec.classes == len(DIGIT_NAMES) and tuple(spec.class_names) in ((), DIGIT_NAMES)
        return is_grey_or_colour(spec) and is_digits

    def compute_from_labels(self, samples: Tensor, labels: Tensor, bootstrap: Bootstrap) -> MetricResult:
        """Compute the metric from samples (N, C, H, W) and labels (N,) int64.

        Raises UndefinedMetricError if there are no samples.
        """
        if not len(samples):
            raise UndefinedMetricError("an accuracy needs at least one sample; increase --count")
        return MetricResult.from_mean(digit_logits(samples).argmax(dim=1) == labels, bootstrap)
