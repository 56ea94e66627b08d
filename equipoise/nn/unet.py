"""A U-Net from image to image: halved to a single pixel and doubled back, with a way past each level.

Ronneberger 2015, in the form of Isola 2017 ("Image-to-Image Translation with Conditional Adversarial Networks"),
appendix 6.1.1.
"""

import math
from collections.abc import Sequence

import torch
from torch import Generator, Tensor, nn
from torch.nn.functional import leaky_relu, relu

from equipoise.nn.change import finished
from equipoise.nn.dropout import dropout
from equipoise.nn.normalise import Norm, normalisation

CAP = 8
"""No level is wider than so many times the first: 64 to 512 in the paper."""
DROPPED = 3
"""Innermost levels of the way up that have dropout."""


class UNet(nn.Module):
    """Convolutions of 4 x 4 and stride 2 down to 1 x 1, transposed ones up; the ways past are joined by channel.

    Leaky rectifiers of 0.2 on the way down, plain ones on the way up; normalised but for the first level and, as the
    authors' later note has it, the innermost, which a single pixel would always leave at 0.
    """

    def __init__(
        self, channels: tuple[int, int], size: int, width: int, norm: Norm, share: float, change: bool = False
    ) -> None:
        """`channels`: of input and output. `size`: pixels a side, a power of 2, 4 or more. `width`: of the first level.

        `share`: of numbers that are dropped in the innermost levels of the way up, from 0 to 1. `change`: what
        comes out is a change of the input (`finished`).
        """
        super().__init__()
        levels = int(math.log2(size))
        widths = [width * min(2**level, CAP) for level in range(levels)]
        self.share, self.change = share, change
        self.down = nn.ModuleList(
            _half(before, after, norm if 0 < level < levels - 1 else None)
            for level, (before, after) in enumerate(zip([channels[0], *widths], widths, strict=False))
        )
        doubled = [widths[-1], *(2 * width for width in widths[-2::-1])]
        self.up = nn.ModuleList(
            _double(before, after, norm) for before, after in zip(doubled, widths[-2::-1], strict=False)
        )
        self.last = nn.ConvTranspose2d(doubled[-1], channels[1], 4, 2, 1)

    def forward(self, source: Tensor, generator: Generator | None = None) -> Tensor:
        """(B, C, S, S) -> (B, C', S, S) in [-1, 1]. `generator` draws the dropout, on its device; None for none."""
        passed, maps = self._descended(source)
        for level, (layer, beside) in enumerate(zip(self.up, reversed(passed), strict=True)):
            maps = layer(relu(maps))
            if level < DROPPED:
                maps = dropout(maps, self.share, generator)
            maps = torch.cat([maps, beside], dim=1)
        return finished(self.last(relu(maps)), source if self.change else None)

    def _descended(self, source: Tensor) -> tuple[Sequence[Tensor], Tensor]:
        """What goes past, the outermost first, and the innermost maps."""
        passed: list[Tensor] = []
        maps = source
        for level, layer in enumerate(self.down):
            maps = layer(maps if level == 0 else leaky_relu(maps, 0.2))
            passed.append(maps)
        return passed[:-1], maps


def _half(before: int, after: int, norm: Norm | None) -> nn.Module:
    convolution = nn.Conv2d(before, after, 4, 2, 1, bias=norm != "batch")
    return nn.Sequential(convolution, normalisation(norm, after)) if norm else convolution


def _double(before: int, after: int, norm: Norm) -> nn.Module:
    return nn.Sequential(nn.ConvTranspose2d(before, after, 4, 2, 1, bias=norm != "batch"), normalisation(norm, after))
