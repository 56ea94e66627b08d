"""The generator of StyleGAN: a mapping network, and a synthesis network that grows.

Karras et al. 2019, "A Style-Based Generator Architecture for Generative Adversarial Networks", sections 2 and 3.
"""

import itertools
from collections.abc import Sequence

import torch
from torch import Generator, Tensor, nn

from equipoise.nn.equalised import EqualConv2d, initialise_equalised
from equipoise.nn.growing import SMALLEST_SIDE, GrowthLevel, blend, enlarge
from equipoise.nn.style import StyledLayer, initialise_noise
from equipoise.nn.style_mapping import MappingNetwork


class StyleGenerator(nn.Module):
    """Generator of images (N, C, S, S), S the side of the highest level, whatever the present level is.

    `channels`: C. `widths`: channels of the maps of 4 x 4, 8 x 8, ... up to S x S, each with two layers. `mapping`: its
    w have `style_dim` numbers.
    """

    def __init__(self, channels: int, widths: Sequence[int], mapping: MappingNetwork, style_dim: int) -> None:
        super().__init__()
        self.highest = len(widths) - 1
        self.level = GrowthLevel(self.highest)
        self.mapping = mapping
        self.constant = nn.Parameter(torch.ones(1, widths[0], SMALLEST_SIDE, SMALLEST_SIDE))
        self.layers = nn.ModuleList(
            [
                StyledLayer(None, widths[0], style_dim, SMALLEST_SIDE),
                StyledLayer(widths[0], widths[0], style_dim, SMALLEST_SIDE),
            ]
        )
        for level, (before, after) in enumerate(itertools.pairwise(widths), 1):
            side = SMALLEST_SIDE << level
            self.layers.append(StyledLayer(before, after, style_dim, side, doubles=True))
            self.layers.append(StyledLayer(after, after, style_dim, side))
        self.to_image = nn.ModuleList(EqualConv2d(width, channels, 1, gain=1.0) for width in widths)

    def initialise(self, generator: Generator) -> None:
        """Draw the weights and the fixed noise."""
        initialise_equalised(self, generator)
        initialise_noise(self, generator)

    def forward(self, latent: Tensor, condition: Tensor | None) -> Tensor:
        """Generate images with fixed noise from latents (N, L), and labels (N,) or None; see :meth:`synthesize`."""
        return self.synthesize(self.map(latent, condition), self.fixed_noise())

    def map(self, latent: Tensor, condition: Tensor | None) -> Tensor:
        """Compute styles (N, layers, D), the same w for every layer."""
        w: Tensor = self.mapping(latent, condition)
        return w[:, None].expand(-1, len(self.layers), -1)

    def synthesize(self, styles: Tensor, noise: Sequence[Tensor | None]) -> Tensor:
        """Generate images from styles (N, layers, D) and noise per layer, None for none; about [-1, 1], not clamped.

        Layers above the present level are not computed, and need no noise; images are enlarged to the full size.
        """
        fade = self.level.fade()
        maps = below = self.constant.expand(styles.shape[0], -1, -1, -1)
        for index in range(2 * (fade.level + 1)):
            below = maps if index == 2 * fade.level else below
            maps = self.layers[index](maps, styles[:, index], noise[index])
        images: Tensor = self.to_image[fade.level](maps)
        if fade.share < 1:
            images = blend(enlarge(self.to_image[fade.level - 1](below)), images, fade.share)
        return enlarge(images, self.highest - fade.level)

    def fixed_noise(self) -> list[Tensor | None]:
        """Return the noise of the buffers, (1, 1, S, S) per layer."""
        return [layer.noise for layer in self.layers if isinstance(layer, StyledLayer)]

    def draw_noise(self, count: int, generator: Generator) -> list[Tensor | None]:
        """Draw noise (count, 1, S, S) for each layer up to the present level."""
        sides = [layer.side for layer in self.layers[: self.active_layers()] if isinstance(layer, StyledLayer)]
        return [torch.randn(count, 1, side, side, generator=generator, device=generator.device) for side in sides]

    def active_layers(self) -> int:
        """Return the number of layers up to the present level."""
        return 2 * (self.level.fade().level + 1)
