"""Dropout with an explicit random generator."""

import torch
from torch import Generator, Tensor


def dropout(features: Tensor, p: float, generator: Generator | None) -> Tensor:
    """Set each number to 0 with probability `p` and scale the others by 1 / (1 - p) (Srivastava 2014, section 10).

    `generator`: None in inference, which disables dropout.
    """
    if generator is None or not p:
        return features
    mask = torch.rand(features.shape, generator=generator, device=features.device) >= p
    return features * mask / (1 - p)
