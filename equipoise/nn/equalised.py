"""Layers with an equalised learning rate: weights are stored with unit variance and scaled where they are used.

Karras et al. 2018, "Progressive Growing of GANs", section 4.1. Adam moves every stored weight equally far whatever its
scale is, so that all layers learn at one speed.
"""

import math

import torch
from torch import Generator, Tensor, nn
from torch.nn.functional import conv2d, linear


class EqualLinear(nn.Module):
    """Linear layer (N, I) -> (N, O) with an equalised learning rate.

    `gain`: factor of the weights, sqrt(2) before a leaky ReLU. `lr_multiplier`: mu; weights are stored as
    N(0, 1) / mu and used times mu, so that an Adam step moves the layer mu times as far (Karras 2019, appendix C).
    `bias`: initial value of the biases, None for none.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        gain: float = 1.0,
        lr_multiplier: float = 1.0,
        bias: float | None = 0.0,
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(out_features, in_features))
        self.bias = None if bias is None else nn.Parameter(torch.full((out_features,), bias / lr_multiplier))
        self.scale = gain * lr_multiplier / math.sqrt(in_features)
        self.lr_multiplier = lr_multiplier

    def forward(self, x: Tensor) -> Tensor:
        """Apply the layer to (N, I)."""
        bias = None if self.bias is None else self.bias * self.lr_multiplier
        return linear(x, self.weight * self.scale, bias)


class EqualConv2d(nn.Module):
    """Convolution (N, I, H, W) -> (N, O, H, W) of an odd kernel with an equalised learning rate.

    `gain`: factor of the weights, sqrt(2) before a leaky ReLU. `bias`: whether it has biases, 0 at first.
    """

    def __init__(
        self, in_channels: int, out_channels: int, kernel: int, *, gain: float = math.sqrt(2), bias: bool = True
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(out_channels, in_channels, kernel, kernel))
        self.bias = nn.Parameter(torch.zeros(out_channels)) if bias else None
        self.scale = gain / math.sqrt(in_channels * kernel**2)
        self.padding = kernel // 2

    def forward(self, x: Tensor) -> Tensor:
        """Apply the layer to (N, I, H, W)."""
        return conv2d(x, self.weight * self.scale, self.bias, padding=self.padding)


@torch.no_grad()
def initialise_equalised(network: nn.Module, generator: Generator) -> None:
    """Draw the weights of all equalised layers of a network from N(0, 1), divided by their learning-rate multiplier."""
    for module in network.modules():
        if isinstance(module, EqualLinear):
            module.weight.normal_(0, 1 / module.lr_multiplier, generator=generator)
        elif isinstance(module, EqualConv2d):
            module.weight.normal_(generator=generator)
