"""Kernel distance to held-out digits, on the features of a small network that knows digits: lower is better.

The kernel distance of Bińkowski et al. 2018 (there on Inception features and called KID), on 64 features of a network
that is shipped with the package (`scripts/train_digits_classifier.py` rebuilds it). Numbers compare with each other,
not with any published KID.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import Tensor

from equipoise.base import Batch, DataSpec
from equipoise.metrics._digits_classifier import digit_features
from equipoise.metrics._kernel import kernel_distance

__all__ = ["KdDigits"]


@dataclass(frozen=True, slots=True)
class KdDigits:
    """From about 0 for perfect samples, over 4 for a single class, to below 8. It can be negative.

    The estimate is unbiased for independent samples, but the 1,000 held-out digits are exactly 100 of each class,
    which is more even than chance, so 1,000 perfect samples come out at -0.006 ± 0.001. Values below 0 are never
    better than real.
    """

    better: ClassVar[Literal["lower", "higher"]] = "lower"

    def suits(self, spec: DataSpec) -> bool:
        """Grey or colour images of any size."""
        return spec.is_image and spec.shape[0] in (1, 3)

    def statistics(self, real: Batch) -> Tensor:
        """Features (N, 64) float32 on the CPU of real (N, 1 or 3, H, W) in [-1, 1]; about 0.3 s for 1,000."""
        return digit_features(real.real)

    def value(self, statistics: Tensor, fake: Tensor) -> float:
        """The distance of fake (N, 1 or 3, H, W) in [-1, 1]; not a number if a sample is not.

        Raises DataError for fewer than 2 samples.
        """
        return kernel_distance(statistics, digit_features(fake))
