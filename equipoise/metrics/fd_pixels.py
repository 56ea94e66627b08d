"""Fréchet distance to held-out reals, on the pixels themselves: lower is better.

What many a tutorial calls a simplified FID: the formula of Heusel et al. 2017 on pixels in [-1, 1] instead of
features. It sees brightness and where it lies, and no shapes.
"""

import math
from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import Tensor

from equipoise.core.data import DataSpec
from equipoise.core.metric import Bootstrap, MetricResult, ReferenceSet
from equipoise.errors import SettingError
from equipoise.metrics import _frechet
from equipoise.metrics._choice import readable
from equipoise.metrics._comparing import Compares
from equipoise.metrics._features_samples import Flat, Shrunk

__all__ = ["FdPixels"]

MOST_NUMBERS = 64 * 64


@dataclass(frozen=True, slots=True)
class FdPixels(Compares):
    """Images of up to 64 x 64 pixels in one channel: the covariance holds a number for each two pixels.

    Larger ones, and those in colour, are to be averaged down to `side` x `side`; a side below 1 is a SettingError.
    """

    side: int | None = None
    """pixels a side that images are averaged down to; none for images as they are"""

    better: ClassVar[Literal["lower", "higher"]] = "lower"

    def __post_init__(self) -> None:
        if self.side is not None and self.side < 1:
            raise SettingError(f"side = {self.side}: it must be at least 1")

    @property
    def features(self) -> Flat | Shrunk:
        """Pixels in a row."""
        return Flat() if self.side is None else Shrunk(self.side)

    def suits(self, spec: DataSpec) -> bool:
        """Images with at most 4,096 numbers, averaged down."""
        shape = spec.shape if self.side is None else (spec.shape[0], *(min(self.side, n) for n in spec.shape[1:]))
        return readable(spec) and math.prod(shape) <= MOST_NUMBERS

    def compare(self, real: ReferenceSet, fake: Tensor, draws: Bootstrap) -> MetricResult:
        """Features (M, D) of reals, (N, D) of samples. Raises DataError for fewer than 2 of either."""
        return _frechet.compare(real.real, fake, draws, instead="kd_efficientnet_lite0")
