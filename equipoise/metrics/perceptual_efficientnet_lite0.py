"""How different samples are from each other, by ImageNet features: higher is more diverse.

The uncalibrated distance of Zhang et al. 2018 on five layers of EfficientNet-Lite0: what LPIPS is without the weights
learnt from people. Nothing is downloaded; numbers do not compare with LPIPS. Needs the extra `features`.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import Tensor

from equipoise.core import validation as bounds
from equipoise.core.data import DataSpec
from equipoise.core.metric import Bootstrap, MetricResult, ReferenceSet
from equipoise.metrics import _perceptual
from equipoise.metrics._choice import readable
from equipoise.metrics._comparing import Compares
from equipoise.metrics._features_efficientnet import DIGEST, perceptual_distance
from equipoise.metrics._features_samples import Unread

__all__ = ["PerceptualEfficientnetLite0"]


@dataclass(frozen=True, slots=True)
class PerceptualEfficientnetLite0(Compares):
    """Compare with the figure of reals: noise is diverse, too."""

    pairs: int = 1000
    """pairs of samples at the most"""

    better: ClassVar[Literal["lower", "higher"]] = "higher"

    def __post_init__(self) -> None:
        bounds.at_least(1, pairs=self.pairs)

    @property
    def features(self) -> Unread:
        """The samples, which are read two at a time."""
        return Unread(DIGEST)

    def suits(self, spec: DataSpec) -> bool:
        """Grey or colour images of any size."""
        return readable(spec)

    def compare(self, real: ReferenceSet, fake: Tensor, draws: Bootstrap) -> MetricResult:
        """Of samples (N, C, H, W); the reals are not looked at. Raises DataError for a single sample."""
        return _perceptual.diversity(self.distance, fake, self.pairs, draws)

    def distance(self, first: Tensor, second: Tensor) -> Tensor:
        """(B,) float32 between images (B, 1 or 3, H, W) in [-1, 1]. Raises DataError if weights cannot be had."""
        return perceptual_distance(first, second)
