"""Networks for image translation: the U-Net generator and the patch discriminator.

The U-Net goes down to a single pixel, with a skip connection at each level.

Ronneberger 2015, in the form of Isola 2017 ("Image-to-Image Translation with Conditional Adversarial Networks"),
appendix 6.1.1.
"""

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Generator, Tensor, nn
from torch.nn.functional import leaky_relu, relu

from equipoise.nn.layers import Norm, dropout, normalisation, to_images

MAX_WIDENING = 8
"""Maximum width of a level as a multiple of the first: 64 to 512 in the paper."""
DROPOUT_LEVELS = 3
"""Innermost levels of the decoder that have dropout."""


class UNet(nn.Module):
    """U-Net of 4 x 4 convolutions with stride 2 down to 1 x 1, and transposed ones up; skips are concatenated.

    Leaky ReLU of slope 0.2 in the encoder, ReLU in the decoder. All levels are normalised except for the first and the
    innermost (a later correction of the authors), where normalising a single pixel would always give 0.
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
            _down_layer(channels_in, channels_out, norm if 0 < level < levels - 1 else None)
            for level, (channels_in, channels_out) in enumerate(zip([channels[0], *widths], widths, strict=False))
        )
        doubled = [widths[-1], *(2 * width for width in widths[-2::-1])]
        self.up = nn.ModuleList(
            _up_layer(channels_in, channels_out, norm)
            for channels_in, channels_out in zip(doubled, widths[-2::-1], strict=False)
        )
        self.last = nn.ConvTranspose2d(doubled[-1], channels[1], 4, 2, 1)

    def forward(self, source: Tensor, generator: Generator | None = None) -> Tensor:
        """Translate (B, C, S, S) -> (B, C', S, S) in [-1, 1]. `generator`: of the dropout; None disables it."""
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


def _down_layer(channels_in: int, channels_out: int, norm: Norm | None) -> nn.Module:
    convolution = nn.Conv2d(channels_in, channels_out, 4, 2, 1, bias=norm != "batch")
    return nn.Sequential(convolution, normalisation(norm, channels_out)) if norm else convolution


def _up_layer(channels_in: int, channels_out: int, norm: Norm) -> nn.Module:
    return nn.Sequential(
        nn.ConvTranspose2d(channels_in, channels_out, 4, 2, 1, bias=norm != "batch"), normalisation(norm, channels_out)
    )


HALVINGS: Mapping[int, int] = {16: 1, 34: 2, 70: 3}
"""Receptive field of a logit in pixels -> number of layers of stride 2, before two of stride 1; see `patch_side`."""
MAX_WIDENING = 8
"""Maximum width of a layer as a multiple of the first: 64 to 512 in the paper."""
SLOPE = 0.2


class PatchDiscriminator(nn.Module):
    """Layers of stride 2, one of stride 1, then the logits; all layers but the first and the last are normalised."""

    def __init__(self, channels: int, width: int, patch: int, norm: Norm) -> None:
        """`channels`: of the input. `width`: channels of the first layer; they double with each layer, up to 8 times.

        `patch`: receptive field of a logit in pixels, a key of HALVINGS.
        """
        super().__init__()
        halvings = HALVINGS[patch]
        widths = [width * min(2**layer, MAX_WIDENING) for layer in range(halvings + 1)]
        layers: list[nn.Module] = [nn.Conv2d(channels, width, 4, 2, 1), nn.LeakyReLU(SLOPE)]
        for layer, out_channels in enumerate(widths[1:], start=1):
            stride = 2 if layer < halvings else 1
            convolution = nn.Conv2d(widths[layer - 1], out_channels, 4, stride, 1, bias=norm != "batch")
            layers += [convolution, normalisation(norm, out_channels), nn.LeakyReLU(SLOPE)]
        self.layers = nn.Sequential(*layers, nn.Conv2d(widths[-1], 1, 4, 1, 1))

    def forward(self, images: Tensor) -> Tensor:
        """Compute logits: (B, C, H, W) -> (B, 1, h, w)."""
        logits: Tensor = self.layers(images)
        return logits


def minimum_side(patch: int) -> int:
    """Return the smallest side of an image for which there is a logit: layers of stride 1 remove one pixel each.

    >>> minimum_side(70)
    24
    """
    return int(3 * 2 ** HALVINGS[patch])


def patch_side(halvings: int) -> int:
    """Return the receptive field: r <- (r - 1) s + k from the last layer, with kernels k = 4 and strides s.

    >>> [patch_side(halvings) for halvings in (1, 2, 3)]
    [16, 34, 70]
    """
    side = 1
    for stride in (1, 1, *(2,) * halvings):
        side = (side - 1) * stride + 4
    return side
