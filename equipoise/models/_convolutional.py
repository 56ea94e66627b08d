"""Convolutional networks of DCGAN and related models, for images and sequences, with or without labels.

Sequences (C, T) use the same layers in one dimension, as in WaveGAN (Donahue 2019, "Adversarial Audio Synthesis",
table 1), with its kernels replaced by those of the images. Sides that are no power of two times the smallest size are
generated a little larger and cropped; the discriminator pads them with zeros.
"""

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import torch
from torch import Generator, Tensor, nn
from torch.nn.functional import pad

from equipoise.core.data import DataSpec
from equipoise.errors import SettingError
from equipoise.models._adversarial_options import validate_counts
from equipoise.models._labels import Conditioning, JointLayer
from equipoise.nn.augment import Augmentation
from equipoise.nn.initialize import fan_in_, normal_

BatchNormalisation = Literal["batch", "none"]
Initialisation = Literal["normal", "fan_in"]
Upsampling = Literal["transposed", "nearest"]


@dataclass(frozen=True, slots=True)
class ConvolutionLayers:
    """The layers of one or two dimensions: convolution, transposed convolution, batch normalisation."""

    convolution: type[nn.Conv1d] | type[nn.Conv2d]
    transposed: type[nn.ConvTranspose1d] | type[nn.ConvTranspose2d]
    norm: type[nn.BatchNorm1d] | type[nn.BatchNorm2d]


