"""Convolutional generator and discriminator of DCGAN and related models, in one or two dimensions."""

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from equipoise.models._labels import Conditioning, JointLayer
from equipoise.nn.batch_norm import WholeBatchNorm1d, WholeBatchNorm2d

BatchNormalisation = Literal["batch", "none"]
Upsampling = Literal["transposed", "nearest"]


@dataclass(frozen=True, slots=True)
class ConvolutionLayers:
    """The layers of one or two dimensions: convolution, transposed convolution, batch normalisation."""

    convolution: type[nn.Conv1d] | type[nn.Conv2d]
    transposed: type[nn.ConvTranspose1d] | type[nn.ConvTranspose2d]
    norm: type[WholeBatchNorm1d] | type[WholeBatchNorm2d]


LAYERS: Mapping[int, ConvolutionLayers] = {
    1: ConvolutionLayers(nn.Conv1d, nn.ConvTranspose1d, WholeBatchNorm1d),
    2: ConvolutionLayers(nn.Conv2d, nn.ConvTranspose2d, WholeBatchNorm2d),
}
"""Number of dimensions of a map -> its layers."""
DiscriminatorLayers = Callable[[ConvolutionLayers, int, Sequence[int]], list[nn.Module]]
"""Function (layers, channels, widths) -> modules that halve maps once per width, including convolutions."""


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


class GeneratorLayers(NamedTuple):
    """Choices for the layers of a generator: options of :class:`ConvolutionalOptions`."""

    norm: BatchNormalisation
    upsampling: Upsampling
    bias: bool


class ConvolutionalGenerator(nn.Module):
    """Generator: projects the latent to the smallest map, then doubles it up to the sample (Radford 2016, figure 1)."""

    def __init__(
        self,
        layers: ConvolutionLayers,
        widths: Sequence[int],
        shape: Sequence[int],
        start: Sequence[int],
        latent_dim: int,
        classes: int,
        choices: GeneratorLayers,
    ) -> None:
        """`widths`: channels from the smallest map on. `shape`: of a sample. `start`: sides of the smallest map.

        `classes`: 0 for none.
        """
        super().__init__()
        channels, *self.sides = shape
        norm, upsampling = choices.norm, choices.upsampling
        self.embedding = nn.Embedding(classes, latent_dim // 2) if classes else None
        in_features = latent_dim + (latent_dim // 2 if classes else 0)
        # Radford's first layer, a transposed convolution of a single pixel, is equivalent to this linear layer.
        modules: list[nn.Module] = [
            nn.Linear(in_features, widths[0] * math.prod(start), bias=False),
            nn.Unflatten(1, (widths[0], *start)),
            *_normalised_relu(layers, widths[0], norm),
        ]
        for before, after in itertools.pairwise(widths):
            modules += _upsample(layers, before, after, upsampling, bias=False)
            modules += _normalised_relu(layers, after, norm)
        last = _upsample(layers, widths[-1], channels, upsampling, bias=choices.bias)
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
