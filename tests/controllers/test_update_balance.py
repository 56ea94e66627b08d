"""The ratio of update sizes as the controlled quantity: convergence, bounds, and missing signals."""

import math

import pytest

from equipoise.controllers.update_balance import UpdateBalance
from equipoise.core.knobs import Knobs
from equipoise.core.observations import Health, Observation, Signals
from equipoise.errors import SettingError

BASE = Knobs(lr_g=1e-3, lr_d=1e-3)
READINGS = 40


def trajectory(controller, ratio_of, base=BASE, readings=READINGS):
    """The knobs after each of `readings` evenly spaced readings; `ratio_of`(knobs) gives both update sizes."""
    state, knobs, path = controller.initial(base), base, []
    for number in range(1, readings + 1):
        of_g, of_d = ratio_of(knobs)
        signals = Signals(update_ratio_g=of_g, update_ratio_d=of_d)
        turn = controller.update(state, Observation(number, number / readings, signals, Health(), knobs))
        state, knobs = turn.state, knobs.step_towards(turn.knobs)
        path.append(knobs)
    return path


def in_proportion(knobs):
    """Updates in proportion to the learning rates, as of Adam: 20 times the rate."""
    return 20 * knobs.lr_g, 20 * knobs.lr_d


def ratio(knobs):
    return math.log2(knobs.lr_d / knobs.lr_g)


def test_balanced_updates_change_nothing() -> None:
    assert set(trajectory(UpdateBalance(), in_proportion)) == {BASE}


@pytest.mark.parametrize("readings", [20, 40, 400])
def test_a_discriminator_that_is_four_times_too_fast_is_slowed_without_oscillation(readings: int) -> None:
    base = Knobs(lr_g=1e-3, lr_d=4e-3)
    path = [ratio(knobs) for knobs in trajectory(UpdateBalance(deadband=0.0), in_proportion, base, readings)]
    assert path == sorted(path, reverse=True)
    assert path[-1] == pytest.approx(0.0, abs=0.05)


def test_the_geometric_mean_does_not_change_or_lr_g_does_not() -> None:
    base = Knobs(lr_g=1e-3, lr_d=4e-3)
    mean = trajectory(UpdateBalance(), in_proportion, base)
    assert [knobs.lr_d * knobs.lr_g for knobs in mean] == pytest.approx([4e-6] * READINGS)
    held = trajectory(UpdateBalance(hold="lr_g"), in_proportion, base)
    assert {knobs.lr_g for knobs in held} == {1e-3}
    assert ratio(held[-1]) == pytest.approx(0.5, abs=0.1), "the edge of the deadband"


def test_the_target_is_in_octaves() -> None:
    assert ratio(trajectory(UpdateBalance(target=1.0, deadband=0.0), in_proportion)[-1]) == pytest.approx(1, abs=0.05)


def test_the_ratio_is_bounded_and_does_not_wind_up() -> None:
    sizes = iter([(0.01, 1.0)] * 20 + [(1.0, 0.01)] * 20)
    path = [ratio(knobs) for knobs in trajectory(UpdateBalance(half_life=1e-9), lambda knobs: next(sizes))]
    assert path[19] == pytest.approx(-2.0)
    assert path[20] > -1.9, "at the first reading"
    assert path[-1] == pytest.approx(2.0)


@pytest.mark.parametrize("missing", [(None, 0.1), (0.1, math.nan), (0.0, 0.1), (0.1, 0.0), (math.inf, 0.1)])
def test_a_missing_signal_changes_nothing(missing) -> None:
    assert set(trajectory(UpdateBalance(), lambda knobs: missing)) == {BASE}


def test_the_reason_states_the_ratio() -> None:
    controller = UpdateBalance()
    observation = Observation(5, 0.5, Signals(update_ratio_g=0.01, update_ratio_d=0.04), Health(), BASE)
    reasons = controller.update(controller.initial(BASE), observation).reasons
    assert reasons["lr_d"].startswith("updates of the discriminator 4.00 times those of the generator; +0.75 octaves")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"span": 0}, "span = 0: it must be above 0"),
        ({"octaves": 5}, "octaves = 5: it must be from 0 to 4"),
        ({"deadband": -1}, "deadband = -1: it must be at least 0"),
        ({"target": 7}, "target = 7: it must be from -6 to 6"),
    ],
)
def test_invalid_options_are_refused(options, message) -> None:
    with pytest.raises(SettingError, match=message):
        UpdateBalance(**options)
