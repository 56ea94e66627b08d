"""Convolutions whose filters are scaled by a style: modulation and demodulation (Karras 2020, StyleGAN 2, section 2.2).

The paper scales the weights of each sample, w'_oi = s_i w_oi, and divides each filter by its norm, which needs a
convolution with as many groups as samples. Scaling the maps instead is equal: input channel i is multiplied by s_i
before a convolution with the shared weights, output channel o by d_o = 1 / |s w_o| after it.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, conv_transpose2d, leaky_relu

from equipoise.nn.equalised import EqualLinear
from equipoise.nn.resample_filter import Smoothing

SLOPE, GAIN = 0.2, math.sqrt(2)
"""Of the leaky ReLU."""
EPSILON = 1e-8
"""Added to the squared norm of a filter: Karras 2020, equation 3."""


def demodulation(weight: Tensor, scales: Tensor) -> Tensor:
    """Compute d = 1 / sqrt(sum (s w)^2 + 1e-8), float32: Karras 2020, equation 3.

    `weight`: (O, I, k, k). `scales`: s, (B, I). Returns (B, O), so that the filters d s w have norm 1.
    """
    with torch.autocast(scales.device.type, enabled=False):
        squares = weight.float().square().sum(dim=(2, 3))
        factors: Tensor = (scales.float().square() @ squares.T + EPSILON).rsqrt()
        return factors


class ModulatedConv2d(nn.Module):
    """Layer of StyleGAN 2: modulated 3 x 3 convolution, noise, bias, leaky ReLU of slope 0.2 and gain sqrt(2).

    `up`: maps are doubled by a transposed convolution and the filter [1, 3, 3, 1], else they keep their size. Weights
    are stored as N(0, 1), see :func:`initialise_modulated`; the strength of the noise is one number, 0 at first.
    """

    def __init__(self, in_channels: int, out_channels: int, style_dim: int, *, up: bool = False) -> None:
        super().__init__()
        self.affine = EqualLinear(style_dim, in_channels, bias=1.0)
        self.weight = nn.Parameter(torch.empty(out_channels, in_channels, 3, 3))
        self.noise_strength = nn.Parameter(torch.zeros(()))
        self.bias = nn.Parameter(torch.zeros(out_channels))
        self.scale = 1 / math.sqrt(9 * in_channels)
        self.smoothing = Smoothing(padding=1, gain=4.0) if up else None

    def forward(self, maps: Tensor, style: Tensor, noise: Tensor | None = None) -> Tensor:
        """Transform maps (B, I, H, W) with styles (B, D); `noise`: (B, 1, H', W') or (1, 1, H', W'), None for none."""
        weight, scales = self.weight * self.scale, self.affine(style)
        maps = self._convolve(maps * scales[:, :, None, None], weight)
        # lrelu(g z) = g lrelu(z): the gain multiplies small tensors instead of maps. In mixed precision these are
        # converted to the type of the maps, which would be promoted otherwise.
        factors = (GAIN * demodulation(weight, scales)).to(maps.dtype)[:, :, None, None]
        bias = (GAIN * self.bias).to(maps.dtype)[:, None, None]
        if noise is None:
            return leaky_relu(torch.addcmul(bias, maps, factors), SLOPE, inplace=True)
        # In place, since new memory for maps costs more time than the arithmetic.
        maps = torch.addcmul((GAIN * self.noise_strength * noise).to(maps.dtype), maps, factors).add_(bias)
        return leaky_relu(maps, SLOPE, inplace=True)

    def _convolve(self, maps: Tensor, weight: Tensor) -> Tensor:
        if self.smoothing is None:
            return conv2d(maps, weight, padding=1)
        # Zeros between pixels, 3 x 3 and 4 x 4 filter, in this order: a quarter of the products of a convolution of the
        # doubled maps.
        doubled: Tensor = self.smoothing(conv_transpose2d(maps, weight.transpose(0, 1), stride=2))
        return doubled


class ModulatedOutput(nn.Module):
    """Modulated 1 x 1 convolution without demodulation, and bias: the layer from maps to colours of StyleGAN 2.

    Computed as one matrix product per sample, whose matrix has few rows, so that scaling the weights is cheapest.
    """

    def __init__(self, in_channels: int, out_channels: int, style_dim: int) -> None:
        super().__init__()
        self.affine = EqualLinear(style_dim, in_channels, bias=1.0)
        self.weight = nn.Parameter(torch.empty(out_channels, in_channels, 1, 1))
        self.bias = nn.Parameter(torch.zeros(out_channels))
        self.scale = 1 / math.sqrt(in_channels)

    def forward(self, maps: Tensor, style: Tensor) -> Tensor:
        """Transform maps (B, I, H, W) with styles (B, D) to (B, O, H, W)."""
        weight = self.weight[:, :, 0, 0] * self.scale * self.affine(style)[:, None, :]
        height, width = maps.shape[2:]
        pixels = maps.permute(0, 2, 3, 1).flatten(1, 2)
        colours: Tensor = torch.baddbmm(self.bias, pixels, weight.transpose(1, 2))
        images: Tensor = colours.transpose(1, 2).unflatten(2, (height, width))
        return images


@torch.no_grad()
def initialise_modulated(network: nn.Module, generator: torch.Generator) -> None:
    """Draw the weights of all modulated layers of a network from N(0, 1)."""
    for module in network.modules():
        if isinstance(module, ModulatedConv2d | ModulatedOutput):
            module.weight.normal_(generator=generator)
