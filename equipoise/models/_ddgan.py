"""Networks of denoising diffusion GANs (Xiao et al. 2022): a generator of clean images, a discriminator of pairs."""

import dataclasses
import itertools
import math
from collections.abc import Sequence
from typing import cast

import torch
from torch import Generator, Tensor, nn
from torch.nn.functional import leaky_relu, pixel_unshuffle

from equipoise.models._adversarial_extensions import Discriminator
from equipoise.models._noisy_samples import NoisySamples
from equipoise.nn.equalised import initialise_equalised
from equipoise.nn.initialize import he_normal_
from equipoise.nn.minibatch_deviation import MinibatchDeviation
from equipoise.nn.style_mapping import MappingNetwork
from equipoise.nn.unet import DenoisingUNet, UNetLayout, initialise_unet
from equipoise.nn.unet_blocks import NoiseEmbedding, Resampling, resample

SLOPE = 0.2
"""Of the leaky ReLUs of the discriminator, as in Xiao 2022's code."""
TIME_SCALE = 1000.0
"""Time that the embeddings see at the end of the chain, where Ho 2020's has 1,000 steps."""
SMALLEST, MAX_WIDENING = 4, 4
"""Smallest map of the discriminator, and its widest map as a multiple of the first."""


class DenoisingGenerator(nn.Module):
    """Generator x_0 = tanh(U(x_t, t, M(z))): Xiao 2022, section 3.2, with U a U-Net and M a mapping network.

    M(z) is added to the embedding of the time, which every residual block reads.
    """

    def __init__(self, layout: UNetLayout, latent_dim: int, style_dim: int, layers: int, length: int) -> None:
        """`style_dim`: length of M(z). `layers`: of M. `length`: of the chain."""
        super().__init__()
        self.length = length
        self.mapping = MappingNetwork(latent_dim, style_dim, layers=layers, lr_multiplier=1.0)
        self.network = DenoisingUNet(dataclasses.replace(layout, augmentations=style_dim))

    def initialise(self, generator: Generator) -> None:
        """Draw the initial weights."""
        initialise_unet(self.network, generator)
        initialise_equalised(self.mapping, generator)

    def forward(self, noisy: Tensor, time: Tensor, latent: Tensor, labels: Tensor | None) -> Tensor:
        """Generate clean images (B, C, H, W) in [-1, 1] from noisy ones, their times (B,) and latents (B, L)."""
        style = self.mapping(latent)
        images: Tensor = self.network(noisy, time * (TIME_SCALE / self.length), labels, style)
        return images.tanh()


class PairDiscriminator(Discriminator):
    """Discriminator of pairs (x_{t-1}, x_t) that knows t: Xiao 2022, appendix C, for small images.

    Residual blocks read an embedding of the time and halve the maps down to 4 to 7 pixels; a minibatch standard
    deviation, a convolution and the sum over all places follow. Labels enter by projection (Miyato and Koyama 2018).
    """

    def __init__(
        self,
        channels: int,
        sides: Sequence[int],
        width: int,
        *,
        patch: int = 1,
        group: int,
        length: int,
        classes: int = 0,
    ) -> None:
        """`channels`: of an image. `width`: of the first maps, whose places are patches of `patch` pixels a side.

        `group`: samples per group of the deviation. `length`: of the chain. `classes`: number of labels, 0 for none.
        """
        super().__init__()
        self.channels, self.patch, self.length = channels, patch, length
        halvings = int(math.log2(min(sides) // patch / SMALLEST))
        widths = [width, *(width * min(2**level, MAX_WIDENING) for level in range(halvings + 1))]
        self.embedding = NoiseEmbedding(width, width)
        self.entry = nn.Conv2d(2 * channels * patch**2, width, 1)
        self.blocks = nn.ModuleList(
            PairBlock(before, after, width, "down" if level else "none")
            for level, (before, after) in enumerate(itertools.pairwise(widths))
        )
        self.deviation = MinibatchDeviation(group)
        self.final = nn.Conv2d(widths[-1] + 1, widths[-1], 3, padding=1)
        self.last = nn.Linear(widths[-1], 1)
        self.projection = nn.Embedding(classes, widths[-1]) if classes else None

    @torch.no_grad()
    def initialise(self, generator: Generator) -> None:
        """Draw the initial weights.

        The last convolutions of blocks and of the network are 0, as in Xiao 2022's code, and the vectors of labels.
        """
        he_normal_(self, generator, SLOPE)
        for block in self.blocks:
            cast(PairBlock, block).second.weight.zero_()
        self.final.weight.zero_()
        if self.projection is not None:
            self.projection.weight.zero_()

    def features(self, samples: Tensor) -> Tensor:
        """Compute features (B, W) of packed pairs (B, 2 C + 1, H, W). No gradient flows into x_t, nor into the time."""
        noisy = NoisySamples.unpack(samples)
        before, after = noisy.samples.split(self.channels, dim=1)
        embedding = self.embedding(noisy.time * (TIME_SCALE / self.length))
        maps = self.entry(pixel_unshuffle(torch.cat([before, after.detach()], dim=1), self.patch))
        for block in self.blocks:
            maps = block(maps, embedding)
        return leaky_relu(self.final(self.deviation(maps)), SLOPE).sum((2, 3))

    def logits(self, features: Tensor, condition: Tensor | None) -> Tensor:
        """Compute logits (B,) from features (B, W), and labels (B,) or None."""
        logits: Tensor = self.last(features).squeeze(1)
        if self.projection is None or condition is None:
            return logits
        projected: Tensor = (self.projection(condition) * features).sum(1)
        return logits + projected


class PairBlock(nn.Module):
    """Residual block (conv(lrelu(conv(lrelu(x)) + A e)) + W x) / sqrt(2), halved before the second convolution."""

    def __init__(self, before: int, after: int, embedding: int, resampling: Resampling) -> None:
        super().__init__()
        self.resampling: Resampling = resampling
        self.first, self.second = nn.Conv2d(before, after, 3, padding=1), nn.Conv2d(after, after, 3, padding=1)
        self.shift = nn.Linear(embedding, after)
        self.skip = nn.Conv2d(before, after, 1, bias=False)

    def forward(self, maps: Tensor, embedding: Tensor) -> Tensor:
        """Transform (B, C, H, W) -> (B, C', H', W')."""
        hidden = self.first(leaky_relu(maps, SLOPE)) + self.shift(embedding)[:, :, None, None]
        change = self.second(resample(leaky_relu(hidden, SLOPE), self.resampling))
        result: Tensor = (change + self.skip(resample(maps, self.resampling))) * 0.5**0.5
        return result
