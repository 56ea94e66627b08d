"""Normalisation of feature maps."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import group_norm

Norm = Literal["batch", "instance", "none"]


class InstanceNorm(nn.Module):
    """Normalise each map of each sample to mean 0 and variance 1, without weights: Ulyanov 2016, equation 5.

    Computed as the equivalent group normalisation with one channel per group (Wu and He 2018, section 3.3), with the
    result in channels-last memory format: torch's instance normalisation takes twice as long on a CPU.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.channels = channels

    def forward(self, maps: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W); H W must be at least 2."""
        normal: Tensor = group_norm(maps.contiguous(), self.channels)
        return normal.contiguous(memory_format=torch.channels_last)


def normalisation(norm: Norm, channels: int) -> nn.Module:
    """Return the layer. "batch" has a weight and a bias per channel, "instance" has none, "none" is the identity."""
    if norm == "none":
        return nn.Identity()
    return nn.BatchNorm2d(channels) if norm == "batch" else InstanceNorm(channels)


@contextmanager
def frozen_running_statistics(*networks: nn.Module) -> Iterator[None]:
    """Do not update the running statistics of batch normalisation in this context.

    For inputs that do not occur in inference. Batches in training mode are still normalised by their own statistics.
    """
    norms = [module for network in networks for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    momenta = [norm.momentum for norm in norms]
    try:
        for norm in norms:
            norm.momentum = 0.0
        yield
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
