"""The networks of DCGAN and its kin, for images of 16 to 128 pixels, with or without class labels."""

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Generator, Tensor, nn

from equipoise.core.data import DataSpec
from equipoise.core.knobs import AdversarialKnobs
from equipoise.core.model import Model
from equipoise.errors import SettingError
from equipoise.models._adversarial import Adversarial, check_counts
from equipoise.nn.augment import Kind
from equipoise.nn.initialize import fan_in_, normal_

Norm = Literal["batch", "none"]
Init = Literal["normal", "fan_in"]
Upsampling = Literal["transposed", "nearest"]
Body = Callable[[int, Sequence[int]], list[nn.Module]]
"""(channels, widths) -> the layers of a discriminator from images to (B, W, 4, 4), convolutions among them."""

INITIAL: Mapping[Init, Callable[[nn.Module, Generator], None]] = {"normal": normal_, "fan_in": fan_in_}
SIZES = (16, 32, 64, 128)
CAP = 8
"""No layer is wider than so many times `width`: 64 to 512, as usual (Radford 2016, figure 1, has 128 to 1,024)."""


@dataclass(frozen=True, kw_only=True)
class Convolutional(Adversarial):
    """Options of convolutional GANs, beside those of the game; the defaults are Radford's.

    `width`: channels at half the image's size; they double with every halving, up to 8 times. `generator_norm`,
    `discriminator_norm`: batch normalisation or none. `upsampling`: transposed convolutions of 4 x 4 and stride 2, or
    pixels doubled before convolutions of 3 x 3 (Odena 2016: no checkerboards). `bias`: where no normalisation follows.
    `initial`: first weights from
    N(0, 0.02), or uniform by fan-in. `conditional`: use class labels; None where the data has them. Labels enter the
    generator beside the latent, and the discriminator by projection (Miyato and Koyama 2018, equation 3).
    """

    width: int = 64
    generator_norm: Norm = "batch"
    discriminator_norm: Norm = "batch"
    upsampling: Upsampling = "transposed"
    bias: bool = False
    initial: Init = "normal"
    conditional: bool | None = None

    def convolutional(
        self, name: str, spec: DataSpec, generator: Generator, body: Body | None = None
    ) -> Model[AdversarialKnobs]:
        """The GAN for images like `spec`, its discriminator's layers from `body`, by default strided convolutions.

        Raises SettingError if the data are no images, or of a size that there are no layers for.
        """
        if not spec.is_image:
            kind, other = ("points", "mlp") if spec.vocabulary is None else ("sentences", "seqgan")
            raise SettingError(f"{name} makes images, not {kind}; use --model {other} for this data")
        channels, height, width = spec.shape
        if height != width or height not in SIZES or not 1 <= channels <= 4:
            raise SettingError(
                f"{name} makes square images of {', '.join(map(str, SIZES))} pixels with 1 to 4 channels, not "
                f"{channels} x {height} x {width}; use --image-size"
            )
        if self.conditional and not spec.classes:
            raise SettingError("conditional = true, but the data has no labels; leave it out")
        check_counts(width=self.width)
        classes = 0 if self.conditional is False else spec.classes
        stages = int(math.log2(height)) - 2
        widths = [self.width * min(2**stage, CAP) for stage in range(stages)]
        layers = (body or self._strided)(channels, widths)
        networks = {
            "generator": _Generator(self, widths[::-1], channels, classes),
            "discriminator": ProjectionDiscriminator(layers, classes, self.bias),
        }
        for network in networks.values():
            INITIAL[self.initial](network, generator)
        kinds: tuple[Kind, ...] = ("colour", "translation", "cutout", *(("flip",) if spec.flips else ()))
        return self.game(name, networks, generator, kinds=kinds, classes=classes)

    def _strided(self, channels: int, widths: Sequence[int]) -> list[nn.Module]:
        """Convolutions of stride 2, each normalised but the first (Radford 2016, section 3)."""
        batch = self.discriminator_norm == "batch"
        layers: list[nn.Module] = [nn.Conv2d(channels, widths[0], 4, 2, 1, bias=self.bias), nn.LeakyReLU(0.2)]
        for before, after in itertools.pairwise(widths):
            layers.append(nn.Conv2d(before, after, 4, 2, 1, bias=self.bias and not batch))
            layers += [nn.BatchNorm2d(after)] if batch else []
            layers.append(nn.LeakyReLU(0.2))
        return layers


class _Generator(nn.Module):
    """4 x 4 from the latent, then doubled until the size is reached (Radford 2016, figure 1)."""

    def __init__(self, options: Convolutional, widths: Sequence[int], channels: int, classes: int) -> None:
        super().__init__()
        norm, latent_dim = options.generator_norm, options.latent_dim
        self.embedding = nn.Embedding(classes, latent_dim // 2) if classes else None
        entry = latent_dim + (latent_dim // 2 if classes else 0)
        # Radford's first layer, a transposed convolution of a single pixel, is this product of matrices.
        layers: list[nn.Module] = [nn.Linear(entry, widths[0] * 16, bias=False), nn.Unflatten(1, (widths[0], 4, 4))]
        layers += _activated(widths[0], norm)
        for before, after in itertools.pairwise(widths):
            layers += [*_doubled(before, after, options.upsampling, bias=False), *_activated(after, norm)]
        self.layers = nn.Sequential(
            *layers, *_doubled(widths[-1], channels, options.upsampling, bias=options.bias), nn.Tanh()
        )

    def forward(self, latent: Tensor, condition: Tensor | None) -> Tensor:
        """latent (B, L), labels (B,) or None -> images (B, C, S, S) in [-1, 1]."""
        if self.embedding is not None:
            latent = torch.cat([latent, self.embedding(condition)], dim=1)
        images: Tensor = self.layers(latent)
        return images


def _doubled(before: int, after: int, upsampling: Upsampling, *, bias: bool) -> list[nn.Module]:
    if upsampling == "transposed":
        return [nn.ConvTranspose2d(before, after, 4, 2, 1, bias=bias)]
    return [nn.Upsample(scale_factor=2), nn.Conv2d(before, after, 3, padding=1, bias=bias)]


def _activated(channels: int, norm: Norm) -> list[nn.Module]:
    return [*([nn.BatchNorm2d(channels)] if norm == "batch" else []), nn.ReLU()]


class ProjectionDiscriminator(nn.Module):
    """Layers down to 4 x 4, then one logit, plus the projection of features onto a row of weights a class.

    Miyato and Koyama 2018, figure 2, whose features are pooled; without pooling a class can ask for shapes in places.
    """

    def __init__(self, layers: Sequence[nn.Module], classes: int, bias: bool) -> None:
        super().__init__()
        width = next(layer.out_channels for layer in reversed(layers) if isinstance(layer, nn.Conv2d))
        self.layers = nn.Sequential(*layers)
        self.last = nn.Conv2d(width, 1, 4, bias=bias)
        self.projection = nn.Linear(width * 16, classes, bias=False) if classes else None

    def features(self, samples: Tensor) -> Tensor:
        """images (B, C, S, S) in [-1, 1] -> (B, W, 4, 4)."""
        result: Tensor = self.layers(samples)
        return result

    def judge(self, features: Tensor, condition: Tensor | None) -> Tensor:
        """(B, W, 4, 4), labels (B,) or None -> logits (B,)."""
        logits: Tensor = self.last(features).flatten()
        if self.projection is None or condition is None:
            return logits
        by_class: Tensor = self.projection(features.flatten(1))
        return logits + by_class.gather(1, condition[:, None]).flatten()
