"""Power: variances of simulated pilots are found again, and the formula agrees with simulated studies."""

import math

import numpy as np
import pytest

from equipoise.comparison.suite.power import (
    PilotVariance,
    detectable_ratio,
    pilot_variance,
    required_seeds,
    required_tasks,
    simulate_power,
)

VARIANCE = PilotVariance(between=0.02, within=0.04)


def test_variances_of_a_simulated_pilot_are_found_again() -> None:
    generator = np.random.default_rng(1)
    arms = [generator.normal(0, math.sqrt(0.02), (400, 1)) + generator.normal(0, 0.2, (400, 3)) for _ in range(2)]
    arms[1][5, 1:] = math.nan
    result = pilot_variance(arms)
    assert result.between == pytest.approx(0.02, rel=0.2)
    assert result.within == pytest.approx(0.04, rel=0.1)


@pytest.mark.parametrize("values", [np.zeros((1, 3)), np.zeros((4, 1)), np.full((3, 3), math.nan)])
def test_a_pilot_without_replicates_is_refused(values: np.ndarray) -> None:
    with pytest.raises(ValueError, match="at least two tasks"):
        pilot_variance([values])


def test_required_tasks_of_the_formula() -> None:
    # (1.95996 + 0.84162)^2 (0.02 + 0.04 / 4) / log(0.9)^2 = 7.8489 x 0.03 / 0.011101 = 21.2
    assert required_tasks(VARIANCE, seeds=4) == 22


def test_required_seeds_are_the_smallest_number_that_is_enough() -> None:
    seeds = required_seeds(VARIANCE, tasks=22)
    assert seeds == 4
    assert required_tasks(VARIANCE, seeds) <= 22 < required_tasks(VARIANCE, seeds - 1)


def test_no_number_of_seeds_is_enough_where_tasks_differ_too_much() -> None:
    assert required_seeds(PilotVariance(0.1, 0.01), tasks=14) is None


def test_detectable_ratio_of_the_required_tasks_is_ten_percent() -> None:
    assert detectable_ratio(VARIANCE, required_tasks(VARIANCE, 4), 4) == pytest.approx(0.9, abs=0.005)


def test_simulated_power_agrees_with_the_formula() -> None:
    variance = PilotVariance(0.01, 0.03)
    tasks = required_tasks(variance, seeds=5)
    assert 0.66 <= simulate_power(variance, tasks, 5) <= 0.88
    assert simulate_power(variance, tasks, 5, effect=0.0) <= 0.09
