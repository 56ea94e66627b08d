"""Statistics of the suite, against hand-worked values, scipy, and results whose truth is known."""

import itertools
import math

import numpy as np
import pytest
from scipy import stats

from equipoise.comparison.aggregate import IntervalEstimate
from equipoise.comparison.suite import statistics
from equipoise.comparison.suite.records import RunArray
from equipoise.comparison.suite.statistics import (
    as_ratio,
    damage_undone,
    estimate_over_seeds,
    estimate_over_tasks,
    headroom_share,
    log_ratios,
    mean_log_difference,
    mean_log_ratio,
    replace_diverged,
    share_of_worse_tasks,
    sign_flip_test,
    wilson_interval,
)
from equipoise.errors import SettingError

NOISE = np.array([0.01, 0.02])


@pytest.fixture(autouse=True)
def few_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(statistics, "DRAWS", 800)


def normal(shape: tuple[int, int], mean: float = 0.0, between: float = 0.0, seed: int = 0) -> RunArray:
    """Log ratios (T, S) with standard deviation 0.2 between seeds."""
    generator = np.random.default_rng(seed)
    return mean + between * generator.normal(size=(shape[0], 1)) + 0.2 * generator.normal(size=shape)


def test_log_ratio_of_hand_worked_distances() -> None:
    ratios = log_ratios(np.array([[0.09], [0.18]]), np.array([[0.04], [0.18]]), NOISE)
    assert ratios[:, 0] == pytest.approx([math.log(0.10 / 0.05), 0.0])


def test_negative_and_tiny_distances_are_harmless() -> None:
    ratios = log_ratios(np.array([[-0.5], [1e-12]]), np.array([[0.0], [-0.001]]), NOISE)
    assert ratios[:, 0] == pytest.approx([0.0, 0.0], abs=1e-9)


def test_noise_must_be_positive() -> None:
    with pytest.raises(SettingError, match="noise of task number 2 is 0; it must be > 0"):
        log_ratios(np.ones((2, 1)), np.ones((2, 1)), np.array([0.1, 0.0]))


def test_a_diverged_run_counts_as_twice_the_worst_of_its_task() -> None:
    result = replace_diverged(
        {"a": np.array([[0.1, math.inf], [0.3, math.nan]]), "b": np.array([[0.4, 0.2], [math.inf, 0.1]])}, NOISE
    )
    assert result["a"][0].tolist() == [0.1, 0.8]
    assert result["b"][1].tolist() == [0.6, 0.1]
    assert math.isnan(result["a"][1, 1]), "a missing run remains missing"


def test_a_task_on_which_everything_diverged_or_is_perfect_has_a_finite_replacement() -> None:
    result = replace_diverged({"a": np.array([[math.inf, math.inf], [-0.01, math.inf]])}, NOISE)
    assert result["a"].tolist() == [[0.02, 0.02], [-0.01, 0.04]]


def test_mean_is_over_seeds_first_so_that_missing_seeds_do_not_change_the_weight_of_a_task() -> None:
    values = np.array([[1.0, 1.0, 1.0], [3.0, math.nan, math.nan]])
    assert estimate_over_seeds([values], mean_log_ratio).value == 2.0


def test_intervals_are_the_same_every_time_and_contain_the_value() -> None:
    values = normal((6, 4), mean=-0.2)
    first, second = (estimate_over_seeds([values], mean_log_ratio) for _ in range(2))
    assert first == second
    assert first.low < first.value < first.high


def test_interval_over_tasks_is_wider_where_tasks_differ() -> None:
    values = normal((10, 5), between=0.5)
    seeds, tasks = (estimate([values], mean_log_ratio) for estimate in (estimate_over_seeds, estimate_over_tasks))
    assert tasks.high - tasks.low > 2 * (seeds.high - seeds.low)


