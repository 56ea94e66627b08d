"""Residual bottleneck blocks without normalisation: initially the identity (Zhang, Dauphin and Ma 2019, "Fixup")."""

import math

import torch
from torch import Generator, Tensor, nn
from torch.nn.functional import leaky_relu

SLOPE = 0.2
"""Slope of the leaky ReLU for negative inputs."""
ACTIVATION_GAIN = math.sqrt(2 / (1 + SLOPE**2))
"""Factor of weights before that leaky ReLU that preserves the mean square of activations (He 2015, equation 15)."""


class BottleneckBlock(nn.Module):
    """Block x + W3 act(W2 act(W1 x)): 1 x 1, 3 x 3 in groups, 1 x 1; act is a bias and a leaky ReLU.

    The block of R3GAN (Huang 2024, section 3.2, configuration E). With 2 C inner channels it is the inverted bottleneck
    of MobileNetV2 (Sandler 2018), with groups that of ResNeXt (Xie 2017). Parameters, for I inner channels in groups of
    g: 2 C I + 9 I g + 2 I.
    """

    def __init__(self, channels: int, inner: int, groups: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, inner, 1)
        self.middle = nn.Conv2d(inner, inner, 3, padding=1, groups=groups)
        self.last = nn.Conv2d(inner, channels, 1, bias=False)

    def forward(self, maps: Tensor) -> Tensor:
        """Transform (B, C, H, W) -> (B, C, H, W)."""
        inner = leaky_relu(self.middle(leaky_relu(self.first(maps), SLOPE)), SLOPE)
        change: Tensor = self.last(inner)
        return maps + change


@torch.no_grad()
def initialise_bottlenecks(network: nn.Module, generator: Generator) -> None:
    """Initialise all blocks of a network: weights from N(0, g / sqrt(fan-in)), the last convolution of a block 0.

    g = sqrt(2 / 1.04) L^(-1/4) for L blocks: with three layers in a block, an update changes the output of a network of
    any depth equally (Fixup, section 3, with m = 3: L^(-1/(2m - 2))). Biases are 0.
    """
    blocks = [module for module in network.modules() if isinstance(module, BottleneckBlock)]
    for block in blocks:
        for layer in (block.first, block.middle):
            initialise_layer(layer, generator, ACTIVATION_GAIN * len(blocks) ** -0.25)
        block.last.weight.zero_()


@torch.no_grad()
def initialise_layer(layer: nn.Linear | nn.Conv2d, generator: Generator, gain: float = 1.0) -> None:
    """Initialise one layer with weights from N(0, gain / sqrt(fan-in)) and biases 0."""
    layer.weight.normal_(0, gain / math.sqrt(layer.weight[0].numel()), generator=generator)
    if layer.bias is not None:
        layer.bias.zero_()
