"""Networks of R3GAN: residual bottleneck blocks without normalisation at every size, plain layers above the trunk."""

from dataclasses import dataclass

import torch
from torch import Generator, Tensor, nn
from torch.nn.functional import leaky_relu

from equipoise.models._image_pyramid import ImagePyramid
from equipoise.nn.binomial import BinomialDownsampling, BinomialUpsampling
from equipoise.nn.bottleneck import (
    ACTIVATION_GAIN,
    SLOPE,
    BottleneckBlock,
    initialise_bottlenecks,
    initialise_layer,
)


@dataclass(frozen=True, slots=True)
class ResidualLayout:
    """Levels of both networks, from the smallest map to the image.

    `widths`: channels of each level. `trunk`: number of levels with residual blocks; those above have one 3 x 3
    convolution each. `blocks`: residual blocks of a level. `expansion`: inner channels of a block as a multiple of its
    channels. `group_width`: inner channels of a group, 0 for dense 3 x 3 convolutions. `channels`: of an image.
    """

    pyramid: ImagePyramid
    widths: tuple[int, ...]
    trunk: int
    blocks: int
    expansion: int
    group_width: int
    channels: int

    def residual_blocks(self, level: int) -> list[nn.Module]:
        """Return the blocks of one level of the trunk."""
        inner = self.expansion * self.widths[level]
        groups = max(1, inner // self.group_width) if self.group_width else 1
        return [BottleneckBlock(self.widths[level], inner, groups) for _ in range(self.blocks)]

    @property
    def levels(self) -> int:
        """Number of levels."""
        return len(self.widths)


class PlainLayer(nn.Module):
    """3 x 3 convolution with a bias and a leaky ReLU: (B, I, H, W) -> (B, O, H, W)."""

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(before, after, 3, padding=1)

    def forward(self, maps: Tensor) -> Tensor:
        """Apply the layer."""
        return leaky_relu(self.convolution(maps), SLOPE)


class ResidualImageGenerator(nn.Module):
    """A learned 4 x 4 map times a linear function of the latent, then blocks, doubled up to the image."""

    def __init__(self, layout: ResidualLayout, latent_dim: int, classes: int) -> None:
        """`classes`: 0 for none; otherwise an embedding as long as the latent is concatenated with it."""
        super().__init__()
        widths, pyramid = layout.widths, layout.pyramid
        self.embedding = nn.Embedding(classes, latent_dim) if classes else None
        self.linear = nn.Linear(latent_dim * (2 if classes else 1), widths[0], bias=False)
        self.basis = nn.Parameter(torch.empty(1, widths[0], *pyramid.start))
        modules: list[nn.Module] = layout.residual_blocks(0)
        for level in range(1, layout.levels):
            before, after = widths[level - 1], widths[level]
            doubling = BinomialUpsampling(*pyramid.sides(level - 1))
            if level >= layout.trunk:
                modules += [doubling, PlainLayer(before, after)]
                continue
            # The 1 x 1 convolution commutes with the interpolation and is cheaper before it.
            modules += [nn.Conv2d(before, after, 1, bias=False)] if before != after else []
            modules += [doubling, *layout.residual_blocks(level)]
        self.layers = nn.Sequential(*modules)
        self.to_image = nn.Conv2d(widths[-1], layout.channels, 1, bias=False)

    def forward(self, latent: Tensor, condition: Tensor | None) -> Tensor:
        """Generate images (B, C, H, W), unbounded, from latents (B, L), and labels (B,) or None."""
        if self.embedding is not None:
            latent = torch.cat([latent, self.embedding(condition)], dim=1)
        images: Tensor = self.to_image(self.layers(self.basis * self.linear(latent)[:, :, None, None]))
        return images


class ResidualImageDiscriminator(nn.Module):
    """The generator in reverse: blocks, halved down to the smallest map, a weighted sum of each of its channels.

    Without labels the logit is a linear function of these sums f; with labels it is the inner product of a linear
    function of f with a vector per class, without an unconditional term.
    """

    def __init__(self, layout: ResidualLayout, classes: int) -> None:
        super().__init__()
        widths, pyramid, top = layout.widths, layout.pyramid, layout.levels - 1
        is_plain = top >= layout.trunk
        modules: list[nn.Module] = [
            PlainLayer(layout.channels, widths[top])
            if is_plain
            else nn.Conv2d(layout.channels, widths[top], 1, bias=False)
        ]
        for level in range(top, 0, -1):
            before, after = widths[level], widths[level - 1]
            halving = BinomialDownsampling(*pyramid.sides(level))
            if level > layout.trunk:
                modules += [halving, PlainLayer(before, after)]
                continue
            modules += layout.residual_blocks(level) if level < layout.trunk else []
            modules += [halving, *([nn.Conv2d(before, after, 1, bias=False)] if before != after else [])]
        self.layers = nn.Sequential(*modules, *layout.residual_blocks(0))
        self.basis = nn.Conv2d(widths[0], widths[0], pyramid.start, groups=widths[0], bias=False)
        self.linear = nn.Linear(widths[0], widths[0] if classes else 1, bias=False)
        self.embedding = nn.Embedding(classes, widths[0]) if classes else None

    def features(self, samples: Tensor) -> Tensor:
        """Compute features (B, W) of images (B, C, H, W)."""
        features: Tensor = self.basis(self.layers(samples)).flatten(1)
        return features

    def logits(self, features: Tensor, condition: Tensor | None) -> Tensor:
        """Compute logits (B,) from features (B, W), and labels (B,) or None."""
        vectors: Tensor = self.linear(features)
        if self.embedding is None:
            return vectors.flatten()
        logits: Tensor = (vectors * self.embedding(condition)).sum(1)
        return logits


_OWN = (BottleneckBlock, PlainLayer)
"""Modules whose layers have initial weights of their own."""


@torch.no_grad()
def initialise_networks(
    networks: tuple[ResidualImageGenerator, ResidualImageDiscriminator], generator: Generator
) -> None:
    """Initialise the generator and the discriminator (Huang 2024, appendix; see `initialise_bottlenecks`).

    Plain layers have the gain of the leaky ReLU, all other layers gain 1, the basis of the generator and its embedding
    N(0, 1). The vectors of the classes in the discriminator are N(0, 1 / W), so that logits have the scale of features.
    """
    for network in networks:
        initialise_bottlenecks(network, generator)
        in_blocks = {child for block in network.modules() if isinstance(block, _OWN) for child in block.modules()}
        for layer in network.modules():
            if isinstance(layer, PlainLayer):
                initialise_layer(layer.convolution, generator, ACTIVATION_GAIN)
        for layer in network.modules():
            if isinstance(layer, nn.Linear | nn.Conv2d) and layer not in in_blocks:
                initialise_layer(layer, generator)
    one, other = networks
    one.basis.normal_(generator=generator)
    if one.embedding is not None and other.embedding is not None:
        one.embedding.weight.normal_(generator=generator)
        other.embedding.weight.normal_(0, other.embedding.embedding_dim**-0.5, generator=generator)