@pytest.mark.parametrize("over_tasks", [False, True])
def test_intervals_cover_the_truth(over_tasks: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(statistics, "DRAWS", 300)
    estimate = estimate_over_tasks if over_tasks else estimate_over_seeds
    covered = [
        interval.low <= -0.1 <= interval.high
        for seed in range(400)
        for interval in [estimate([normal((8, 3), -0.1, 0.2 * over_tasks, seed)], mean_log_ratio)]
    ]
    assert np.mean(covered) >= 0.9


def test_one_seed_has_no_interval_over_seeds() -> None:
    estimate = estimate_over_seeds([normal((5, 1))], mean_log_ratio)
    assert estimate.low == estimate.value == estimate.high


def test_ratio_of_a_log_estimate() -> None:
    assert as_ratio(IntervalEstimate(0.0, -math.log(2), math.log(4))) == pytest.approx(IntervalEstimate(1, 0.5, 4))


def test_difference_keeps_seeds_paired() -> None:
    first = normal((8, 5), between=1.0)
    estimate = estimate_over_seeds([first - 0.1, first], mean_log_difference)
    assert (estimate.low, estimate.high) == (pytest.approx(-0.1), pytest.approx(-0.1))


def test_headroom_and_damage_of_hand_worked_means() -> None:
    arm, oracle, default = np.array([[-0.1, -0.3]]), np.array([[-0.2, -0.6]]), np.array([[0.6, 0.2]])
    assert headroom_share([arm, oracle]) == pytest.approx(0.5)
    assert damage_undone([default, arm, oracle]) == pytest.approx(0.75)
    assert damage_undone([default, default, oracle]) == pytest.approx(0)


def test_headroom_is_unknown_where_the_oracle_gains_nothing_and_counts_common_tasks_only() -> None:
    arm = np.array([[-0.1, -5.0]])
    assert np.isnan(headroom_share([arm, np.array([[0.1, 0.1]])])).all()
    assert headroom_share([arm, np.array([[-0.2, math.nan]])]) == pytest.approx(0.5)


def test_share_of_worse_tasks_counts_means_above_ten_percent() -> None:
    values = np.log(np.array([[1.2, 1.2], [1.05, 1.05], [0.5, 0.5], [1.0, 1.0]]))
    assert share_of_worse_tasks(values).value == 0.25


@pytest.mark.parametrize(("count", "total"), [(0, 14), (3, 14), (14, 14), (1, 2)])
def test_wilson_interval_equals_scipys(count: int, total: int) -> None:
    expected = stats.binomtest(count, total).proportion_ci(method="wilson")
    interval = wilson_interval(count, total)
    assert (interval.low, interval.high) == pytest.approx((expected.low, expected.high), abs=1e-9)


def test_a_share_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one case"):
        wilson_interval(0, 0)


@pytest.mark.parametrize("seed", range(4))
def test_sign_flip_test_equals_all_signs(seed: int) -> None:
    values = np.random.default_rng(seed).normal(0.3, 1, 7)
    sums = [
        abs(sum(s * v for s, v in zip(signs, values, strict=True))) for signs in itertools.product((1, -1), repeat=7)
    ]
    assert sign_flip_test(values) == pytest.approx(np.mean(np.array(sums) >= abs(values.sum()) - 1e-12))


def test_sign_flip_test_of_equal_signs_is_the_smallest_possible() -> None:
    assert sign_flip_test(np.full(10, -0.2)) == 2 / 2**10
    assert sign_flip_test(np.zeros(10)) == 1.0


def test_sign_flip_test_of_many_tasks_is_near_the_exact_one(monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.random.default_rng(5).normal(0.25, 1, 16)
    exact = sign_flip_test(values)
    monkeypatch.setattr(statistics, "EXACT_TASKS", 4)
    monkeypatch.setattr(statistics, "SIGN_DRAWS", 20_000)
    assert sign_flip_test(values) == pytest.approx(exact, abs=0.02)


def test_noise_alone_makes_tasks_look_worse() -> None:
    assert statistics.expected_share_of_worse_tasks(np.zeros((4, 5))) == 0
    noisy = statistics.expected_share_of_worse_tasks(5 * normal((20, 5)))
    assert 0.3 < noisy < 0.5
