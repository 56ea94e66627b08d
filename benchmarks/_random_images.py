"""Noise as a data set: 64 x 64 colour images whose content does not matter, for measuring speed only.

The throughput benchmark names it `benchmarks._random_images`, like a module of a user.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from equipoise.core.data import Batch, DataSpec, Split, Suggestion

__all__ = ["RandomImages"]

COUNTS: dict[Split, int] = {"train": 512, "held_out": 256}


@dataclass(frozen=True, slots=True)
class RandomImages:
    """(3, 64, 64) float32 in [-1, 1], stored as uint8; no classes."""

    @property
    def spec(self) -> DataSpec:
        """Colour images of 64 x 64 pixels."""
        return DataSpec((3, 64, 64), flips=True)

    @property
    def suggestion(self) -> Suggestion:
        """The networks that are measured on it; there is nothing to learn."""
        return Suggestion(model="dcgan:celeba64", steps=1000, batch_size=32)

    def count(self, split: Split) -> int:
        """Return 512 for `train`, 256 for `held_out`."""
        return COUNTS[split]

    def stream(self, split: Split, batch_size: int, seed: int) -> "RandomStream":
        """Return an unlimited stream of batches of a split."""
        generator = torch.Generator().manual_seed(2 * seed + (split == "held_out"))
        pixels = torch.randint(0, 256, (COUNTS[split], 3, 64, 64), dtype=torch.uint8, generator=generator)
        return RandomStream(pixels, batch_size)


@dataclass(frozen=True, slots=True, eq=False)
class RandomStream:
    """`images`: (N, C, H, W) uint8, repeated in the same order."""

    images: Tensor
    batch_size: int

    def batch(self, index: int) -> Batch:
        """Return batch number `index`: real (B, C, H, W) float32 in [-1, 1], no condition."""
        indices = (torch.arange(self.batch_size) + index * self.batch_size) % len(self.images)
        return Batch(self.images[indices].float().div_(127.5).sub_(1.0))
