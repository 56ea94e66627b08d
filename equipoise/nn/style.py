"""Layers of a style-based generator: convolution, noise, adaptive instance normalisation by a style.

Karras et al. 2019, "A Style-Based Generator Architecture for Generative Adversarial Networks", section 2 and figure 1b.
"""

import torch
from torch import Generator, Tensor, nn
from torch.nn.functional import group_norm, leaky_relu

from equipoise.nn.blur import blur
from equipoise.nn.equalised import EqualConv2d, EqualLinear
from equipoise.nn.growing import enlarge

SLOPE = 0.2
"""Of the leaky ReLU: Karras 2019, appendix C."""
EPSILON = 1e-8
"""Added to the variance of a map."""


class StyledLayer(nn.Module):
    """A layer (N, I, H, W) -> (N, O, S, S) whose maps get the mean and the deviation of a style.

    Convolution, noise, bias, leaky ReLU, adaptive instance normalisation; noise has a strength per channel, 0 at first.
    `side`: S. `doubles`: double the side before the convolution and blur after it. `in_channels`: I, or None for a
    layer without convolution. The buffer `noise` (1, 1, S, S) is the fixed noise of sampling; see
    :func:`initialise_noise`.
    """

    noise: Tensor

    def __init__(
        self, in_channels: int | None, out_channels: int, style_dim: int, side: int, *, doubles: bool = False
    ) -> None:
        super().__init__()
        self.doubles, self.side = doubles, side
        self.convolution = None if in_channels is None else EqualConv2d(in_channels, out_channels, 3, bias=False)
        self.strength = nn.Parameter(torch.zeros(out_channels, 1, 1))
        self.bias = nn.Parameter(torch.zeros(out_channels, 1, 1))
        self.style = EqualLinear(style_dim, 2 * out_channels)
        self.register_buffer("noise", torch.zeros(1, 1, side, side))

    def forward(self, maps: Tensor, style: Tensor, noise: Tensor | None) -> Tensor:
        """Transform maps by styles w (N, D); `noise`: (N, 1, S, S) or (1, 1, S, S), None for none."""
        maps = enlarge(maps) if self.doubles else maps
        if self.convolution is not None:
            maps = self.convolution(maps)
        maps = blur(maps) if self.doubles else maps
        if noise is not None:
            maps = maps + self.strength * noise
        maps = leaky_relu(maps + self.bias, SLOPE)
        scale, shift = self.style(style).chunk(2, dim=1)
        return adaptive_instance_norm(maps, scale, shift)


def adaptive_instance_norm(maps: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
    """Give each map of (N, C, H, W) the mean `shift` and the standard deviation |1 + `scale`|, both (N, C).

    (1 + s) (x - mean(x)) / sqrt(var(x) + 1e-8) + b (Huang and Belongie 2017, equation 8; Karras 2019, equation 1).
    The normalisation is a group normalisation with one channel per group (Wu and He 2018, section 3.1), which takes
    half as long on a CPU in channels-last memory format; computed in float32 or wider, returned in the maps' dtype.
    """
    wide = maps.to(torch.promote_types(maps.dtype, torch.float32))
    normal = group_norm(wide, maps.shape[1], eps=EPSILON)
    gain, bias = 1 + scale.to(wide.dtype), shift.to(wide.dtype)
    result = torch.addcmul(bias[:, :, None, None], normal, gain[:, :, None, None])
    return result.to(maps.dtype)


@torch.no_grad()
def initialise_noise(network: nn.Module, generator: Generator) -> None:
    """Draw the fixed noise of all layers of a network from N(0, 1)."""
    for module in network.modules():
        if isinstance(module, StyledLayer):
            module.noise.normal_(generator=generator)


def mix_styles(first: Tensor, second: Tensor, crossover: Tensor) -> Tensor:
    """Combine styles (N, layers, D): layers from `crossover` (N,) on are those of `second` (Karras 2019, section 3.1).

    A crossover of 0 gives `second`, one of the number of layers gives `first`.
    """
    index = torch.arange(first.shape[1], device=first.device)
    return torch.where((index < crossover[:, None])[:, :, None], first, second)
