"""Base class of translation data sets in a folder: options, and reading of the folder."""

import dataclasses
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal, Self

from equipoise.core.data import Preparation, exhaust
from equipoise.data._images.image_format import Background, Fit, ImageFormat, check_shape
from equipoise.data._images.pictures import Pictures, open_pictures
from equipoise.data._images.pixel_values import Layout
from equipoise.data._images.value_range import ValueRange
from equipoise.data._splits import check_held_out
from equipoise.data._translation.images import (
    FolderOptions,
    TranslationImages,
    open_decoded,
    require_decoded,
    scan_folder,
)
from equipoise.data._translation.sides import LayoutOptions


@dataclass(frozen=True, slots=True)
class TranslationFolder:
    """Translation data in a folder: inputs and samples, (C, S, S) float32 in [-1, 1] each.

    `pairs`: whether images of the same name must be pairs. Raises SettingError for an invalid option.
    """

    pairs: ClassVar[bool]

    folder: str
    """folder, archive (.zip, .tar) or Parquet file that contains the images"""
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
    black: float | None = None
    """value that becomes black (-1); default: from the files, 0 for images of 8 bits"""
    white: float | None = None
    """value that becomes white (1); default: from the files, 255 for images of 8 bits"""
    layout: Layout | None = None
    """axes of arrays with channels: NHWC or NCHW; default: from their shape"""
    full_scale: bool | None = None
    """whether images of 8 bits keep the scale of 0 to 255 whatever black and white are; default: if there are deeper
    ones, too"""
    splits: bool | None = None
    """whether folders named train, valid and test, or trainA and testA, are splits; default: detected"""
    held_out: float = 0.1
    """share that is held out, selected by a hash of the content, if no folder is a split"""
    cache: str = "runs/.cache"
    """folder of decoded images"""
    digest: str | None = None
    """digest of all files; set automatically, so that a resumed run uses the same images"""

    def __post_init__(self) -> None:
        check_shape(self.image_size, self.source_channels, self.channels)
        check_held_out(self.held_out)

    def prepare(self) -> Iterator[Preparation]:
        """Scan the folder and decode new images. Raises DataError if it changed since `digest` was computed."""
        yield from self._scan()

    def resolve(self) -> Self:
        """Return the data set with full paths, and with size, sides, channels and digest as read."""
        resolved: Self = exhaust(self._scan())
        return resolved

    def open(self) -> tuple[Self, TranslationImages]:
        """Return the resolved data set and its images; reads the folder only if necessary."""
        if None not in (self.channels, self.source_channels) and (images := open_decoded(self._folder_options())):
            return self, images
        data = self.resolve()
        return data, require_decoded(data._folder_options())

    def pictures(self, channels: int) -> Generator[Preparation, None, Pictures]:
        """Open all images, each at its own size, without sides, splits and cache: the inputs of a translation.

        The folder may be an image file or an array, too. Yields progress; see `open_pictures`.
        """
        options = self._folder_options()
        values = ValueRange(self.black, self.white, self.layout, self.full_scale)
        return (yield from open_pictures(options.folder, options.cache, options.form, values, channels))

    def is_greyed(self, side: Literal["source", "target"]) -> bool:
        """Return whether colour images of a side are converted to grey; False if the cache was deleted."""
        channels, result = (
            self.source_channels if side == "source" else self.channels,
            open_decoded(self._folder_options()),
        )
        return channels == 1 and result is not None and not result.is_grey(getattr(result.layout, side))

    def _scan(self) -> Generator[Preparation, None, Self]:
        """Decode new images, yield progress and notes, and return the resolved data set."""
        options = self._folder_options()
        result = yield from scan_folder(options, pairs=self.pairs)
        return dataclasses.replace(
            self,
            folder=str(options.folder),
            cache=str(options.cache),
            image_size=result.form.size,
            black=result.form.black,
            white=result.form.white,
            layout=result.form.layout,
            full_scale=result.form.full_scale,
            splits=result.layout.splits,
            source=result.layout.source,
            target=result.layout.target,
            beside=result.layout.beside,
            source_channels=self.source_channels or (1 if result.is_grey(result.layout.source) else 3),
            channels=self.channels or (1 if result.is_grey(result.layout.target) else 3),
            digest=result.cached.digest,
        )

    def _folder_options(self) -> FolderOptions:
        folder, cache = Path(self.folder).expanduser().resolve(), Path(self.cache).expanduser().resolve()
        size, values = self.image_size, (self.black, self.white, self.layout, self.full_scale)
        form = ImageFormat(size or 0, self.fit, self.background, *values)
        layout = LayoutOptions(self.source, self.target, self.beside, self.splits)
        return FolderOptions(folder, cache, size, form, layout, self.digest)

    @property
    def _unit(self) -> tuple[float, float] | None:
        """The values that -1 and 1 represent; None for images of 8 bits."""
        return None if self.black is None or self.white is None else (self.black, self.white)
