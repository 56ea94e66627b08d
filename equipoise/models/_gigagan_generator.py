"""Generator of GigaGAN: text encoder, mapping network, and synthesis whose kernels and attention follow the text."""

import itertools
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from equipoise.nn.adaptive_convolution import AdaptiveConv2d, initialise_adaptive
from equipoise.nn.equalised import EqualLinear, initialise_equalised
from equipoise.nn.modulation import ModulatedOutput, initialise_modulated
from equipoise.nn.pixel_norm import pixel_norm
from equipoise.nn.resample_filter import FilteredUpsampling
from equipoise.nn.style_mapping import MappingNetwork
from equipoise.nn.text_attention import CrossAttention, DistanceAttention
from equipoise.nn.text_encoder import TextEncoder, TextFeatures, initialise_text


class StyledText(NamedTuple):
    """What the synthesis network reads: `style` w (B, D) = M(z, summary of the text), and the words of the `text`."""

    style: Tensor
    text: TextFeatures


class TextGenerator(nn.Module):
    """Latents (B, L) and captions (B, T) -> images (B, C, H, W), not bounded (Kang 2023).

    The summary of the text and the latent give the style; the words are attended to by the maps.
    """

    def __init__(self, encoder: TextEncoder, mapping: MappingNetwork, synthesis: "TextSynthesis") -> None:
        """`mapping`: of the latent and as many numbers of the text."""
        super().__init__()
        text_dim, latent_dim = encoder.embedding.shape[1], synthesis.style_dim
        self.encoder = encoder
        self.projection = EqualLinear(text_dim, latent_dim)
        self.mapping = mapping
        self.synthesis = synthesis

    def map(self, latent: Tensor, captions: Tensor) -> StyledText:
        """Compute the style of latents (B, L) and captions (B, T) int64: w = M(z, t), Kang 2023."""
        text = self.encoder(captions)
        inputs = torch.cat([pixel_norm(latent), pixel_norm(self.projection(text.summary))], dim=1)
        return StyledText(self.mapping(inputs), text)

    def forward(self, latent: Tensor, captions: Tensor) -> Tensor:
        """Generate images, without truncation."""
        images: Tensor = self.synthesis(self.map(latent, captions))
        return images


class TextSynthesis(nn.Module):
    """Synthesis network: adaptive convolutions, and at small maps attention to places and words, after the second one.

    From a learned constant map, two convolutions per resolution, the first of which doubles the map; one at the first.
    As in StyleGAN 2 the image is the sum of outputs at every resolution.
    """

    def __init__(
        self,
        image_channels: int,
        start: tuple[int, int],
        widths: Sequence[int],
        style_dim: int,
        text_dim: int,
        *,
        kernels: int,
        attention_side: int,
    ) -> None:
        """`start`: height and width of the constant. `widths`: channels per resolution, from the smallest.

        `kernels`: of a convolution. `attention_side`: longest side of maps with attention; 0 for none.
        """
        super().__init__()
        self.style_dim = style_dim
        self.constant = nn.Parameter(torch.empty(1, widths[0], *start))
        self.first = AdaptiveConv2d(widths[0], widths[0], style_dim, kernels=kernels)
        pairs = list(itertools.pairwise(widths))
        self.doubling = nn.ModuleList(
            AdaptiveConv2d(before, after, style_dim, kernels=kernels, up=True) for before, after in pairs
        )
        self.second = nn.ModuleList(AdaptiveConv2d(after, after, style_dim, kernels=kernels) for _, after in pairs)
        self.outputs = nn.ModuleList(ModulatedOutput(width, image_channels, style_dim) for width in widths)
        self.attended = sum(max(start) << level <= attention_side for level in range(len(widths)))
        self.places = nn.ModuleList(DistanceAttention(width) for width in widths[: self.attended])
        self.words = nn.ModuleList(CrossAttention(width, text_dim) for width in widths[: self.attended])
        self.upsampling = FilteredUpsampling()

    def forward(self, styled: StyledText) -> Tensor:
        """Generate images (B, C, H, W)."""
        style = styled.style
        maps = self._attend(0, self.first(self.constant.expand(style.shape[0], -1, -1, -1), style), styled.text)
        images: Tensor = self.outputs[0](maps, style)
        for level, (doubling, second) in enumerate(zip(self.doubling, self.second, strict=True), 1):
            maps = self._attend(level, second(doubling(maps, style), style), styled.text)
            images = self.upsampling(images) + self.outputs[level](maps, style)
        return images

    def _attend(self, level: int, maps: Tensor, text: TextFeatures) -> Tensor:
        if level >= self.attended:
            return maps
        attended: Tensor = self.words[level](self.places[level](maps), text.words, text.is_word)
        return attended


@torch.no_grad()
def initialise_generator(network: TextGenerator, generator: torch.Generator) -> None:
    """Draw weights, kernels, embeddings and the constant from N(0, 1)."""
    initialise_equalised(network, generator)
    initialise_modulated(network, generator)
    initialise_adaptive(network, generator)
    initialise_text(network, generator)
    network.synthesis.constant.normal_(generator=generator)
