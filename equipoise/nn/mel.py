"""Sound as log-mel spectrograms and back, and resampling; pure functions of waveforms (..., length) float32.

    m(f) = 3 f / 200 below 1,000 Hz, 15 + 27 ln(f / 1000) / ln 6.4 above        (Slaney 1998, "Auditory Toolbox")

Each band is a triangle over three neighbouring, evenly spaced mels with an area of 1. A spectrogram has no phases:
:func:`griffin_lim` finds a waveform whose magnitudes agree with it (Griffin and Lim 1984, "Signal Estimation from
Modified Short-Time Fourier Transform", section IV), with the momentum of Perraudin 2013 ("A Fast Griffin-Lim
Algorithm").
"""

import math
from functools import lru_cache

import torch
from torch import Tensor
from torch.nn.functional import conv1d, pad

from equipoise.core.data import MelSettings

FLOOR = 1e-10
"""Power that is not distinguished from silence: -100 dB."""
INVERSIONS = 100
"""Number of updates that invert the filters; further ones change bands 40 dB below the loudest by less than 1 dB."""
ITERATIONS, MOMENTUM = 60, 0.99
"""Of Griffin and Lim's algorithm; momentum as recommended by Perraudin 2013, section 4."""
BREAK_HZ, LINEAR, LOG_STEP = 1000.0, 3 / 200, math.log(6.4) / 27
"""Frequency above which mels are logarithmic, mels per Hz below, and logarithm of the frequency ratio of a mel."""
LOBES, ROLL_OFF = 6, 0.99
"""Zero crossings of the sinc on each side, and its cutoff as a share of the lower Nyquist frequency."""


def hz_to_mel(hz: Tensor) -> Tensor:
    """Convert frequencies to mels on Slaney's scale."""
    above = BREAK_HZ * LINEAR + (hz.clamp_min(BREAK_HZ) / BREAK_HZ).log() / LOG_STEP
    return torch.where(hz < BREAK_HZ, hz * LINEAR, above)


def mel_to_hz(mel: Tensor) -> Tensor:
    """Convert mels to frequencies; inverse of :func:`hz_to_mel`."""
    return torch.where(mel < BREAK_HZ * LINEAR, mel / LINEAR, BREAK_HZ * ((mel - BREAK_HZ * LINEAR) * LOG_STEP).exp())


@lru_cache(maxsize=8)
def filterbank(settings: MelSettings, sample_rate: int) -> Tensor:
    """Return the weights (bands, frequencies) of a power spectrum in each band, from 0 Hz to half the sample rate."""
    frequencies = torch.linspace(0, sample_rate / 2, settings.window // 2 + 1, dtype=torch.float64)
    highest = hz_to_mel(torch.tensor(sample_rate / 2, dtype=torch.float64))
    edges = mel_to_hz(torch.linspace(0, float(highest), settings.bands + 2, dtype=torch.float64))
    low, centre, high = edges[:-2, None], edges[1:-1, None], edges[2:, None]
    rising, falling = (frequencies - low) / (centre - low), (high - frequencies) / (high - centre)
    return (torch.minimum(rising, falling).clamp_min(0) * 2 / (high - low)).float()


def log_mel(waveforms: Tensor, settings: MelSettings, sample_rate: int) -> Tensor:
    """Compute spectrograms (..., bands, frames) in decibels, lowest band first, of waveforms (..., length).

    10 log10 of the power in each band, at least -100; there are 1 + length / hop frames.
    """
    spectrum = _stft(waveforms.reshape(-1, waveforms.shape[-1]), settings).abs().square()
    power = filterbank(settings, sample_rate) @ spectrum
    decibels = 10 * power.clamp_min(FLOOR).log10()
    return decibels.reshape(*waveforms.shape[:-1], *decibels.shape[1:])


def griffin_lim(decibels: Tensor, settings: MelSettings, sample_rate: int, seed: int = 0) -> Tensor:
    """Return waveforms (..., (frames - 1) hop) whose log-mel spectrograms are close to `decibels` (..., bands, frames).

    The power of frequencies is that which explains the bands, then phases are found by alternating projections, from
    random phases of `seed`.
    """
    flat = decibels.reshape(-1, *decibels.shape[-2:])
    bands = filterbank(settings, sample_rate)
    magnitude = _invert(bands, 10 ** (flat / 10)).sqrt()
    generator = torch.Generator().manual_seed(seed)
    angles = 2 * math.pi * torch.rand(magnitude.shape, generator=generator)
    phases, previous = torch.polar(torch.ones_like(angles), angles), torch.zeros(())
    length = (flat.shape[-1] - 1) * settings.hop
    for _ in range(ITERATIONS):
        projected = _stft(_istft(magnitude * phases, settings, length), settings)
        accelerated = projected - previous * (MOMENTUM / (1 + MOMENTUM))
        phases, previous = accelerated / accelerated.abs().clamp_min(1e-16), projected
    result: Tensor = _istft(magnitude * phases, settings, length)
    return result.reshape(*decibels.shape[:-2], length)


def _invert(bands: Tensor, power: Tensor) -> Tensor:
    """Return non-negative powers (B, frequencies, frames) with the given power (B, bands, frames) in `bands`.

    Least squares by the multiplicative updates of Lee and Seung 2001 ("Algorithms for Non-negative Matrix
    Factorization", theorem 1), from the pseudo-inverse.
    """
    result: Tensor = (torch.linalg.pinv(bands) @ power).clamp_min(FLOOR)
    for _ in range(INVERSIONS):
        result = result * (bands.T @ power) / (bands.T @ (bands @ result)).clamp_min(FLOOR**2)
    return result


def resample(waveforms: Tensor, before: int, after: int) -> Tensor:
    """Change the sample rate of waveforms (..., length): a sinc filter with a Hann window, length rounded up.

    Smith 2002, "Digital Audio Resampling", equations 1 to 4, with as many phases as the reduced ratio of the rates has.
    """
    if before == after:
        return waveforms
    divisor = math.gcd(before, after)
    source, target = before // divisor, after // divisor
    cutoff = ROLL_OFF * min(source, target)
    width = math.ceil(LOBES * source / cutoff)
    positions = torch.arange(-width, width + source, dtype=torch.float64) / source
    times = (positions - torch.arange(target, dtype=torch.float64)[:, None] / target) * cutoff
    window = torch.cos(times.clamp(-LOBES, LOBES) * math.pi / LOBES / 2).square()
    kernels = (torch.sinc(times) * window * cutoff / source).float()[:, None]
    flat = waveforms.reshape(-1, 1, waveforms.shape[-1])
    result = conv1d(pad(flat, (width, width + source)), kernels, stride=source).transpose(1, 2).flatten(1)
    length = math.ceil(waveforms.shape[-1] * target / source)
    return result[:, :length].reshape(*waveforms.shape[:-1], length)


def _stft(waveforms: Tensor, settings: MelSettings) -> Tensor:
    """Compute the short-time Fourier transform (B, frequencies, frames) of waveforms (B, length), Hann window."""
    window = torch.hann_window(settings.window)
    return torch.stft(waveforms, settings.window, settings.hop, window=window, return_complex=True)


def _istft(spectrum: Tensor, settings: MelSettings, length: int) -> Tensor:
    """Compute the waveforms (B, length) whose transform is nearest to `spectrum` (B, frequencies, frames)."""
    window = torch.hann_window(settings.window)
    return torch.istft(spectrum, settings.window, settings.hop, window=window, length=length)
