"""Fréchet distance to held-out reals, on pixels: lower is better.

What many tutorials call a simplified FID: the formula of Heusel et al. 2017 on pixels in [-1, 1] instead of features.
It measures brightness and its position, not shapes.
"""

import math
from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import Tensor

from equipoise.core.data import DataSpec
from equipoise.core.metric import Bootstrap, MetricResult, ReferenceSet
from equipoise.errors import SettingError
from equipoise.metrics import _frechet
from equipoise.metrics._feature_metric import FeatureMetricMixin, is_grey_or_colour
from equipoise.metrics._features_small import DownsampledImages, FlattenedSamples

__all__ = ["FdPixels"]

MAX_VALUES = 64 * 64


@dataclass(frozen=True, slots=True)
class FdPixels(FeatureMetricMixin):
    """Fréchet distance of up to 4,096 pixels: the covariance has an entry for each pair.

    Larger images, and colour images, must be averaged down to `side` x `side`. Raises SettingError for a side below 1.
    """

    side: int | None = None
    """pixels a side to which images are averaged down; default: no averaging"""

    better: ClassVar[Literal["lower", "higher"]] = "lower"
    suited_to: ClassVar[str] = (
        "grey or colour images of at most 4,096 values, to which the option side averages larger ones"
    )

    def __post_init__(self) -> None:
        if self.side is not None and self.side < 1:
            raise SettingError(f"side = {self.side}: it must be at least 1")

    @property
    def features(self) -> FlattenedSamples | DownsampledImages:
        """Pixels as a vector."""
        return FlattenedSamples() if self.side is None else DownsampledImages(self.side)

    def suits(self, spec: DataSpec) -> bool:
        """Return whether the data are images with at most 4,096 values after averaging."""
        shape = spec.shape if self.side is None else (spec.shape[0], *(min(self.side, n) for n in spec.shape[1:]))
        return is_grey_or_colour(spec) and math.prod(shape) <= MAX_VALUES

    def compute(self, real: ReferenceSet, fake: Tensor, bootstrap: Bootstrap) -> MetricResult:
        """Compute the metric from features (M, D) of reals and (N, D) of samples.

        Raises DataError for fewer than 2 samples or reals.
        """
        return _frechet.compute(real.real, fake, bootstrap, alternative="kd_efficientnet_lite0")
