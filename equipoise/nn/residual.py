"""From image to image through residual blocks at a quarter of the size.

Johnson, Alahi and Fei-Fei 2016 ("Perceptual Losses for Real-Time Style Transfer"), in the form of Zhu 2017 ("Unpaired
Image-to-Image Translation using Cycle-Consistent Adversarial Networks"), appendix 7.2.
"""

from torch import Tensor, nn

from equipoise.nn.change import finished
from equipoise.nn.normalise import Norm, normalisation


class ResidualGenerator(nn.Module):
    """c7s1-W, d2W, d4W, R4W ..., u2W, uW, c7s1-C' in the paper's notation, W the width; borders are mirrored."""

    def __init__(self, channels: tuple[int, int], width: int, blocks: int, norm: Norm, change: bool = False) -> None:
        """`channels`: of input and output. `blocks`: residual blocks; the paper has 6 at 128 pixels, 9 from 256 on.

        `change`: what comes out is a change of the input (`finished`).
        """
        super().__init__()
        self.change = change
        bias = norm != "batch"
        layers: list[nn.Module] = [*_mirrored(channels[0], width, 7, bias), normalisation(norm, width), nn.ReLU()]
        for wide in (width, 2 * width):
            halved = nn.Conv2d(wide, 2 * wide, 3, 2, 1, bias=bias)
            layers += [halved, normalisation(norm, 2 * wide), nn.ReLU()]
        layers += [ResidualBlock(4 * width, norm) for _ in range(blocks)]
        for wide in (4 * width, 2 * width):
            doubled = nn.ConvTranspose2d(wide, wide // 2, 3, 2, 1, output_padding=1, bias=bias)
            layers += [doubled, normalisation(norm, wide // 2), nn.ReLU()]
        self.layers = nn.Sequential(*layers, *_mirrored(width, channels[1], 7, bias=True))

    def forward(self, source: Tensor) -> Tensor:
        """(B, C, S, S) -> (B, C', S, S) in [-1, 1]; S a multiple of 4, 8 or more."""
        return finished(self.layers(source), source if self.change else None)


class ResidualBlock(nn.Module):
    """x + norm(conv(relu(norm(conv(x))))), both of 3 x 3 and without a rectifier after the sum (Gross 2016)."""

    def __init__(self, channels: int, norm: Norm) -> None:
        super().__init__()
        bias = norm != "batch"
        self.layers = nn.Sequential(
            *_mirrored(channels, channels, 3, bias),
            normalisation(norm, channels),
            nn.ReLU(),
            *_mirrored(channels, channels, 3, bias),
            normalisation(norm, channels),
        )

    def forward(self, maps: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W); H and W of 2 or more."""
        change: Tensor = self.layers(maps)
        return maps + change


def _mirrored(before: int, after: int, kernel: int, bias: bool) -> list[nn.Module]:
    """A convolution that keeps the size; beyond the border the image is mirrored, not black."""
    return [nn.ReflectionPad2d(kernel // 2), nn.Conv2d(before, after, kernel, bias=bias)]
