"""Convolutions whose kernel is chosen by the sample: a mix of a bank of kernels (Kang et al. 2023, GigaGAN).

    K = sum_i p_i K_i,  p = softmax(W_f w + b_f)

w is the style of the sample, and K is then modulated and demodulated as in StyleGAN 2. A convolution is linear in its
kernel: instead of one kernel per sample, which needs as many groups as samples, the maps of a sample are repeated once
per kernel of the bank, scaled by p_i, and convolved with all kernels at once. Measured forward and backward for two
kernels (batch 64, 64 channels, 16 x 16, one thread): as much as two plain convolutions.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, conv_transpose2d, leaky_relu

from equipoise.nn.equalised import EqualLinear
from equipoise.nn.modulation import EPSILON, GAIN, SLOPE
from equipoise.nn.resample_filter import Smoothing


def mixed_demodulation(weight: Tensor, shares: Tensor, scales: Tensor) -> Tensor:
    """Compute d = 1 / sqrt(sum (s sum_n p_n w_n)^2 + 1e-8), float32, without one kernel per sample.

    `weight`: (N, O, I, k, k). `shares`: p, (B, N). `scales`: s, (B, I). Returns (B, O). The square of a sum over n is a
    sum over pairs of kernels, whose inner products over the k x k places do not depend on the sample.
    """
    with torch.autocast(scales.device.type, enabled=False):
        flat, p = weight.float().flatten(3), shares.float()
        products = torch.einsum("noik,moik->nmio", flat, flat)
        pairs = p[:, :, None] * p[:, None, :]
        factors = pairs[..., None] * scales.float().square()[:, None, None, :]
        factor: Tensor = (factors.flatten(1) @ products.flatten(0, 2) + EPSILON).rsqrt()
        return factor


class AdaptiveConv2d(nn.Module):
    """Layer (B, I, H, W) and styles (B, D) -> (B, O, H', W'): 3 x 3 kernels chosen by the style, bias, leaky ReLU.

    `kernels`: size N of the bank, which is stored as (N O, I, 3, 3). `up`: maps are doubled by a transposed convolution
    and the filter [1, 3, 3, 1]. Weights are stored as N(0, 1), see :func:`initialise_adaptive`; slope and gain are
    those of StyleGAN 2.
    """

    def __init__(
        self, in_channels: int, out_channels: int, style_dim: int, *, kernels: int = 2, up: bool = False
    ) -> None:
        super().__init__()
        self.affine = EqualLinear(style_dim, in_channels, bias=1.0)
        self.selection = EqualLinear(style_dim, kernels)
        self.kernels = kernels
        self.weight = nn.Parameter(torch.empty(kernels * out_channels, in_channels, 3, 3))
        self.bias = nn.Parameter(torch.zeros(out_channels))
        self.scale = 1 / math.sqrt(9 * in_channels)
        self.smoothing = Smoothing(padding=1, gain=4.0) if up else None

    def shares(self, style: Tensor) -> Tensor:
        """Compute the share p (B, N) of each kernel for styles (B, D); each row sums to 1."""
        return torch.softmax(self.selection(style), dim=1)

    def forward(self, maps: Tensor, style: Tensor) -> Tensor:
        """Transform maps (B, I, H, W) with styles (B, D)."""
        weight = self.weight.unflatten(0, (self.kernels, -1)) * self.scale
        scales, shares = self.affine(style), self.shares(style)
        factors = (shares[:, :, None] * scales[:, None, :]).to(maps.dtype)
        repeated = (maps[:, None] * factors[..., None, None]).flatten(1, 2)
        convolved = self._convolve(repeated, weight.transpose(0, 1).flatten(1, 2))
        # lrelu(g z) = g lrelu(z): the gain multiplies small tensors instead of maps, as in ModulatedConv2d.
        demodulation = (GAIN * mixed_demodulation(weight, shares, scales)).to(maps.dtype)[:, :, None, None]
        bias = (GAIN * self.bias).to(maps.dtype)[:, None, None]
        return leaky_relu(torch.addcmul(bias, convolved, demodulation), SLOPE, inplace=True)

    def _convolve(self, maps: Tensor, weight: Tensor) -> Tensor:
        if self.smoothing is None:
            return conv2d(maps, weight, padding=1)
        doubled: Tensor = self.smoothing(conv_transpose2d(maps, weight.transpose(0, 1), stride=2))
        return doubled


@torch.no_grad()
def initialise_adaptive(network: nn.Module, generator: torch.Generator) -> None:
    """Draw the banks of kernels of all adaptive layers of a network from N(0, 1)."""
    for module in network.modules():
        if isinstance(module, AdaptiveConv2d):
            module.weight.normal_(generator=generator)
