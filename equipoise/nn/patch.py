"""A discriminator of patches: one logit for each place, which sees so many pixels around it and no more.

Isola 2017, section 3.2.2 and appendix 6.1.2: C64-C128-C256-C512 and a last convolution, of 4 x 4 all, see 70 x 70.
"""

from collections.abc import Mapping

from torch import Tensor, nn

from equipoise.nn.normalise import Norm, normalisation

HALVINGS: Mapping[int, int] = {16: 1, 34: 2, 70: 3}
"""Pixels a side that one logit sees -> layers of stride 2. After them come two layers of stride 1; see `patch_side`."""
CAP = 8
SLOPE = 0.2


class PatchDiscriminator(nn.Module):
    """Layers of stride 2, then one of stride 1, then the logits; normalised but for the first and the last."""

    def __init__(self, channels: int, width: int, patch: int, norm: Norm) -> None:
        """`channels`: of what is judged. `width`: of the first layer; it doubles with each, up to 8 times.

        `patch`: pixels a side that one logit sees, one of HALVINGS.
        """
        super().__init__()
        halvings = HALVINGS[patch]
        widths = [width * min(2**layer, CAP) for layer in range(halvings + 1)]
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


def least_side(patch: int) -> int:
    """Pixels a side below which the last layer has nothing left to look at: two layers of stride 1 take a pixel each.

    >>> least_side(70)
    24
    """
    return int(3 * 2 ** HALVINGS[patch])


def patch_side(halvings: int) -> int:
    """Pixels a side that one logit sees: r <- (r - 1) s + k from the last layer, of kernels k = 4 and strides s.

    >>> [patch_side(halvings) for halvings in (1, 2, 3)]
    [16, 34, 70]
    """
    side = 1
    for stride in (1, 1, *(2,) * halvings):
        side = (side - 1) * stride + 4
    return side
