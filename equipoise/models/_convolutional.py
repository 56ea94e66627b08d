"""Convolutional networks of DCGAN and related models, for images of 16 to 128 pixels, with or without labels."""

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Literal, Protocol

import torch
from torch import Generator, Tensor, nn

from equipoise.core.data import DataSpec
from equipoise.errors import SettingError
from equipoise.models._adversarial import validate_counts
from equipoise.nn.augment import Augmentation
from equipoise.nn.initialize import fan_in_, normal_

BatchNormalisation = Literal["batch", "none"]
Initialisation = Literal["normal", "fan_in"]
Upsampling = Literal["transposed", "nearest"]
DiscriminatorLayers = Callable[[int, Sequence[int]], list[nn.Module]]
"""Function (channels, widths) -> layers that map images to (B, W, 4, 4), including convolutions."""

INITIALISERS: Mapping[Initialisation, Callable[[nn.Module, Generator], None]] = {"normal": normal_, "fan_in": fan_in_}
SIZES = (16, 32, 64, 128)
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
    (Miyato and Koyama 2018, equation 3).
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


def validate_image_spec(name: str, options: ConvolutionalOptions, spec: DataSpec) -> None:
    """Raise SettingError if the data are not images, or of a size or kind that the networks do not support."""
    if not spec.is_image:
        kind, alternative = ("points", "mlp") if spec.vocabulary is None else ("sentences", "seqgan")
        raise SettingError(f"{name} generates images, not {kind}; use --model {alternative} for this data")
    channels, height, width = spec.shape
    if height != width or height not in SIZES or not 1 <= channels <= 4:
        raise SettingError(
            f"{name} generates square images of {', '.join(map(str, SIZES))} pixels with 1 to 4 channels, not "
            f"{channels} x {height} x {width}; use --image-size"
        )
    if options.conditional and not spec.classes:
        raise SettingError("conditional = true, but the data has no labels; omit this option")
    validate_counts(width=options.width)


def count_classes(options: ConvolutionalOptions, spec: DataSpec) -> int:
    """Return the number of classes that the networks use, 0 for none."""
    return 0 if options.conditional is False else spec.classes


def image_augmentations(spec: DataSpec) -> tuple[Augmentation, ...]:
    """Return the augmentations for images like `spec`."""
    return ("colour", "translation", "cutout", *(("flip",) if spec.flips else ()))


def convolutional_networks(
    options: ConvolutionalOptions,
    spec: DataSpec,
    generator: Generator,
    discriminator_layers: DiscriminatorLayers | None = None,
) -> dict[str, nn.Module]:
    """Build the generator and the discriminator for images like `spec`, initialised from `generator`.

    `discriminator_layers`: None for strided convolutions.
    """
    channels, size, _ = spec.shape
    classes = count_classes(options, spec)
    halvings = int(math.log2(size)) - 2
    widths = [options.width * min(2**halving, MAX_WIDENING) for halving in range(halvings)]
    if discriminator_layers is None:
        layers = strided_layers(channels, widths, options.discriminator_norm, options.bias)
    else:
        layers = discriminator_layers(channels, widths)
    networks: dict[str, nn.Module] = {
        "generator": _Generator(options, widths[::-1], channels, classes),
        "discriminator": ProjectionDiscriminator(layers, classes, options.bias),
    }
    for network in networks.values():
        INITIALISERS[options.initial](network, generator)
    return networks


def strided_layers(channels: int, widths: Sequence[int], norm: BatchNormalisation, bias: bool) -> list[nn.Module]:
    """Build convolutions of stride 2, normalised except for the first (Radford 2016, section 3)."""
    is_normalised = norm == "batch"
    layers: list[nn.Module] = [nn.Conv2d(channels, widths[0], 4, 2, 1, bias=bias), nn.LeakyReLU(0.2)]
    for before, after in itertools.pairwise(widths):
        layers.append(nn.Conv2d(before, after, 4, 2, 1, bias=bias and not is_normalised))
        layers += [nn.BatchNorm2d(after)] if is_normalised else []
        layers.append(nn.LeakyReLU(0.2))
    return layers


class _Generator(nn.Module):
    """Generator: projects the latent to 4 x 4, then doubles the size up to that of the image (Radford 2016, figure
    1)."""

    def __init__(self, options: ConvolutionalOptions, widths: Sequence[int], channels: int, classes: int) -> None:
        super().__init__()
        norm, latent_dim = options.generator_norm, options.latent_dim
        self.embedding = nn.Embedding(classes, latent_dim // 2) if classes else None
        in_features = latent_dim + (latent_dim // 2 if classes else 0)
        # Radford's first layer, a transposed convolution of a single pixel, is equivalent to this linear layer.
        layers: list[nn.Module] = [
            nn.Linear(in_features, widths[0] * 16, bias=False),
            nn.Unflatten(1, (widths[0], 4, 4)),
            *_normalised_relu(widths[0], norm),
        ]
        for before, after in itertools.pairwise(widths):
            layers += [*_upsample(before, after, options.upsampling, bias=False), *_normalised_relu(after, norm)]
        self.layers = nn.Sequential(
            *layers, *_upsample(widths[-1], channels, options.upsampling, bias=options.bias), nn.Tanh()
        )

    def forward(self, latent: Tensor, condition: Tensor | None) -> Tensor:
        """Generate images (B, C, S, S) in [-1, 1] from latents (B, L), and labels (B,) or None."""
        if self.embedding is not None:
            latent = torch.cat([latent, self.embedding(condition)], dim=1)
        images: Tensor = self.layers(latent)
        return images


def _upsample(before: int, after: int, upsampling: Upsampling, *, bias: bool) -> list[nn.Module]:
    if upsampling == "transposed":
        return [nn.ConvTranspose2d(before, after, 4, 2, 1, bias=bias)]
    return [nn.Upsample(scale_factor=2), nn.Conv2d(before, after, 3, padding=1, bias=bias)]


def _normalised_relu(channels: int, norm: BatchNormalisation) -> list[nn.Module]:
    return [*([nn.BatchNorm2d(channels)] if norm == "batch" else []), nn.ReLU()]


class ProjectionDiscriminator(nn.Module):
    """Discriminator: layers down to 4 x 4, then one logit, plus the inner product of features and a vector per class.

    Miyato and Koyama 2018, figure 2, where features are pooled first; without pooling the projection depends on the
    position of features.
    """

    def __init__(self, layers: Sequence[nn.Module], classes: int, bias: bool) -> None:
        super().__init__()
        width = next(layer.out_channels for layer in reversed(layers) if isinstance(layer, nn.Conv2d))
        self.layers = nn.Sequential(*layers)
        self.last = nn.Conv2d(width, 1, 4, bias=bias)
        self.projection = nn.Linear(width * 16, classes, bias=False) if classes else None

    def features(self, samples: Tensor) -> Tensor:
        """Compute features (B, W, 4, 4) of images (B, C, S, S) in [-1, 1]."""
        features: Tensor = self.layers(samples)
        return features

    def logits(self, features: Tensor, condition: Tensor | None) -> Tensor:
        """Compute logits (B,) from features (B, W, 4, 4), and labels (B,) or None."""
        logits: Tensor = self.last(features).flatten()
        if self.projection is None or condition is None:
            return logits
        class_logits: Tensor = self.projection(features.flatten(1))
        return logits + class_logits.gather(1, condition[:, None]).flatten()
