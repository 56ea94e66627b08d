"""Decoding of sound files to windows of waveforms or of log-mel spectrograms."""

import io
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from equipoise.core.data import MelSettings
from equipoise.core.printing import printable
from equipoise.data._files.decoding import Decoded
from equipoise.data._files.sources import Source
from equipoise.errors import DataError, MissingPackageError
from equipoise.nn.mel import log_mel, resample

Representation = Literal["mel", "raw"]
"""Log-mel spectrograms, which are images, or waveforms, which are sequences."""

HOP_SECONDS = 0.0116
"""Distance of two frames of a spectrogram, rounded to a power of two: 256 samples at 22,050 Hz, as usual."""
OVERLAP = 4
"""Window of a frame, in hops."""
FRAMES = 64
"""Default frames of a spectrogram, and default bands."""
RAW_LENGTH = 8192
"""Default samples of a waveform: half a second at 16,000 Hz (Donahue 2019 has 16,384)."""
SIDE_MULTIPLE = 8
"""Frames are rounded to a multiple of this number, which networks halve without padding."""
MAX_PROBED = 500
"""Largest number of files whose headers decide the sample rate."""
SILENCE = 1e-4
"""Largest amplitude of a window that counts as silent."""

Waveform = npt.NDArray[np.float32]


def import_soundfile() -> ModuleType:
    """Import soundfile. Raises MissingPackageError if it is not installed."""
    try:
        import soundfile
    except (ImportError, OSError) as error:  # OSError: libsndfile is missing.
        raise MissingPackageError(
            "sound files need the package soundfile, which is not installed; use: pip install 'equipoise[audio]'"
        ) from error
    module: ModuleType = soundfile
    return module


@dataclass(frozen=True, slots=True)
class SoundWindows:
    """How sound becomes windows. `length`, `stride`: in samples. `mel`: of spectrograms, None for waveforms."""

    sample_rate: int
    length: int
    stride: int
    mel: MelSettings | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of a window: (bands, frames), or (length,)."""
        return (self.length,) if self.mel is None else (self.mel.bands, 1 + self.length // self.mel.hop)


def plan_sound(
    sample_rate: int, representation: Representation, seconds: float | None, stride: float | None, bands: int | None
) -> SoundWindows:
    """Choose the length of windows and the settings of spectrograms. `seconds`, `stride`: of windows, None by default.

    Windows follow each other without overlap by default.
    """
    if representation == "raw":
        length = RAW_LENGTH if seconds is None else max(SIDE_MULTIPLE, round(seconds * sample_rate))
        return SoundWindows(sample_rate, length, _stride(stride, sample_rate, length))
    hop = 2 ** round(math.log2(sample_rate * HOP_SECONDS))
    frames = FRAMES if seconds is None else seconds * sample_rate / hop
    frames = max(2 * SIDE_MULTIPLE, SIDE_MULTIPLE * round(frames / SIDE_MULTIPLE))
    length = (frames - 1) * hop
    mel = MelSettings(OVERLAP * hop, hop, bands or FRAMES)
    return SoundWindows(sample_rate, length, _stride(stride, sample_rate, length), mel)


def _stride(seconds: float | None, sample_rate: int, length: int) -> int:
    return length if seconds is None else max(1, round(seconds * sample_rate))


def most_frequent_rate(source: Source) -> tuple[int, dict[int, int]]:
    """Return the most frequent sample rate of a source, and the number of files of each, from their headers.

    Raises DataError for a file that is no sound, MissingPackageError without soundfile.
    """
    soundfile = import_soundfile()
    rates: Counter[int] = Counter()
    step = max(1, len(source.files) // MAX_PROBED)
    for file in source.files[::step]:
        try:
            with source.open(file.path) as content, soundfile.SoundFile(content) as sound:
                rates[int(sound.samplerate)] += 1
        except (OSError, RuntimeError, TypeError) as error:
            raise DataError(_problem(f"{source.location}/{printable(file.path)}")) from error
    return max(rates, key=lambda rate: (rates[rate], rate)), dict(sorted(rates.items()))


def _problem(name: str) -> str:
    return f"{name} is damaged, or no sound; repair the file, or remove it"


@dataclass(frozen=True, slots=True)
class SoundDecoder:
    """Decoder of sound files to windows (N, *shape) float32: amplitudes, or decibels with the highest band first.

    Channels are averaged, other sample rates converted. A file that is shorter than a window is extended by silence.
    """

    folder: str
    windows: SoundWindows

    def __call__(self, content: bytes, path: str) -> Decoded:
        """Decode the content of a file. Raises DataError if it is damaged or empty."""
        name = f"{self.folder}/{printable(path)}"
        try:
            array, rate = import_soundfile().read(io.BytesIO(content), dtype="float32", always_2d=True)
        except (RuntimeError, TypeError) as error:
            raise DataError(_problem(name)) from error
        if not len(array) or not bool(np.isfinite(array).all()):
            raise DataError(_problem(name))
        target = self.windows.sample_rate
        waveform = resample(torch.from_numpy(array.mean(axis=1, dtype=np.float32)), int(rate), target)
        parts, unused = self._cut(waveform)
        silent = int((parts.abs().amax(dim=1) <= SILENCE).sum())
        facts = {
            "mixed": array.shape[1] > 1,
            "resampled": rate != target,
            "extended": len(waveform) < self.windows.length,
            "unused": unused,
            "silent": silent,
        }
        return Decoded(self._represent(parts), {fact: int(value) for fact, value in facts.items()})

    def _cut(self, waveform: Tensor) -> tuple[Tensor, int]:
        """Return the windows (N, length) of a waveform, and the number of samples at its end that are in none."""
        length, stride = self.windows.length, self.windows.stride
        if len(waveform) < length:
            waveform = torch.cat([waveform, waveform.new_zeros(length - len(waveform))])
        parts = waveform.unfold(0, length, stride)
        return parts, len(waveform) - ((len(parts) - 1) * stride + length)

    def _represent(self, parts: Tensor) -> Waveform:
        mel = self.windows.mel
        result = parts if mel is None else log_mel(parts, mel, self.windows.sample_rate).flip(1)
        array: Waveform = np.ascontiguousarray(result.numpy(), dtype=np.float32)
        return array


def sample_rate_note(rate: int, rates: dict[int, int]) -> str | None:
    """Describe the sample rates of files, if there are several."""
    if set(rates) <= {rate}:
        return None
    counts = ", ".join(f"{count:,} at {each:,} Hz" for each, count in rates.items())
    return f"the files have several sample rates ({counts}); converted to {rate:,} Hz (data.sample_rate)"


def amplitude_range(windows: Tensor, rows: Sequence[int], is_mel: bool, dynamic_range: float) -> tuple[float, float]:
    """Return the values that -1 and 1 represent, in the training windows `rows`.

    Of decibels: the loudest, and `dynamic_range` below it or the quietest; of amplitudes: minus and plus the largest.
    """
    parts = [windows[torch.tensor(rows[start : start + 256])] for start in range(0, len(rows), 256)]
    high = max(float(part.max()) for part in parts)
    low = min(float(part.min()) for part in parts)
    if is_mel:
        return max(low, high - dynamic_range), high
    peak = max(abs(low), abs(high))
    return -peak, peak
