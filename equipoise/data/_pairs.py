"""Streams over two sets of images: pairs that belong together, and sets with nothing but their number in common."""

from dataclasses import dataclass

from torch import Tensor

from equipoise.core.data import PairedBatch, Split, UnpairedBatch
from equipoise.data._arrays import check_enough, luma, places_of
from equipoise.errors import DataError

APART = 0x5EED
"""Added to a seed for the order of the inputs, so that it has nothing to do with that of the samples."""


@dataclass(frozen=True, slots=True, eq=False)
class Images:
    """`array`: (N, C, H, W) uint8. `rows`: (M,) int64, which of them. `luma`: colour images as grey ones."""

    array: Tensor
    rows: Tensor
    luma: bool = False

    def __len__(self) -> int:
        return len(self.rows)

    def taken(self, places: Tensor) -> Tensor:
        """(B, C, H, W) float32 in [-1, 1], of places (B,) among the rows."""
        images = self.array.index_select(0, self.rows.index_select(0, places)).float().div_(127.5).sub_(1.0)
        return luma(images) if self.luma else images


@dataclass(frozen=True, slots=True, eq=False)
class Pairs:
    """Endless epochs over pairs, each in a fresh order, cut into batches; place by place they belong together.

    `labels`: (M,) int64, or None. Raises DataError if there are fewer than a batch takes, SettingError for a batch of
    none.
    """

    real: Images
    source: Images
    labels: Tensor | None
    batch_size: int
    seed: int
    split: Split

    def __post_init__(self) -> None:
        check_enough(len(self.real), self.batch_size, self.split, "images")

    def batch(self, index: int) -> PairedBatch:
        """Batch number `index`: real and source (B, C, H, W) float32 in [-1, 1], condition (B,) int64 or None."""
        chosen = places_of(len(self.real), self.batch_size, self.seed, self.split, index)
        labels = None if self.labels is None else self.labels.index_select(0, chosen)
        return PairedBatch(self.real.taken(chosen), labels, source=self.source.taken(chosen))


@dataclass(frozen=True, slots=True, eq=False)
class Apart:
    """Endless epochs over samples, and over inputs in an order of their own: what is side by side is so by chance.

    There may be fewer inputs than a batch takes; then some are in it twice. `labels`: of the samples, or None.
    """

    real: Images
    source: Images
    labels: Tensor | None
    batch_size: int
    seed: int
    split: Split

    def __post_init__(self) -> None:
        check_enough(len(self.real), self.batch_size, self.split, "images")
        if not len(self.source):
            raise DataError(f"there are no inputs in '{self.split}'")

    def batch(self, index: int) -> UnpairedBatch:
        """Batch number `index`: real and source (B, C, H, W) float32 in [-1, 1], condition (B,) int64 or None."""
        size, split = self.batch_size, self.split
        chosen = places_of(len(self.real), size, self.seed, split, index)
        inputs = places_of(len(self.source), size, self.seed + APART, split, index)
        labels = None if self.labels is None else self.labels.index_select(0, chosen)
        return UnpairedBatch(self.real.taken(chosen), labels, source=self.source.taken(inputs))
