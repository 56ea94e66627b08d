"""Normalisation of feature maps by their own statistics."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import group_norm

Norm = Literal["batch", "instance", "none"]


class InstanceNorm(nn.Module):
    """Every map of every sample to mean 0 and variance 1, without weights: Ulyanov 2016, equation 5.

    A group norm with a group a channel (Wu and He 2018, section 3.3), which is the same, in memory ordered by channels:
    torch's own instance norm takes twice as long on a CPU.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.channels = channels

    def forward(self, maps: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W); H W of 2 or more."""
        normal: Tensor = group_norm(maps.contiguous(), self.channels)
        return normal.contiguous(memory_format=torch.channels_last)


def normalisation(norm: Norm, channels: int) -> nn.Module:
    """The layer of that name. "batch" has a weight and a bias a channel, "instance" has not, "none" does nothing."""
    if norm == "none":
        return nn.Identity()
    return nn.BatchNorm2d(channels) if norm == "batch" else InstanceNorm(channels)


@contextmanager
def unrecorded(*networks: nn.Module) -> Iterator[None]:
    """Passes through networks that their running statistics do not take in: of images that they will not be asked for.

    Batches are normalised by their own statistics as ever.
    """
    norms = [module for network in networks for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    kept = [norm.momentum for norm in norms]
    try:
        for norm in norms:
            norm.momentum = 0.0
        yield
    finally:
        for norm, momentum in zip(norms, kept, strict=True):
            norm.momentum = momentum
