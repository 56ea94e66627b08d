"""Dropout from an explicit generator."""

import torch
from torch import Generator, Tensor


def dropout(features: Tensor, share: float, generator: Generator | None) -> Tensor:
    """Each number becomes 0 with probability `share`, the rest grow by 1 / (1 - share) (Srivastava 2014, section 10).

    Nothing happens without a generator: that is how a network is asked when it is not being trained.
    """
    if generator is None or not share:
        return features
    kept = torch.rand(features.shape, generator=generator, device=features.device) >= share
    return features * kept / (1 - share)
