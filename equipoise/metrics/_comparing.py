"""What all metrics of features share: how they are used while training."""

from typing import ClassVar

from torch import Tensor

from equipoise.core.data import Batch
from equipoise.core.metric import Bootstrap, FeatureMetric, ReferenceSet, extract_features


class Compares:
    """To mix into a comparison: statistics are the features of the reals, the value is that of the figure."""

    __slots__ = ()

    needs_train: ClassVar[bool] = False

    @property
    def features_digest(self: FeatureMetric) -> str | None:
        """That of the features."""
        return self.features.digest

    def statistics(self: FeatureMetric, real: Batch) -> ReferenceSet:
        """Features of the reals, (M, D) float32 on the CPU."""
        return extract_features(self.features, real)

    def value(self: FeatureMetric, statistics: ReferenceSet, fake: Tensor) -> float:
        """The figure of fake (N, ...) without an interval. Raises DataError for too few samples."""
        return self.compare(statistics, self.features(fake), Bootstrap()).value
