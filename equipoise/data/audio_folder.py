"""A folder of sound files, WAV, FLAC, OGG, MP3 or AIFF, as log-mel spectrograms or waveforms; subfolders are types.

Samples of spectrograms are images, those of waveforms are sequences. Both become sound again: `equipoise sample RUN
--out FOLDER --format wav`. Needs the package soundfile: `pip install 'equipoise[audio]'`.
"""

import math
from collections import Counter
from collections.abc import Generator, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

import numpy as np
import torch

from equipoise.core.data import DataSpec, MelSettings, Preparation, SoundFormat, Split, Suggestion, exhaust
from equipoise.core.files import SOUND_ENDINGS
from equipoise.core.printing import format_count, printable
from equipoise.data._arrays import group_by_class
from equipoise.data._files.cache import (
    CachedFolder,
    changed_cache,
    check_unchanged,
    decode_source,
    open_cached,
)
from equipoise.data._files.decoding import Decoding
from equipoise.data._files.sources import open_file, open_folder
from equipoise.data._splits import MIN_HELD_OUT, check_held_out
from equipoise.data._windows.notes import describe_blocks
from equipoise.data._windows.selection import select_files, type_of
from equipoise.data._windows.sounds import (
    Representation,
    SoundDecoder,
    SoundWindows,
    amplitude_range,
    most_frequent_rate,
    plan_sound,
    sample_rate_note,
)
from equipoise.data._windows.streams import WindowStream, split_recordings
from equipoise.errors import DataError, SettingError

__all__ = ["AudioFolder"]

DECODING = 1
"""Version of the decoder; incremented when its output changes."""
TASK = "reading sound"
DYNAMIC_RANGE = 80.0
"""Decibels below the loudest that spectrograms distinguish by default."""


