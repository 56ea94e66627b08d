"""A folder of images: PNG, JPEG, WebP, BMP or TIFF, of any size and colour; subfolders are classes.

Images are decoded once into a cache next to the runs, and memory-mapped from there; the folder itself is never
modified. Check the licence of your images. See docs/data.md.
"""

import dataclasses
import re
from collections import Counter
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Self

import torch

from equipoise.core.data import Batch, DataSpec, Preparation, Split, Stream, Suggestion
from equipoise.data import _cache
from equipoise.data._arrays import ImageStream, luma
from equipoise.data._cache import CachedFolder, Decoded, Decoding, format_count, printable
from equipoise.data._files import MIN_HELD_OUT, agree, exhaust, top_folder
from equipoise.data._image_files import ENDINGS, Background, Fit, ImageFormat, decode, default_size
from equipoise.data._image_notes import format_notes
from equipoise.data._pairs import ImageRows
from equipoise.errors import DataError, SettingError, nearest

__all__ = ["ImageFolder"]

DECODER = 1
"""Version of the decoder; incremented when its output changes."""
MAX_LISTED_CLASSES = 8
"""Largest number of classes that a note lists."""
TASK = "decoding images"


@dataclass(frozen=True, slots=True)
class ImageFolder:
    """Images (C, S, S) float32 in [-1, 1] from a folder and all its subfolders, except hidden ones.

    Raises SettingError for an invalid option.
    """

    folder: str
    """folder that contains the images"""
    image_size: int | None = None
    """pixels a side; default: the largest of 16, 32 and 64 that half of the images (nearly) reach"""
    channels: int | None = None
    """1 or 3; default: 1 if all images are grey"""
    fit: Fit = "crop"
    """handling of images that are not square: centre crop, padding, or stretching"""
    background: Background = "white"
    """colour behind transparent pixels, and of padding"""
    flips: bool = False
    """whether mirror images are valid samples, so that augmentation may use them"""
    classes: tuple[str, ...] | None = None
    """subfolders that are classes; default: all of them if there are at least two; empty: no classes"""
    held_out: float = 0.1
    """share of the images that is held out, selected by a hash of the content"""
    cache: str = "runs/.cache"
    """folder of decoded images"""
    digest: str | None = None
    """digest of all files; set automatically, so that a resumed run uses the same images"""

    def __post_init__(self) -> None:
        if self.image_size is not None and not 1 <= self.image_size <= 1024:
            raise SettingError(f"image_size = {self.image_size}: it must be from 1 to 1024")
        if self.channels not in (None, 1, 3):
            raise SettingError(f"channels = {self.channels}: it must be 1 (grey) or 3 (colour)")
        if not 0 <= self.held_out <= 0.5:
            raise SettingError(f"held_out = {self.held_out:g}: it must be from 0 to 0.5")

    def prepare(self) -> Iterator[Preparation]:
        """Scan the folder and decode new images. Raises DataError if it changed since `digest` was computed."""
        yield from self._scan()

    def resolve(self) -> Self:
        """Return the data set with full paths, and with size, channels, classes and digest as read."""
        resolved: Self = exhaust(self._scan())
        return resolved

    @property
    def spec(self) -> DataSpec:
        """Description of one image; does not read the folder once resolved."""
        if self.image_size is None or self.channels is None or self.classes is None:
            return self.resolve().spec
        shape = (self.channels, self.image_size, self.image_size)
        return DataSpec(shape, len(self.classes), self.flips, self.classes)

    @property
    def suggestion(self) -> Suggestion:
        """Settings for a first result within an hour on two cores; a small folder is a single batch."""
        metric = "kd_efficientnet_lite0" if self.count("held_out") >= MIN_HELD_OUT else None
        batch_size = min(64, self.count("train"))
        return Suggestion("dcgan", steps=5000, batch_size=batch_size, metric=metric, controller="annealed")

    def count(self, split: Split) -> int:
        """Return the number of images of a split."""
        data, cached = self._open()
        return len(data._rows(cached, split))

    def stream(self, split: Split, batch_size: int, seed: int) -> Stream:
        """Return endless shuffled batches of a split, with labels if there are classes.

        Raises DataError if the split is smaller than a batch.
        """
        data, cached = self._open()
        rows, names = data._rows(cached, split), data.classes or ()
        labels = torch.tensor([names.index(top_folder(cached.paths[row])) for row in rows]) if names else None
        images = cached.array[:, :1] if data.channels == 1 and _all_grey(cached) else cached.array
        shuffled = ImageStream(images, labels, batch_size, seed, split, torch.tensor(rows, dtype=torch.int64))
        return shuffled if images.shape[1] == data.channels else GreyStream(shuffled)

    def all_images(self, channels: int) -> tuple[tuple[str, ...], ImageRows]:
        """Return paths and images of the whole folder, both splits, in order of paths, with 1 or 3 `channels`.

        Colour is converted to grey by luma, as in training.
        """
        _, cached = self._open()
        rows = torch.arange(len(cached.paths))
        if channels == 3:
            return cached.paths, ImageRows(cached.array, rows)
        if _all_grey(cached):
            return cached.paths, ImageRows(cached.array[:, :1], rows)
        return cached.paths, ImageRows(cached.array, rows, luma=True)

    def _scan(self) -> Generator[Preparation, None, Self]:
        """Decode new images, yield notes, and return the resolved data set."""
        folder, cache = Path(self.folder).expanduser().resolve(), Path(self.cache).expanduser().resolve()
        source = _cache.open_folder(folder, ENDINGS)
        if self.digest is not None and (change := _cache.describe_changes(source, cache, self.digest)):
            raise DataError(
                f"{folder} changed since this run started: {change}; restore it, or start a new run with --from RUN"
            )
        form = ImageFormat(self.image_size or default_size(source), self.fit, self.background)
        located = dataclasses.replace(self, folder=str(folder), cache=str(cache), image_size=form.size)
        cached = located._cached() if self.digest else _cache.load_cached(source, cache, _key(form))
        if cached is None:
            shape, decoder = (3, form.size, form.size), partial(_decode, form)
            decoding = Decoding(_key(form), decoder, shape, "uint8", TASK)
            yield from _cache.fill_cache(source, cache, decoding)
            cached = _cache.load_cached(source, cache, _key(form))
        if cached is None:
            raise DataError(f"{folder} changed while it was read; run the command again when nothing writes to it")
        channels = self.channels or (1 if _all_grey(cached) else 3)
        result = dataclasses.replace(
            located, channels=channels, classes=self._class_names(cached), digest=cached.digest
        )
        for note in (*cached.notes, *format_notes(cached.facts, len(cached.paths), form), *result._notes(cached)):
            yield Preparation(TASK, len(source.files), len(source.files), note)
        return result

    def _open(self) -> tuple[Self, CachedFolder]:
        """Return the resolved data set and its images; reads the folder only if necessary."""
        if None not in (self.channels, self.classes) and (cached := self._cached()):
            return self, cached
        data = self.resolve()
        if (cached := data._cached()) is None:
            raise DataError(f"the cache {data.cache} was changed while it was read; run the command again")
        return data, cached

    def _cached(self) -> CachedFolder | None:
        if self.digest is None or self.image_size is None:
            return None
        return _cache.open_cached(
            Path(self.cache), self.digest, _key(ImageFormat(self.image_size, self.fit, self.background))
        )

    def _rows(self, cached: CachedFolder, split: Split) -> list[int]:
        """Return the rows of a split: among all images, or among those that have a class."""
        rows = [row for row, path in enumerate(cached.paths) if not self.classes or top_folder(path) in self.classes]
        train, held_out = _cache.split_by_digest([cached.digests[row] for row in rows], self.held_out)
        return [rows[index] for index in (held_out if split == "held_out" else train)]

    def _class_names(self, cached: CachedFolder) -> tuple[str, ...]:
        """Return the subfolders that are classes. Raises DataError if a requested one contains no image."""
        result = sorted({top_folder(path) for path in cached.paths} - {""}, key=_natural_order)
        if self.classes is None:
            return tuple(result) if len(result) > 1 else ()
        for name in self.classes:
            if name not in result:
                raise DataError(f"class '{name}' has no images in {self.folder}{nearest(name, result)}")
        return self.classes

    def _notes(self, cached: CachedFolder) -> Iterator[str]:
        """Yield notes on the classes for the user."""
        if self.classes:
            counts = Counter(top_folder(path) for path in cached.paths)
            listed = ", ".join(f"{printable(name)} {counts[name]:,}" for name in self.classes[:MAX_LISTED_CLASSES])
            more = ", …" * (len(self.classes) > MAX_LISTED_CLASSES)
            yield f"{len(self.classes):,} classes, by subfolder: {listed}{more}"
            if count := len(cached.paths) - sum(counts[name] for name in self.classes):
                skipped = f"{format_count(count, 'image')} outside of these {agree(count, 'was', 'were')} skipped"
                yield f"{skipped}; classes = [] uses all images, without labels"


@dataclass(frozen=True, slots=True)
class GreyStream:
    """Stream of colour images, converted to grey by luma."""

    colour: ImageStream

    def batch(self, index: int) -> Batch:
        """Return batch number `index`: real (B, 1, H, W) float32 in [-1, 1], condition (B,) int64 or None."""
        batch = self.colour.batch(index)
        return Batch(luma(batch.real), batch.condition)


def _decode(form: ImageFormat, content: bytes, path: str) -> Decoded:
    return decode(content, form)


def _key(form: ImageFormat) -> dict[str, object]:
    """Return the options that determine how files are decoded."""
    return {"data": "image_folder", "decoder": DECODER, **form.key()}


def _all_grey(cached: CachedFolder) -> bool:
    return cached.facts["grey"] == len(cached.paths)


def _natural_order(name: str) -> list[tuple[int, str]]:
    """Return a sort key that places class 2 before class 10."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"([0-9]+)", name)]
