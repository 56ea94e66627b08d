"""Patch discriminator: one logit per position, with a limited receptive field.

Isola 2017, section 3.2.2 and appendix 6.1.2: C64-C128-C256-C512 and a last convolution, all of 4 x 4, have a receptive
field of 70 x 70.
"""

from collections.abc import Mapping

from torch import Tensor, nn

from equipoise.nn.normalise import Norm, normalisation

HALVINGS: Mapping[int, int] = {16: 1, 34: 2, 70: 3}
"""Receptive field of a logit in pixels -> layers of stride 2, which two layers of stride 1 follow; see `patch_side`."""
MAX_WIDENING = 8
"""Maximum width of a layer as a multiple of the first: 64 to 512 in the paper."""
SLOPE = 0.2


class PatchDiscriminator(nn.Module):
    """Layers of stride 2, one of stride 1, then the logits; all but the first and the last are normalised."""

    def __init__(self, channels: int, width: int, patch: int, norm: Norm) -> None:
        """`channels`: of the input. `width`: channels of the first layer; they double with each layer, up to 8 times.

        `patch`: receptive field of a logit in pixels, a key of HALVINGS.
        """
        super().__init__()
        halvings = HALVINGS[patch]
        widths = [width * min(2**layer, MAX_WIDENING) for layer in range(halvings + 1)]
        layers: list[nn.Module] = [nn.Conv2d(channels, width, 4, 2, 1), nn.LeakyReLU(SLOPE)]
        for layer, after in enumerate(widths[1:], start=1):
            stride = 2 if layer < halvings else 1
            convolution = nn.Conv2d(widths[layer - 1], after, 4, stride, 1, bias=norm != "batch")
            layers += [convolution, normalisation(norm, after), nn.LeakyReLU(SLOPE)]
        self.layers = nn.Sequential(*layers, nn.Conv2d(widths[-1], 1, 4, 1, 1))

    def forward(self, images: Tensor) -> Tensor:
        """(B, C, H, W) -> logits (B, 1, h, w)."""
        logits: Tensor = self.layers(images)
        return logits


def minimum_side(patch: int) -> int:
    """Return the smallest side of an image for which there is a logit: layers of stride 1 remove one pixel each.

    >>> least_side(70)
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
