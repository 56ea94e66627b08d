"""U-Net of diffusion models: an encoder and a decoder with connections between maps of the same size.

Ho et al. 2020 ("Denoising Diffusion Probabilistic Models"), appendix B, and its revision DDPM++ (Song et al. 2021),
which EDM uses (Karras et al. 2022, "Elucidating the Design Space of Diffusion-Based Generative Models", table 7).
"""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Generator, Tensor, nn
from torch.nn.functional import pixel_shuffle, pixel_unshuffle, silu

from equipoise.nn.unet_blocks import (
    EmbeddingBlock,
    GlobalAttention,
    NoiseEmbedding,
    ResamplingConvolution,
    group_normalisation,
)

BlockKind = Literal["ddpm", "ddpm++"]
"""ddpm: convolutions resample, all blocks of the decoder at an attention size have attention, sums are not scaled.
ddpm++: residual blocks resample, only the last block of a size has attention in the decoder, sums times sqrt(1/2)."""


@dataclass(frozen=True, slots=True)
class UNetLayout:
    """Layout of a U-Net for square or other images.

    `image_channels`: C. `size`: longer side of the images, in pixels. `width`: channels of the first layer.
    `multipliers`: channels of each level as multiples of `width`; each level has half the size of the one before.
    `blocks`: residual blocks per level of the encoder; the decoder has one more. `attention`: longer side of the maps
    with self-attention, 0 for none; the lowest level has one more in its middle, always. `p`: probability of dropout.
    `classes`: number of labels, 0 for none. `augmentations`: number of inputs that describe an augmentation.
    `patch`: the first level has maps whose places are patches of this many pixels a side (Luhman and Luhman 2022,
    "Improving Diffusion Model Efficiency Through Patching"), which costs less; 1 as published.
    """

    image_channels: int
    size: int
    width: int
    multipliers: tuple[int, ...]
    blocks: int
    attention: int = 0
    kind: BlockKind = "ddpm++"
    p: float = 0.0
    classes: int = 0
    augmentations: int = 0
    patch: int = 1

    @property
    def multiple(self) -> int:
        """Both sides of an image must be multiples of this."""
        return self.patch << (len(self.multipliers) - 1)

    @property
    def patch_channels(self) -> int:
        """Numbers of a patch."""
        return self.image_channels * self.patch**2

    @property
    def feature_channels(self) -> int:
        """Channels F of the features, the maps in the middle of the lowest level."""
        return self.width * self.multipliers[-1]


