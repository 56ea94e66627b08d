"""Residual blocks with normalisation first (He 2016, "Identity Mappings in Deep Residual Networks") for generation.

`UpBlock` and `DownBlock`: Miyato 2018, figure 8, and Brock 2019, figure 15. `BottleneckUpBlock` and
`BottleneckDownBlock`: BigGAN-deep, Brock 2019, figure 16. Nearest-neighbour upsampling and mean pooling commute with
1 x 1 convolutions, so these are computed on the smaller map.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, interpolate, relu

from equipoise.nn.conditional_norm import ConditionalBatchNorm

NormFactory = Callable[[int], ConditionalBatchNorm]
"""Function (channels) -> normalisation layer."""
BOTTLENECK = 4
"""Channels of a bottleneck block divided by those inside it (Brock 2019, appendix B)."""


class UpBlock(nn.Module):
    """norm-relu-up-conv3-norm-relu-conv3, plus up-conv1: (B, I, H, W) -> (B, O, 2 H, 2 W)."""

    def __init__(self, before: int, after: int, norm: NormFactory) -> None:
        super().__init__()
        self.norm_1, self.norm_2 = norm(before), norm(after)
        self.convolution_1 = nn.Conv2d(before, after, 3, padding=1)
        self.convolution_2 = nn.Conv2d(after, after, 3, padding=1)
        self.shortcut = nn.Conv2d(before, after, 1)

    def forward(self, maps: Tensor, condition: Tensor | None) -> Tensor:
        """Transform maps; `condition` is passed to the normalisation layers."""
        change: Tensor = self.convolution_1(double(relu(self.norm_1(maps, condition))))
        change = self.convolution_2(relu(self.norm_2(change, condition)))
        return double(self.shortcut(maps)) + change


class DownBlock(nn.Module):
    """relu-conv3-relu-conv3-pool, plus pool-conv1: (B, I, H, W) -> (B, O, H / 2, W / 2), or of the same size.

    `halve`: whether to pool. `first`: without the first relu, for images. The shortcut is the identity if neither size
    nor channels change.
    """

    def __init__(self, before: int, after: int, *, halve: bool, first: bool = False) -> None:
        super().__init__()
        self.halve, self.first = halve, first
        self.convolution_1 = nn.Conv2d(before, after, 3, padding=1)
        self.convolution_2 = nn.Conv2d(after, after, 3, padding=1)
        self.shortcut = nn.Conv2d(before, after, 1) if halve or before != after else nn.Identity()

    def forward(self, maps: Tensor) -> Tensor:
        """Transform maps; H and W must be even to be halved."""
        change: Tensor = self.convolution_1(maps if self.first else relu(maps))
        change = self.convolution_2(relu(change))
        if self.halve:
            maps, change = avg_pool2d(maps, 2), avg_pool2d(change, 2)
        shortcut: Tensor = self.shortcut(maps)
        return shortcut + change


class BottleneckUpBlock(nn.Module):
    """norm-relu-conv1-norm-relu-(up)-conv3-norm-relu-conv3-norm-relu-conv1, plus the first O channels of the input.

    (B, I, H, W) -> (B, O, H, W), or (B, O, 2 H, 2 W) with `upsample`; O must not exceed I.
    """

    def __init__(self, before: int, after: int, norm: NormFactory, *, upsample: bool) -> None:
        super().__init__()
        inside = max(1, before // BOTTLENECK)
        self.after, self.upsample = after, upsample
        self.norms = nn.ModuleList([norm(before), norm(inside), norm(inside), norm(inside)])
        self.convolution_1 = nn.Conv2d(before, inside, 1)
        self.convolution_2 = nn.Conv2d(inside, inside, 3, padding=1)
        self.convolution_3 = nn.Conv2d(inside, inside, 3, padding=1)
        self.convolution_4 = nn.Conv2d(inside, after, 1)

    def forward(self, maps: Tensor, condition: Tensor | None) -> Tensor:
        """Transform maps; `condition` is passed to the normalisation layers."""
        change: Tensor = self.convolution_1(relu(self.norms[0](maps, condition)))
        change = relu(self.norms[1](change, condition))
        shortcut = maps[:, : self.after]
        if self.upsample:
            change, shortcut = double(change), double(shortcut)
        change = self.convolution_3(relu(self.norms[2](self.convolution_2(change), condition)))
        change = self.convolution_4(relu(self.norms[3](change, condition)))
        return shortcut + change


class BottleneckDownBlock(nn.Module):
    """relu-conv1-relu-conv3-relu-conv3-relu-(pool)-conv1, plus the input, with a conv1 of it as additional channels.

    (B, I, H, W) -> (B, O, H / 2, W / 2) with `halve`, else (B, O, H, W); O must be at least I.
    """

    def __init__(self, before: int, after: int, *, halve: bool) -> None:
        super().__init__()
        inside = max(1, after // BOTTLENECK)
        self.halve = halve
        self.convolution_1 = nn.Conv2d(before, inside, 1)
        self.convolution_2 = nn.Conv2d(inside, inside, 3, padding=1)
        self.convolution_3 = nn.Conv2d(inside, inside, 3, padding=1)
        self.convolution_4 = nn.Conv2d(inside, after, 1)
        self.additional = nn.Conv2d(before, after - before, 1) if after > before else None

    def forward(self, maps: Tensor) -> Tensor:
        """Transform maps; H and W must be even to be halved."""
        change: Tensor = self.convolution_2(relu(self.convolution_1(relu(maps))))
        change = relu(self.convolution_3(relu(change)))
        if self.halve:
            maps, change = avg_pool2d(maps, 2), avg_pool2d(change, 2)
        shortcut = maps if self.additional is None else torch.cat([maps, self.additional(maps)], dim=1)
        change = self.convolution_4(change)
        return shortcut + change


def double(maps: Tensor) -> Tensor:
    """Repeat every place in 2 x 2 places: (B, C, H, W) -> (B, C, 2 H, 2 W)."""
    return interpolate(maps, scale_factor=2.0)
