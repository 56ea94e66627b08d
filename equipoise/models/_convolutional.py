"""Options of the convolutional networks of DCGAN and related models: images and sequences, with or without labels.

Sequences (C, T) use the same layers in one dimension, as in WaveGAN (Donahue 2019, "Adversarial Audio Synthesis",
table 1), with its kernels replaced by those of the images. Sides that are not a power of two times the smallest size
are generated a little larger and cropped; the discriminator pads them with zeros.
"""

import math
from collections.abc import Callable, Mapping
from typing import Literal, Protocol

from torch import Generator, nn

from equipoise.core.data import DataSpec
from equipoise.errors import SettingError
from equipoise.models._adversarial_options import validate_counts
from equipoise.models._convolutional_networks import (
    LAYERS,
    ConvolutionalDiscriminator,
    ConvolutionalGenerator,
    DiscriminatorLayers,
    GeneratorLayers,
    strided_layers,
)
from equipoise.models._convolutional_networks import BatchNormalisation as BatchNormalisation
from equipoise.models._convolutional_networks import Upsampling as Upsampling
from equipoise.models._labels import Conditioning
from equipoise.nn.augment import Augmentation
from equipoise.nn.initialize import fan_in_, normal_

Initialisation = Literal["normal", "fan_in"]
INITIALISERS: Mapping[Initialisation, Callable[[nn.Module, Generator], None]] = {"normal": normal_, "fan_in": fan_in_}
SMALLEST = 4
"""Smallest side to which a discriminator halves the shorter side of a map: 4 to 7."""
MIN_SIDE, MAX_SIDE, MAX_LENGTH = 4, 1024, 2**16
"""Shortest side or length of a sample, longest side of an image, longest sequence."""
MAX_IMAGE_CHANNELS, MAX_SEQUENCE_CHANNELS = 4, 512
MAX_WIDENING = 8
"""Maximum width of a layer as a multiple of `width`: 64 to 512, as usual (Radford 2016, figure 1: 128 to 1,024)."""


class ConvolutionalOptions(Protocol):
    """Options of convolutional networks, fields of every recipe that uses :func:`convolutional_networks`.

    `latent_dim`: length of the latent vector, drawn from N(0, 1). `width`: channels at half the size of the image; they
    double with every halving, up to 8 times. `generator_norm`, `discriminator_norm`: batch normalisation or none.
    `upsampling`: transposed convolutions of 4 x 4 and stride 2, or nearest-neighbour upsampling before convolutions of
    3 x 3, which avoids checkerboard artefacts (Odena 2016). `bias`: biases in layers without normalisation. `initial`:
    initial weights from N(0, 0.02), or uniform by fan-in. `conditional`: use class labels; None to use them if the data
    has them. The generator embeds the label and concatenates it with the latent; the discriminator uses a projection
    (Miyato and Koyama 2018, equation 3), or what the option conditioning says.
    """

    @property
    def latent_dim(self) -> int: ...
    @property
    def width(self) -> int: ...
    @property
    def generator_norm(self) -> BatchNormalisation: ...
    @property
    def discriminator_norm(self) -> BatchNormalisation: ...
    @property
    def upsampling(self) -> Upsampling: ...
    @property
    def bias(self) -> bool: ...
    @property
    def initial(self) -> Initialisation: ...
    @property
    def conditional(self) -> bool | None: ...


def validate_convolutional_spec(name: str, options: ConvolutionalOptions, spec: DataSpec) -> None:
    """Raise SettingError for data that are neither images nor sequences, or of a size that is not supported."""
    if not (spec.is_image or spec.is_sequence):
        kind, alternative = ("points", "mlp") if spec.vocabulary is None else ("sentences", "seqgan")
        raise SettingError(f"{name} generates images, not {kind}; use --model {alternative} for this data")
    channels, *sides = spec.shape
    text = " x ".join(map(str, spec.shape))
    has_channels = 1 <= channels <= MAX_IMAGE_CHANNELS
    if spec.is_image and not (min(sides) >= MIN_SIDE and max(sides) <= MAX_SIDE and has_channels):
        remedy = "--image-size 32" if has_channels else "--option data.channels=3"
        raise SettingError(
            f"{name} generates images of {MIN_SIDE} to {MAX_SIDE:,} pixels a side with 1 to {MAX_IMAGE_CHANNELS} "
            f"channels, not {text}; use {remedy}"
        )
    if spec.is_sequence and not (MIN_SIDE <= sides[0] <= MAX_LENGTH and 1 <= channels <= MAX_SEQUENCE_CHANNELS):
        raise SettingError(
            f"{name} generates sequences of {MIN_SIDE} to {MAX_LENGTH:,} values with 1 to {MAX_SEQUENCE_CHANNELS} "
            f"channels, not {text}; use --option data.window=ROWS or data.columns=NAMES"
        )
    if options.conditional and not spec.classes:
        raise SettingError("conditional = true, but the data has no labels; omit this option")
    validate_counts(width=options.width)


def count_classes(options: ConvolutionalOptions, spec: DataSpec) -> int:
    """Return the number of classes that the networks use, 0 for none."""
    return 0 if options.conditional is False else spec.classes


def suitable_augmentations(spec: DataSpec) -> tuple[Augmentation, ...]:
    """Return the augmentations for images or sequences like `spec`."""
    if spec.is_sequence:
        return ("shift", "amplitude", "gap")
    return ("colour", "translation", "cutout", *(("flip",) if spec.flips else ()))


def convolutional_networks(
    options: ConvolutionalOptions,
    spec: DataSpec,
    generator: Generator,
    discriminator_layers: DiscriminatorLayers | None = None,
    conditioning: Conditioning = "projection",
) -> dict[str, nn.Module]:
    """Build the generator and the discriminator for samples like `spec`, initialised from `generator`.

    `discriminator_layers`: None for strided convolutions. `conditioning`: how the discriminator uses labels, if any.
    """
    channels, *sides = spec.shape
    layers = LAYERS[len(sides)]
    classes = count_classes(options, spec)
    halvings = max(1, int(math.log2(min(sides))) - int(math.log2(SMALLEST)))
    start = [math.ceil(side / 2**halvings) for side in sides]
    widths = [options.width * min(2**halving, MAX_WIDENING) for halving in range(halvings)]
    if discriminator_layers is None:
        modules = strided_layers(layers, channels, widths, options.discriminator_norm, options.bias)
    else:
        modules = discriminator_layers(layers, channels, widths)
    padding = [size * 2**halvings - side for size, side in zip(start, sides, strict=True)]
    choices = GeneratorLayers(options.generator_norm, options.upsampling, options.bias)
    networks: dict[str, nn.Module] = {
        "generator": ConvolutionalGenerator(
            layers, widths[::-1], spec.shape, start, options.latent_dim, classes, choices
        ),
        "discriminator": ConvolutionalDiscriminator(
            layers, modules, start, padding, conditioning, classes, options.bias
        ),
    }
    for network in networks.values():
        INITIALISERS[options.initial](network, generator)
    return networks
