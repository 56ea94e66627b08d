"""Fourier features: their distribution, transformations by a style and by the user, and their limits."""

import math

import pytest
import torch

from equipoise.nn.fourier_features import FourierFeatures


def features(channels=32, size=36, rate=16, bandwidth=2.0, style_dim=8):
    input = FourierFeatures(channels, size, rate=rate, bandwidth=bandwidth, style_dim=style_dim)
    input.initialise(torch.Generator().manual_seed(0))
    return input


def transformation(angle=0.0, x=0.0, y=0.0):
    """Return the matrix of a rotation, then a translation."""
    cos, sin = math.cos(angle), math.sin(angle)
    return torch.tensor([[cos, -sin, x], [sin, cos, y], [0, 0, 1]])


STYLES = torch.randn(2, 8, generator=torch.Generator().manual_seed(1))


def test_features_are_mixed_sine_waves_at_the_centres_of_pixels():
    input = features(channels=3, size=8, rate=4, bandwidth=1.0)
    maps = input(STYLES)
    assert maps.shape == (2, 3, 8, 8)
    assert maps.is_contiguous(memory_format=torch.channels_last)
    x, y = (5 + 0.5 - 4) / 4, (2 + 0.5 - 4) / 4
    waves = torch.sin(2 * math.pi * (input.frequencies @ torch.tensor([x, y]) + input.phases))
    expected = input.weight @ waves / math.sqrt(3)
    assert torch.allclose(maps[:, :, 2, 5], expected.expand(2, -1), atol=1e-6)


def test_frequencies_are_uniform_in_a_disc():
    input = features(channels=2_000)
    radius, angle = input.frequencies.norm(dim=1) / 2, torch.atan2(*input.frequencies.T)
    assert radius.max() <= 1
    for share in (0.25, 0.5, 0.75):
        assert (radius < share).float().mean().item() == pytest.approx(share**2, abs=0.03)
        assert (angle / math.pi < 2 * share - 1).float().mean().item() == pytest.approx(share, abs=0.03)
    assert input.phases.min() >= -0.5
    assert input.phases.max() < 0.5


def test_styles_have_no_effect_at_first_and_then_move_and_turn():
    input = features()
    assert torch.equal(input(STYLES)[0], input(STYLES)[1])
    with torch.no_grad():
        input.affine.bias.copy_(torch.tensor([0.0, 2.0, 2 / 16, 0.0]))  # a quarter turn, after a shift of one pixel
    turned = features()(STYLES, transformation(math.pi / 2) @ transformation(x=-1 / 16))
    assert torch.allclose(input(STYLES), turned, atol=1e-5)


def test_a_translation_moves_the_maps():
    input = features()
    maps, moved = input(STYLES), input(STYLES, transformation(x=3 / 16, y=-1 / 16))
    assert torch.allclose(moved[:, :, 1:, :-3], maps[:, :, :-1, 3:], atol=1e-5)


def test_a_quarter_turn_turns_the_maps():
    input = features()
    assert torch.allclose(input(STYLES, transformation(math.pi / 2)), input(STYLES).rot90(1, (2, 3)), atol=1e-5)


def test_each_sample_can_have_a_transformation_of_its_own():
    input = features()
    both = input(STYLES, torch.stack([transformation(), transformation(x=0.1)]))
    assert torch.equal(both[0], input(STYLES)[0])
    assert torch.allclose(both[1], input(STYLES, transformation(x=0.1))[1], atol=1e-6)


def test_frequencies_beyond_the_sampling_rate_fade_out():
    input = features()
    scaled = [input(STYLES, torch.diag(torch.tensor([scale, scale, 1.0]))).std().item() for scale in (1, 3, 100)]
    assert scaled[0] > scaled[1] > scaled[2]
    fastest = input.frequencies.norm(dim=1).max().item()
    limit = torch.diag(torch.tensor([8 / fastest, 8 / fastest, 1.0]))  # half the sampling rate, for the fastest wave
    waves = input.frequencies.norm(dim=1) == fastest
    with torch.no_grad():
        input.weight.copy_(torch.eye(32))
    assert input(STYLES, limit)[:, waves].abs().max() < 1e-5
