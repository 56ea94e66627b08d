"""Mel scale, spectrograms, Griffin and Lim's algorithm, resampling."""

import math

import pytest
import torch

from equipoise.core.data import MelSettings
from equipoise.nn.mel import filterbank, griffin_lim, hz_to_mel, log_mel, mel_to_hz, resample

RATE, SETTINGS = 16_000, MelSettings(1024, 256, 64)


def chirp(length=63 * 256):
    time = torch.arange(length) / RATE
    return 0.4 * torch.sin(2 * math.pi * (500 * time + 700 * time * time))


def test_mel_scale_is_that_of_slaney():
    """Values of the Auditory Toolbox: 1,000 Hz is 15 mel, 6,400 Hz is 42 mel."""
    frequencies = torch.tensor([0.0, 500.0, 1000.0, 6400.0], dtype=torch.float64)
    assert hz_to_mel(frequencies).tolist() == pytest.approx([0, 7.5, 15, 42])
    assert torch.allclose(mel_to_hz(hz_to_mel(frequencies)), frequencies)


def test_bands_have_an_area_of_one():
    bands = filterbank(SETTINGS, RATE)
    assert bands.shape == (64, 513)
    areas = bands.sum(1) * RATE / SETTINGS.window
    assert areas[20:].tolist() == pytest.approx([1] * 44, abs=0.05)
    assert (bands >= 0).all()


def test_tone_is_in_its_band():
    time = torch.arange(63 * 256) / RATE
    decibels = log_mel(torch.sin(2 * math.pi * 1000 * time)[None], SETTINGS, RATE)
    assert decibels.shape == (1, 64, 64)
    highest = float(hz_to_mel(torch.tensor(RATE / 2, dtype=torch.float64)))
    assert (float(decibels[0].mean(1).argmax()) + 1) * highest / 65 == pytest.approx(15, abs=0.6)
    assert float(log_mel(torch.zeros(1, 63 * 256), SETTINGS, RATE).max()) == -100


def test_griffin_lim_restores_the_spectrogram():
    decibels = log_mel(chirp()[None], SETTINGS, RATE)
    sound = griffin_lim(decibels, SETTINGS, RATE)
    assert sound.shape == (1, 63 * 256)
    loud = decibels > decibels.max() - 20
    assert (log_mel(sound, SETTINGS, RATE) - decibels)[loud].abs().mean() < 1.5
    assert float(sound.square().mean().sqrt()) == pytest.approx(float(chirp().square().mean().sqrt()), rel=0.1)
    assert torch.equal(sound, griffin_lim(decibels, SETTINGS, RATE)), "the phases depend on the seed only"


@pytest.mark.parametrize("before", [8_000, 22_050, 44_100, 48_000])
def test_resampling_preserves_a_tone(before):
    sound = resample(torch.sin(2 * math.pi * 1000 * torch.arange(before) / before)[None], before, RATE)[0]
    expected = torch.sin(2 * math.pi * 1000 * torch.arange(len(sound)) / RATE)
    assert abs(len(sound) - RATE) <= 1
    assert (sound - expected)[100:-100].abs().max() < 2e-3


def test_resampling_removes_what_cannot_be_represented():
    high = torch.sin(2 * math.pi * 12_000 * torch.arange(44_100) / 44_100)[None]
    assert resample(high, 44_100, RATE)[0, 100:-100].abs().max() < 0.02
    assert resample(high, RATE, RATE) is high
