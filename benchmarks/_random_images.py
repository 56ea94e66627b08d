"""Noise as a data set: 64 x 64 colour images whose content does not matter, for measuring speed alone.

The throughput benchmark names it `benchmarks._random_images`, as a stranger's module would be named.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from equipoise.core.data import Batch, DataSpec, Split, Suggestion

__all__ = ["RandomImages"]

COUNTS: dict[Split, int] = {"train": 512, "held_out": 256}


@dataclass(frozen=True, slots=True)
class RandomImages:
    """(3, 64, 64) float32 in [-1, 1], kept as uint8; no classes."""

    @property
    def spec(self) -> DataSpec:
        """Colour images of 64 pixels."""
        return DataSpec((3, 64, 64), flips=True)

    @property
    def suggestion(self) -> Suggestion:
        """The networks that are measured on it; there is nothing to learn."""
        return Suggestion(model="dcgan:celeba64", steps=1000, batch_size=32)

    def count(self, split: Split) -> int:
        """512 to train on, 256 held out."""
        return COUNTS[split]

    def stream(self, split: Split, batch_size: int, seed: int) -> "RandomStream":
        """Endless batches of a split."""
        generator = torch.Generator().manual_seed(2 * seed + (split == "held_out"))
        pixels = torch.randint(0, 256, (COUNTS[split], 3, 64, 64), dtype=torch.uint8, generator=generator)
        return RandomStream(pixels, batch_size)


@dataclass(frozen=True, slots=True, eq=False)
class RandomStream:
    """`images`: (N, C, H, W) uint8, again and again in the same order."""

    images: Tensor
    batch_size: int

    def batch(self, index: int) -> Batch:
        """Batch number `index`: real (B, C, H, W) float32 in [-1, 1], no condition."""
        chosen = (torch.arange(self.batch_size) + index * self.batch_size) % len(self.images)
        return Batch(self.images[chosen].float().div_(127.5).sub_(1.0))
