"""Base class of translation data sets in a folder: options, and reading of the folder."""

import dataclasses
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal, Self

from equipoise.core.data import Preparation
from equipoise.data import _translation_images
from equipoise.data._files import exhaust
from equipoise.data._image_files import Background, Fit, ImageFormat
from equipoise.data._translation_images import FolderOptions, TranslationImages


@dataclass(frozen=True, slots=True)
class TranslationFolder:
    """Translation data in a folder: inputs and samples, (C, S, S) float32 in [-1, 1] each.

    `pairs`: whether images of the same name must be pairs. Raises SettingError for an invalid option.
    """

    pairs: ClassVar[bool]

    folder: str
    """folder that contains the images"""
    image_size: int | None = None
    """pixels a side; default: the largest of 16, 32 and 64 that half of the images (nearly) reach"""
    source: str | None = None
    """location of the inputs"""
    target: str | None = None
    """location of the samples"""
    beside: bool | None = None
    """whether both are the halves of each image; default: detected"""
    source_channels: int | None = None
    """1 or 3, of inputs; default: 1 if all are grey"""
    channels: int | None = None
    """1 or 3, of samples; default: 1 if all are grey"""
    fit: Fit = "crop"
    """handling of images that are not square: centre crop, padding, or stretching"""
    background: Background = "white"
    """colour behind transparent pixels, and of padding"""
    flips: bool = False
    """whether mirror images are valid samples, so that augmentation may use them"""
    held_out: float = 0.1
    """share that is held out, selected by a hash of the content"""
    cache: str = "runs/.cache"
    """folder of decoded images"""
    digest: str | None = None
    """digest of all files; set automatically, so that a resumed run uses the same images"""

    def __post_init__(self) -> None:
        _translation_images.check_options(self.image_size, (self.source_channels, self.channels), self.held_out)

    def prepare(self) -> Iterator[Preparation]:
        """Scan the folder and decode new images. Raises DataError if it changed since `digest` was computed."""
        yield from self._scan()

    def resolve(self) -> Self:
        """Return the data set with full paths, and with size, sides, channels and digest as read."""
        resolved: Self = exhaust(self._scan())
        return resolved

    def open(self) -> tuple[Self, TranslationImages]:
        """Return the resolved data set and its images; reads the folder only if necessary."""
        if None not in (self.channels, self.source_channels) and (
            images := _translation_images.open_decoded(self._folder_options())
        ):
            return self, images
        data = self.resolve()
        return data, _translation_images.require_decoded(data._folder_options())

    def is_greyed(self, side: Literal["source", "target"]) -> bool:
        """Return whether colour images of a side are converted to grey; False if the cache was deleted."""
        channels, result = (
            self.source_channels if side == "source" else self.channels,
            _translation_images.open_decoded(self._folder_options()),
        )
        return channels == 1 and result is not None and not result.is_grey(getattr(result.layout, side))

    def _scan(self) -> Generator[Preparation, None, Self]:
        """Decode new images, yield progress and notes, and return the resolved data set."""
        options = self._folder_options()
        result = yield from _translation_images.scan_folder(options, pairs=self.pairs)
        return dataclasses.replace(
            self,
            folder=str(options.folder),
            cache=str(options.cache),
            image_size=result.size,
            source=result.layout.source,
            target=result.layout.target,
            beside=result.layout.beside,
            source_channels=self.source_channels or (1 if result.is_grey(result.layout.source) else 3),
            channels=self.channels or (1 if result.is_grey(result.layout.target) else 3),
            digest=result.cached.digest,
        )

    def _folder_options(self) -> FolderOptions:
        folder, cache = Path(self.folder).expanduser().resolve(), Path(self.cache).expanduser().resolve()
        form = ImageFormat(self.image_size or 0, self.fit, self.background)
        return FolderOptions(folder, cache, self.image_size, form, self.source, self.target, self.beside, self.digest)
