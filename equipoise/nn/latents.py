"""Distributions of latent vectors."""

import math

import torch
from torch import Generator, Tensor


def normal(count: int, size: int, generator: Generator, truncation: float | None = None) -> Tensor:
    """Sample (count, size) float32 from N(0, 1), on the generator's device.

    `truncation` T > 0: sample from N(0, 1) conditioned on |z| <= T, by the inverse distribution function (the
    truncation trick of Brock 2019, section 3.1, without rejection). None: no truncation.
    """
    if truncation is None:
        return torch.randn(count, size, generator=generator, device=generator.device)
    inside = math.erf(truncation / math.sqrt(2))
    uniform = torch.rand(count, size, generator=generator, device=generator.device, dtype=torch.float64) * 2 - 1
    return (torch.erfinv(uniform * inside) * math.sqrt(2)).float()


def uniform(count: int, size: int, generator: Generator, truncation: float | None = None) -> Tensor:
    """Sample (count, size) float32 from [0, 1), on the generator's device; from [0, T) for a `truncation` T below 1."""
    numbers = torch.rand(count, size, generator=generator, device=generator.device)
    return numbers if truncation is None else numbers * min(1.0, truncation)
