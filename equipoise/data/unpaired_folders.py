"""Two folders of images of your own that have nothing to do with each other but what they show: inputs and samples.

Decoded once into a cache beside the runs, from where batches are mapped into memory; the folders themselves are only
read. Their licence is yours to know. See docs/data.md.
"""

import dataclasses
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from equipoise.base import DataSpec, Preparation, Split, Stream, Suggestion
from equipoise.data import _cache, _sides
from equipoise.data._files import last
from equipoise.data._pairs import Apart
from equipoise.data._pictures import Background, Fit, Form
from equipoise.data._sides import Asked, Found, check_options

__all__ = ["UnpairedFolders"]


@dataclass(frozen=True, slots=True)
class UnpairedFolders:
    """Images (C, S, S) float32 in [-1, 1] of two subfolders of one folder, both with all that lies below them.

    Raises SettingError for a value that cannot be.
    """

    folder: str
    """where the images lie"""
    image_size: int | None = None
    """pixels a side; left out: the largest of 16, 32 and 64 that half of the images reach, nearly or fully"""
    source: str | None = None
    """the subfolder of the inputs; left out: the first of two by name, or trainA"""
    target: str | None = None
    """the subfolder of the samples; left out: the other one, or trainB"""
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
    held_out: float = 0.1
    """share of the images of each that is never trained on, chosen by content"""
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
        """What one sample and one input are; once settled, without a look at the folder."""
        if self.image_size is None or self.channels is None or self.source_channels is None:
            return self.settled().spec
        side = (self.image_size, self.image_size)
        return DataSpec((self.channels, *side), flips=self.flips, source=(self.source_channels, *side))

    @property
    def suggestion(self) -> Suggestion:
        """A first result within an hour on one core; of a small folder the batch is all there is."""
        preset = f"cyclegan:cpu{64 if self.spec.shape[-1] >= 64 else 32}"
        return Suggestion(preset, steps=3000, batch_size=min(8, self.count("train")), controller="annealed:cyclegan")

    def count(self, split: Split) -> int:
        """How many samples a split has; of inputs there may be more or fewer."""
        data, found = self._ready()
        return len(data._rows(found, found.layout.target, split))

    def stream(self, split: Split, batch_size: int, seed: int) -> Stream:
        """Endless batches of a split, inputs and samples each shuffled in an order of their own.

        Raises DataError if the split has fewer samples than a batch, or no inputs.
        """
        data, found = self._ready()
        sides = (found.layout.target, found.layout.source)
        real, source = (
            found.images(side, data._rows(found, side, split), channels or 3)
            for side, channels in zip(sides, (data.channels, data.source_channels), strict=True)
        )
        return Apart(real, source, None, batch_size, seed, split)

    def _making(self) -> Generator[Preparation, None, Self]:
        """Decode what is new, tell what was found, and return it settled."""
        asked = self._asked()
        found = yield from _sides.making(asked, pairs=False)
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

    def _rows(self, found: Found, side: str, split: Split) -> list[int]:
        """Rows of one side that belong to a split, by the content of its own images."""
        own = found.rows(side)
        train, aside = _cache.held_out([found.kept.digests[row] for row in own], self.held_out)
        return [own[place] for place in (aside if split == "held_out" else train)]
