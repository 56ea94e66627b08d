"""Low-pass filters with Kaiser windows, against published taps, numpy's Bessel function and their own response."""

import math

import numpy as np
import pytest
import torch

from equipoise.nn.kaiser import kaiser_beta, lowpass_filter, radial_lowpass_filter

EXAMPLE = (12, 4.0, 8.0, 32.0)
"""Taps, cutoff, width of the transition band, sampling rate."""


def response(filter, frequency, rate):
    """Return the amplitude of a symmetric filter at a frequency."""
    times = (torch.arange(len(filter), dtype=torch.float64) - (len(filter) - 1) / 2) / rate
    return (filter * torch.cos(2 * math.pi * frequency * times)).sum().item()


def test_taps_are_those_of_scipy():
    """scipy.signal.firwin(12, 4, width=8, fs=32)."""
    assert kaiser_beta(12, 8, 32) == pytest.approx(4.2492, abs=5e-5)
    taps = lowpass_filter(*EXAMPLE)
    half = [-0.003854, -0.006146, 0.015373, 0.079649, 0.172352, 0.242626]
    assert taps.tolist() == pytest.approx([*half, *half[::-1]], abs=5e-7)
    assert taps.sum().item() == pytest.approx(1, abs=1e-15)


@pytest.mark.parametrize(("taps", "cutoff", "width", "rate"), [EXAMPLE, (24, 2.0, 12.0, 64.0), (12, 16.0, 7.4, 64.0)])
def test_taps_agree_with_a_windowed_sinc_in_numpy(taps, cutoff, width, rate):
    n = np.arange(taps) - (taps - 1) / 2
    beta = kaiser_beta(taps, width, rate)
    window = np.i0(beta * np.sqrt(1 - (2 * n / (taps - 1)) ** 2)) / np.i0(beta)
    expected = np.sinc(2 * cutoff * n / rate) * window
    assert np.abs(lowpass_filter(taps, cutoff, width, rate).numpy() - expected / expected.sum()).max() < 1e-15


@pytest.mark.parametrize(("attenuation", "beta"), [(20, 0), (30, 0.5842 * 9**0.4 + 0.07886 * 9), (60, 0.1102 * 51.3)])
def test_beta_of_each_range_of_attenuation(attenuation, beta):
    taps, rate = 12, 2.0
    width = (attenuation - 7.95) / (2.285 * (taps - 1) * math.pi)
    assert kaiser_beta(taps, width, rate) == pytest.approx(beta)


def test_response_falls_from_one_to_a_half_at_the_cutoff_to_nothing():
    filter, (_, cutoff, width, rate) = lowpass_filter(*EXAMPLE), EXAMPLE
    assert response(filter, 0, rate) == pytest.approx(1)
    assert response(filter, cutoff, rate) == pytest.approx(0.5, abs=0.02)
    stop = [abs(response(filter, frequency, rate)) for frequency in np.linspace(cutoff + width / 2, rate / 2, 50)]
    assert max(stop) < 10 ** (-40 / 20)


def test_radial_filter_is_equal_in_every_direction():
    """Its response depends on the length of the frequency, not on the direction, unlike that of a separable filter."""
    taps, cutoff, width, rate = EXAMPLE
    radial = radial_lowpass_filter(taps, cutoff, width, rate)
    separable = torch.outer(lowpass_filter(*EXAMPLE), lowpass_filter(*EXAMPLE))
    times = (torch.arange(taps, dtype=torch.float64) - (taps - 1) / 2) / rate

    def spread(filter):
        values = []
        for angle in np.linspace(0, math.pi / 4, 10):
            turns = 5 * (math.cos(angle) * times[:, None] + math.sin(angle) * times[None, :])
            values.append((filter * torch.cos(2 * math.pi * turns)).sum().item())
        return max(values) - min(values)

    assert radial.sum().item() == pytest.approx(1)
    assert torch.allclose(radial, radial.T, rtol=0, atol=1e-15)
    assert spread(radial) < 0.01 < spread(separable)


def test_one_tap_is_the_identity():
    assert lowpass_filter(1, 4, 8, 32).tolist() == [1]
    assert radial_lowpass_filter(1, 4, 8, 32).tolist() == [[1]]
