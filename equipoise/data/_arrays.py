"""Streams over images that fit into memory, and the random generators that make every stream a pure function."""

import hashlib
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Generator, Tensor
from torch.nn import functional as F

from equipoise.core.data import Batch, Split
from equipoise.errors import DataError, SettingError

RESIZED_AT_ONCE = 512
LUMA = (0.299, 0.587, 0.114)
"""Of ITU-R BT.601, as Pillow makes grey of colour."""


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


def places_of(count: int, batch_size: int, seed: int, split: Split, index: int) -> Tensor:
    """Which of `count` samples are in batch number `index` of endless epochs: (B,) int64, from as many as it takes."""
    check_batch_size(batch_size)
    first, last = index * batch_size, (index + 1) * batch_size
    epochs = range(first // count, (last - 1) // count + 1)
    orders = [permutation(count, seed, split, epoch) for epoch in epochs]
    start = first - epochs.start * count
    return (orders[0] if len(orders) == 1 else torch.cat(orders))[start : start + batch_size]


@dataclass(frozen=True, slots=True, eq=False)
class Shuffled:
    """Endless epochs over images, each in a fresh order, cut into batches.

    `images`: (N, C, H, W) uint8. `rows`: (M,) int64, which of them; None for all. `labels`: (M,) int64, or None.
    Batches run across the border of two epochs, so nothing is dropped. Raises DataError if there are fewer images than
    a batch takes, SettingError for a batch of none.
    """

    images: Tensor
    labels: Tensor | None
    batch_size: int
    seed: int
    split: Split
    rows: Tensor | None = None

    def __post_init__(self) -> None:
        check_enough(len(self), self.batch_size, self.split, "images")

    def __len__(self) -> int:
        return len(self.images if self.rows is None else self.rows)

    def batch(self, index: int) -> Batch:
        """Batch number `index`: real (B, C, H, W) float32 in [-1, 1], condition (B,) int64 or None."""
        chosen = places_of(len(self), self.batch_size, self.seed, self.split, index)
        places = chosen if self.rows is None else self.rows.index_select(0, chosen)
        real = self.images.index_select(0, places).float().div_(127.5).sub_(1.0)
        return Batch(real, None if self.labels is None else self.labels.index_select(0, chosen))


def check_enough(count: int, batch_size: int, split: Split, noun: str) -> None:
    """Raise DataError if a split has fewer samples than a batch takes, SettingError for a batch of none."""
    check_batch_size(batch_size)
    if count == 0:
        raise DataError(f"there are no {noun} in '{split}'")
    if count < batch_size:
        raise DataError(
            f"there are {count} {noun} in '{split}', fewer than a batch of {batch_size}; "
            f"use --batch-size {count} or less"
        )


def check_part(count: int | None, whole: int) -> None:
    """Raise SettingError for a part of the training images that is empty, or larger than the whole."""
    if count is not None and not 1 <= count <= whole:
        raise SettingError(f"training_images = {count}: it must lie between 1 and {whole}")


def check_batch_size(batch_size: int) -> None:
    """Raise SettingError for a batch of no samples."""
    if batch_size < 1:
        raise SettingError(f"batch_size = {batch_size} is too small; use 1 or more")


def luma(images: Tensor) -> Tensor:
    """Colour images (B, 3, H, W) in [-1, 1] as grey ones (B, 1, H, W)."""
    grey: Tensor = torch.tensordot(images, torch.tensor(LUMA), dims=([1], [0]))
    return grey.unsqueeze(1).clamp_(-1, 1)


def resized(images: Tensor, size: int) -> Tensor:
    """`images`, (N, C, H, W) uint8, as (N, C, size, size) uint8: bilinear, smoothed before it is made smaller."""
    if tuple(images.shape[2:]) == (size, size):
        return images
    pieces = [
        F.interpolate(piece.float(), size=(size, size), mode="bilinear", antialias=True).round_().clamp_(0, 255).byte()
        for piece in torch.split(images, RESIZED_AT_ONCE)
    ]
    return torch.cat(pieces)
