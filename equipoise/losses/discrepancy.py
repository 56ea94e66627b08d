"""Discrepancy between two sets of features as a loss: maximum mean discrepancy (Gretton 2012)."""

import torch
from torch import Tensor

from equipoise.core.world import batch_world

FACTORS = (0.25, 0.5, 1.0, 2.0, 4.0)
"""Bandwidths as multiples of the median distance. A single bandwidth is insensitive to other scales (Li 2015)."""


def mmd(first: Tensor, second: Tensor, bandwidth: float | None = None) -> Tensor:
    """MMD² = mean k(x, x') + mean k(y, y') - 2 mean k(x, y), scalar, of features (N, F) and (M, F).

    Gretton 2012, equation 5: the biased estimate, which is never negative. k(x, y) = exp(-|x - y|² / (2 σ²)) with σ =
    `bandwidth`, or, for None, the mean of such kernels with σ at FACTORS times the median distance of all pairs, which
    is treated as a constant. The square root is not taken: its gradient is infinite at 0.
    """
    first, second = batch_world().concatenate(first), batch_world().concatenate(second)
    pooled = torch.cat([first, second])
    norms = pooled.square().sum(dim=1)
    squares = (norms[:, None] + norms[None, :] - 2 * pooled @ pooled.T).clamp_min(0)
    kernel = _kernel(squares, _bandwidths(squares.detach(), bandwidth))
    count = len(first)
    return kernel[:count, :count].mean() + kernel[count:, count:].mean() - 2 * kernel[:count, count:].mean()


def _bandwidths(squares: Tensor, bandwidth: float | None) -> Tensor:
    if bandwidth is not None:
        return squares.new_tensor([bandwidth])
    count = len(squares)
    rows, columns = torch.triu_indices(count, count, offset=1, device=squares.device)
    middle = squares[rows, columns].median().sqrt()
    return middle.clamp_min(1e-6) * squares.new_tensor(FACTORS)


def _kernel(squares: Tensor, bandwidths: Tensor) -> Tensor:
    return torch.stack([(-squares / (2 * width.square())).exp() for width in bandwidths]).mean(dim=0)
