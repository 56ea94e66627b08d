"""Residual generator and discriminator of sagan and biggan: Miyato 2018, figure 8; Brock 2019, appendices B and C.

Images whose sides are no multiple of those of the smallest map are generated a little larger and cropped; the
discriminator pads them with zeros.
"""

import itertools
import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import torch
from torch import Generator, Tensor, nn
from torch.nn.functional import pad, relu

from equipoise.models._labels import Conditioning
from equipoise.models._resnet_architecture import Architecture
from equipoise.nn.attention import SelfAttention
from equipoise.nn.conditional_norm import Affine, ConditionalBatchNorm
from equipoise.nn.initialize import orthogonal_
from equipoise.nn.residual_blocks import BottleneckDownBlock, BottleneckUpBlock, DownBlock, UpBlock
from equipoise.nn.spectral import spectral_norm

EVALUATION_ITERATIONS = 5
"""Power iterations per pass of a running average."""


class GeneratorInputs(NamedTuple):
    """Inputs of the parts of a generator: the first layer (B, K), and the conditions of the blocks of each size."""

    first: Tensor
    conditions: Sequence[Tensor | None]


class InputRouting(nn.Module):
    """Interface: which part of the latent and of the label each part of a generator reads.

    `first_features`: K of the first layer. `affines`: of the normalisation at each size; see ConditionalBatchNorm.
    """

    first_features: int
    affines: Sequence[Affine | None]

    def forward(self, latent: Tensor, labels: Tensor | None) -> GeneratorInputs:
        """Divide latents (B, L) and labels (B,) or None."""
        raise TypeError("InputRouting is an interface; its subclasses implement forward()")


class UpsamplingLevel(nn.Module):
    """Blocks that double a map, and self-attention or the identity."""

    def __init__(self, blocks: Iterable[nn.Module], attention: nn.Module) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(blocks)
        self.attention = attention

    def forward(self, maps: Tensor, condition: Tensor | None) -> Tensor:
        """Transform (B, I, H, W) -> (B, O, 2 H, 2 W); `condition` is passed to every block."""
        for block in self.blocks:
            maps = block(maps, condition)
        attended: Tensor = self.attention(maps)
        return attended


class ResidualBlockGenerator(nn.Module):
    """Generator: a linear layer to the smallest map, blocks that double it, norm-relu-conv3-tanh."""

    def __init__(self, architecture: Architecture, routing: InputRouting) -> None:
        super().__init__()
        channels, self.height, self.width = architecture.shape
        widths = architecture.generator_widths
        self.start = (widths[0], *architecture.start)
        self.routing = routing
        self.first = nn.Linear(routing.first_features, math.prod(self.start))
        self.levels = nn.ModuleList(
            UpsamplingLevel(
                _up_blocks(before, after, affine, architecture.bottleneck),
                SelfAttention(after) if doublings == architecture.attention else nn.Identity(),
            )
            for doublings, ((before, after), affine) in enumerate(
                zip(itertools.pairwise(widths), routing.affines, strict=True), 1
            )
        )
        self.norm = ConditionalBatchNorm(widths[-1], None)
        self.last = nn.Conv2d(widths[-1], channels, 3, padding=1)

    def forward(self, latent: Tensor, condition: Tensor | None) -> Tensor:
        """Generate images (B, C, H, W) in [-1, 1] from latents (B, L), and labels (B,) or None."""
        inputs: GeneratorInputs = self.routing(latent, condition)
        maps: Tensor = self.first(inputs.first).unflatten(1, self.start)
        for level, each in zip(self.levels, inputs.conditions, strict=True):
            maps = level(maps, each)
        images = torch.tanh(self.last(relu(self.norm(maps, None))))
        return images[:, :, : self.height, : self.width]


def _up_blocks(before: int, after: int, affine: Affine | None, bottleneck: bool) -> list[nn.Module]:
    def norm(channels: int) -> ConditionalBatchNorm:
        return ConditionalBatchNorm(channels, affine)

    if not bottleneck:
        return [UpBlock(before, after, norm)]
    return [
        BottleneckUpBlock(before, before, norm, upsample=False),
        BottleneckUpBlock(before, after, norm, upsample=True),
    ]