class DenoisingUNet(nn.Module):
    """U-Net: noisy images and noise levels -> images of the same shape. Initially the output is 0.

    Draw initial weights with :func:`initialise_unet`.
    """

    def __init__(self, layout: UNetLayout) -> None:
        super().__init__()
        self.layout = layout
        self.embedding = NoiseEmbedding(layout.width, 4 * layout.width, layout.classes, layout.augmentations)
        self.entry = nn.Conv2d(layout.patch_channels, layout.width, 3, padding=1)
        widths = [layout.width]
        self.encoder = nn.ModuleList()
        for level, multiplier in enumerate(layout.multipliers):
            if level:
                self.encoder.append(self._resampling(widths[-1], "down"))
                widths.append(widths[-1])
            for _ in range(layout.blocks):
                self.encoder.append(self._block(widths[-1], layout.width * multiplier, self._attends(level)))
                widths.append(layout.width * multiplier)
        channels = layout.feature_channels
        self.middle = nn.ModuleList([self._block(channels, channels, True), self._block(channels, channels, False)])
        self.decoder = nn.ModuleList()
        for level in reversed(range(len(layout.multipliers))):
            if level < len(layout.multipliers) - 1:
                self.decoder.append(self._resampling(channels, "up"))
            for index in range(layout.blocks + 1):
                attends = self._attends(level) and (layout.kind == "ddpm" or index == layout.blocks)
                out = layout.width * layout.multipliers[level]
                self.decoder.append(self._block(channels + widths.pop(), out, attends))
                channels = out
        self.exit_norm = group_normalisation(channels)
        self.exit = nn.Conv2d(channels, layout.patch_channels, 3, padding=1)

    def forward(
        self,
        image: Tensor,
        noise: Tensor,
        labels: Tensor | None = None,
        augmentation: Tensor | None = None,
        generator: Generator | None = None,
    ) -> Tensor:
        """Transform (B, C, H, W) -> (B, C, H, W); sides must be multiples of `layout.multiple`.

        `noise`: (B,) float32. `labels`: (B,) int64, -1 or None for no label. `augmentation`: (B, A) float32, None for
        images that were not augmented. `generator`: of dropout; None disables it, as in inference.
        """
        embedding = self.embedding(noise, labels, augmentation)
        maps = self._encode(image, embedding, generator)
        hidden = self._transform_middle(maps[-1], embedding, generator)
        return self._decode(maps, hidden, embedding, generator)

    def forward_with_features(
        self, image: Tensor, noise: Tensor, labels: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Compute what :meth:`forward` and :meth:`features` return, in one pass."""
        embedding = self.embedding(noise, labels)
        maps = self._encode(image, embedding, None)
        hidden = self._transform_middle(maps[-1], embedding, None)
        return self._decode(maps, hidden, embedding, None), hidden

    def features(self, image: Tensor, noise: Tensor, labels: Tensor | None = None) -> Tensor:
        """Compute the maps in the middle of the lowest level, (B, F, H / multiple, W / multiple), without the decoder.

        F is `layout.feature_channels`. For discriminators on the features of a denoiser (Yin et al. 2024, "Improved
        Distribution Matching Distillation for Fast Image Synthesis", section 4.3).
        """
        embedding = self.embedding(noise, labels)
        return self._transform_middle(self._encode(image, embedding, None)[-1], embedding, None)

    def _encode(self, image: Tensor, embedding: Tensor, generator: Generator | None) -> list[Tensor]:
        """Return the maps of the first layer and of every module of the encoder."""
        maps = [self.entry(pixel_unshuffle(image, self.layout.patch))]
        for module in self.encoder:
            is_plain = isinstance(module, ResamplingConvolution)
            maps.append(module(maps[-1]) if is_plain else module(maps[-1], embedding, generator))
        return maps

    def _transform_middle(self, maps: Tensor, embedding: Tensor, generator: Generator | None) -> Tensor:
        for block in self.middle:
            maps = block(maps, embedding, generator)
        return maps

    def _decode(self, maps: list[Tensor], hidden: Tensor, embedding: Tensor, generator: Generator | None) -> Tensor:
        """Return the output from all maps of the encoder, and those of the middle."""
        maps = maps.copy()
        for module in self.decoder:
            if isinstance(module, ResamplingConvolution):
                hidden = module(hidden)
            elif isinstance(module, EmbeddingBlock):
                joined = hidden if module.resampling == "up" else torch.cat([hidden, maps.pop()], dim=1)
                hidden = module(joined, embedding, generator)
        return pixel_shuffle(self.exit(silu(self.exit_norm(hidden))), self.layout.patch)

    def _attends(self, level: int) -> bool:
        return self.layout.size // self.layout.patch >> level == self.layout.attention

    def _block(self, channels_in: int, channels_out: int, attention: bool) -> EmbeddingBlock:
        """Return a residual block that keeps the size."""
        return EmbeddingBlock(
            channels_in,
            channels_out,
            4 * self.layout.width,
            attention=attention,
            p=self.layout.p,
            scale=self._scale,
        )

    def _resampling(self, channels: int, resampling: Literal["down", "up"]) -> nn.Module:
        """Return the module that changes the size."""
        if self.layout.kind == "ddpm":
            return ResamplingConvolution(channels, resampling)
        return EmbeddingBlock(
            channels, channels, 4 * self.layout.width, resampling=resampling, p=self.layout.p, scale=self._scale
        )

    @property
    def _scale(self) -> float:
        return 1.0 if self.layout.kind == "ddpm" else 0.5**0.5


@torch.no_grad()
def initialise_unet(network: DenoisingUNet, generator: Generator) -> None:
    """Initialise weights by Glorot's uniform distribution (Ho 2020's code), biases 0.

    The last convolutions of residual blocks and of the network are 0, so that blocks start as the identity and the
    output as 0; inputs of attention have sqrt(0.2) of their weights (Karras 2022's code).
    """
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.xavier_uniform_(module.weight, generator=generator)
            if module.bias is not None:
                module.bias.zero_()
    for module in network.modules():
        if isinstance(module, EmbeddingBlock):
            module.second.weight.zero_()
        elif isinstance(module, GlobalAttention):
            module.inputs.weight.mul_(0.2**0.5)
            module.output.weight.zero_()
    network.exit.weight.zero_()
