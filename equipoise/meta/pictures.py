"""Small grey images of discs, bars or waves, on which policies for image GANs are trained.

Controllers are compared on other data sets. The images are computed, so there is no licence and no digest.
"""

import math
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Generator, Tensor

from equipoise.core.data import DataSpec, Suggestion
from equipoise.errors import SettingError
from equipoise.meta._synthetic import SyntheticData

__all__ = ["ShapeImages"]


@dataclass(frozen=True, slots=True)
class ShapeImages(SyntheticData):
    """Images (1, size, size) float32 in [-1, 1]. Raises SettingError for fewer than 2 reals or 8 pixels.

    Each image shows one disc, bar or patch of waves of random position, size, angle and brightness.
    """

    distribution_options: ClassVar[tuple[str, ...]] = ("motif",)
    """Options that define the distribution."""

    motif: Literal["discs", "bars", "waves"] = "discs"
    """shape in the images"""
    reals: int = 1000
    """number of training reals; held-out reals are unlimited"""
    size: int = 16
    """height and width in pixels"""
    draw: int = 0
    """seed of the reals"""

    def __post_init__(self) -> None:
        SyntheticData.__post_init__(self)
        if self.size < 8:
            raise SettingError(f"size = {self.size}: it must be at least 8")

    @property
    def spec(self) -> DataSpec:
        """Shape of the images: grey, without labels."""
        return DataSpec((1, self.size, self.size), flips=True)

    @property
    def suggestion(self) -> Suggestion:
        """Defaults for a run of seconds on one core."""
        return Suggestion(model="dcgan", steps=300, batch_size=32, metric="fd_pixels")

    def sample(self, count: int, generator: Generator) -> Tensor:
        """Sample (count, 1, size, size) float32 in [-1, 1]."""
        numbers = torch.rand(5, count, 1, 1, generator=generator)
        x, y, angle = 1.2 * (numbers[0] - 0.5), 1.2 * (numbers[1] - 0.5), math.pi * numbers[2]
        radius, light = 0.25 + 0.3 * numbers[3], 0.5 + 0.5 * numbers[4]
        line = torch.linspace(-1, 1, self.size)
        down, across = torch.meshgrid(line, line, indexing="ij")
        u = (across - x) * torch.cos(angle) + (down - y) * torch.sin(angle)
        v = (down - y) * torch.cos(angle) - (across - x) * torch.sin(angle)
        match self.motif:
            case "discs":
                inside = radius - (u**2 + v**2).sqrt()
            case "bars":
                inside = torch.minimum(0.15 - v.abs(), 2 * radius - u.abs())
            case "waves":
                inside = 0.3 * torch.cos(2 * math.pi * u / radius) * torch.exp(-(u**2 + v**2) / radius)
        coverage = torch.sigmoid(inside * self.size)  # edges about a pixel wide
        return (2 * light * coverage - 1)[:, None]
