"""U-Net from image to image, down to a single pixel, with a skip connection at each level.

Ronneberger 2015, in the form of Isola 2017 ("Image-to-Image Translation with Conditional Adversarial Networks"),
appendix 6.1.1.
"""

import math
from collections.abc import Sequence

import torch
from torch import Generator, Tensor, nn
from torch.nn.functional import leaky_relu, relu

from equipoise.nn.dropout import dropout
from equipoise.nn.normalise import Norm, normalisation
from equipoise.nn.output import to_images

MAX_WIDENING = 8
"""Maximum width of a level as a multiple of the first: 64 to 512 in the paper."""
DROPOUT_LEVELS = 3
"""Innermost levels of the decoder that have dropout."""


class UNet(nn.Module):
    """Convolutions of 4 x 4 and stride 2 down to 1 x 1, transposed ones up; skip connections are concatenated.

    Leaky ReLU of slope 0.2 in the encoder, ReLU in the decoder. All levels are normalised except for the first and, by
    a later note of the authors, the innermost, where normalising a single pixel would always give 0.
    """

    def __init__(
        self, channels: tuple[int, int], size: int, width: int, norm: Norm, dropout_p: float, change: bool = False
    ) -> None:
        """`channels`: of input and output. `size`: side in pixels, a power of 2 from 4. `width`: of the first level.

        `dropout_p`: probability of dropout in the innermost levels of the decoder. `change`: the output is a residual
        to the input; see `to_images`.
        """
        super().__init__()
        levels = int(math.log2(size))
        widths = [width * min(2**level, MAX_WIDENING) for level in range(levels)]
        self.dropout, self.change = dropout_p, change
        self.down = nn.ModuleList(
            _down_layer(before, after, norm if 0 < level < levels - 1 else None)
            for level, (before, after) in enumerate(zip([channels[0], *widths], widths, strict=False))
        )
        doubled = [widths[-1], *(2 * width for width in widths[-2::-1])]
        self.up = nn.ModuleList(
            _up_layer(before, after, norm) for before, after in zip(doubled, widths[-2::-1], strict=False)
        )
        self.last = nn.ConvTranspose2d(doubled[-1], channels[1], 4, 2, 1)

    def forward(self, source: Tensor, generator: Generator | None = None) -> Tensor:
        """(B, C, S, S) -> (B, C', S, S) in [-1, 1]. `generator` draws the dropout; None disables it."""
        skips, maps = self._encode(source)
        for level, (layer, skip) in enumerate(zip(self.up, reversed(skips), strict=True)):
            maps = layer(relu(maps))
            if level < DROPOUT_LEVELS:
                maps = dropout(maps, self.dropout, generator)
            maps = torch.cat([maps, skip], dim=1)
        return to_images(self.last(relu(maps)), source if self.change else None)

    def _encode(self, source: Tensor) -> tuple[Sequence[Tensor], Tensor]:
        """Compute the skip connections, the outermost first, and the innermost maps."""
        skips: list[Tensor] = []
        maps = source
        for level, layer in enumerate(self.down):
            maps = layer(maps if level == 0 else leaky_relu(maps, 0.2))
            skips.append(maps)
        return skips[:-1], maps


def _down_layer(before: int, after: int, norm: Norm | None) -> nn.Module:
    convolution = nn.Conv2d(before, after, 4, 2, 1, bias=norm != "batch")
    return nn.Sequential(convolution, normalisation(norm, after)) if norm else convolution


def _up_layer(before: int, after: int, norm: Norm) -> nn.Module:
    return nn.Sequential(nn.ConvTranspose2d(before, after, 4, 2, 1, bias=norm != "batch"), normalisation(norm, after))
