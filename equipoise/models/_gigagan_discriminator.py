"""Discriminator of GigaGAN: images of several sizes enter one network, and every smaller map has an output."""

import itertools
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, leaky_relu

from equipoise.models._adversarial_extensions import Discriminator
from equipoise.models._stylegan2_discriminator import SLOPE, HalvingBlock
from equipoise.nn.equalised import EqualConv2d, initialise_equalised
from equipoise.nn.modulation import ModulatedOutput, initialise_modulated
from equipoise.nn.text_attention import DistanceAttention
from equipoise.nn.text_encoder import TextEncoder, initialise_text


class PyramidOutput(NamedTuple):
    """An output: `scale` i of the input, 0 for the image itself, and `level` j > i of the map, half as large at each.

    `shape`: of the map, (C, H, W).
    """

    scale: int
    level: int
    shape: tuple[int, int, int]


class TextPredictor(nn.Module):
    """Output of one level: the mean over places of psi(maps, t) + conv1x1(maps), logits (B,).

    psi is two 1 x 1 convolutions that are modulated by the text t (Kang 2023; four in the paper), so that
    it sees whether image and text match; the other term sees the image only.
    """

    def __init__(self, channels: int, text_dim: int) -> None:
        super().__init__()
        self.hidden = ModulatedOutput(channels, channels, text_dim)
        self.matching = ModulatedOutput(channels, 1, text_dim)
        self.unconditional = EqualConv2d(channels, 1, 1, gain=1.0)

    def forward(self, maps: Tensor, text: Tensor) -> Tensor:
        """Compute logits (B,) of maps (B, C, H, W) and texts (B, E)."""
        hidden = leaky_relu(self.hidden(maps, text), SLOPE)
        logits: Tensor = self.matching(hidden, text) + self.unconditional(maps)
        return logits.mean(dim=(1, 2, 3))


class PyramidDiscriminator(Discriminator):
    """Images (B, C, H, W) and captions (B, T) -> logits (B, K), one for each input scale i and level j > i.

    D_ij(x, t) = psi_j(phi_ij(x_i), t) + conv1x1_j(phi_ij(x_i)) (Kang 2023). x_i is the image,
    averaged over 2^i x 2^i pixels, and phi_ij the blocks from level i to level j, which all scales share. The paper's
    generator has an output of every size, here those of fakes are averaged, too: augmentation changes all sizes alike,
    and the outputs of the generator, whose sum the image is, still get their gradient at their own size.
    """

    def __init__(
        self,
        image_channels: int,
        start: tuple[int, int],
        widths: Sequence[int],
        encoder: TextEncoder,
        *,
        scales: int,
        attention_side: int,
    ) -> None:
        """`start`: height and width of the smallest map. `widths`: channels per resolution, from the smallest.

        `scales`: number of sizes of the input. `attention_side`: longest side of maps with attention; 0 for none.
        """
        super().__init__()
        falling, text_dim = list(reversed(widths)), encoder.embedding.shape[1]
        levels = len(falling) - 1
        sides = [(start[0] << levels - level, start[1] << levels - level) for level in range(levels + 1)]
        self.encoder = encoder
        self.colours = nn.ModuleList(EqualConv2d(image_channels, width, 1) for width in falling[:scales])
        self.blocks = nn.ModuleList(
            HalvingBlock(before, after, is_residual=True) for before, after in itertools.pairwise(falling)
        )
        self.attention = nn.ModuleList(
            DistanceAttention(width) if max(side) <= attention_side else nn.Identity()
            for width, side in zip(falling[1:], sides[1:], strict=True)
        )
        self.predictors = nn.ModuleList(TextPredictor(width, text_dim) for width in falling[1:])
        self.outputs = [
            PyramidOutput(scale, level, (falling[level], *sides[level]))
            for scale in range(len(self.colours))
            for level in range(scale + 1, levels + 1)
        ]

    def features(self, samples: Tensor) -> Tensor:
        """Compute features (B, F) of images (B, C, H, W): the maps of all outputs, flattened."""
        result, levels = [], len(self.blocks)
        for scale, colours in enumerate(self.colours):
            maps = leaky_relu(colours(samples if not scale else avg_pool2d(samples, 1 << scale)), SLOPE)
            for level in range(scale, levels):
                maps = self.attention[level](self.blocks[level](maps))
                result.append(maps.flatten(1))
        return torch.cat(result, dim=1)

    def logits(self, features: Tensor, condition: Tensor | None) -> Tensor:
        """Compute logits (B, K), in the order of `outputs`, from features (B, F) and captions (B, T)."""
        if condition is None:
            raise ValueError("the discriminator needs a caption per sample")
        text = self.encoder(condition).summary
        parts = features.split([torch.Size(output.shape).numel() for output in self.outputs], dim=1)
        logits = [
            self.predictors[output.level - 1](part.unflatten(1, output.shape), text)
            for output, part in zip(self.outputs, parts, strict=True)
        ]
        return torch.stack(logits, dim=1)


@torch.no_grad()
def initialise_discriminator(network: PyramidDiscriminator, generator: torch.Generator) -> None:
    """Draw weights and embeddings from N(0, 1)."""
    initialise_equalised(network, generator)
    initialise_modulated(network, generator)
    initialise_text(network, generator)
