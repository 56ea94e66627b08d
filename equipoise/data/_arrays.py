"""Streams over images in memory, and seeded generators, which make every stream a pure function."""

import hashlib
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Generator, Tensor
from torch.nn import functional as F

from equipoise.core.data import Batch, Split
from equipoise.errors import DataError, SettingError

RESIZE_BATCH = 512
"""Number of images resized at once."""
LUMA = (0.299, 0.587, 0.114)
"""Weights of ITU-R BT.601, which Pillow uses to convert colour to grey."""


def generator_for(seed: int, split: Split, number: int) -> Generator:
    """Return a CPU generator for draw `number` (0 to 2^31 - 1) of a split.

    torch's CPU generator uses only the lower 32 bits of its seed, so a hash of all three arguments would have
    collisions within a long run. Here the top bit is the split, and `number` is mapped one-to-one to the other bits: no
    two draws of a stream share a generator, nor do a train and a held-out stream, whatever their seeds.
    """
    offset = int.from_bytes(hashlib.blake2b(str(seed).encode(), digest_size=4).digest())
    scattered = (number * 0x9E3779B1 ^ offset) & 0x7FFFFFFF
    return Generator().manual_seed(scattered | (split == "held_out") << 31)


@lru_cache(maxsize=16)
def permutation(count: int, seed: int, split: Split, epoch: int) -> Tensor:
    """Return the order of `count` samples in an epoch: (count,) int64. Cached; do not modify."""
    return torch.randperm(count, generator=generator_for(seed, split, epoch))


def batch_indices(
    count: int, batch_size: int, seed: int, split: Split, index: int, classes: tuple[Tensor, ...] | None = None
) -> Tensor:
    """Return the indices of the samples in batch number `index` of endless epochs over `count` samples: (B,) int64.

    `classes`: the indices (n,) of each class, to draw all classes equally often; None: every sample equally often.
    """
    check_batch_size(batch_size)
    if classes is not None:
        return _balanced_indices(classes, batch_size, seed, split, index)
    first, last = index * batch_size, (index + 1) * batch_size
    epochs = range(first // count, (last - 1) // count + 1)
    orders = [permutation(count, seed, split, epoch) for epoch in epochs]
    start = first - epochs.start * count
    return (orders[0] if len(orders) == 1 else torch.cat(orders))[start : start + batch_size]


def group_by_class(labels: Tensor | None, balance: bool) -> tuple[Tensor, ...] | None:
    """Return the indices of each class of `labels`, (M,) int64, in order of the classes; None without `balance`.

    Raises SettingError if there are no labels to balance.
    """
    if not balance:
        return None
    if labels is None:
        raise SettingError(
            "data.balance = true needs classes, and the data has none; add labels or subfolders, or omit data.balance"
        )
    return tuple((labels == label).nonzero().flatten() for label in labels.unique())


def _balanced_indices(classes: tuple[Tensor, ...], batch_size: int, seed: int, split: Split, index: int) -> Tensor:
    """Return the indices of batch number `index` of an endless order in which all classes occur equally often.

    The order consists of rounds, and each round of one sample of each class, in a random order of the classes. So the
    sample of a class in round n is number n of endless epochs over that class. (B,) int64.
    """
    count, first = len(classes), index * batch_size
    rounds = range(first // count, (first + batch_size - 1) // count + 1)
    generators = count + 1  # of a round: for the order of its classes, and for an epoch over each class
    orders = [permutation(count, seed, split, number * generators) for number in rounds]
    start = first - rounds.start * count
    drawn = torch.cat(orders)[start : start + batch_size].tolist()
    result = []
    for position, label in enumerate(drawn, first):
        rows = classes[label]
        epoch, place = divmod(position // count, len(rows))
        result.append(rows[permutation(len(rows), seed, split, epoch * generators + 1 + label)[place]])
    return torch.stack(result)


@dataclass(frozen=True, slots=True, eq=False)
class ImageStream:
    """Endless epochs over images, each in a new random order, split into batches.

    `images`: (N, C, H, W) uint8, or float32 in [-1, 1]. `rows`: (M,) int64, the images to use; None for all. `labels`:
    (M,) int64, or None. `classes`: as in :func:`batch_indices`. Batches cross epoch boundaries, so no image is dropped.
    Raises DataError if there are fewer images than a batch, SettingError for an empty batch.
    """

    images: Tensor
    labels: Tensor | None
    batch_size: int
    seed: int
    split: Split
    rows: Tensor | None = None
    classes: tuple[Tensor, ...] | None = None

    def __post_init__(self) -> None:
        check_split_size(len(self), self.batch_size, self.split, "images")

    def __len__(self) -> int:
        return len(self.images if self.rows is None else self.rows)

    def batch(self, index: int) -> Batch:
        """Return batch number `index`: real (B, C, H, W) float32 in [-1, 1], condition (B,) int64 or None."""
        indices = batch_indices(len(self), self.batch_size, self.seed, self.split, index, self.classes)
        rows = indices if self.rows is None else self.rows.index_select(0, indices)
        real = to_range(self.images.index_select(0, rows))
        return Batch(real, None if self.labels is None else self.labels.index_select(0, indices))


@dataclass(frozen=True, slots=True)
class GreyStream:
    """Stream of colour images, converted to grey by luma."""

    colour: ImageStream

    def batch(self, index: int) -> Batch:
        """Return batch number `index`: real (B, 1, H, W) float32 in [-1, 1], condition (B,) int64 or None."""
        batch = self.colour.batch(index)
        return Batch(luma(batch.real), batch.condition)


def check_split_size(count: int, batch_size: int, split: Split, noun: str) -> None:
    """Raise DataError if a split has fewer samples than a batch, SettingError for an empty batch."""
    check_batch_size(batch_size)
    if count == 0:
        raise DataError(f"the split '{split}' contains no {noun}; add some, or change the split of the data")
    if count < batch_size:
        raise DataError(
            f"the split '{split}' contains {count} {noun}, fewer than a batch of {batch_size}; "
            f"use --batch-size {count} or less"
        )


def check_training_images(count: int | None, available: int) -> None:
    """Raise SettingError for a subset of the training images that is empty or larger than the set."""
    if count is not None and not 1 <= count <= available:
        raise SettingError(f"training_images = {count}: it must be from 1 to {available}")


def check_batch_size(batch_size: int) -> None:
    """Raise SettingError for an empty batch."""
    if batch_size < 1:
        raise SettingError(f"batch_size = {batch_size}: it must be at least 1")


def to_range(images: Tensor) -> Tensor:
    """Return images (N, C, H, W) as float32 in [-1, 1], from uint8 or from that."""
    return images.float().div_(127.5).sub_(1.0) if images.dtype == torch.uint8 else images


def luma(images: Tensor) -> Tensor:
    """Convert colour images (B, 3, H, W) in [-1, 1] to grey (B, 1, H, W)."""
    grey: Tensor = torch.tensordot(images, torch.tensor(LUMA), dims=([1], [0]))
    return grey.unsqueeze(1).clamp_(-1, 1)


def resize_images(images: Tensor, size: int) -> Tensor:
    """Resize `images`, (N, C, H, W) uint8, to (N, C, size, size) uint8: bilinear with antialiasing."""
    if tuple(images.shape[2:]) == (size, size):
        return images
    chunks = [
        F.interpolate(chunk.float(), size=(size, size), mode="bilinear", antialias=True).round_().clamp_(0, 255).byte()
        for chunk in torch.split(images, RESIZE_BATCH)
    ]
    return torch.cat(chunks)
