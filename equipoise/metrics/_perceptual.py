"""Distances between two images as networks see them.

    d(x, y) = Σ_l 1 / (h_l w_l) Σ_{h,w} Σ_c w_lc (x̂_lhwc - ŷ_lhwc)²        (Zhang et al. 2018, equation 1)

with x̂ of unit length over channels. LPIPS weighs channels by w, learnt from people's judgements, on AlexNet or VGG-16;
weights of 1 on any network are what the same paper calls its uncalibrated baseline.
"""

from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor

from equipoise.core.metric import Bootstrap, MetricResult
from equipoise.errors import DataError

SMALL = 1e-8
"""Added to squared lengths, as torchmetrics has it; the authors add 1e-10 to lengths."""
AT_ONCE = 50

Distance = Callable[[Tensor, Tensor], Tensor]


def distance(first: Iterable[Tensor], second: Iterable[Tensor], weights: Sequence[Tensor] | None = None) -> Tensor:
    """(B,) float32: d of the maps (B, C, h, w) of each layer; `weights` (C,) by layer, None for all 1."""
    total = torch.zeros(())
    for layer, (ours, theirs) in enumerate(zip(first, second, strict=True)):
        squares = (_unit(ours) - _unit(theirs)).square()
        if weights is not None:
            squares = squares * weights[layer].view(1, -1, 1, 1)
        total = total + squares.sum(dim=1).mean(dim=(1, 2))
    return total


def _unit(maps: Tensor) -> Tensor:
    length: Tensor = (maps.square().sum(dim=1, keepdim=True) + SMALL).sqrt()
    return maps / length


def in_pieces(between: Distance, first: Tensor, second: Tensor) -> Tensor:
    """(N,) float64: distances of many pairs, some at a time."""
    with torch.inference_mode():
        pairs = zip(torch.split(first, AT_ONCE), torch.split(second, AT_ONCE), strict=True)
        result = torch.cat([between(ours, theirs) for ours, theirs in pairs])
    return result.double().clone()


def diversity(between: Distance, samples: Tensor, pairs: int, draws: Bootstrap) -> MetricResult:
    """Mean distance between a sample and the next, of the first `pairs` pairs. Raises DataError for a single sample."""
    count = min(pairs, len(samples) // 2)
    if not count:
        raise DataError("diversity is measured between 2 samples or more; take more of them")
    each = in_pieces(between, samples[0 : 2 * count : 2], samples[1 : 2 * count : 2])
    return MetricResult(each.mean().item(), draws.weights(count, 1).double() @ each / count if draws.count else None)
