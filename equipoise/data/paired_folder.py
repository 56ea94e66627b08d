"""A folder of pairs of your own, input and sample: side by side in one image, or two subfolders with the same names.

Decoded once into a cache beside the runs, from where batches are mapped into memory; the folder itself is only read.
Its licence is yours to know. See docs/data.md.
"""

import dataclasses
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from equipoise.base import DataSpec, Preparation, Split, Stream, Suggestion
from equipoise.data import _cache, _sides
from equipoise.data._files import last
from equipoise.data._pairs import Apart, Pairs
from equipoise.data._pictures import Background, Fit, Form
from equipoise.data._sides import Asked, Found, check_options

__all__ = ["PairedFolder"]


@dataclass(frozen=True, slots=True)
class PairedFolder:
    """Pairs of images (C, S, S) float32 in [-1, 1], from one file each or from two of the same name.

    Raises SettingError for a value that cannot be.
    """

    folder: str
    """where the images lie"""
    image_size: int | None = None
    """pixels a side; left out: the largest of 16, 32 and 64 that half of the images reach, nearly or fully"""
    source: str | None = None
    """the input: left or right of images side by side, or a subfolder; left out: left, or the first of two by name"""
    target: str | None = None
    """the subfolder of the samples, if there are more than two"""
    source_channels: int | None = None
    """1 or 3, of inputs; left out: 1 if every one is grey"""
    channels: int | None = None
    """1 or 3, of samples; left out: 1 if every one is grey"""
    fit: Fit = "crop"
    """what becomes of images that are not square: their middle, the whole with bars beside it, or stretched"""
    background: Background = "white"
    """what shows through transparent pixels, and in the bars of padded images"""
    flips: bool = False
    """whether mirror images are as real as the originals, and may be made by augmentation"""
    paired: bool = True
    """whether inputs to train on come with their own samples, or in an order of their own; those held out always do"""
    held_out: float = 0.1
    """share of the pairs that is never trained on, chosen by content"""
    cache: str = "runs/.cache"
    """where decoded images are kept"""
    digest: str | None = None
    """of all files; written by the program, so that a run goes on with the images it began with"""

    def __post_init__(self) -> None:
        check_options(self.image_size, (self.source_channels, self.channels), self.held_out)

    def prepare(self) -> Iterator[Preparation]:
        """Look through the folder and decode what is new. Raises DataError if it is not the one that `digest` is of."""
        yield from self._making()

    def settled(self) -> Self:
        """The same with folder and cache as full paths, and size, sides, channels and digest as found."""
        settled: Self = last(self._making())
        return settled

    @property
    def spec(self) -> DataSpec:
        """What one pair is; once settled, without a look at the folder."""
        if self.image_size is None or self.channels is None or self.source_channels is None:
            return self.settled().spec
        side = (self.image_size, self.image_size)
        splits: tuple[Split, ...] = ("train", "held_out") if self.paired else ("held_out",)
        return DataSpec((self.channels, *side), flips=self.flips, source=(self.source_channels, *side), paired=splits)

    @property
    def suggestion(self) -> Suggestion:
        """A first result within half an hour on one core; of a small folder the batch is all there is."""
        size, train = self.spec.shape[-1], self.count("train")
        gan = f"{'pix2pix' if self.paired else 'cyclegan'}:cpu{64 if size >= 64 else 32}"
        metric = "paired_l1" if self.count("held_out") else None
        return Suggestion(gan, steps=3000, batch_size=min(16, train), metric=metric, controller="annealed")

    def count(self, split: Split) -> int:
        """How many pairs a split has."""
        data, found = self._ready()
        return len(data._rows(found, split)[0])

    def stream(self, split: Split, batch_size: int, seed: int) -> Stream:
        """Endless shuffled batches of a split: pairs, or, to train on, both sides apart if they are not to be paired.

        Raises DataError if the split is smaller than a batch.
        """
        data, found = self._ready()
        sources, targets = data._rows(found, split)
        source = found.images(found.layout.source, sources, data.source_channels or 3)
        real = found.images(found.layout.target, targets, data.channels or 3)
        kind = Pairs if split in data.spec.paired else Apart
        return kind(real, source, None, batch_size, seed, split)

    def _making(self) -> Generator[Preparation, None, Self]:
        """Decode what is new, tell what was found, and return it settled."""
        asked = self._asked()
        found = yield from _sides.making(asked, pairs=True)
        return dataclasses.replace(
            self,
            folder=str(asked.folder),
            cache=str(asked.cache),
            image_size=found.size,
            source=found.layout.source,
            target=found.layout.target,
            source_channels=self.source_channels or (1 if found.grey(found.layout.source) else 3),
            channels=self.channels or (1 if found.grey(found.layout.target) else 3),
            digest=found.kept.digest,
        )

    def _asked(self) -> Asked:
        folder, cache = Path(self.folder).expanduser().resolve(), Path(self.cache).expanduser().resolve()
        form = Form(self.image_size or 0, self.fit, self.background)
        return Asked(folder, cache, self.image_size, form, self.source, self.target, self.digest)

    def _ready(self) -> tuple[Self, Found]:
        """Settled, and its images: the folder is looked at only before that, or if the cache was deleted."""
        if None not in (self.channels, self.source_channels) and (found := _sides.opened(self._asked())):
            return self, found
        data = self.settled()
        return data, _sides.surely_opened(data._asked())

    def _rows(self, found: Found, split: Split) -> tuple[list[int], list[int]]:
        """Rows of inputs and of samples, pair by pair; pairs of equal inputs lie in one split."""
        sources, targets = found.pairs()
        train, aside = _cache.held_out([found.kept.digests[row] for row in sources], self.held_out)
        chosen = aside if split == "held_out" else train
        return [sources[place] for place in chosen], [targets[place] for place in chosen]