@dataclass(frozen=True, slots=True)
class AudioFolder:
    """Windows of sound: float32 in [-1, 1], labelled by type if there are several.

    Log-mel spectrograms are images (1, bands, frames), whose top row is the highest band; waveforms are sequences
    (1, length). Raises SettingError for an option out of range.
    """

    folder: str
    """folder of the files, FOLDER/type/name.wav or FOLDER/name.wav, or one file"""
    types: tuple[str, ...] | None = None
    """subfolders to use; default: all"""
    representation: Representation = "mel"
    """mel: log-mel spectrograms; raw: waveforms"""
    sample_rate: int | None = None
    """samples per second; others are converted; default: that of most files"""
    seconds: float | None = None
    """length of a window; default: 64 frames of a spectrogram, or 8,192 samples of a waveform"""
    stride: float | None = None
    """seconds between the starts of consecutive windows of a file; default: the length of a window"""
    bands: int | None = None
    """bands of a spectrogram; default: 64"""
    low: float | None = None
    """value that -1 represents: decibels, or amplitude; default: 80 dB below the loudest, or minus the largest"""
    high: float | None = None
    """value that 1 represents; default: the loudest decibels, or the largest amplitude"""
    balance: bool = False
    """whether all classes are drawn equally often in training, also rare ones"""
    held_out: float = 0.1
    """share of the windows that is held out: whole files by a hash of their content, or blocks of time of few files"""
    cache: str = "runs/.cache"
    """folder of decoded windows"""
    digest: str | None = None
    """digest of all files; set automatically, so that a resumed run uses the same windows"""

    def __post_init__(self) -> None:
        for name in ("sample_rate", "seconds", "stride", "bands"):
            value = getattr(self, name)
            if value is not None and not (math.isfinite(value) and value > 0):
                raise SettingError(f"{name} = {value:g}: it must be above 0")
        check_held_out(self.held_out)
        if self.low is not None and self.high is not None and not self.low < self.high:
            raise SettingError(f"low = {self.low:g} must be below high = {self.high:g}")

    def prepare(self) -> Iterator[Preparation]:
        """Read every file once; yields progress and notes.

        Raises DataError for a file that is no sound, and if the folder changed since `digest` was computed;
        UnknownNameError for an unknown type, MissingPackageError without soundfile.
        """
        yield from self._scan()

    def resolve(self) -> Self:
        """Return the data set with full paths, and with types, sample rate, range and digest as read.

        Raises as `prepare` does.
        """
        resolved: Self = exhaust(self._scan())
        return resolved

    @property
    def spec(self) -> DataSpec:
        """Grey images or sequences; mirror images are not valid: time would run backwards.

        Reads the folder unless resolved.
        """
        if self.types is None or self.sample_rate is None or self.low is None or self.high is None:
            return self.resolve().spec
        windows = self._windows(self.sample_rate)
        names = self.types if len(self.types) > 1 else ()
        return DataSpec(
            (1, *windows.shape),
            classes=len(names),
            class_names=names,
            unit=(self.low, self.high),
            sound=SoundFormat(self.sample_rate, windows.length, windows.mel),
        )

    @property
    def suggestion(self) -> Suggestion:
        """Settings for hundreds of windows: small batches, several per epoch."""
        features = "kd_sequences" if self.representation == "raw" else "kd_efficientnet_lite0"
        metric = features if self.count("held_out") >= MIN_HELD_OUT else None
        return Suggestion("dcgan", 3000, min(16, self.count("train")), metric, controller="learnable:suite")

    def count(self, split: Split) -> int:
        """Return the number of windows of a split."""
        data, result = self._open()
        return len(data._split(result)[split != "train"])

    def stream(self, split: Split, batch_size: int, seed: int) -> WindowStream:
        """Return endless shuffled batches of a split, with labels if there are several types.

        Raises DataError if the split is smaller than a batch.
        """
        data, result = self._open()
        spec, names = data.spec, data.spec.class_names
        rows = torch.tensor(data._split(result)[split != "train"], dtype=torch.int64)
        labels = torch.tensor([names.index(type_of(path, names)) for path in result.paths]) if names else None
        array = result.array if spec.is_image else result.array.unsqueeze(1)
        classes = group_by_class(None if labels is None else labels[rows], data.balance)
        return WindowStream(array, rows, labels, spec, False, batch_size, seed, split, classes)

    def _scan(self) -> Generator[Preparation, None, Self]:
        """Decode new files, yield notes, and return the resolved data set."""
        path, cache = Path(self.folder).expanduser().resolve(), Path(self.cache).expanduser().resolve()
        listed = open_file(path) if path.is_file() else open_folder(path, SOUND_ENDINGS)
        types, files, splits = select_files(listed.files, self.types, is_new=self.digest is None)
        source = listed.select(files)
        check_unchanged(source, cache, self.digest, path)
        notes: list[str | None] = [*splits]
        rate = self.sample_rate
        if rate is None or self.digest is None:
            frequent, rates = most_frequent_rate(source)
            rate = rate or frequent
            notes.append(sample_rate_note(rate, rates))
        located = replace(self, folder=str(path), cache=str(cache), types=types, sample_rate=rate)
        windows = located._windows(rate)
        decode = SoundDecoder(str(listed.location), windows)
        decoding = Decoding(located._key(), decode, windows.shape, np.float32, TASK, tolerance=0)
        result = yield from decode_source(source, cache, decoding)
        for note in filter(None, (*notes, *result.notes, *located._notes(result, windows))):
            yield Preparation(TASK, len(files), len(files), note)
        low, high = located._range(result)
        return replace(located, low=low, high=high, digest=result.digest)

    def _range(self, result: CachedFolder) -> tuple[float, float]:
        """Return the values that -1 and 1 represent. Raises DataError if they are equal: all files are silent."""
        train = self._split(result)[0]
        low, high = amplitude_range(result.array, train, self.representation == "mel", DYNAMIC_RANGE)
        low, high = low if self.low is None else self.low, high if self.high is None else self.high
        if low >= high:
            raise DataError(f"all sound in {self.folder} is silent, or outside of low and high; use other files")
        return low, high

    def _windows(self, sample_rate: int) -> SoundWindows:
        return plan_sound(sample_rate, self.representation, self.seconds, self.stride, self.bands)

    def _split(self, result: CachedFolder) -> tuple[list[int], list[int]]:
        assert self.sample_rate is not None
        windows = self._windows(self.sample_rate)
        return split_recordings(result, windows.length, windows.stride, self.held_out)

    def _open(self) -> tuple[Self, CachedFolder]:
        """Return the resolved data set and its windows; reads the folder only if necessary."""
        if self.digest is not None and (result := open_cached(Path(self.cache), self.digest, self._key())):
            return self, result
        data = self.resolve()
        assert data.digest is not None
        if (result := open_cached(Path(data.cache), data.digest, data._key())) is None:
            raise changed_cache(data.cache)
        return data, result

    def _key(self) -> dict[str, object]:
        """Return the options that determine how files are decoded."""
        assert self.sample_rate is not None
        windows = self._windows(self.sample_rate)
        mel = None if windows.mel is None else _mel_key(windows.mel)
        lengths = {"length": windows.length, "stride": windows.stride, "sample_rate": windows.sample_rate}
        return {"data": "audio_folder", "decoding": DECODING, **lengths, "mel": mel}

    def _notes(self, result: CachedFolder, windows: SoundWindows) -> Iterator[str]:
        """Yield notes on the sound for the user."""
        assert self.types is not None
        rate, facts = windows.sample_rate, result.facts
        if self.types:
            counts = Counter(type_of(path, self.types) for path in result.paths)
            shares = ", ".join(f"{printable(name)} {counts[name]:,}" for name in self.types)
            yield f"{format_count(len(self.types), 'type')}: {shares}"
        shape = " x ".join(map(str, windows.shape))
        kind = "waveforms" if windows.mel is None else "log-mel spectrograms"
        yield (
            f"{format_count(len(result.array), 'window')} of {windows.length / rate:.3g} s at {rate:,} Hz, as {kind} "
            f"of {shape} (data.seconds, data.representation)"
        )
        if number := facts["mixed"]:
            yield f"{format_count(number)} with several channels, which were averaged"
        if number := facts["extended"]:
            yield f"{format_count(number)} shorter than a window, extended by silence"
        if number := facts["silent"]:
            yield f"{format_count(number, 'window')} silent"
        if number := facts["unused"]:
            yield f"{number / rate:.3g} s at the ends of files are in no window (data.stride)"
        files = len(set(result.paths))
        if self.held_out and files < len(result.paths) and files < 10:
            yield describe_blocks(self._split(result), result.paths)


def _mel_key(mel: MelSettings) -> list[int]:
    return [mel.window, mel.hop, mel.bands]
