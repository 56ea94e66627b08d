"""What data sets of a folder with two sides have in common: their options, and how the folder becomes images."""

import dataclasses
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal, Self

from equipoise.core.data import Preparation
from equipoise.data import _sides
from equipoise.data._files import last
from equipoise.data._pictures import Background, Fit, Form
from equipoise.data._sides import Asked, Found


@dataclass(frozen=True, slots=True)
class TwoSided:
    """Inputs and samples, (C, S, S) float32 in [-1, 1] each. Raises SettingError for a value that cannot be.

    `pairs`: whether images of the same name must belong together.
    """

    pairs: ClassVar[bool]

    folder: str
    """where the images lie"""
    image_size: int | None = None
    """pixels a side; left out: the largest of 16, 32 and 64 that half of the images reach, nearly or fully"""
    source: str | None = None
    """where the inputs lie"""
    target: str | None = None
    """where the samples lie"""
    beside: bool | None = None
    """whether both are the halves of each image; left out: found"""
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
    """share that is never trained on, chosen by content"""
    cache: str = "runs/.cache"
    """where decoded images are kept"""
    digest: str | None = None
    """of all files; written by the program, so that a run goes on with the images it began with"""

    def __post_init__(self) -> None:
        _sides.check_options(self.image_size, (self.source_channels, self.channels), self.held_out)

    def prepare(self) -> Iterator[Preparation]:
        """Look through the folder and decode what is new. Raises DataError if it is not the one that `digest` is of."""
        yield from self._making()

    def resolve(self) -> Self:
        """The same with folder and cache as full paths, and size, sides, channels and digest as found."""
        resolve: Self = last(self._making())
        return resolve

    def ready(self) -> tuple[Self, Found]:
        """Settled, and its images: the folder is looked at only before that, or if the cache was deleted."""
        if None not in (self.channels, self.source_channels) and (result := _sides.opened(self._asked())):
            return self, result
        data = self.resolve()
        return data, _sides.surely_opened(data._asked())

    def greyed(self, side: Literal["source", "target"]) -> bool:
        """Whether colour images of a side are taken as grey; False, too, if what was decoded is there no more."""
        channels, result = self.source_channels if side == "source" else self.channels, _sides.opened(self._asked())
        return channels == 1 and result is not None and not result.grey(getattr(result.layout, side))

    def _making(self) -> Generator[Preparation, None, Self]:
        """Decode what is new, tell what was found, and return it settled."""
        asked = self._asked()
        result = yield from _sides.making(asked, pairs=self.pairs)
        return dataclasses.replace(
            self,
            folder=str(asked.folder),
            cache=str(asked.cache),
            image_size=result.size,
            source=result.layout.source,
            target=result.layout.target,
            beside=result.layout.beside,
            source_channels=self.source_channels or (1 if result.grey(result.layout.source) else 3),
            channels=self.channels or (1 if result.grey(result.layout.target) else 3),
            digest=result.kept.digest,
        )

    def _asked(self) -> Asked:
        folder, cache = Path(self.folder).expanduser().resolve(), Path(self.cache).expanduser().resolve()
        form = Form(self.image_size or 0, self.fit, self.background)
        return Asked(folder, cache, self.image_size, form, self.source, self.target, self.beside, self.digest)
