"""How different samples are from each other, by LPIPS: higher is more diverse.

LPIPS of Zhang et al. 2018, "The Unreasonable Effectiveness of Deep Features as a Perceptual Metric", version 0.1,
between pairs of samples. Compare with the figure of reals: noise is diverse, too.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import Tensor

from equipoise.core import validation as bounds
from equipoise.core.data import DataSpec
from equipoise.core.metric import Bootstrap, MetricResult, ReferenceSet
from equipoise.metrics import _features_lpips, _perceptual
from equipoise.metrics._choice import readable
from equipoise.metrics._comparing import Compares
from equipoise.metrics._features_samples import Unread

__all__ = ["Lpips"]

SMALLEST = 32
"""Pixels a side that AlexNet's layers need."""


@dataclass(frozen=True, slots=True)
class Lpips(Compares):
    """Weights of 233 MB (AlexNet) or 528 MB (VGG-16) are downloaded once, or given."""

    backbone: _features_lpips.Backbone = "alex"
    """alex or vgg"""
    weights: str | None = None
    """path of the backbone's weights; left out: torch's folder, or downloaded into it"""
    pairs: int = 1000
    """pairs of samples at the most"""

    better: ClassVar[Literal["lower", "higher"]] = "higher"

    def __post_init__(self) -> None:
        bounds.at_least(1, pairs=self.pairs)

    @property
    def features(self) -> Unread:
        """The samples, which are read two at a time."""
        return Unread(_features_lpips.BACKBONES[self.backbone].published.digest)

    def suits(self, spec: DataSpec) -> bool:
        """Grey or colour images of 32 pixels a side or more."""
        return readable(spec) and min(spec.shape[1:]) >= SMALLEST

    def compare(self, real: ReferenceSet, fake: Tensor, draws: Bootstrap) -> MetricResult:
        """Of samples (N, C, H, W); the reals are not looked at. Raises DataError for a single sample."""
        return _perceptual.diversity(self.distance, fake, self.pairs, draws)

    def distance(self, first: Tensor, second: Tensor) -> Tensor:
        """(B,) float32 between images (B, 1 or 3, H, W) in [-1, 1]. Raises DataError if weights cannot be had."""
        return _features_lpips.load(self.backbone, self.weights).distance(first, second)