class ResidualBlockDiscriminator(nn.Module):
    """Discriminator: blocks that halve a map, relu, sum over all places, a linear layer.

    Labels: projection (Miyato and Koyama 2018, equation 3) or an auxiliary classifier (Odena 2017).
    """

    def __init__(self, architecture: Architecture, classes: int, conditioning: Conditioning) -> None:
        """`classes`: 0 for none."""
        super().__init__()
        height, width = architecture.padding
        self.padding = (0, width, 0, height)
        features = architecture.discriminator_widths[-1]
        used = conditioning if classes else None
        self.blocks = nn.Sequential(*_down_blocks(architecture))
        self.last = nn.Linear(features, 1)
        self.projection = nn.Linear(features, classes, bias=False) if used == "projection" else None
        self.classifier = nn.Linear(features, classes) if used == "auxiliary" else None

    def features(self, samples: Tensor) -> Tensor:
        """Compute features (B, W) of images (B, C, H, W) in [-1, 1]."""
        if any(self.padding):
            samples = pad(samples, self.padding)
        return relu(self.blocks(samples)).sum((2, 3))

    def logits(self, features: Tensor, condition: Tensor | None) -> Tensor:
        """Compute logits (B,) from features (B, W), and labels (B,) or None."""
        logits: Tensor = self.last(features).flatten()
        if self.projection is None or condition is None:
            return logits
        class_logits: Tensor = self.projection(features)
        return logits + class_logits.gather(1, condition[:, None]).flatten()

    def classify(self, features: Tensor) -> Tensor:
        """Compute one logit per class, (B, classes), from features (B, W); needs auxiliary conditioning."""
        if self.classifier is None:
            raise TypeError("this discriminator predicts no labels")
        class_logits: Tensor = self.classifier(features)
        return class_logits


def _down_blocks(architecture: Architecture) -> list[nn.Module]:
    channels, widths = architecture.shape[0], architecture.discriminator_widths
    attended = architecture.doublings - architecture.attention if architecture.attention else 0
    modules: list[nn.Module] = []
    if architecture.bottleneck:
        modules.append(nn.Conv2d(channels, widths[0], 3, padding=1))
        for index, (before, after) in enumerate(itertools.pairwise(widths)):
            modules.append(BottleneckDownBlock(before, after, halve=index < architecture.halvings))
            modules.append(BottleneckDownBlock(after, after, halve=False))
            modules += [SelfAttention(after)] if index + 1 == attended else []
        return modules
    for index, (before, after) in enumerate(itertools.pairwise((channels, *widths))):
        modules.append(DownBlock(before, after, halve=index < architecture.halvings, first=index == 0))
        modules += [SelfAttention(after)] if index + 1 == attended else []
    return modules


@torch.no_grad()
def initialise_resnet(network: nn.Module, generator: Generator) -> None:
    """Draw orthogonal weights (Saxe 2014; Brock 2019, section 3); embeddings of a norm of about 1 from normals.

    Embeddings that are gains or shifts of a normalisation are 0, so that all classes are treated alike at first.
    """
    orthogonal_(network, generator, 1.0)
    for module in network.modules():
        if isinstance(module, nn.Embedding):
            module.weight.normal_(0, module.embedding_dim**-0.5, generator=generator)
    for module in network.modules():
        if isinstance(module, ConditionalBatchNorm):
            for affine in (module.gain, module.bias):
                if isinstance(affine, nn.Embedding):
                    affine.weight.zero_()


def normalise_spectrally(network: nn.Module, generator: Generator) -> None:
    """Divide the linear layers and convolutions of an averaged network by their largest singular values."""
    for module in network.modules():
        if isinstance(module, nn.Linear | nn.Conv2d | nn.ConvTranspose2d):
            spectral_norm(module, generator, EVALUATION_ITERATIONS)
