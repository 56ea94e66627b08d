"""Your own CSV files, each a window of numbers, such as a piece of a spectrogram; subfolders are types.

A file's first line is the top row of the image. Numbers are kept as they are and brought to [-1, 1] batch by batch;
what -1 and 1 stand for is part of the run, so that samples can be written in the data's own unit again.
"""

import math
from collections import Counter
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch

from equipoise.core.data import DataSpec, Preparation, Split, Suggestion
from equipoise.data._cache import File, Kept, changes, counted, fill, held_out, kept, listing, opened, shown
from equipoise.data._files import last
from equipoise.data._windows import Decoding, WindowStream, constant, extremes, share_outside
from equipoise.errors import DataError, SettingError, UnknownNameError

__all__ = ["CsvWindows"]

ENDINGS = (".csv",)
DECODING = 1
"""To be raised when the same file is decoded to other numbers."""
TASK = "reading windows"
ATTEMPTS = 3
"""At reading: another process that reads other types of the folder makes the cache forget which files these are."""
NAMED = 3
"""Files that a note names before it only counts."""


@dataclass(frozen=True, slots=True)
class CsvWindows:
    """Windows of a folder: (1, rows, columns) float32 in [-1, 1], labelled by type if there is more than one.

    Raises SettingError for an option out of its range.
    """

    folder: str
    """where the files are: FOLDER/type/name.csv, or FOLDER/name.csv"""
    types: tuple[str, ...] | None = None
    """which subfolders, together; left out: all"""
    image_size: int | None = None
    """resampled to so many rows and columns; left out: the windows' own, which must suit the GAN"""
    low: float | None = None
    """what -1 stands for, in the data's own unit; left out: the least number that is trained on"""
    high: float | None = None
    """what 1 stands for; left out: the greatest number that is trained on"""
    held_out: float = 0.1
    """share of the windows that is never trained on, chosen by content"""
    cache: str = "runs/.cache"
    """where decoded windows are kept"""
    window: tuple[int, int] | None = None
    """rows and columns of an image; found"""
    digest: str | None = None
    """of all files; found, so that a run goes on with the windows that it began with"""

    def __post_init__(self) -> None:
        if self.image_size is not None and self.image_size < 1:
            raise SettingError(f"image_size = {self.image_size}: it must be at least 1")
        if not 0 <= self.held_out <= 0.5:
            raise SettingError(f"held_out = {self.held_out:g}: it must be from 0 to 0.5")
        for name, value in (("low", self.low), ("high", self.high)):
            if value is not None and not math.isfinite(value):
                raise SettingError(f"{name} = {value:g}: it must be a finite number")
        if self.low is not None and self.high is not None and self.low >= self.high:
            raise SettingError(f"low = {self.low:g} is not below high = {self.high:g}")

    def prepare(self) -> Iterator[Preparation]:
        """Read every file, once; tells what was found.

        Raises DataError for the first file that is no window, with its line, and if the folder is not the one that
        `digest` is of; UnknownNameError for a type that there is not.
        """
        yield from self._making()

    def resolve(self) -> Self:
        """The same with full paths, and types, range, size and digest as found.

        Raises as `prepare` does, and DataError if every window is constant.
        """
        resolve: Self = last(self._making())
        return resolve

    @property
    def spec(self) -> DataSpec:
        """Grey images; a mirrored window would run backwards. Once settled, without a look at the folder."""
        if self.types is None or self.low is None or self.high is None or self.window is None:
            return self.resolve().spec
        shape = self.window if self.image_size is None else (self.image_size, self.image_size)
        names = self.types if len(self.types) > 1 else ()
        return DataSpec((1, *shape), classes=len(names), class_names=names, unit=(self.low, self.high))

    @property
    def suggestion(self) -> Suggestion:
        """For hundreds of windows: small batches, of which there are several in an epoch."""
        return Suggestion(model="dcgan", steps=3000, batch_size=min(16, self.count("train")), controller="annealed")

    def count(self, split: Split) -> int:
        """How many windows a split has."""
        data, result = self._ready()
        return len(_rows(result, data.held_out, split))

    def stream(self, split: Split, batch_size: int, seed: int) -> WindowStream:
        """Endless shuffled batches of a split, with labels if there is more than one type.

        Raises DataError if the split is smaller than a batch.
        """
        data, result = self._ready()
        spec = data.spec
        assert spec.unit is not None
        rows = torch.tensor(_rows(result, data.held_out, split), dtype=torch.int64)
        names = spec.class_names
        labels = torch.tensor([names.index(_type(path)) for path in result.paths]) if names else None
        return WindowStream(result.array, rows, labels, spec.unit, batch_size, seed, split)

    def _making(self) -> Generator[Preparation, None, Self]:
        """Decode what is new, tell what was found, and return it settled."""
        folder, cache = Path(self.folder).expanduser().resolve(), Path(self.cache).expanduser().resolve()
        listed = listing(folder, ENDINGS)
        types, files = self._chosen(listed)
        if self.digest is not None and (what := changes(folder, cache, files, self.digest)):
            raise DataError(
                f"{folder} is not as it was when this run began: {what}; restore it, or train anew with --from RUN"
            )
        for _ in range(ATTEMPTS):
            if result := kept(folder, cache, files, self._key()):
                break
            decode = Decoding.after(folder, files[0], self.image_size)
            steps = fill(folder, cache, files, self._key(), decode, decode.target, np.float32, TASK, tolerance=0)
            yield from (step for step in steps if step.note is None)
        else:
            raise DataError(f"{folder} changed while it was read; start again when nothing writes to it")
        low, high = self._unit(result)
        loose = [file.path for file in listed if types and not _type(file.path)]
        for note in (*result.notes, *self._notes(result, types, loose)):
            yield Preparation(TASK, len(files), len(files), note)
        size = result.array.shape[1], result.array.shape[2]
        whole = replace(self, folder=str(folder), cache=str(cache), types=types, low=low, high=high)
        return replace(whole, window=size, digest=result.digest)

    def _unit(self, result: Kept) -> tuple[float, float]:
        """What -1 and 1 stand for. Raises DataError if that is one number, as what is trained on is constant."""
        if result.facts["constant"] == len(result.array):
            raise DataError(f"every window in {self.folder} is constant: there is nothing to learn; give other files")
        least, greatest = extremes(result.array, _rows(result, self.held_out, "train"))
        low, high = least if self.low is None else self.low, greatest if self.high is None else self.high
        if low >= high:
            raise DataError(
                f"the windows trained on in {self.folder} reach from {least:g} to {greatest:g}, which leaves nothing "
                f"between low = {low:g} and high = {high:g}; leave these out, or give others"
            )
        return low, high

    def _ready(self) -> tuple[Self, Kept]:
        """Settled, and its windows: the folder is looked at only before that, or if the cache was deleted."""
        if None not in (self.types, self.low, self.high, self.window) and (result := self._opened()):
            return self, result
        data = self.resolve()
        if (result := data._opened()) is None:
            raise DataError(f"the cache {data.cache} was changed while it was read; start again")
        return data, result

    def _opened(self) -> Kept | None:
        return None if self.digest is None else opened(Path(self.cache), self.digest, self._key())

    def _key(self) -> dict[str, Any]:
        """What decides the numbers that a file is decoded to."""
        return {"data": "csv_windows", "decoding": DECODING, "image_size": self.image_size}

    def _chosen(self, listed: Sequence[File]) -> tuple[tuple[str, ...], tuple[File, ...]]:
        """The types, and the files that belong to them; all files if there are no types.

        Raises UnknownNameError for a type that there is not.
        """
        known = tuple(sorted({_type(file.path) for file in listed} - {""}))
        types = known if self.types is None else tuple(dict.fromkeys(self.types))
        for name in types if self.digest is None else ():
            if name not in known:
                raise UnknownNameError("type", name, known)
        return types, tuple(file for file in listed if not types or _type(file.path) in types)

    def _notes(self, result: Kept, types: Sequence[str], loose: Sequence[str]) -> Iterator[str]:
        """What the user should know of the windows."""
        if types:
            counts = Counter(map(_type, result.paths))
            yield counted(len(types), "type") + ": " + ", ".join(f"{shown(name)} {counts[name]:,}" for name in types)
        if loose:
            yield f"{counted(len(loose))} beside the types left out: {_named(loose)}"
        if number := result.facts["header"]:
            yield f"{counted(number)} with a header, which was left out"
        if number := result.facts["row_names"]:
            yield f"{counted(number)} with names before the rows, which were left out"
        if number := result.facts["constant"]:
            paths = [result.paths[row] for row in constant(result.array)]
            yield f"{counted(number, 'window')} constant, every number the same: {_named(paths)}"
        if result.facts["stretched"]:
            yield f"the windows are not square: stretched to {self.image_size} x {self.image_size} (image_size)"
        if (self.low, self.high) == (None, None):
            return
        low, high = -math.inf if self.low is None else self.low, math.inf if self.high is None else self.high
        if share := share_outside(result.array, _rows(result, self.held_out, "train"), low, high):
            yield f"{share:.2%} of the numbers lie outside {low:g} to {high:g} and are cut off there (low, high)"


def _type(path: str) -> str:
    """The subfolder that a file belongs to, "" if it lies in the folder itself."""
    first, slash, _ = path.partition("/")
    return first if slash else ""


def _rows(result: Kept, share: float, split: Split) -> list[int]:
    train, out = held_out(result.digests, share)
    return train if split == "train" else out


def _named(paths: Sequence[str]) -> str:
    """The first few paths, and how many more there are."""
    more = len(paths) - NAMED
    return ", ".join(map(shown, paths[:NAMED])) + (f" and {more:,} more" if more > 0 else "")
