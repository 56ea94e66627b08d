"""Distance of each sample from the real that it should be, by ImageNet features: lower is better.

The uncalibrated distance of Zhang et al. 2018 on five layers of EfficientNet-Lite0: what LPIPS is without the weights
learnt from people. Nothing is downloaded; numbers do not compare with LPIPS. Needs the extra `features`.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import Tensor

from equipoise.core.data import DataSpec
from equipoise.core.metric import Bootstrap, MetricResult, ReferenceSet
from equipoise.metrics import _pairwise, _perceptual
from equipoise.metrics._choice import readable
from equipoise.metrics._comparing import Compares
from equipoise.metrics._features_efficientnet import DIGEST, perceptual_distance
from equipoise.metrics._features_samples import Unread

__all__ = ["PairedEfficientnetLite0"]


@dataclass(frozen=True, slots=True)
class PairedEfficientnetLite0(Compares):
    """Unlike a difference of pixels it sees whether edges and textures are those of the truth."""

    better: ClassVar[Literal["lower", "higher"]] = "lower"
    of_pairs: ClassVar[Literal[True]] = True

    @property
    def features(self) -> Unread:
        """The samples, which are read beside their reals."""
        return Unread(DIGEST)

    def suits(self, spec: DataSpec) -> bool:
        """Grey or colour images whose held-out inputs belong to samples."""
        return readable(spec) and "held_out" in spec.paired

    def compare(self, real: ReferenceSet, fake: Tensor, draws: Bootstrap) -> MetricResult:
        """Images (M, C, H, W) and (N, C, H, W), in the same order. Raises DataError for fewer reals."""
        truth = _pairwise.as_many(real.real, fake)
        return _pairwise.figure(_perceptual.in_pieces(perceptual_distance, fake, truth), draws)
