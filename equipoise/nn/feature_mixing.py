"""Random projections of the feature maps of a frozen network (Sauer 2021, "Projected GANs Converge Faster", 3.2)."""

import itertools
from collections.abc import Sequence

import torch
from torch import Generator, Tensor, nn
from torch.nn.functional import conv2d, interpolate


class FeatureMixing(nn.Module):
    """Mix maps across channels, then from coarse to fine across scales, with fixed random weights.

        c_l = A_l f_l,    m_L = B_L c_L,    m_l = B_l (c_l + up(m_(l+1)))

    A_l is a 1 x 1, B_l a 3 x 3 convolution, both without bias; `up` is bilinear interpolation to the size of c_l. A
    discriminator that sees m instead of f cannot rely on single channels and sees all scales below its own. The weights
    are buffers: they are never trained, and part of the state dict.
    """

    def __init__(self, channels: Sequence[int], mixed: int) -> None:
        """`channels`: of each map, from fine to coarse. `mixed`: channels of each output."""
        super().__init__()
        self.scales = len(channels)
        for scale, count in enumerate(channels):
            self.register_buffer(f"across_channels_{scale}", torch.empty(mixed, count, 1, 1))
            self.register_buffer(f"across_scales_{scale}", torch.empty(mixed, mixed, 3, 3))

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """Mix maps (B, C_l, H_l, W_l), from fine to coarse: (B, M, H_l, W_l) in the same order."""
        result: list[Tensor] = []
        for scale in reversed(range(self.scales)):
            mixed = conv2d(maps[scale], self.get_buffer(f"across_channels_{scale}"))
            if result:
                mixed = mixed + interpolate(result[-1], size=mixed.shape[2:], mode="bilinear")
            result.append(conv2d(mixed, self.get_buffer(f"across_scales_{scale}"), padding=1))
        return result[::-1]


@torch.no_grad()
def initialise_mixing(mixing: FeatureMixing, generator: Generator) -> None:
    """Draw the weights from N(0, 2 / fan-in) (He 2015, equation 10): across channels, then across scales."""
    kinds = ("across_channels", "across_scales")
    for kind, scale in itertools.product(kinds, range(mixing.scales)):
        weight = mixing.get_buffer(f"{kind}_{scale}")
        nn.init.kaiming_normal_(weight, nonlinearity="relu", generator=generator)
