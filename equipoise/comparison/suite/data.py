"""The data of the suite: a few training pictures, fewer held-out ones, and test reals that no controller ever sees.

A person with N pictures has N training and about N / 5 held-out ones, so controllers observe no more than that. Quality
is measured against up to 1,000 test reals, which the run does not contain.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, Protocol, get_args

import torch
from torch import Tensor

from equipoise.comparison.suite import _drawings
from equipoise.core import catalog
from equipoise.core.data import Batch, DataSet, DataSpec, NoPreparation, Split, Suggestion
from equipoise.errors import SettingError
from equipoise.meta.points import Points, Shape

__all__ = ["SuiteData"]

SampleSource = Literal["digits", "emoji", "outlines", "glyphs", "icons", "bursts", "tables", "mixtures", "spirals"]
SOURCES: tuple[SampleSource, ...] = get_args(SampleSource)
POINTS: dict[SampleSource, Shape] = {"mixtures": "clusters", "spirals": "spirals"}
SIZES = (16, 32)
MAX_TEST, MAX_HELD_OUT, MIN_HELD_OUT = 1000, 200, 16
TEST_SHARE = 1 / 3
POOL_OF_POINTS = 4000
SPLIT_SEED = 2026


class DataWithTestReals(DataSet, Protocol):
    """A data set that has test reals, too."""

    def test_reals(self) -> Tensor:
        """Return the test reals (N, ...) float32, which are in no split."""
        ...


@dataclass(frozen=True, slots=True)
class SuiteData(NoPreparation):
    """Pictures (C, S, S), windows of a table (3, 32) or points (2,), float32 in [-1, 1], without labels.

    Raises SettingError for an unknown source or size, or for more training pictures than exist.
    """

    source: SampleSource = "digits"
    """where the samples come from"""
    image_size: int = 16
    """pixels a side: 16 or 32; no effect for tables and points"""
    training_images: int | None = None
    """number of training samples; default: all that are neither held out nor for the test"""
    draw: int = 0
    """seed of the choice of training and held-out samples; the test reals are always the same"""

    def __post_init__(self) -> None:
        if self.source not in SOURCES:
            raise SettingError(f"there is no source '{self.source}'; choose one of {', '.join(SOURCES)}")
        if self.image_size not in SIZES:
            raise SettingError(f"image_size = {self.image_size}: it must be 16 or 32")
        if self.training_images is not None and not 2 <= self.training_images <= self._most():
            raise SettingError(
                f"training_images = {self.training_images}: '{self.source}' has {self._most()} besides its test reals"
            )

    @property
    def spec(self) -> DataSpec:
        """Shape of a sample; tables and drawings are not flipped, as in a folder without further knowledge."""
        return DataSpec(tuple(_pool(self.source, self.image_size).shape[1:]))

    @property
    def suggestion(self) -> Suggestion:
        """Defaults for a run of seconds on one core."""
        model = "mlp" if self.source in POINTS else "dcgan"
        return Suggestion(model=model, steps=200, batch_size=32, metric="equipoise.comparison.suite.distance")

    def _pool_and_test(self) -> tuple[int, int]:
        count = len(_pool(self.source, self.image_size))
        return count, min(MAX_TEST, int(count * TEST_SHARE))

    def _most(self) -> int:
        count, test = self._pool_and_test()
        return count - test - held_out_count(count - test)

    def count(self, split: Split) -> int:
        """Return the number of training samples, or a fifth of it for held-out ones, from 16 to 200."""
        train = self.training_images or self._most()
        return train if split == "train" else held_out_count(train)

    def rows(self, split: Split) -> Tensor:
        """Return the samples of a split (N, ...) float32."""
        pool = _pool(self.source, self.image_size)
        count, test = self._pool_and_test()
        order = torch.randperm(count - test, generator=torch.Generator().manual_seed(SPLIT_SEED + 1 + self.draw)) + test
        held_out = self.count("held_out")
        rows = order[:held_out] if split == "held_out" else order[held_out : held_out + self.count("train")]
        return pool[rows]

    def test_reals(self) -> Tensor:
        """Return the test reals (N, ...) float32: the same for every draw, in no split."""
        _, test = self._pool_and_test()
        return _pool(self.source, self.image_size)[:test]

    def stream(self, split: Split, batch_size: int, seed: int) -> "RowStream":
        """Return endless shuffled batches of a split."""
        return RowStream(self.rows(split), batch_size, seed * 2 + (split == "held_out"))


@dataclass(frozen=True, slots=True, eq=False)
class RowStream:
    """Endless epochs over rows (N, ...), each in a new random order, in batches of any size."""

    rows: Tensor
    batch_size: int
    seed: int

    def batch(self, index: int) -> Batch:
        """Return batch number `index`: real (B, ...) float32."""
        count = len(self.rows)
        first, last = index * self.batch_size, (index + 1) * self.batch_size
        epochs = range(first // count, (last - 1) // count + 1)
        orders = torch.cat([_order(count, self.seed, epoch) for epoch in epochs])
        start = first - epochs.start * count
        return Batch(self.rows[orders[start : start + self.batch_size]])


@lru_cache(maxsize=64)
def _order(count: int, seed: int, epoch: int) -> Tensor:
    seed = (seed * 0x9E3779B1 ^ epoch * 0x85EBCA6B) & 0xFFFFFFFF
    return torch.randperm(count, generator=torch.Generator().manual_seed(seed))


def held_out_count(train: int) -> int:
    """Return the number of held-out samples for a number of training samples: a fifth, from 16 to 200."""
    return min(MAX_HELD_OUT, max(MIN_HELD_OUT, train // 5))


@lru_cache(maxsize=8)
def _pool(source: SampleSource, size: int) -> Tensor:
    """Return all samples of a source in a fixed random order (N, ...) float32."""
    samples = _samples(source, size)
    return samples[torch.randperm(len(samples), generator=torch.Generator().manual_seed(SPLIT_SEED))]


def _samples(source: SampleSource, size: int) -> Tensor:
    match source:
        case "digits":
            return _both_splits(catalog.build("data", "digits", {"image_size": size}))
        case "emoji":
            return _both_splits(catalog.build("data", "openmoji", {"image_size": size}))
        case "outlines":
            return _both_splits(catalog.build("data", "openmoji", {"image_size": size}), "source")
        case "glyphs":
            return _drawings.glyphs(size)
        case "icons":
            return _drawings.icons(size)
        case "bursts":
            return _drawings.bursts(size)
        case "tables":
            return _drawings.series()
        case _:
            points = Points(shape=POINTS[source], reals=POOL_OF_POINTS)
            return points.sample(POOL_OF_POINTS, torch.Generator().manual_seed(SPLIT_SEED))


def _both_splits(data: DataSet, field: Literal["real", "source"] = "real") -> Tensor:
    splits: tuple[Split, Split] = ("train", "held_out")
    counts = [data.count(split) or 0 for split in splits]
    batches = [data.stream(split, count, 0).batch(0) for split, count in zip(splits, counts, strict=True)]
    return torch.cat([getattr(batch, field) for batch in batches])
