"""Skip-layer excitation: a small map weights the channels of a large one (Liu 2021, "Towards Faster and Stabilized GAN
Training for High-fidelity Few-shot Image Synthesis", section 3.1)."""

from torch import Tensor, nn

POOLED = 4
"""Side in pixels to which the small map is pooled."""


class SkipLayerExcitation(nn.Module):
    """y = x_high sigmoid(W2 swish(W1 pool(x_low))): one weight in (0, 1) per channel of the large map.

    Liu 2021, equation 1: `pool` is a mean to 4 x 4, W1 a 4 x 4 convolution without padding, W2 a 1 x 1 convolution,
    both without bias. Unlike squeeze-and-excitation (Hu 2018), both maps may differ in size. The activation between is
    that of the authors' code, swish; the paper has a leaky ReLU. With W2 = 0 the large map is halved.
    """

    def __init__(self, low_channels: int, high_channels: int) -> None:
        super().__init__()
        self.weights = nn.Sequential(
            nn.AdaptiveAvgPool2d(POOLED),
            nn.Conv2d(low_channels, high_channels, POOLED, bias=False),
            nn.SiLU(),
            nn.Conv2d(high_channels, high_channels, 1, bias=False),
            nn.Sigmoid(),
        )

    def forward(self, low: Tensor, high: Tensor) -> Tensor:
        """Weight the channels of `high` (B, D, H, W) by `low` (B, C, h, w) with h, w at least 1: (B, D, H, W)."""
        result: Tensor = high * self.weights(low)
        return result
