"""Distances between two images: perceptual distance on the feature maps of a network, and means over pairs.

    d(x, y) = Σ_l 1 / (h_l w_l) Σ_{h,w} Σ_c w_lc (x̂_lhwc - ŷ_lhwc)²        (Zhang et al. 2018, equation 1)

with x̂ normalised to unit length over channels. LPIPS has weights w fitted to human judgements, on AlexNet or VGG-16;
with all weights 1, on any network, it is the uncalibrated baseline of the same paper.
"""

from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor

from equipoise.core.metric import Bootstrap, MetricResult
from equipoise.errors import DataError, UndefinedMetricError

EPSILON = 1e-8
"""Added to squared lengths, as torchmetrics does; the authors add 1e-10 to lengths."""
BATCH_SIZE = 20
"""Takes 0.7 times as long as 50 with EfficientNet-Lite0, for the same reason as features do."""

ImageDistance = Callable[[Tensor, Tensor], Tensor]
"""Maps two batches of images (B, C, H, W) to distances (B,)."""


def distance(first: Iterable[Tensor], second: Iterable[Tensor], weights: Sequence[Tensor] | None = None) -> Tensor:
    """Return d, (B,) float32, of feature maps (B, C, h, w) of each layer; `weights`: (C,) per layer, None for all 1."""
    total = torch.zeros(())
    for layer, (x, y) in enumerate(zip(first, second, strict=True)):
        squares = (_normalise(x) - _normalise(y)).square()
        if weights is not None:
            squares = squares * weights[layer].view(1, -1, 1, 1)
        total = total + squares.sum(dim=1).mean(dim=(1, 2))
    return total


def _normalise(maps: Tensor) -> Tensor:
    length: Tensor = (maps.square().sum(dim=1, keepdim=True) + EPSILON).sqrt()
    return maps / length


def distances_in_batches(image_distance: ImageDistance, first: Tensor, second: Tensor) -> Tensor:
    """Return distances of pairs, (N,) float64, computed in batches."""
    with torch.inference_mode():
        batches = zip(torch.split(first, BATCH_SIZE), torch.split(second, BATCH_SIZE), strict=True)
        result = torch.cat([image_distance(x, y) for x, y in batches])
    return result.double().clone()


def diversity(image_distance: ImageDistance, samples: Tensor, pairs: int, bootstrap: Bootstrap) -> MetricResult:
    """Return the mean distance between consecutive samples, of at most `pairs` disjoint pairs.

    Raises DataError for fewer than two samples.
    """
    count = min(pairs, len(samples) // 2)
    if not count:
        raise UndefinedMetricError("diversity needs at least 2 samples; increase --count")
    values = distances_in_batches(image_distance, samples[0 : 2 * count : 2], samples[1 : 2 * count : 2])
    return MetricResult.from_mean(values, bootstrap)


def matching_reals(real: Tensor, fake: Tensor) -> Tensor:
    """Return the reals (N, ...) that samples (N, ...) are paired with: the first N.

    Raises DataError if there are fewer reals than samples, or no samples.
    """
    if not 0 < len(fake) <= len(real):
        raise DataError(
            f"each sample is compared with its own real, but there are {len(fake)} samples and {len(real)} reals"
        )
    return real[: len(fake)]
