"""Noise of the difference between two distances to the same held-out reals, of samples from the same latents.

    d_B - d_A = E [k_B(x, x') - k_A(x, x')] - 2 E [k_B(r, x) - k_A(r, x)]      x, x': latents, r: reals

The bootstrap (Efron 1979) resamples reals and latents, the same ones for A and B, so what both share cancels.
"""

import torch
from torch import Tensor

from equipoise.comparison.suite.distance import FakeKernels

DRAWS = 200
BOOTSTRAP_SEED = 41


@torch.no_grad()
def difference_noise(first: FakeKernels, second: FakeKernels) -> float:
    """Return the standard deviation of the difference of two distances, by the bootstrap.

    Kernels: within (M, M) and across (N, M). Resampled pairs of one latent with itself are left out.
    """
    within = (first.within - second.within).double()
    across = (first.across - second.across).double()
    generator = torch.Generator().manual_seed(BOOTSTRAP_SEED)
    reals, latents = _counts(across.shape[0], generator), _counts(across.shape[1], generator)
    within.fill_diagonal_(0)
    pairs = latents.sum(1).square() - latents.square().sum(1)
    same = ((latents @ within) * latents).sum(1) / pairs
    cross = ((reals @ across) * latents).sum(1) / (reals.sum(1) * latents.sum(1))
    return float((same - 2 * cross).std())


def _counts(size: int, generator: torch.Generator) -> Tensor:
    """Return how often each of `size` items is drawn in each bootstrap sample: (DRAWS, size) float64."""
    rows = torch.randint(size, (DRAWS, size), generator=generator)
    return torch.zeros(DRAWS, size, dtype=torch.float64).scatter_add_(
        1, rows, torch.ones_like(rows, dtype=torch.float64)
    )
