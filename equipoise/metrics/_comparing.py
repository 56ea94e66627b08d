"""What all metrics of features share: how they are used while training."""

from typing import ClassVar

from torch import Tensor

from equipoise.base import Batch
from equipoise.quality import Comparison, Draws, Reals, seen


class Compares:
    """To mix into a comparison: statistics are the features of the reals, the value is that of the figure."""

    __slots__ = ()

    needs_train: ClassVar[bool] = False

    @property
    def features_digest(self: Comparison) -> str | None:
        """That of the features."""
        return self.features.digest

    def statistics(self: Comparison, real: Batch) -> Reals:
        """Features of the reals, (M, D) float32 on the CPU."""
        return seen(self.features, real)

    def value(self: Comparison, statistics: Reals, fake: Tensor) -> float:
        """The figure of fake (N, ...) without an interval. Raises DataError for too few samples."""
        return self.compare(statistics, self.features(fake), Draws()).value
