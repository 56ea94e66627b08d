"""Control by harm: both conditions are needed, and each degree is bounded."""

import pytest

from equipoise.controllers.decline import Decline
from equipoise.core.controller import RunFacts
from equipoise.core.knobs import AdversarialKnobs
from equipoise.core.observations import Health, MetricReading, Observation, Signals
from equipoise.errors import SettingError

BASE = AdversarialKnobs().with_values({"lr_g": 1e-3, "lr_d": 2e-3})
EVALUATIONS = 16


def trajectory(controller, metric, rank, base=BASE, turnable=None):
    """The knobs after each evaluation of `metric`(number)."""
    state, knobs, path = controller.initial(base), base, []
    for number in range(1, EVALUATIONS + 1):
        metrics = {"kd": MetricReading(metric(number), 0)}
        signals = Signals(rank_train_held_out=rank, metrics=metrics)
        observation = Observation(number, number / EVALUATIONS, signals, Health(), knobs, turnable)
        turn = controller.update(state, observation)
        state, knobs = turn.state, knobs.step_towards(turn.knobs)
        path.append(knobs)
    return path


def worse(number):
    """Improves until evaluation 6."""
    return 1 - number / 10 if number <= 6 else 0.4 + (number - 6) / 10


def test_nothing_changes_before_harm() -> None:
    path = trajectory(Decline(), worse, rank=0.8)
    assert set(path[:6]) == {BASE}
    assert path[-1].lr_g < 1e-3


def test_each_evaluation_that_is_worse_is_one_degree_up_to_the_bound() -> None:
    controller = Decline(factor=0.5, step=0.2, most=3, limit=0.5, confidence=0.0, tolerance=0.0)
    path = trajectory(controller, worse, rank=0.8)[6:]
    assert [knobs.lr_d / 2e-3 for knobs in path[:4]] == [0.5, 0.25, 0.125, 0.125]
    assert [knobs.augment_p for knobs in path[:4]] == pytest.approx([0.2, 0.4, 0.5, 0.5])


def test_the_rank_must_confirm_beyond_its_error() -> None:
    few = Decline(confidence=1.0, held_out_samples=16, training_samples=64)
    assert set(trajectory(few, worse, rank=0.25)) == {BASE}
    assert trajectory(few, worse, rank=0.3)[-1].lr_g < 1e-3
    many = Decline(confidence=1.0, held_out_samples=256, training_samples=256)
    assert trajectory(many, worse, rank=0.25)[-1].lr_g < 1e-3
    assert set(trajectory(few, worse, rank=None)) == {BASE}
    assert trajectory(Decline(overfit=-1), worse, rank=None)[-1].lr_g < 1e-3


def test_an_overfitted_discriminator_that_does_no_harm_is_left_alone() -> None:
    assert set(trajectory(Decline(), lambda n: 0.9**n, rank=1.0)) == {BASE}


def test_noise_is_not_harm() -> None:
    def noisy(number):
        return 1 - number / 40 + 0.1 * (-1) ** number

    assert set(trajectory(Decline(confidence=2.0), noisy, rank=0.4)) == {BASE}


def test_where_augmentation_does_not_act_only_rates_change() -> None:
    path = trajectory(Decline(), worse, rank=0.8, turnable=frozenset({"lr_g", "lr_d"}))
    assert path[-1].augment_p == 0
    assert path[-1].lr_g < 1e-3


def test_it_takes_the_numbers_of_samples_from_the_run() -> None:
    resolved = Decline().resolve(RunFacts(None, 8, 400, 80))
    assert (resolved.held_out_samples, resolved.training_samples) == (80, 400)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"factor": 1.5}, "factor = 1.5: it must be from 0 to 1"),
        ({"most": 0}, "most = 0: it must be from 1 to 20"),
        ({"limit": 0.9}, "limit = 0.9: it must be from 0 to 0.8"),
        ({"overfit": 2}, "overfit = 2: it must be from -1 to 1"),
    ],
)
def test_invalid_options_are_refused(options, message) -> None:
    with pytest.raises(SettingError, match=message):
        Decline(**options)
