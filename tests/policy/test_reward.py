"""The reward of the brief: each part, the weights and the bounds."""

import math
from typing import Any

import pytest

from equipoise.core.observations import MetricReading, Signals
from equipoise.policy.features import distance
from equipoise.policy.reward import reward, reward_weights


def signals(distance: float | None = None, **others: Any) -> Signals:
    metrics = {} if distance is None else {"fd_pixels": MetricReading(distance, 0)}
    return Signals(**others, metrics=metrics)


@pytest.mark.parametrize("progress", [0.0, 0.3, 1.0])
def test_weights_depend_on_progress_and_sum_to_1(progress: float) -> None:
    assert sum(reward_weights(progress)) == pytest.approx(1)
    assert reward_weights(progress).improvement == pytest.approx(0.4 + 0.4 * progress)
    assert min(reward_weights(progress)) > 0


def test_each_part_has_its_weight() -> None:
    assert reward(None, signals(), 0.5) == 0
    assert reward(20.0, signals(10.0), 0.0) == pytest.approx(0.4 * 0.5)
    assert reward(10.0, signals(20.0), 1.0) == pytest.approx(-0.8 * 0.5)
    assert reward(None, signals(loss_g=3.0, loss_d=1.0), 0.0) == pytest.approx(-0.4 * 2 / 3)
    assert reward(None, signals(diversity=0.5), 0.0) == pytest.approx(0.2 * 0.5)
    assert reward(None, signals(diversity=7.0), 0.0) == pytest.approx(0.2), (
        "diversity above 1, as of noise, earns no more"
    )


def test_the_reward_is_bounded() -> None:
    best = reward(1e9, signals(0.0, loss_g=1.0, loss_d=1.0, diversity=1.0), 1.0)
    worst = reward(0.0, signals(1e9, loss_g=1e30, loss_d=0.0, diversity=0.0), 1.0)
    assert (best, worst) == (pytest.approx(0.9), pytest.approx(-0.9))
    assert reward(1e-5, signals(-5e-4), 1.0) == pytest.approx(0.8), "an unbiased distance below 0 is 0"
    assert reward(-5e-4, signals(1e-5), 1.0) == pytest.approx(-0.8)
    assert reward(-5e-4, signals(-1e-3), 1.0) == 0


def test_relative_improvements_do_not_add_up() -> None:
    assert sum(reward(before, signals(now), 0.0) for before, now in ((4.0, 2.0), (2.0, 1.0), (1.0, 4.0))) == (
        pytest.approx(0.4 / 4)
    )


@pytest.mark.parametrize("odd", [math.nan, math.inf, -math.inf])
def test_values_that_are_not_finite_are_ignored(odd: float) -> None:
    assert reward(20.0, signals(odd, loss_g=odd, loss_d=1.0, diversity=odd), 0.5) == 0
    assert reward(20.0, signals(10.0, loss_g=1.0, loss_d=odd), 0.0) == pytest.approx(0.4 * 0.5)
    assert distance(signals(odd)) is None
