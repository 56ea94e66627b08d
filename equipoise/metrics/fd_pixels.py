"""Fréchet distance to held-out reals, on the pixels themselves: lower is better.

What many a tutorial calls a simplified FID: the formula of Heusel et al. 2017 on pixels in [-1, 1] instead of
features. It sees brightness and where it lies, and no shapes.
"""

import math
from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import Tensor

from equipoise.base import DataSpec
from equipoise.metrics import _frechet
from equipoise.metrics._choice import readable
from equipoise.metrics._comparing import Compares
from equipoise.metrics._features_samples import Flat
from equipoise.quality import Draws, Figure, Reals

__all__ = ["FdPixels"]

MOST_NUMBERS = 64 * 64


@dataclass(frozen=True, slots=True)
class FdPixels(Compares):
    """Images of up to 64 x 64 pixels in one channel: the covariance holds a number for each two pixels."""

    better: ClassVar[Literal["lower", "higher"]] = "lower"

    @property
    def features(self) -> Flat:
        """Pixels in a row."""
        return Flat()

    def suits(self, spec: DataSpec) -> bool:
        """Images with at most 4,096 numbers."""
        return readable(spec) and math.prod(spec.shape) <= MOST_NUMBERS

    def compare(self, real: Reals, fake: Tensor, draws: Draws) -> Figure:
        """Features (M, D) of reals, (N, D) of samples. Raises DataError for fewer than 2 of either."""
        return _frechet.compare(real.real, fake, draws, instead="kd_efficientnet_lite0")