LAYERS: Mapping[int, ConvolutionLayers] = {
    1: ConvolutionLayers(nn.Conv1d, nn.ConvTranspose1d, nn.BatchNorm1d),
    2: ConvolutionLayers(nn.Conv2d, nn.ConvTranspose2d, nn.BatchNorm2d),
}
"""Number of dimensions of a map -> its layers."""
DiscriminatorLayers = Callable[[ConvolutionLayers, int, Sequence[int]], list[nn.Module]]
"""Function (layers, channels, widths) -> modules that halve maps once per width, including convolutions."""

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
    if spec.is_image and not (
        min(sides) >= MIN_SIDE and max(sides) <= MAX_SIDE and 1 <= channels <= MAX_IMAGE_CHANNELS
    ):
        raise SettingError(
            f"{name} generates images of {MIN_SIDE} to {MAX_SIDE:,} pixels a side with 1 to {MAX_IMAGE_CHANNELS} "
            f"channels, not {text}; use --image-size"
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
    networks: dict[str, nn.Module] = {
        "generator": _Generator(options, layers, widths[::-1], spec.shape, start, classes),
        "discriminator": ConvolutionalDiscriminator(
            layers, modules, start, padding, conditioning, classes, options.bias
        ),
    }
    for network in networks.values():
        INITIALISERS[options.initial](network, generator)
    return networks


def strided_layers(
    layers: ConvolutionLayers, channels: int, widths: Sequence[int], norm: BatchNormalisation, bias: bool
) -> list[nn.Module]:
    """Build convolutions of stride 2, normalised except for the first (Radford 2016, section 3)."""
    is_normalised = norm == "batch"
    modules: list[nn.Module] = [layers.convolution(channels, widths[0], 4, 2, 1, bias=bias), nn.LeakyReLU(0.2)]
    for before, after in itertools.pairwise(widths):
        modules.append(layers.convolution(before, after, 4, 2, 1, bias=bias and not is_normalised))
        modules += [layers.norm(after)] if is_normalised else []
        modules.append(nn.LeakyReLU(0.2))
    return modules


class _Generator(nn.Module):
    """Generator: projects the latent to the smallest map, then doubles it up to the sample (Radford 2016, figure 1)."""

    def __init__(
        self,
        options: ConvolutionalOptions,
        layers: ConvolutionLayers,
        widths: Sequence[int],
        shape: Sequence[int],
        start: Sequence[int],
        classes: int,
    ) -> None:
        """`shape`: of a sample. `start`: sides of the smallest map. `classes`: 0 for none."""
        super().__init__()
        channels, *self.sides = shape
        norm, latent_dim = options.generator_norm, options.latent_dim
        self.embedding = nn.Embedding(classes, latent_dim // 2) if classes else None
        in_features = latent_dim + (latent_dim // 2 if classes else 0)
        # Radford's first layer, a transposed convolution of a single pixel, is equivalent to this linear layer.
        modules: list[nn.Module] = [
            nn.Linear(in_features, widths[0] * math.prod(start), bias=False),
            nn.Unflatten(1, (widths[0], *start)),
            *_normalised_relu(layers, widths[0], norm),
        ]
        for before, after in itertools.pairwise(widths):
            modules += _upsample(layers, before, after, options.upsampling, bias=False)
            modules += _normalised_relu(layers, after, norm)
        last = _upsample(layers, widths[-1], channels, options.upsampling, bias=options.bias)
        self.layers = nn.Sequential(*modules, *last, nn.Tanh())

    def forward(self, latent: Tensor, condition: Tensor | None) -> Tensor:
        """Generate samples (B, C, ...) in [-1, 1] from latents (B, L), and labels (B,) or None."""
        if self.embedding is not None:
            latent = torch.cat([latent, self.embedding(condition)], dim=1)
        samples: Tensor = self.layers(latent)
        for axis, side in enumerate(self.sides, 2):
            if samples.shape[axis] != side:
                samples = samples.narrow(axis, 0, side)
        return samples


def _upsample(
    layers: ConvolutionLayers, before: int, after: int, upsampling: Upsampling, *, bias: bool
) -> list[nn.Module]:
    if upsampling == "transposed":
        return [layers.transposed(before, after, 4, 2, 1, bias=bias)]
    return [nn.Upsample(scale_factor=2), layers.convolution(before, after, 3, padding=1, bias=bias)]


def _normalised_relu(layers: ConvolutionLayers, channels: int, norm: BatchNormalisation) -> list[nn.Module]:
    return [*([layers.norm(channels)] if norm == "batch" else []), nn.ReLU()]


def _whole_map_convolution(width: int, sides: Sequence[int], bias: bool) -> nn.Conv1d | nn.Conv2d:
    """Return a convolution of a whole map (B, W, ...) to one number."""
    if len(sides) == 1:
        return nn.Conv1d(width, 1, sides[0], bias=bias)
    return nn.Conv2d(width, 1, (sides[0], sides[1]), bias=bias)


class ConvolutionalDiscriminator(nn.Module):
    """Discriminator: layers down to the smallest map, then one logit. Labels enter as `conditioning` says.

    Projection: Miyato and Koyama 2018, figure 2, where features are pooled first; without pooling the projection
    depends on the position of features.
    """

    def __init__(
        self,
        layers: ConvolutionLayers,
        modules: Sequence[nn.Module],
        start: Sequence[int],
        padding: Sequence[int],
        conditioning: Conditioning,
        classes: int,
        bias: bool,
    ) -> None:
        """`start`: sides of the smallest map. `padding`: zeros at the end of each side. `classes`: 0 for none."""
        super().__init__()
        width = next(module.out_channels for module in reversed(modules) if isinstance(module, layers.convolution))
        numbers = width * math.prod(start)
        used = conditioning if classes else None
        self.padding = [zeros for axis in reversed(padding) for zeros in (0, axis)]
        self.layers = nn.Sequential(*modules)
        self.last = _whole_map_convolution(width, start, bias)
        self.projection = nn.Linear(numbers, classes, bias=False) if used == "projection" else None
        self.joint = JointLayer(layers.convolution, width, classes) if used == "concat" else None
        self.classifier = nn.Linear(numbers, classes) if used == "auxiliary" else None

    def features(self, samples: Tensor) -> Tensor:
        """Compute features (B, W, ...) of samples (B, C, ...) in [-1, 1]; those of a square image are (B, W, 4, 4)."""
        if any(self.padding):
            samples = pad(samples, self.padding)
        features: Tensor = self.layers(samples)
        return features

    def logits(self, features: Tensor, condition: Tensor | None) -> Tensor:
        """Compute logits (B,) from features (B, W, ...), and labels (B,) or None."""
        if self.joint is not None and condition is not None:
            features = self.joint(features, condition)
        logits: Tensor = self.last(features).flatten()
        if self.projection is None or condition is None:
            return logits
        class_logits: Tensor = self.projection(features.flatten(1))
        return logits + class_logits.gather(1, condition[:, None]).flatten()

    def classify(self, features: Tensor) -> Tensor:
        """Compute one logit per class, (B, classes), from features (B, W, ...); needs auxiliary conditioning."""
        if self.classifier is None:
            raise TypeError("this discriminator predicts no labels")
        class_logits: Tensor = self.classifier(features.flatten(1))
        return class_logits
