"""The antithetic evolution strategy: deterministic directions, a bounded gradient, and progress on noisy pairs."""

import numpy as np
import pytest

from equipoise.errors import SettingError
from equipoise.meta.antithetic import (
    AntitheticSettings,
    bounded_difference,
    mirrored_weights,
    sample_directions,
    step_weights,
)

SETTINGS = AntitheticSettings()


def test_directions_depend_on_generation_and_mask_alone() -> None:
    mask = np.array([1.0, 0.0, 1.0])
    first = sample_directions(SETTINGS, 0, 5, mask)
    assert np.array_equal(first, sample_directions(SETTINGS, 0, 5, mask))
    assert not np.array_equal(first, sample_directions(SETTINGS, 1, 5, mask))
    assert np.array_equal(first[:, 1], np.zeros(5))
    assert np.array_equal(first[:2, 0], sample_directions(SETTINGS, 0, 2, mask)[:, 0]), "as many pairs as needed"


def test_a_pair_is_opposite() -> None:
    plus, minus = mirrored_weights(np.array([1.0, 2.0]), np.array([1.0, -1.0]), 0.5)
    assert (plus.tolist(), minus.tolist()) == ([1.5, 1.5], [0.5, 2.5])


@pytest.mark.parametrize(
    ("plus", "minus", "difference"),
    [(0.3, 0.1, 0.2), (9.0, 0.1, 1.0), (None, 0.1, -1.0), (0.1, None, 1.0), (None, None, 0.0)],
)
def test_differences_are_bounded(plus: float | None, minus: float | None, difference: float) -> None:
    assert bounded_difference(plus, minus) == pytest.approx(difference)


def test_steps_climb_a_noisy_slope_and_leave_masked_weights() -> None:
    slope = np.array([0.3, -0.2, 0.1, 0.0, 0.5])
    mask, noise = np.array([1.0, 1.0, 1.0, 1.0, 0.0]), np.random.default_rng(0)
    weights, measured = np.zeros(5), []
    for generation in range(10):
        directions = sample_directions(SETTINGS, generation, 7, mask)
        pairs = [mirrored_weights(weights, direction, SETTINGS.sigma) for direction in directions]
        differences = [bounded_difference(*(slope @ side + 0.1 * noise.standard_normal() for side in p)) for p in pairs]
        measured.append((directions, differences))
        weights = step_weights(weights, measured, SETTINGS)
    assert weights[4] == 0
    cosine = slope[:4] @ weights[:4] / np.linalg.norm(slope[:4]) / np.linalg.norm(weights)
    assert cosine > 0.85
    assert 0.8 < np.linalg.norm(weights) < 4.0


def test_a_generation_without_effect_does_not_move() -> None:
    directions = sample_directions(SETTINGS, 0, 4, np.ones(3))
    assert np.array_equal(step_weights(np.ones(3), [(directions, [0.0] * 4)], SETTINGS), np.ones(3))


def test_invalid_settings_are_refused() -> None:
    with pytest.raises(SettingError, match="sigma = 0: it must be above 0"):
        AntitheticSettings(sigma=0)
    with pytest.raises(SettingError, match="window = 0: it must be at least 1"):
        AntitheticSettings(window=0)
