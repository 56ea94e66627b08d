"""Decay of learning rates by the live metric: improvement, noise, harm, and what counts as a new evaluation."""

import math

import pytest

from equipoise.controllers._evaluations import MetricLevel, next_history
from equipoise.controllers.plateau import Plateau
from equipoise.core.knobs import AdversarialKnobs
from equipoise.core.observations import Health, MetricReading, Observation, Signals
from equipoise.errors import SettingError

BASE = AdversarialKnobs().with_values({"lr_g": 1e-3, "lr_d": 2e-3})
EVALUATIONS, READINGS_EACH = 20, 3


def trajectory(controller, metric, rank=None, base=BASE, better="lower", turnable=None):
    """The knobs after each evaluation of `metric`(number); every evaluation is read three times."""
    state, knobs, path = controller.initial(base), base, []
    for number in range(EVALUATIONS):
        value = metric(number)
        for repeat in range(READINGS_EACH):
            progress = (number + (repeat + 1) / READINGS_EACH) / EVALUATIONS
            metrics = {} if value is None else {"kd": MetricReading(value, 32 * repeat, better)}
            signals = Signals(rank_train_held_out=rank, metrics=metrics)
            step = number * READINGS_EACH + repeat
            turn = controller.update(state, Observation(step, progress, signals, Health(), knobs, turnable))
            state, knobs = turn.state, knobs.step_towards(turn.knobs)
        path.append(knobs)
    return path


@pytest.mark.parametrize("better", ["lower", "higher"])
def test_while_the_metric_improves_nothing_changes(better) -> None:
    sign = 1 if better == "lower" else -1
    for history in (lambda n: 1 - n / 40, lambda n: 0.8**n, lambda n: -n / 10):
        assert set(trajectory(Plateau(), lambda n, c=history: sign * c(n), better=better)) == {BASE}


def test_a_constant_metric_decays_both_rates_every_patience_down_to_the_bound() -> None:
    path = trajectory(Plateau(factor=0.5, patience=0.2, least=0.1), lambda n: 1.0)
    factors = [knobs.lr_g / 1e-3 for knobs in path]
    assert factors[:4] == [1, 1, 1, 1]
    assert factors[4] == 0.5
    assert factors[8] == 0.25
    assert factors[-1] == pytest.approx(0.1)
    assert [knobs.lr_d for knobs in path] == pytest.approx([2e-3 * factor for factor in factors])


def test_improvements_within_the_noise_do_not_count() -> None:
    def noisy(number):
        return 1 - 0.002 * number + 0.1 * (-1) ** number

    assert trajectory(Plateau(confidence=1.0), noisy)[-1].lr_g < 1e-3
    assert trajectory(Plateau(confidence=0.0, tolerance=0.0, smoothing=0.9), noisy)[-1].lr_g == 1e-3


def test_the_noise_is_that_of_one_evaluation_and_no_trend_counts() -> None:
    history = MetricLevel()
    for number in range(10):
        history = next_history(history, Signals(metrics={"kd": MetricReading(5.0 - number, 0)}), 1.0) or history
    assert history.noise == pytest.approx(0, abs=1e-9)
    alternating = MetricLevel()
    for number in range(10):
        alternating = next_history(alternating, Signals(metrics={"kd": MetricReading((-1.0) ** number, 0)}), 1.0)
    assert alternating.noise == pytest.approx(4 / math.sqrt(6))


def test_the_same_evaluation_counts_once_and_an_equal_value_of_a_new_one_counts() -> None:
    first = next_history(MetricLevel(), Signals(metrics={"kd": MetricReading(1.0, 0)}), 1.0)
    assert first.values == (1.0,)
    assert next_history(first, Signals(metrics={"kd": MetricReading(1.0, 32)}), 1.0) is None
    assert next_history(first, Signals(metrics={"kd": MetricReading(1.0, 0)}), 1.0).values == (1.0, 1.0)
    assert next_history(first, Signals(metrics={"kd": MetricReading(math.nan, 0)}), 1.0) is None


def test_augmentation_rises_only_if_the_metric_is_worse_and_the_rank_confirms() -> None:
    def worse(number):
        return 1 - number / 10 if number < 5 else 0.5 + (number - 5) / 10

    controller = Plateau(augment=0.1, most=0.5, overfit=0.3)
    path = [knobs.augment_p for knobs in trajectory(controller, worse, rank=0.6)]
    assert path[5] == 0
    assert path == sorted(path)
    assert path[-1] == 0.5
    assert trajectory(controller, worse, rank=0.2)[-1].augment_p == 0
    assert trajectory(controller, worse, rank=None)[-1].augment_p == 0
    rates = frozenset({"lr_g", "lr_d"})
    assert trajectory(controller, worse, rank=0.6, turnable=rates)[-1].augment_p == 0


def test_without_a_metric_nothing_changes() -> None:
    for missing in (None, math.nan):
        assert set(trajectory(Plateau(augment=0.1), lambda n, value=missing: value, rank=0.9)) == {BASE}


def test_the_reason_states_the_metric_and_its_best() -> None:
    controller, state = Plateau(patience=0.1), Plateau().initial(BASE)
    for number, value in enumerate((0.5, 0.6)):
        signals = Signals(metrics={"kd": MetricReading(value, 0)})
        turn = controller.update(state, Observation(number, 0.2 * number, signals, Health(), BASE))
        state = turn.state
    assert turn.reasons["lr_g"] == "no improvement for 20% of the run (metric 0.6, best 0.5 ± 0.01): rates x 0.5"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"factor": 0}, "factor = 0: it must be above 0"),
        ({"patience": 2}, "patience = 2: it must be from 0 to 1"),
        ({"smoothing": 1}, "smoothing = 1: it must be from 0 to 0.95"),
        ({"most": 0.9}, "most = 0.9: it must be from 0 to 0.8"),
    ],
)
def test_invalid_options_are_refused(options, message) -> None:
    with pytest.raises(SettingError, match=message):
        Plateau(**options)
