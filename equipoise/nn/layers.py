"""Small layers: normalisation, dropout with an explicit generator, and output as an image or a residual."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

import torch
from torch import Generator, Tensor, nn
from torch.nn.functional import group_norm

from equipoise.nn.batch_norm import WholeBatchNorm2d

Norm = Literal["batch", "instance", "none"]
_BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d)


class InstanceNorm(nn.Module):
    """Layer that normalises each map of each sample to mean 0 and variance 1, without weights (Ulyanov 2016, eq. 5).

    Computed as the equivalent group normalisation with one channel per group (Wu and He 2018, section 3.1), with the
    result in channels-last memory format: torch's instance normalisation takes twice as long on a CPU.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.channels = channels

    def forward(self, maps: Tensor) -> Tensor:
        """Normalise (B, C, H, W) -> (B, C, H, W); H W must be at least 2."""
        normal: Tensor = group_norm(maps.contiguous(), self.channels)
        return normal.contiguous(memory_format=torch.channels_last)


def normalisation(norm: Norm, channels: int) -> nn.Module:
    """Return a normalisation layer: "batch" with weight and bias per channel, "instance" without, or the identity."""
    if norm == "none":
        return nn.Identity()
    return WholeBatchNorm2d(channels) if norm == "batch" else InstanceNorm(channels)


@contextmanager
def frozen_running_statistics(*networks: nn.Module) -> Iterator[None]:
    """Disable updates of the running statistics of batch normalisation within the context.

    Use it for inputs that do not occur in inference. Batches in training mode are still normalised by their own
    statistics.
    """
    modules = [module for network in networks for module in network.modules()]
    norms = [module for module in modules if isinstance(module, _BATCH_NORMS)]
    momenta = [norm.momentum for norm in norms]
    try:
        for norm in norms:
            norm.momentum = 0.0
        yield
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum


def dropout(features: Tensor, p: float, generator: Generator | None) -> Tensor:
    """Set each number to 0 with probability `p` and scale the others by 1 / (1 - p) (Srivastava 2014, section 10).

    `generator`: None in inference, which disables dropout.
    """
    if generator is None or not p:
        return features
    mask = torch.rand(features.shape, generator=generator, device=features.device) >= p
    return features * mask / (1 - p)


def to_images(maps: Tensor, source: Tensor | None) -> Tensor:
    """Convert unbounded feature maps (B, C, H, W) to images in [-1, 1]: tanh, or the sum with `source`, clamped.

    `source`: (B, C', H, W) in [-1, 1], to which the maps are a residual (Kim 2016, "Accurate Image Super-Resolution
    Using Very Deep Convolutional Networks", section 3.2); converted between grey and colour if C' differs from C. With
    a residual, a network with output 0 copies its input, so that unchanged regions need not be learned.
    """
    if source is None:
        return maps.tanh()
    channels = maps.shape[1]
    if source.shape[1] == 1:
        source = source.expand(-1, channels, -1, -1)
    elif channels == 1:
        source = source.mean(dim=1, keepdim=True)
    return (source + maps).clamp(-1, 1)
