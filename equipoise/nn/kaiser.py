"""Low-pass FIR filters with Kaiser windows.

Kaiser 1974, "Nonrecursive Digital Filter Design Using the I0-sinh Window Function"; the choice of the window as in
Karras et al. 2021, "Alias-Free Generative Adversarial Networks", appendix C. Filters are computed on the CPU, whatever
the default device is.
"""

import math

import torch
from torch import Tensor


def kaiser_beta(taps: int, width: float, rate: float) -> float:
    """Return the shape parameter of the window of a filter of `taps` taps.

    `width`: width of the transition band from pass to stop, in the unit of `rate`, the sampling rate. The filter
    attenuates the stop band by a = 2.285 (taps - 1) π width / (rate / 2) + 7.95 dB (Kaiser 1974; Oppenheim and Schafer,
    "Discrete-Time Signal Processing", section 7.5.3, equations 7.75 and 7.76).
    """
    attenuation = 2.285 * (taps - 1) * math.pi * width / (rate / 2) + 7.95
    if attenuation > 50:
        return 0.1102 * (attenuation - 8.7)
    if attenuation > 21:
        return float(0.5842 * (attenuation - 21) ** 0.4 + 0.07886 * (attenuation - 21))
    return 0.0


def lowpass_filter(taps: int, cutoff: float, width: float, rate: float) -> Tensor:
    """Return a windowed sinc (taps,), float64, with sum 1: its response at frequency 0 is 1, at the cutoff about 1/2.

    `cutoff`, `width` of the transition band and sampling rate `rate` have one unit. A single tap is the identity.
    """
    if taps == 1:
        return torch.ones(1, dtype=torch.float64, device="cpu")
    filter = torch.sinc(2 * cutoff * _times(taps, rate)) * _window(taps, kaiser_beta(taps, width, rate))
    return filter / filter.sum()


def radial_lowpass_filter(taps: int, cutoff: float, width: float, rate: float) -> Tensor:
    """Return a low-pass filter (taps, taps), float64, with sum 1, whose pass band is a disc. `taps` must be even.

    The ideal filter is a jinc, J₁(2π f_c r) / r up to a factor, windowed along both axes (Karras 2021, appendix C).
    """
    if taps == 1:
        return torch.ones(1, 1, dtype=torch.float64, device="cpu")
    times = _times(taps, rate)
    radius = torch.hypot(times[:, None], times[None, :])
    window = _window(taps, kaiser_beta(taps, width, rate))
    filter = torch.special.bessel_j1(2 * math.pi * cutoff * radius) / radius * window[:, None] * window[None, :]
    result: Tensor = filter / filter.sum()
    return result


def _times(taps: int, rate: float) -> Tensor:
    """Return the positions of the taps relative to the centre, in seconds for a rate in hertz."""
    return (torch.arange(taps, dtype=torch.float64, device="cpu") - (taps - 1) / 2) / rate


def _window(taps: int, beta: float) -> Tensor:
    return torch.kaiser_window(taps, periodic=False, beta=beta, dtype=torch.float64, device="cpu")
