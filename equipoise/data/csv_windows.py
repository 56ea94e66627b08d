"""A folder of CSV files, each a window of numbers, such as a piece of a spectrogram; subfolders are types.

The first line of a file is the top row of the image. Numbers are stored unchanged and scaled to [-1, 1] batch by
batch; the values that -1 and 1 represent are recorded with the run, so that samples can be written in the original
unit.
"""

import math
from collections import Counter
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

import numpy as np
import torch

from equipoise.core.data import DataSpec, Preparation, Split, Suggestion
from equipoise.data._cache import (
    CachedFolder,
    Decoding,
    File,
    describe_changes,
    fill_cache,
    format_count,
    load_cached,
    open_cached,
    open_folder,
    printable,
    split_by_digest,
)
from equipoise.data._files import MIN_HELD_OUT, agree, exhaust, format_names, top_folder
from equipoise.data._windows import WindowDecoder, WindowStream, constant_windows, share_outside, value_range
from equipoise.errors import DataError, SettingError, UnknownNameError

__all__ = ["CsvWindows"]

ENDINGS = (".csv",)
DECODING = 1
"""Version of the decoder; incremented when its output changes."""
TASK = "reading windows"
ATTEMPTS = 3
"""Number of attempts at reading: another process that reads other types of the folder may replace the index."""


