"""The networks of DCGAN and its kin, for images of 16 to 128 pixels, with or without class labels."""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Generator, Tensor, nn

from equipoise.base import DataSpec, Gan
from equipoise.errors import SettingError
from equipoise.knobs import AdversarialKnobs
from equipoise.nn.augment import Kind
from equipoise.nn.initialize import normal_
from equipoise.zoo._adversarial import Adversarial

Norm = Literal["batch", "none"]
SIZES = (16, 32, 64, 128)
CAP = 8
"""No layer is wider than so many times `width` (Radford 2016, figure 1: 64 to 512)."""


@dataclass(frozen=True, kw_only=True)
class Convolutional(Adversarial):
    """Options of convolutional GANs, beside those of the game.

    `width`: channels at half the image's size; they double with every halving, up to 8 times. `generator_norm`,
    `discriminator_norm`: batch normalisation or none. `conditional`: use class labels; None where the data has them.
    Labels enter the generator beside the latent, and the discriminator by projection (Miyato and Koyama 2018, eq. 3).
    """

    width: int = 64
    generator_norm: Norm = "batch"
    discriminator_norm: Norm = "batch"
    conditional: bool | None = None

    def convolutional(self, name: str, spec: DataSpec, generator: Generator) -> Gan[AdversarialKnobs]:
        """The GAN for images like `spec`. Raises SettingError if they are none, or of a size it has no layers for."""
        if not spec.is_image:
            raise SettingError(f"{name} makes images, not points; use --gan mlp for this data")
        channels, height, width = spec.shape
        if height != width or height not in SIZES or not 1 <= channels <= 4:
            raise SettingError(
                f"{name} makes square images of {', '.join(map(str, SIZES))} pixels with 1 to 4 channels, not "
                f"{channels} x {height} x {width}; use --image-size"
            )
        if self.conditional and not spec.classes:
            raise SettingError("conditional = true, but the data has no labels; leave it out")
        classes = 0 if self.conditional is False else spec.classes
        stages = int(math.log2(height)) - 2
        widths = [self.width * min(2**stage, CAP) for stage in range(stages)]
        networks = {
            "generator": _Generator(self.latent_dim, widths[::-1], channels, self.generator_norm, classes),
            "discriminator": _Discriminator(channels, widths, self.discriminator_norm, classes),
        }
        for network in networks.values():
            normal_(network, generator)
        kinds: tuple[Kind, ...] = ("colour", "translation", "cutout", *(("flip",) if spec.flips else ()))
        return self.game(name, networks, generator, kinds=kinds, classes=classes)


class _Generator(nn.Module):
    """4 x 4 from the latent, then doubled by transposed convolutions of stride 2 (Radford 2016, figure 1)."""

    def __init__(self, latent_dim: int, widths: Sequence[int], channels: int, norm: Norm, classes: int) -> None:
        super().__init__()
        self.classes = classes
        layers: list[nn.Module] = _normed(nn.ConvTranspose2d(latent_dim + classes, widths[0], 4, bias=False), norm)
        for before, after in itertools.pairwise(widths):
            layers += _normed(nn.ConvTranspose2d(before, after, 4, 2, 1, bias=False), norm)
        self.layers = nn.Sequential(*layers, nn.ConvTranspose2d(widths[-1], channels, 4, 2, 1), nn.Tanh())

    def forward(self, latent: Tensor, condition: Tensor | None) -> Tensor:
        """latent (B, L), labels (B,) or None -> images (B, C, S, S) in [-1, 1]."""
        if condition is not None and self.classes:
            one_hot = nn.functional.one_hot(condition, self.classes).to(latent.dtype)
            latent = torch.cat([latent, one_hot], dim=1)
        images: Tensor = self.layers(latent[:, :, None, None])
        return images


def _normed(layer: nn.ConvTranspose2d, norm: Norm) -> list[nn.Module]:
    middle = [nn.BatchNorm2d(layer.out_channels)] if norm == "batch" else []
    return [layer, *middle, nn.ReLU()]


class _Discriminator(nn.Module):
    """Halved by convolutions of stride 2 down to 4 x 4, then one logit, plus a projection of the label."""

    def __init__(self, channels: int, widths: Sequence[int], norm: Norm, classes: int) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Conv2d(channels, widths[0], 4, 2, 1), nn.LeakyReLU(0.2)]
        for before, after in itertools.pairwise(widths):
            layers.append(nn.Conv2d(before, after, 4, 2, 1, bias=norm == "none"))
            layers += [nn.BatchNorm2d(after)] if norm == "batch" else []
            layers.append(nn.LeakyReLU(0.2))
        self.layers = nn.Sequential(*layers)
        self.last = nn.Conv2d(widths[-1], 1, 4)
        self.embedding = nn.Embedding(classes, widths[-1]) if classes else None

    def features(self, samples: Tensor) -> Tensor:
        """images (B, C, S, S) in [-1, 1] -> (B, W, 4, 4)."""
        found: Tensor = self.layers(samples)
        return found

    def judge(self, features: Tensor, condition: Tensor | None) -> Tensor:
        """(B, W, 4, 4), labels (B,) or None -> logits (B,)."""
        logits: Tensor = self.last(features).flatten()
        if self.embedding is None or condition is None:
            return logits
        projection: Tensor = (self.embedding(condition) * features.sum((2, 3))).sum(1)
        return logits + projection
