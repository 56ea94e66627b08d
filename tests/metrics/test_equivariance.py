"""Equivariance: resampling against continuous scenes, and PSNR of generators that are equivariant or not."""

import math

import pytest
import torch

from equipoise.core.metric import Bootstrap
from equipoise.errors import UndefinedMetricError
from equipoise.metrics import _equivariance as measures
from equipoise.metrics._resampling import limit_to_rotated_band, rotate, shift, shift_by_pixels


def continuous_scenes(limit, size=32, count=2):
    """Return scenes that are sums of 20 sine waves up to `limit` cycles per pixel, exact at every position."""
    source = torch.Generator().manual_seed(0)
    radius, angle, phase = torch.rand(3, count, 20, generator=source, dtype=torch.float64)
    radius, angle = limit * size * radius.sqrt(), 2 * math.pi * angle
    frequencies = torch.stack([radius * angle.cos(), radius * angle.sin()], dim=2)

    def scenes(matrix):
        centres = (torch.arange(size, dtype=torch.float64) + 0.5) / size - 0.5
        y, x = torch.meshgrid(centres, centres, indexing="ij")
        places = torch.stack([x, y], dim=2) @ matrix[:2, :2].double().T + matrix[:2, 2].double()
        turns = torch.einsum("hwk,nfk->nfhw", places, frequencies) + phase[:, :, None, None]
        return (torch.sin(2 * math.pi * turns).sum(dim=1, keepdim=True) / 6).float()

    return scenes


def psnr(scenes, compare, seed=0):
    return measures.equivariance([scenes], compare, Bootstrap(0, seed)).value


def test_whole_pixels_are_copied():
    images = torch.arange(12.0).view(1, 1, 3, 4)
    moved, valid = shift_by_pixels(images, 1, -1)
    assert moved[0, 0, 1:, :3].tolist() == [[1, 2, 3], [5, 6, 7]]
    assert valid.tolist() == [[False] * 4, [True, True, True, False], [True, True, True, False]]


def test_interpolation_at_whole_pixels_copies_them_and_keeps_constants_between():
    images = torch.randn(1, 2, 16, 16, generator=torch.Generator().manual_seed(0))
    moved, valid = shift(images, 2.0, -3.0)
    expected, inside = shift_by_pixels(images, 2, -3)
    assert torch.allclose(moved[..., valid], expected[..., valid], atol=1e-6)
    assert (inside | ~valid).all()
    for constant, resample in [(3.0, lambda x: shift(x, 0.3, 0.7)), (3.0, lambda x: rotate(x, 0.4))]:
        moved, valid = resample(torch.full((1, 1, 24, 24), constant))
        assert valid.any()
        assert torch.allclose(moved[..., valid], torch.tensor(constant), rtol=1e-5)


def test_rotation_by_a_quarter_turn_filters_only():
    images = torch.randn(1, 1, 24, 24, generator=torch.Generator().manual_seed(0))
    turned, valid = rotate(images, math.pi / 2)
    filtered, inside = limit_to_rotated_band(images.rot90(1, (2, 3)), math.pi / 2)
    both = valid & inside
    assert both.any()
    assert torch.allclose(turned[..., both], filtered[..., both], atol=1e-4)


@pytest.mark.parametrize(("limit", "least"), [(0.1, 95), (0.2, 80), (0.3, 65)])
def test_rotations_of_continuous_scenes_are_recognised(limit, least):
    """Frequencies up to 0.3 cycles per pixel; the limit of the grid is 0.5."""
    scenes = continuous_scenes(limit)
    for seed in range(2):
        assert psnr(scenes, measures.rotation_errors, seed) > least


@pytest.mark.parametrize(("limit", "least"), [(0.1, 55), (0.2, 48), (0.3, 42)])
def test_translations_of_continuous_scenes_are_recognised(limit, least):
    scenes = continuous_scenes(limit)
    for seed in range(3):
        assert psnr(scenes, measures.translation_errors, seed) > 100
        assert psnr(scenes, measures.fractional_translation_errors, seed) > least


@pytest.mark.parametrize(
    "compare", [measures.translation_errors, measures.fractional_translation_errors, measures.rotation_errors]
)
def test_images_that_do_not_move_are_not_equivariant(compare):
    still = continuous_scenes(0.2)(torch.eye(3))
    assert psnr(lambda matrix: still, compare) < 15


def test_value_is_the_psnr_of_a_known_error():
    """Differences of 0.02 in every pixel: 20 log10(2 / 0.02) = 40 dB."""
    scenes = continuous_scenes(0.1)

    def offset(matrix):
        return scenes(matrix) + (0.0 if torch.equal(matrix, torch.eye(3)) else 0.02)

    assert psnr(offset, measures.translation_errors) == pytest.approx(40, abs=0.01)


def test_result_is_pooled_over_images_and_has_an_interval():
    scenes = [continuous_scenes(limit, count=8) for limit in (0.2, 0.3)]
    result = measures.equivariance(scenes, measures.fractional_translation_errors, Bootstrap(50, 1))
    again = measures.equivariance(scenes, measures.fractional_translation_errors, Bootstrap(50, 1))
    assert result.value == again.value
    assert torch.equal(result.resampled, again.resampled)
    low, high = result.interval
    assert low < result.value < high
    singles = [psnr(each, measures.fractional_translation_errors, 1) for each in scenes]
    assert min(singles) - 3 < result.value < max(singles) + 3


@pytest.mark.parametrize("scenes", [[], [continuous_scenes(0.1, size=8)]])
def test_no_images_and_images_that_are_all_border_have_no_value(scenes):
    with pytest.raises(UndefinedMetricError, match="far from its border"):
        measures.equivariance(scenes, measures.rotation_errors, Bootstrap())