@dataclass(frozen=True, slots=True)
class CsvWindows:
    """Windows of numbers in a folder: (1, rows, columns) float32 in [-1, 1], labelled by type if there are several.

    Raises SettingError for an option out of range.
    """

    folder: str
    """folder of the files: FOLDER/type/name.csv, or FOLDER/name.csv"""
    types: tuple[str, ...] | None = None
    """subfolders to use; default: all"""
    image_size: int | None = None
    """rows and columns after resampling; default: those of the windows, which must suit the model"""
    low: float | None = None
    """value that -1 represents, in the unit of the data; default: the smallest training value"""
    high: float | None = None
    """value that 1 represents; default: the largest training value"""
    held_out: float = 0.1
    """share of the windows that is held out, selected by a hash of the content"""
    cache: str = "runs/.cache"
    """folder of decoded windows"""
    window: tuple[int, int] | None = None
    """rows and columns of a window; set automatically"""
    digest: str | None = None
    """digest of all files; set automatically, so that a resumed run uses the same windows"""

    def __post_init__(self) -> None:
        if self.image_size is not None and self.image_size < 1:
            raise SettingError(f"image_size = {self.image_size}: it must be at least 1")
        if not 0 <= self.held_out <= 0.5:
            raise SettingError(f"held_out = {self.held_out:g}: it must be from 0 to 0.5")
        for name, value in (("low", self.low), ("high", self.high)):
            if value is not None and not math.isfinite(value):
                raise SettingError(f"{name} = {value:g}: it must be a finite number")
        if self.low is not None and self.high is not None and self.low >= self.high:
            raise SettingError(f"low = {self.low:g} must be below high = {self.high:g}")

    def prepare(self) -> Iterator[Preparation]:
        """Read every file once; yields progress and notes.

        Raises DataError, naming file and line, for the first file that is not a window, and if the folder changed
        since `digest` was computed; UnknownNameError for an unknown type.
        """
        yield from self._scan()

    def resolve(self) -> Self:
        """Return the data set with full paths, and with types, range, size and digest as read.

        Raises as `prepare` does, and DataError if every window is constant.
        """
        resolved: Self = exhaust(self._scan())
        return resolved

    @property
    def spec(self) -> DataSpec:
        """Grey images; mirror images are not valid: time would run backwards. Reads the folder unless resolved."""
        if self.types is None or self.low is None or self.high is None or self.window is None:
            return self.resolve().spec
        shape = self.window if self.image_size is None else (self.image_size, self.image_size)
        names = self.types if len(self.types) > 1 else ()
        return DataSpec((1, *shape), classes=len(names), class_names=names, unit=(self.low, self.high))

    @property
    def suggestion(self) -> Suggestion:
        """Settings for hundreds of windows: small batches, several per epoch."""
        metric = "kd_efficientnet_lite0" if self.count("held_out") >= MIN_HELD_OUT else None
        batch_size = min(16, self.count("train"))
        return Suggestion("dcgan", steps=3000, batch_size=batch_size, metric=metric, controller="annealed")

    def count(self, split: Split) -> int:
        """Return the number of windows of a split."""
        data, result = self._open()
        return len(_rows(result, data.held_out, split))

    def stream(self, split: Split, batch_size: int, seed: int) -> WindowStream:
        """Return endless shuffled batches of a split, with labels if there are several types.

        Raises DataError if the split is smaller than a batch.
        """
        data, result = self._open()
        spec = data.spec
        assert spec.unit is not None
        rows = torch.tensor(_rows(result, data.held_out, split), dtype=torch.int64)
        names = spec.class_names
        labels = torch.tensor([names.index(top_folder(path)) for path in result.paths]) if names else None
        return WindowStream(result.array, rows, labels, spec.unit, batch_size, seed, split)

    def _scan(self) -> Generator[Preparation, None, Self]:
        """Decode new files, yield notes, and return the resolved data set."""
        folder, cache = Path(self.folder).expanduser().resolve(), Path(self.cache).expanduser().resolve()
        listed = open_folder(folder, ENDINGS)
        types, files = self._select_types(listed.files)
        source = listed.select(files)
        if self.digest is not None and (change := describe_changes(source, cache, self.digest)):
            raise DataError(
                f"{folder} changed since this run started: {change}; restore it, or start a new run with --from RUN"
            )
        for _ in range(ATTEMPTS):
            if result := load_cached(source, cache, self._key()):
                break
            decode = WindowDecoder.from_first_file(source, files[0], self.image_size)
            decoding = Decoding(self._key(), decode, decode.target, np.float32, TASK, tolerance=0)
            steps = fill_cache(source, cache, decoding)
            yield from (step for step in steps if step.note is None)
        else:
            raise DataError(f"{folder} changed while it was read; run the command again when nothing writes to it")
        low, high = self._unit(result)
        untyped = [file.path for file in listed.files if types and not top_folder(file.path)]
        for note in (*result.notes, *self._notes(result, types, untyped)):
            yield Preparation(TASK, len(files), len(files), note)
        size = result.array.shape[1], result.array.shape[2]
        located = replace(self, folder=str(folder), cache=str(cache), types=types, low=low, high=high)
        return replace(located, window=size, digest=result.digest)

    def _unit(self, result: CachedFolder) -> tuple[float, float]:
        """Return the values that -1 and 1 represent. Raises DataError if they are equal."""
        if result.facts["constant"] == len(result.array):
            raise DataError(f"every window in {self.folder} is constant: there is nothing to learn; use other files")
        minimum, maximum = value_range(result.array, _rows(result, self.held_out, "train"))
        low, high = minimum if self.low is None else self.low, maximum if self.high is None else self.high
        if low >= high:
            raise DataError(
                f"the training windows in {self.folder} range from {minimum:g} to {maximum:g}, outside of "
                f"low = {low:g} to high = {high:g}; remove or change these options"
            )
        return low, high

    def _open(self) -> tuple[Self, CachedFolder]:
        """Return the resolved data set and its windows; reads the folder only if necessary."""
        if None not in (self.types, self.low, self.high, self.window) and (result := self._cached()):
            return self, result
        data = self.resolve()
        if (result := data._cached()) is None:
            raise DataError(f"the cache {data.cache} was changed while it was read; run the command again")
        return data, result

    def _cached(self) -> CachedFolder | None:
        return None if self.digest is None else open_cached(Path(self.cache), self.digest, self._key())

    def _key(self) -> dict[str, object]:
        """Return the options that determine how files are decoded."""
        return {"data": "csv_windows", "decoding": DECODING, "image_size": self.image_size}

    def _select_types(self, listed: Sequence[File]) -> tuple[tuple[str, ...], tuple[File, ...]]:
        """Return the types and their files; all files if there are no types.

        Raises UnknownNameError for an unknown type.
        """
        available = tuple(sorted({top_folder(file.path) for file in listed} - {""}))
        types = available if self.types is None else tuple(dict.fromkeys(self.types))
        for name in types if self.digest is None else ():
            if name not in available:
                raise UnknownNameError("type", name, available)
        return types, tuple(file for file in listed if not types or top_folder(file.path) in types)

    def _notes(self, result: CachedFolder, types: Sequence[str], untyped: Sequence[str]) -> Iterator[str]:
        """Yield notes on the windows for the user."""
        if types:
            counts = Counter(map(top_folder, result.paths))
            yield (
                format_count(len(types), "type")
                + ": "
                + ", ".join(f"{printable(name)} {counts[name]:,}" for name in types)
            )
        if untyped:
            verb = agree(len(untyped), "was", "were")
            yield f"{format_count(len(untyped))} outside of the types {verb} skipped: {format_names(untyped)}"
        if number := result.facts["header"]:
            yield f"{format_count(number)} with a header, which was removed"
        if number := result.facts["row_names"]:
            yield f"{format_count(number)} with row names, which were removed"
        if number := result.facts["constant"]:
            paths = [result.paths[row] for row in constant_windows(result.array)]
            yield f"{format_count(number, 'window')} constant (all numbers equal): {format_names(paths)}"
        if result.facts["stretched"]:
            yield f"the windows are not square: stretched to {self.image_size} x {self.image_size} (image_size)"
        if (self.low, self.high) == (None, None):
            return
        low, high = -math.inf if self.low is None else self.low, math.inf if self.high is None else self.high
        if share := share_outside(result.array, _rows(result, self.held_out, "train"), low, high):
            yield f"{share:.2%} of the numbers lie outside {low:g} to {high:g} and are clipped (low, high)"


def _rows(result: CachedFolder, share: float, split: Split) -> list[int]:
    train, held_out = split_by_digest(result.digests, share)
    return train if split == "train" else held_out
