"""Generator of StyleGAN 2: mapping network, and synthesis network with an output at every resolution (Karras 2020)."""

import itertools
from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn

from equipoise.nn.equalised import initialise_equalised
from equipoise.nn.modulation import ModulatedConv2d, ModulatedOutput, initialise_modulated
from equipoise.nn.resample_filter import FilteredUpsampling
from equipoise.nn.style_mapping import MappingNetwork

Noise = Sequence[Tensor]
"""Noise of each layer: (B, 1, H, W), or (1, 1, H, W) for the same noise in all samples."""


class SkipGenerator(nn.Module):
    """Latents (B, L), and labels (B,) or None -> styles (B, L) -> images (B, C, H, W), not bounded."""

    def __init__(self, mapping: MappingNetwork, synthesis: "SkipSynthesis") -> None:
        super().__init__()
        self.mapping = mapping
        self.synthesis = synthesis

    def forward(self, latent: Tensor, labels: Tensor | None) -> Tensor:
        """Generate images with the noise of the buffers, without truncation."""
        styles: Tensor = self.synthesis.repeat(self.mapping(latent, labels))
        images: Tensor = self.synthesis(styles, self.synthesis.noise)
        return images


class SkipSynthesis(nn.Module):
    """Synthesis network with skip connections: the image is the sum of outputs at every resolution (section 4.1).

    From a learned constant map, two layers per resolution, the first of which doubles the map; one layer at the first.
    Layer i takes style i; an output takes the style of the layer after it, and the last output the last style.
    """

    def __init__(self, image_channels: int, start: tuple[int, int], widths: Sequence[int], style_dim: int) -> None:
        """`start`: height and width of the constant. `widths`: channels per resolution, from the smallest."""
        super().__init__()
        self.constant = nn.Parameter(torch.empty(1, widths[0], *start))
        layers = [ModulatedConv2d(widths[0], widths[0], style_dim)]
        for before, after in itertools.pairwise(widths):
            layers += [ModulatedConv2d(before, after, style_dim, up=True), ModulatedConv2d(after, after, style_dim)]
        self.layers = nn.ModuleList(layers)
        self.outputs = nn.ModuleList(ModulatedOutput(width, image_channels, style_dim) for width in widths)
        self.upsampling = FilteredUpsampling()
        sides = [[side * 2 ** ((index + 1) // 2) for side in start] for index in range(len(layers))]
        for index, (height, width) in enumerate(sides):
            self.register_buffer(f"noise_{index}", torch.zeros(1, 1, height, width))

    @property
    def styles(self) -> int:
        """Number of styles of a sample: one per layer, and one for the last output."""
        return len(self.layers) + 1

    @property
    def noise(self) -> list[Tensor]:
        """The fixed noise of each layer: (1, 1, H, W)."""
        return [cast(Tensor, getattr(self, f"noise_{index}")) for index in range(len(self.layers))]

    def repeat(self, style: Tensor) -> Tensor:
        """Repeat styles (B, D) for all layers: (B, styles, D)."""
        return style[:, None].expand(-1, self.styles, -1)

    def draw_noise(self, count: int, generator: torch.Generator) -> list[Tensor]:
        """Draw noise (count, 1, H, W) from N(0, 1) for each layer."""
        shapes = [noise.shape[-2:] for noise in self.noise]
        numbers = torch.randn(count, sum(map(torch.Size.numel, shapes)), generator=generator, device=generator.device)
        parts = numbers.split([shape.numel() for shape in shapes], dim=1)
        return [part.reshape(count, 1, *shape) for part, shape in zip(parts, shapes, strict=True)]

    def forward(self, styles: Tensor, noise: Noise | None) -> Tensor:
        """Generate images (B, C, H, W) from styles (B, styles, D). `noise`: None for none."""
        noises = [None] * len(self.layers) if noise is None else noise
        maps = self.constant.expand(styles.shape[0], -1, -1, -1)
        images: Tensor | None = None
        for index, layer in enumerate(self.layers):
            maps = layer(maps, styles[:, index], noises[index])
            if index % 2 == 0:
                colours: Tensor = self.outputs[index // 2](maps, styles[:, index + 1])
                images = colours if images is None else self.upsampling(images) + colours
        assert images is not None
        return images


@torch.no_grad()
def initialise_generator(network: SkipGenerator, generator: torch.Generator) -> None:
    """Draw weights and the constant from N(0, 1), then the fixed noise of the layers."""
    initialise_equalised(network, generator)
    initialise_modulated(network, generator)
    network.synthesis.constant.normal_(generator=generator)
    for noise in network.synthesis.noise:
        noise.normal_(generator=generator)
