"""Latent vectors."""

import math

import torch
from torch import Generator, Tensor


def normal(count: int, size: int, generator: Generator, truncation: float | None = None) -> Tensor:
    """(count, size) float32 from N(0, 1), on the generator's device.

    `truncation` T > 0: from N(0, 1) given that |z| <= T, by the inverse of its distribution function (the truncation
    trick of Brock 2019, section 3.1, drawn directly instead of by rejection). None: not truncated.
    """
    if truncation is None:
        return torch.randn(count, size, generator=generator, device=generator.device)
    inside = math.erf(truncation / math.sqrt(2))
    uniform = torch.rand(count, size, generator=generator, device=generator.device, dtype=torch.float64) * 2 - 1
    return (torch.erfinv(uniform * inside) * math.sqrt(2)).float()


def uniform(count: int, size: int, generator: Generator, truncation: float | None = None) -> Tensor:
    """(count, size) float32 from [0, 1), on the generator's device; from [0, T) for a `truncation` T below 1."""
    drawn = torch.rand(count, size, generator=generator, device=generator.device)
    return drawn if truncation is None else drawn * min(1.0, truncation)
