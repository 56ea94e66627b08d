"""Inception score: how confidently Inception v3 classifies samples, and into how many classes: higher is better.

    IS = exp E_x KL(p(y|x) || p(y))

Salimans et al. 2016, "Improved Techniques for Training GANs", on the logits of Inception v3 without bias and over ten
splits of shuffled samples, as in torch-fidelity. It uses no reals. Needs the extra `metrics`.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import Tensor

from equipoise.core import validation
from equipoise.core.data import DataSpec
from equipoise.core.metric import Bootstrap, MetricResult, ReferenceSet
from equipoise.metrics._digits_classifier import compute_score
from equipoise.metrics._feature_metric import FeatureMetricMixin, is_grey_or_colour
from equipoise.metrics._features_inception import PACKAGE, POOLED, InceptionFeatures
from equipoise.metrics._weights import require_package

__all__ = ["InceptionScore"]


@dataclass(frozen=True, slots=True)
class InceptionScore(FeatureMetricMixin):
    """Inception score, from 1 to 1,008. Published values use 50,000 samples; small splits bias it downward."""

    weights: str | None = None
    """path of the weights; default: torch's hub folder, downloaded if missing"""
    splits: int = 10
    """number of splits that the score is averaged over"""

    better: ClassVar[Literal["lower", "higher"]] = "higher"
    suited_to: ClassVar[str] = "grey or colour images"

    def __post_init__(self) -> None:
        validation.check_at_least(1, splits=self.splits)
        require_package(PACKAGE, "inception_score")

    @property
    def features(self) -> InceptionFeatures:
        """Features and logits of Inception v3."""
        return InceptionFeatures(self.weights)

    def suits(self, spec: DataSpec) -> bool:
        """Return whether the data are grey or colour images, of any size."""
        return is_grey_or_colour(spec)

    def compute(self, real: ReferenceSet, fake: Tensor, bootstrap: Bootstrap) -> MetricResult:
        """Compute the metric from features (N, 3056) of samples.

        Raises DataError for fewer samples than splits.
        """
        return compute_score(fake[:, POOLED:], self.splits, bootstrap)
