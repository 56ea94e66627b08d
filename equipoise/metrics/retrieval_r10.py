"""Share of samples whose own caption is among the ten nearest of all held-out captions: higher is better.

R@10 of Karpathy and Fei-Fei 2015, from image to text, by two small networks that were trained apart on the training
emoji and their captions (reproduced by `scripts/train_two_tower.py`). Of the held-out emoji themselves they find the
caption in 34 % among 109 captions, and among the ten nearest in 74 %: compare with these shares, and with chance.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import Tensor

from equipoise.core.data import DataSpec
from equipoise.core.metric import Bootstrap, MetricResult, ReferenceSet
from equipoise.metrics._feature_metric import FeatureMetricMixin
from equipoise.metrics._retrieval import TowerFeatures, retrieval_share, suits_captions

__all__ = ["RetrievalR10"]


@dataclass(frozen=True, slots=True)
class RetrievalR10(FeatureMetricMixin):
    """Share of samples, 0 to 1, whose caption is among the ten nearest."""

    better: ClassVar[Literal["lower", "higher"]] = "higher"
    suited_to: ClassVar[str] = "images with the captions of openmoji (data.captions=true)"
    reads_captions: ClassVar[Literal[True]] = True

    @property
    def features(self) -> TowerFeatures:
        """Features of images in the space of the captions."""
        return TowerFeatures()

    def suits(self, spec: DataSpec) -> bool:
        """Return whether the data are images with captions that the networks know."""
        return suits_captions(spec)

    def compute(self, real: ReferenceSet, fake: Tensor, bootstrap: Bootstrap) -> MetricResult:
        """Compute the metric from features (N, D) of samples and the captions of the reals.

        Raises UndefinedMetricError for data without captions, or with too few.
        """
        return retrieval_share(real, fake, 10, bootstrap)
