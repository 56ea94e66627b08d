"""Samples as sound: waveforms from samples, and WAV files."""

import io
import wave

import numpy as np
import torch
from torch import Tensor

from equipoise.core.data import DataSpec, SoundFormat
from equipoise.nn.mel import griffin_lim

PCM_STEPS = 2**15
"""Steps from 0 to full amplitude in 16-bit PCM."""
BATCH = 16
"""Number of spectrograms converted at once, to bound memory."""


def to_waveforms(samples: Tensor, spec: DataSpec, sound: SoundFormat) -> Tensor:
    """Return waveforms (N, length) float32 of samples (N, ...) in [-1, 1]: waveforms, or log-mel spectrograms.

    A waveform is only scaled to its amplitude. A spectrogram has no phases; see :func:`equipoise.nn.mel.griffin_lim`.
    """
    values = spec.to_unit(samples).float()
    if sound.mel is None:
        return values[:, 0]
    decibels = values[:, 0].flip(1)  # The highest band is the top row.
    parts = [griffin_lim(part, sound.mel, sound.sample_rate) for part in decibels.split(BATCH)]
    return torch.cat(parts)


def encode_wav(waveform: Tensor, sample_rate: int) -> bytes:
    """Encode a waveform (length,) in [-1, 1] as a mono WAV file of 16-bit PCM; louder values are clipped."""
    steps = (waveform.double() * PCM_STEPS).round().clamp(-PCM_STEPS, PCM_STEPS - 1)
    content = io.BytesIO()
    with wave.open(content, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(sample_rate)
        file.writeframes(steps.numpy().astype(np.dtype("<i2")).tobytes())
    return content.getvalue()
