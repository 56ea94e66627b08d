"""Sizes and widths of the residual networks of sagan and biggan, by the size of the images."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from equipoise.core.data import DataSpec
from equipoise.errors import SettingError
from equipoise.models._adversarial_options import validate_counts
from equipoise.models._labels import Conditioning

ChannelLayout = Literal["pyramid", "constant"]

MIN_SIDE, MAX_SIDE, MAX_CHANNELS = 8, 1024, 4
"""Shortest and longest side of an image, largest number of its channels."""
SMALLEST = 4
"""The shorter side of the smallest map of a generator: 4 to 7."""
PYRAMID: Mapping[int, Sequence[int]] = {
    1: (4, 2),
    2: (4, 4, 2),
    3: (8, 8, 4, 2),
    4: (16, 16, 8, 4, 2),
    5: (16, 16, 8, 4, 2, 1),
    6: (16, 16, 8, 8, 4, 2, 1),
    7: (16, 16, 8, 8, 4, 2, 1, 1),
    8: (16, 16, 8, 8, 4, 2, 1, 1, 1),
}
"""Doublings of the smallest map -> its channels and those after each doubling, divided by the width.

4 to 7 (64 to 512 pixels): Brock 2019, tables 4 to 9, and the authors' code; the others are our choice.
"""
DISCRIMINATOR_PYRAMID: Mapping[int, Sequence[int]] = {2: (1, 2, 4), 3: (1, 2, 4, 8), 4: (1, 2, 4, 8, 16)}
"""As PYRAMID, where the channels of a discriminator are not those of the generator in reverse order."""
CONSTANT = (4, 2)
"""Channels of generator and discriminator divided by the width, for all maps: Miyato 2018, table 4, for CIFAR."""


class ResNetOptions(Protocol):
    """Options of residual networks, fields of every recipe that uses :func:`resnet_architecture`.

    `width`: channels are multiples of this. `layout`: pyramid to double the channels with every halving, up to 16 times
    the width; constant for the same channels in all maps, 4 times the width in the generator and twice the width in the
    discriminator, which then halves one time less (Miyato 2018, table 4). `attention`: side of the maps with
    self-attention, at most half of that of the images; if the sides are not powers of two, the maps after as many
    doublings; 0 for none. `conditional`: use class labels; None to use them if the data has them.
    """

    @property
    def width(self) -> int: ...
    @property
    def layout(self) -> ChannelLayout: ...
    @property
    def attention(self) -> int: ...
    @property
    def conditional(self) -> bool | None: ...


@dataclass(frozen=True, slots=True)
class Architecture:
    """Sizes of both networks for images (C, H, W).

    `start`: sides of the smallest map of the generator. `generator_widths`: its channels and those after each doubling.
    `discriminator_widths`: channels after each block. `halvings`: how many of these blocks halve, the first ones.
    `attention`: doublings after which the generator has self-attention, 0 for none; the discriminator has it in maps
    of the same size. `bottleneck`: blocks of BigGAN-deep, two per size. `padding`: zeros at the end of each side.
    """

    shape: tuple[int, ...]
    start: tuple[int, int]
    generator_widths: tuple[int, ...]
    discriminator_widths: tuple[int, ...]
    halvings: int
    attention: int
    bottleneck: bool = False

    @property
    def doublings(self) -> int:
        """Number of doublings of the generator."""
        return len(self.generator_widths) - 1

    @property
    def padding(self) -> tuple[int, int]:
        """Rows and columns that the generator makes in addition to those of the image."""
        _, height, width = self.shape
        return (self.start[0] << self.doublings) - height, (self.start[1] << self.doublings) - width


def resnet_architecture(options: ResNetOptions, spec: DataSpec, *, bottleneck: bool = False) -> Architecture:
    """Return the sizes of the networks for images like `spec`, which are halved until their shorter side is 4 to 7."""
    _, height, width = spec.shape
    doublings = int(math.log2(min(height, width))) - int(math.log2(SMALLEST))
    if options.layout == "constant":
        generator, discriminator = ((multiple,) * (doublings + 1) for multiple in CONSTANT)
        halvings = max(1, doublings - 1)
    else:
        generator = tuple(PYRAMID[doublings])
        discriminator, halvings = tuple(DISCRIMINATOR_PYRAMID.get(doublings, generator[::-1])), doublings
    attended = min(int(math.log2(max(1, options.attention // SMALLEST))), doublings - 1)
    return Architecture(
        shape=spec.shape,
        start=(math.ceil(height / 2**doublings), math.ceil(width / 2**doublings)),
        generator_widths=tuple(options.width * multiple for multiple in generator),
        discriminator_widths=tuple(options.width * multiple for multiple in discriminator),
        halvings=halvings,
        attention=attended,
        bottleneck=bottleneck,
    )


def validate_resnet_spec(name: str, options: ResNetOptions, spec: DataSpec) -> None:
    """Raise SettingError for data that are no images, images of other sizes, and options outside their range."""
    text = " x ".join(map(str, spec.shape))
    if spec.is_sequence:
        raise SettingError(f"{name} generates images, not sequences; use --model dcgan for this data")
    if not spec.is_image:
        kind, alternative = ("points", "mlp") if spec.vocabulary is None else ("sentences", "seqgan")
        raise SettingError(f"{name} generates images, not {kind}; use --model {alternative} for this data")
    channels, *sides = spec.shape
    has_channels = 1 <= channels <= MAX_CHANNELS
    if not (min(sides) >= MIN_SIDE and max(sides) <= MAX_SIDE and has_channels):
        remedy = "--image-size 32" if has_channels else "--option data.channels=3"
        raise SettingError(
            f"{name} generates images of {MIN_SIDE} to {MAX_SIDE:,} pixels a side with 1 to {MAX_CHANNELS} channels, "
            f"not {text}; use {remedy}"
        )
    if options.conditional and not spec.classes:
        raise SettingError("conditional = true, but the data has no labels; omit this option")
    if options.attention and (options.attention < 2 * SMALLEST or options.attention & (options.attention - 1)):
        raise SettingError(f"attention = {options.attention}: it must be a power of two from {2 * SMALLEST}, or 0")
    validate_counts(width=options.width)


def used_classes(options: ResNetOptions, spec: DataSpec) -> int:
    """Return the number of classes that the networks use, 0 for none."""
    return 0 if options.conditional is False else spec.classes


def validate_resnet_conditioning(conditioning: Conditioning) -> None:
    """Raise SettingError for conditioning that these networks do not have."""
    if conditioning == "concat":
        raise SettingError("conditioning = concat: this model has projection and auxiliary; or use --model cgan")
