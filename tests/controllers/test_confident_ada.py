"""Augmentation by the confidence interval of the rank, and by what the run has left."""

import math

import pytest

from equipoise.controllers.confident_ada import ConfidentADA
from equipoise.core.controller import RunFacts
from equipoise.core.knobs import AdversarialKnobs
from equipoise.core.observations import Health, Observation, Signals
from equipoise.errors import SettingError

BASE = AdversarialKnobs()
READINGS = 40


def trajectory(controller, rank, base=BASE, turnable=None):
    """augment_p after each of READINGS evenly spaced readings; `rank` is a function of the progress."""
    state, knobs, path = controller.initial(base), base, []
    for number in range(1, READINGS + 1):
        progress = number / READINGS
        signals = Signals(rank_train_held_out=rank(progress))
        turn = controller.update(state, Observation(number, progress, signals, Health(), knobs, turnable))
        state, knobs = turn.state, knobs.step_towards(turn.knobs)
        path.append(knobs.augment_p)
    return path


def test_p_changes_only_if_the_interval_excludes_the_target() -> None:
    """16 held-out and 64 training samples: a standard error of 0.16."""
    start = BASE.with_values({"augment_p": 0.0})
    options = {"target": 0.2, "held_out_samples": 16, "training_samples": 64, "horizon": 0.0}
    for rank in (0.1, 0.2, 0.35):
        assert set(trajectory(ConfidentADA(**options), lambda t, rank=rank: rank, start)) == {0.0}
    assert trajectory(ConfidentADA(**options), lambda t: 0.37)[-1] == 0.6
    assert trajectory(ConfidentADA(**options, confidence=0.5), lambda t: 0.35)[-1] == 0.6
    assert trajectory(ConfidentADA(**options, confidence=2.0), lambda t: 0.5)[-1] == 0.0


def test_the_rise_is_limited_by_the_share_of_the_run_and_falls_back_without_windup() -> None:
    controller = ConfidentADA(share=0.5, limit=0.6, warm_up=0.0, horizon=0.0, half_life=1e-9)
    path = trajectory(controller, lambda t: 1.0 if t <= 0.75 else -0.5)
    assert path[:20] == pytest.approx([0.6 * number / 20 for number in range(1, 21)])
    assert path[29] == pytest.approx(0.6)
    assert path[30] == pytest.approx(0.6 - 0.6 / 20), "at the first reading"


def test_p_does_not_rise_near_the_end_but_falls() -> None:
    late = trajectory(ConfidentADA(horizon=0.4), lambda t: 0.0 if t < 0.7 else 1.0)
    assert set(late) == {0.0}
    path = trajectory(ConfidentADA(horizon=0.4, half_life=1e-9), lambda t: 1.0 if t < 0.7 else -0.5)
    assert path[30] < path[24] == max(path)


def test_with_few_epochs_there_is_no_augmentation() -> None:
    controller = ConfidentADA(few=50, many=200, limit=0.6, horizon=0.0)
    for epochs, most in ((20, 0.0), (50, 0.0), (100, 0.3), (200, 0.6), (5000, 0.6)):
        facts = RunFacts(steps=epochs * 10, batch_size=10, training_samples=100, held_out_samples=256)
        assert trajectory(controller.resolve(facts), lambda t: 1.0)[-1] == pytest.approx(most)
    assert trajectory(controller, lambda t: 1.0)[-1] == 0.6, "unknown in a custom loop"


def test_several_updates_of_the_discriminator_per_step_are_as_many_epochs() -> None:
    base = BASE.with_values({"discriminator_steps": 2})
    controller = ConfidentADA(few=50, many=200, epochs=50, horizon=0.0)
    assert trajectory(controller, lambda t: 1.0, base)[-1] == pytest.approx(0.3)


def test_it_never_falls_below_the_value_of_the_user() -> None:
    base = BASE.with_values({"augment_p": 0.4})
    assert set(trajectory(ConfidentADA(epochs=10), lambda t: -0.5, base)) == {0.4}
    assert set(trajectory(ConfidentADA(epochs=10), lambda t: 1.0, base)) == {0.4}


@pytest.mark.parametrize("missing", [None, math.nan])
def test_a_missing_signal_or_knob_changes_nothing(missing: float | None) -> None:
    path = trajectory(ConfidentADA(), lambda t: 1.0 if t < 0.25 else missing)
    assert path[8] > 0
    assert set(path[9:]) == {path[9]}
    assert set(trajectory(ConfidentADA(), lambda t: 1.0, turnable=frozenset({"lr_g"}))) == {0.0}


def test_the_reason_states_the_interval() -> None:
    controller = ConfidentADA(held_out_samples=16, training_samples=64, epochs=400)
    observation = Observation(50, 0.1, Signals(rank_train_held_out=0.32), Health(), BASE)
    reason = controller.update(controller.initial(BASE), observation).reasons["augment_p"]
    assert reason == "rank_train_held_out 0.32 ± 0.16, target 0.15; p at most 0.60"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"few": 200, "many": 50}, "few = 200, many = 50: few must be below many"),
        ({"limit": 0.9}, "limit = 0.9: it must be from 0 to 0.8"),
        ({"epochs": 0}, "epochs = 0: it must be above 0"),
        ({"horizon": 1.5}, "horizon = 1.5: it must be from 0 to 1"),
    ],
)
def test_invalid_options_are_refused(options, message) -> None:
    with pytest.raises(SettingError, match=message):
        ConfidentADA(**options)
