"""Streams over two sets of images: aligned pairs, and unrelated sets."""

from dataclasses import dataclass

from torch import Tensor

from equipoise.core.data import PairedBatch, Split, UnpairedBatch
from equipoise.data._arrays import batch_indices, check_split_size, luma, to_range
from equipoise.errors import DataError

SOURCE_SEED_OFFSET = 0x5EED
"""Added to the seed for the order of the inputs, so that it is independent of the order of the samples."""


@dataclass(frozen=True, slots=True, eq=False)
class ImageRows:
    """A subset of images. `array`: (N, C, H, W), uint8 or float32 in [-1, 1]. `rows`: (M,) int64, the subset.

    `luma`: convert to grey.
    """

    array: Tensor
    rows: Tensor
    luma: bool = False

    def __len__(self) -> int:
        return len(self.rows)

    def select(self, indices: Tensor) -> Tensor:
        """Return (B, C, H, W) float32 in [-1, 1], of indices (B,) into `rows`."""
        stored = self.array.index_select(0, self.rows.index_select(0, indices))
        images = to_range(stored)
        return luma(images) if self.luma else images


@dataclass(frozen=True, slots=True, eq=False)
class PairedStream:
    """Endless epochs over pairs, each in a new random order, split into batches; source and real are aligned.

    `labels`: (M,) int64, or None. `classes`: as in :func:`batch_indices`. Raises DataError if there are fewer pairs
    than a batch, SettingError for an empty batch.
    """

    real: ImageRows
    source: ImageRows
    labels: Tensor | None
    batch_size: int
    seed: int
    split: Split
    classes: tuple[Tensor, ...] | None = None

    def __post_init__(self) -> None:
        check_split_size(len(self.real), self.batch_size, self.split, "images")

    def batch(self, index: int) -> PairedBatch:
        """Return batch number `index`: real and source (B, C, H, W) float32 in [-1, 1], condition (B,) or None."""
        indices = batch_indices(len(self.real), self.batch_size, self.seed, self.split, index, self.classes)
        labels = None if self.labels is None else self.labels.index_select(0, indices)
        return PairedBatch(self.real.select(indices), labels, source=self.source.select(indices))


@dataclass(frozen=True, slots=True, eq=False)
class UnpairedStream:
    """Endless epochs over samples, and over inputs in an independent order.

    There may be fewer inputs than a batch; then some occur twice in it. `labels`: of the samples, or None. `classes`:
    of the samples, as in :func:`batch_indices`.
    """

    real: ImageRows
    source: ImageRows
    labels: Tensor | None
    batch_size: int
    seed: int
    split: Split
    classes: tuple[Tensor, ...] | None = None

    def __post_init__(self) -> None:
        check_split_size(len(self.real), self.batch_size, self.split, "images")
        if not len(self.source):
            raise DataError(f"the split '{self.split}' contains no inputs; add some, or change data.held_out")

    def batch(self, index: int) -> UnpairedBatch:
        """Return batch number `index`: real and source (B, C, H, W) float32 in [-1, 1], condition (B,) or None."""
        size, split = self.batch_size, self.split
        indices = batch_indices(len(self.real), size, self.seed, split, index, self.classes)
        source_indices = batch_indices(len(self.source), size, self.seed + SOURCE_SEED_OFFSET, split, index)
        labels = None if self.labels is None else self.labels.index_select(0, indices)
        return UnpairedBatch(self.real.select(indices), labels, source=self.source.select(source_indices))
