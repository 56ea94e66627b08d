"""Image-to-image generator of residual blocks at a quarter of the resolution.

Johnson, Alahi and Fei-Fei 2016 ("Perceptual Losses for Real-Time Style Transfer"), in the form of Zhu 2017 ("Unpaired
Image-to-Image Translation using Cycle-Consistent Adversarial Networks"), appendix 7.2.
"""

from typing import ClassVar

from torch import Tensor, nn

from equipoise.nn.layers import Norm, normalisation, to_images


class ResidualGenerator(nn.Module):
    """c7s1-W, d2W, d4W, R4W ..., u2W, uW, c7s1-C' in the paper's notation, W the width; reflection padding."""

    MULTIPLE: ClassVar[int] = 8
    """Sides that are multiples of this are kept: 4 for two layers of stride 2, and reflection needs at least 8."""

    def __init__(self, channels: tuple[int, int], width: int, blocks: int, norm: Norm, change: bool = False) -> None:
        """`channels`: of input and output. `blocks`: residual blocks; the paper has 6 at 128 pixels, 9 at 256.

        `change`: the output is a residual to the input; see `to_images`.
        """
        super().__init__()
        self.change = change
        bias = norm != "batch"
        layers: list[nn.Module] = [
            *_padded_convolution(channels[0], width, 7, bias),
            normalisation(norm, width),
            nn.ReLU(),
        ]
        for channels_in in (width, 2 * width):
            down = nn.Conv2d(channels_in, 2 * channels_in, 3, 2, 1, bias=bias)
            layers += [down, normalisation(norm, 2 * channels_in), nn.ReLU()]
        layers += [ResidualBlock(4 * width, norm) for _ in range(blocks)]
        for channels_in in (4 * width, 2 * width):
            up = nn.ConvTranspose2d(channels_in, channels_in // 2, 3, 2, 1, output_padding=1, bias=bias)
            layers += [up, normalisation(norm, channels_in // 2), nn.ReLU()]
        self.layers = nn.Sequential(*layers, *_padded_convolution(width, channels[1], 7, bias=True))

    def forward(self, source: Tensor) -> Tensor:
        """Translate (B, C, H, W) -> (B, C', H, W) in [-1, 1]; H and W must be multiples of 4, at least 8."""
        return to_images(self.layers(source), source if self.change else None)


class ResidualBlock(nn.Module):
    """Block x + norm(conv(relu(norm(conv(x))))), both convolutions 3 x 3, without ReLU after the sum (Gross 2016)."""

    def __init__(self, channels: int, norm: Norm) -> None:
        super().__init__()
        bias = norm != "batch"
        self.layers = nn.Sequential(
            *_padded_convolution(channels, channels, 3, bias),
            normalisation(norm, channels),
            nn.ReLU(),
            *_padded_convolution(channels, channels, 3, bias),
            normalisation(norm, channels),
        )

    def forward(self, maps: Tensor) -> Tensor:
        """Transform (B, C, H, W) -> (B, C, H, W); H and W must be at least 2."""
        change: Tensor = self.layers(maps)
        return maps + change


def _padded_convolution(channels_in: int, channels_out: int, kernel: int, bias: bool) -> list[nn.Module]:
    """Return a convolution with reflection padding, which preserves the size."""
    return [nn.ReflectionPad2d(kernel // 2), nn.Conv2d(channels_in, channels_out, kernel, bias=bias)]
