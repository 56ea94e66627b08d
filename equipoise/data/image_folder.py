"""A folder of pictures of your own: PNG, JPEG, WebP, BMP or TIFF, of any size and colour; subfolders are classes.

Decoded once into a cache beside the runs, from where batches are mapped into memory; the folder itself is only read.
Its licence is yours to know. See docs/reference/data.md.
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
from equipoise.data._arrays import Shuffled, luma
from equipoise.data._cache import Decoded, Kept, counted, shown
from equipoise.data._files import last, top
from equipoise.data._pairs import Images
from equipoise.data._pictures import ENDINGS, Background, Fit, Form, decode, told, usual_size
from equipoise.errors import DataError, SettingError, nearest

__all__ = ["ImageFolder"]

DECODER = 1
"""Counts the changes of what decoding gives."""
NAMED = 8
"""Classes that a note names."""
TASK = "decoding images"


@dataclass(frozen=True, slots=True)
class ImageFolder:
    """Images (C, S, S) float32 in [-1, 1] from a folder and all its subfolders, hidden ones left out.

    Raises SettingError for a value that cannot be.
    """

    folder: str
    """where the images lie"""
    image_size: int | None = None
    """pixels a side; left out: the largest of 16, 32 and 64 that half of the images reach, nearly or fully"""
    channels: int | None = None
    """1 or 3; left out: 1 if every image is grey"""
    fit: Fit = "crop"
    """what becomes of images that are not square: their middle, the whole with bars beside it, or stretched"""
    background: Background = "white"
    """what shows through transparent pixels, and in the bars of padded images"""
    flips: bool = False
    """whether a mirror image is as real as the original, and may be made by augmentation"""
    classes: tuple[str, ...] | None = None
    """subfolders whose images are a class each; left out: all of them if there are two or more; empty: no classes"""
    held_out: float = 0.1
    """share of the images that is never trained on, chosen by content"""
    cache: str = "runs/.cache"
    """where decoded images are kept"""
    digest: str | None = None
    """of all files; written by the program, so that a run goes on with the images it began with"""

    def __post_init__(self) -> None:
        if self.image_size is not None and not 1 <= self.image_size <= 1024:
            raise SettingError(f"image_size = {self.image_size}: it must be from 1 to 1024")
        if self.channels not in (None, 1, 3):
            raise SettingError(f"channels = {self.channels}: it must be 1 (grey) or 3 (colour)")
        if not 0 <= self.held_out <= 0.5:
            raise SettingError(f"held_out = {self.held_out:g}: it must be from 0 to 0.5")

    def prepare(self) -> Iterator[Preparation]:
        """Look through the folder and decode what is new. Raises DataError if it is not the one that `digest` is of."""
        yield from self._making()

    def resolve(self) -> Self:
        """The same with folder and cache as full paths, and size, channels, classes and digest as found."""
        resolve: Self = last(self._making())
        return resolve

    @property
    def spec(self) -> DataSpec:
        """What one image is; once settled, without a look at the folder."""
        if self.image_size is None or self.channels is None or self.classes is None:
            return self.resolve().spec
        shape = (self.channels, self.image_size, self.image_size)
        return DataSpec(shape, len(self.classes), self.flips, self.classes)

    @property
    def suggestion(self) -> Suggestion:
        """A first result within an hour on two cores; of a small folder the batch is all there is."""
        return Suggestion(model="dcgan", steps=5000, batch_size=min(64, self.count("train")), controller="annealed")

    def count(self, split: Split) -> int:
        """How many images a split has."""
        data, kept = self._ready()
        return len(data._rows(kept, split))

    def stream(self, split: Split, batch_size: int, seed: int) -> Stream:
        """Endless shuffled batches of a split, with labels if there are classes.

        Raises DataError if the split is smaller than a batch.
        """
        data, kept = self._ready()
        rows, names = data._rows(kept, split), data.classes or ()
        labels = torch.tensor([names.index(top(kept.paths[row])) for row in rows]) if names else None
        images = kept.array[:, :1] if data.channels == 1 and _all_grey(kept) else kept.array
        shuffled = Shuffled(images, labels, batch_size, seed, split, torch.tensor(rows, dtype=torch.int64))
        return shuffled if images.shape[1] == data.channels else Grey(shuffled)

    def pictures(self, channels: int) -> tuple[tuple[str, ...], Images]:
        """Every image of the folder, of both splits, in the order of their paths; of one channel for 1, of three for 3.

        Grey is the luma of colour, as it is where it is trained on.
        """
        _, kept = self._ready()
        rows = torch.arange(len(kept.paths))
        if channels == 3:
            return kept.paths, Images(kept.array, rows)
        return kept.paths, Images(kept.array[:, :1], rows) if _all_grey(kept) else Images(kept.array, rows, luma=True)

    def _making(self) -> Generator[Preparation, None, Self]:
        """Decode what is new, tell what was found, and return it settled."""
        folder, cache = Path(self.folder).expanduser().resolve(), Path(self.cache).expanduser().resolve()
        files = _cache.listing(folder, ENDINGS)
        if self.digest is not None and (what := _cache.changes(folder, cache, files, self.digest)):
            raise DataError(
                f"{folder} is not as it was when this run began: {what}; restore it, or train anew with --from RUN"
            )
        form = Form(self.image_size or usual_size(folder, files), self.fit, self.background)
        sized = dataclasses.replace(self, folder=str(folder), cache=str(cache), image_size=form.size)
        kept = sized._opened() if self.digest else _cache.kept(folder, cache, files, _key(form))
        if kept is None:
            shape, work = (3, form.size, form.size), partial(_decoded, form)
            yield from _cache.fill(folder, cache, files, _key(form), work, shape, "uint8", TASK)
            kept = _cache.kept(folder, cache, files, _key(form))
        if kept is None:
            raise DataError(f"{folder} changed while it was read; start again when nothing writes to it")
        channels = self.channels or (1 if _all_grey(kept) else 3)
        result = dataclasses.replace(sized, channels=channels, classes=self._classes(kept), digest=kept.digest)
        for note in (*kept.notes, *told(kept.facts, len(kept.paths), form), *result._notes(kept)):
            yield Preparation(TASK, len(files), len(files), note)
        return result

    def _ready(self) -> tuple[Self, Kept]:
        """Settled, and its images: the folder is looked at only before that, or if the cache was deleted."""
        if None not in (self.channels, self.classes) and (kept := self._opened()):
            return self, kept
        data = self.resolve()
        if (kept := data._opened()) is None:
            raise DataError(f"the cache {data.cache} was changed while it was read; start again")
        return data, kept

    def _opened(self) -> Kept | None:
        if self.digest is None or self.image_size is None:
            return None
        return _cache.opened(Path(self.cache), self.digest, _key(Form(self.image_size, self.fit, self.background)))

    def _rows(self, kept: Kept, split: Split) -> list[int]:
        """Which rows belong to a split: of all images, or of those that have a class."""
        own = [row for row, path in enumerate(kept.paths) if not self.classes or top(path) in self.classes]
        train, aside = _cache.held_out([kept.digests[row] for row in own], self.held_out)
        return [own[place] for place in (aside if split == "held_out" else train)]

    def _classes(self, kept: Kept) -> tuple[str, ...]:
        """The subfolders that are classes. Raises DataError if one that was asked for has no image."""
        result = sorted({top(path) for path in kept.paths} - {""}, key=_natural)
        if self.classes is None:
            return tuple(result) if len(result) > 1 else ()
        for name in self.classes:
            if name not in result:
                raise DataError(f"there is no image of class '{name}' in {self.folder}{nearest(name, result)}")
        return self.classes

    def _notes(self, kept: Kept) -> Iterator[str]:
        """What the user should know of the classes."""
        if self.classes:
            counts = Counter(top(path) for path in kept.paths)
            named = ", ".join(f"{shown(name)} {counts[name]:,}" for name in self.classes[:NAMED])
            yield f"{len(self.classes):,} classes, by subfolder: {named}{', …' * (len(self.classes) > NAMED)}"
            if left := len(kept.paths) - sum(counts[name] for name in self.classes):
                yield f"{counted(left, 'image')} in none of these: left out; classes = [] takes all, without labels"


@dataclass(frozen=True, slots=True)
class Grey:
    """Batches of colour images as their luma."""

    colour: Shuffled

    def batch(self, index: int) -> Batch:
        """Batch number `index`: real (B, 1, H, W) float32 in [-1, 1], condition (B,) int64 or None."""
        batch = self.colour.batch(index)
        return Batch(luma(batch.real), batch.condition)


def _decoded(form: Form, content: bytes, path: str) -> Decoded:
    return decode(content, form)


def _key(form: Form) -> dict[str, object]:
    """What decides how files are decoded."""
    return {"data": "image_folder", "decoder": DECODER, **form._asdict()}


def _all_grey(kept: Kept) -> bool:
    return kept.facts["grey"] == len(kept.paths)


def _natural(name: str) -> list[tuple[int, str]]:
    """Sorts class 2 before class 10."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"([0-9]+)", name)]
