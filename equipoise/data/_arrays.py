"""Streams over images that fit into memory, and the random generators that make every stream a pure function."""

import hashlib
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Generator, Tensor
from torch.nn import functional as F

from equipoise.base import Batch, Split
from equipoise.errors import DataError, SettingError

RESIZED_AT_ONCE = 512


def generator_for(seed: int, split: Split, number: int) -> Generator:
    """A CPU generator for draw `number` (0 to 2^31 - 1) of a split.

    torch's CPU generator looks at the lower 32 bits of its seed only, so a hash of all three would repeat itself
    within a long run. Here the top bit tells the splits apart and the map of `number` to the others is one to one:
    no two draws of a stream share a generator, nor do a train and a held-out stream, whatever their seeds.
    """
    offset = int.from_bytes(hashlib.blake2b(str(seed).encode(), digest_size=4).digest())
    scattered = (number * 0x9E3779B1 ^ offset) & 0x7FFFFFFF
    return Generator().manual_seed(scattered | (split == "held_out") << 31)


@lru_cache(maxsize=8)
def permutation(count: int, seed: int, split: Split, epoch: int) -> Tensor:
    """The order of `count` samples in an epoch: (count,) int64. Cached, not to be changed."""
    return torch.randperm(count, generator=generator_for(seed, split, epoch))


@dataclass(frozen=True, slots=True, eq=False)
class Shuffled:
    """Endless epochs over images, each in a fresh order, cut into batches.

    `images`: (N, C, H, W) uint8. `labels`: (N,) int64, or None. Batches run across the border of two epochs, so
    nothing is dropped. Raises DataError if there are fewer images than a batch takes, SettingError for a batch of none.
    """

    images: Tensor
    labels: Tensor | None
    batch_size: int
    seed: int
    split: Split

    def __post_init__(self) -> None:
        check_batch_size(self.batch_size)
        count = len(self.images)
        if count == 0:
            raise DataError(f"there are no images in '{self.split}'")
        if count < self.batch_size:
            raise DataError(
                f"there are {count} images in '{self.split}', fewer than a batch of {self.batch_size}; "
                f"use --batch-size {count} or less"
            )

    def batch(self, index: int) -> Batch:
        """Batch number `index`: real (B, C, H, W) float32 in [-1, 1], condition (B,) int64 or None."""
        chosen = self._indices(index)
        real = self.images.index_select(0, chosen).float().div_(127.5).sub_(1.0)
        return Batch(real, None if self.labels is None else self.labels.index_select(0, chosen))

    def _indices(self, index: int) -> Tensor:
        """Which images are in batch number `index`: (B,) int64."""
        count = len(self.images)
        epoch, start = divmod(index * self.batch_size, count)
        first = permutation(count, self.seed, self.split, epoch)[start : start + self.batch_size]
        missing = self.batch_size - len(first)
        if missing == 0:
            return first
        return torch.cat([first, permutation(count, self.seed, self.split, epoch + 1)[:missing]])


def check_batch_size(batch_size: int) -> None:
    """Raise SettingError for a batch of no samples."""
    if batch_size < 1:
        raise SettingError(f"batch_size = {batch_size} is too small; use 1 or more")


def resized(images: Tensor, size: int) -> Tensor:
    """`images`, (N, C, H, W) uint8, as (N, C, size, size) uint8: bilinear, smoothed before it is made smaller."""
    if tuple(images.shape[2:]) == (size, size):
        return images
    pieces = [
        F.interpolate(piece.float(), size=(size, size), mode="bilinear", antialias=True).round_().clamp_(0, 255).byte()
        for piece in torch.split(images, RESIZED_AT_ONCE)
    ]
    return torch.cat(pieces)
