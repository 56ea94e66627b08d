"""Equivalent trials: expected best of k constants, and how many trials an arm is worth."""

import itertools
import math

import numpy as np
import pytest

from equipoise.comparison.suite.equivalent_trials import best_of_trials, rank_probabilities, trials_worth

CURVE = {1: 0.2, 2: 0.1, 4: -0.1, 8: -0.1, 16: -0.3}


@pytest.mark.parametrize("trials", range(1, 7))
def test_expected_best_equals_the_mean_over_all_choices(trials: int) -> None:
    generator = np.random.default_rng(trials)
    choice, value = generator.normal(size=6), generator.normal(size=6)
    picks = [min(pick, key=lambda place: choice[place]) for pick in itertools.combinations(range(6), trials)]
    assert best_of_trials(choice, value, trials) == pytest.approx(np.mean(value[picks]))


def test_probabilities_of_ranks_add_up_and_all_trials_keep_the_best() -> None:
    assert rank_probabilities(24, 8).sum() == pytest.approx(1)
    assert rank_probabilities(24, 24).tolist() == [1.0] + [0.0] * 23


@pytest.mark.parametrize("trials", [0, 25])
def test_an_impossible_number_of_trials_is_refused(trials: int) -> None:
    with pytest.raises(ValueError, match="from 1 to 24"):
        rank_probabilities(24, trials)


@pytest.mark.parametrize(
    ("log_ratio", "trials"),
    [(0.3, 0.0), (0.2, 1.0), (0.1, 2.0), (0.0, math.sqrt(8)), (-0.3, 16.0), (-0.31, math.inf)],
)
def test_trials_are_interpolated_between_points_of_the_curve(log_ratio: float, trials: float) -> None:
    assert trials_worth(log_ratio, CURVE) == pytest.approx(trials)


def test_a_curve_that_rises_by_noise_is_flattened() -> None:
    assert trials_worth(0.05, {1: 0.1, 2: 0.0, 4: 0.04}) == pytest.approx(math.sqrt(2))
