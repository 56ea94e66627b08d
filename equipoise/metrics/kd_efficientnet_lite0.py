"""Kernel distance to held-out reals, on ImageNet features that a package brings along: lower is better.

The distance that KID is (Bińkowski et al. 2018), on 1,280 features of EfficientNet-Lite0, of images brought to 96 x 96,
over all pairs. Numbers compare with each other, not with any published KID. Needs the extra `features`.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import Tensor

from equipoise.core.data import DataSpec
from equipoise.core.metric import Bootstrap, MetricResult, ReferenceSet
from equipoise.metrics import _kernel
from equipoise.metrics._choice import readable
from equipoise.metrics._comparing import Compares
from equipoise.metrics._features_efficientnet import EfficientNetFeatures

__all__ = ["KdEfficientnetLite0"]


@dataclass(frozen=True, slots=True)
class KdEfficientnetLite0(Compares):
    """Unbiased, so that few samples make it uncertain, not worse. It can be negative."""

    better: ClassVar[Literal["lower", "higher"]] = "lower"

    @property
    def features(self) -> EfficientNetFeatures:
        """Of EfficientNet-Lite0."""
        return EfficientNetFeatures()

    def suits(self, spec: DataSpec) -> bool:
        """Grey or colour images of any size."""
        return readable(spec)

    def compare(self, real: ReferenceSet, fake: Tensor, draws: Bootstrap) -> MetricResult:
        """Features (M, D) of reals, (N, D) of samples. Raises DataError for fewer than 2 of either."""
        return _kernel.compare(real.real, fake, draws)
