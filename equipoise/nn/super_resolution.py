"""A network that enlarges images: residual blocks at the small size, then doublings by rearranging channels.

Residual blocks without normalisation are those of EDSR (Lim et al. 2017, "Enhanced Deep Residual Networks for Single
Image Super-Resolution", section 3.1); doubling rearranges four maps into one of twice the sides (Shi et al. 2016,
"Real-Time Single Image and Video Super-Resolution Using an Efficient Sub-Pixel Convolutional Neural Network"); the
network adds to a bicubic enlargement (Kim et al. 2016, "Accurate Image Super-Resolution Using Very Deep Convolutional
Networks", section 3.1).
"""

import torch
from torch import Generator, Tensor, nn
from torch.nn.functional import interpolate, leaky_relu

from equipoise.nn.initialize import he_normal_

SLOPE = 0.2
"""Of the leaky ReLU."""
RESIDUAL_SCALE = 0.1
"""Factor of what a block adds: Lim 2017, section 3.3, for stable training of residual blocks without normalisation."""


def enlarge(images: Tensor, factor: int) -> Tensor:
    """Enlarge images (N, C, H, W) by bicubic interpolation (Keys 1981; a = -0.75 as in torch): (N, C, f H, f W)."""
    return interpolate(images, scale_factor=float(factor), mode="bicubic", align_corners=False)


class DetailBlock(nn.Module):
    """Block x + 0.1 f(x) of two 3 x 3 convolutions with a leaky ReLU between them, without normalisation."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(width, width, 3, padding=1)
        self.second = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, maps: Tensor) -> Tensor:
        """Transform maps (B, C, H, W)."""
        changed: Tensor = self.second(leaky_relu(self.first(maps), SLOPE))
        return maps + RESIDUAL_SCALE * changed


class EnlargingNetwork(nn.Module):
    """Images (B, C, H, W) -> (B, C, f H, f W): bicubic enlargement plus details, 0 at first, for any H and W."""

    def __init__(self, channels: int, width: int, blocks: int, doublings: int) -> None:
        """`width`: channels of all maps. `blocks`: number of residual blocks. f is 2^doublings."""
        super().__init__()
        self.factor = 2**doublings
        self.entry = nn.Conv2d(channels, width, 3, padding=1)
        self.blocks = nn.Sequential(*(DetailBlock(width) for _ in range(blocks)))
        self.doubling = nn.ModuleList(nn.Conv2d(width, 4 * width, 3, padding=1) for _ in range(doublings))
        self.refining = nn.ModuleList(nn.Conv2d(width, width, 3, padding=1) for _ in range(doublings))
        self.output = nn.Conv2d(width, channels, 3, padding=1)

    def forward(self, images: Tensor, generator: Generator | None = None) -> Tensor:
        """Enlarge images; `generator` is not used: the result is determined by the image."""
        first = self.entry(images)
        maps = first + self.blocks(first)
        for doubling, refining in zip(self.doubling, self.refining, strict=True):
            maps = nn.functional.pixel_shuffle(leaky_relu(doubling(maps), SLOPE), 2)
            maps = leaky_relu(refining(maps), SLOPE)
        details: Tensor = self.output(maps)
        return enlarge(images, self.factor) + details


@torch.no_grad()
def initialise_enlarging(network: EnlargingNetwork, generator: Generator) -> None:
    """Draw weights by He's initialisation, but 0 in the last layer: a new network is a bicubic enlargement."""
    he_normal_(network, generator)
    network.output.weight.zero_()
