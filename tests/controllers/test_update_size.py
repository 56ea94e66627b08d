"""Relative update sizes as the controlled quantities: convergence, decay, bounds, and missing signals."""

import math

import pytest

from equipoise.controllers.update_size import UpdateSize
from equipoise.core.knobs import Knobs
from equipoise.core.observations import Health, Observation, Signals
from equipoise.errors import SettingError

BASE = Knobs(lr_g=1e-3, lr_d=1e-3)
SCALE_G, SCALE_D = 20.0, 5.0
"""Update sizes of the plant relative to the learning rates, as of Adam: in proportion."""


def trajectory(controller, size_of, base=BASE, readings=40):
    """The knobs after each of evenly spaced readings; `size_of`(knobs) gives both update sizes."""
    state, knobs, path = controller.initial(base), base, []
    for number in range(1, readings + 1):
        of_g, of_d = size_of(knobs)
        signals = Signals(update_ratio_g=of_g, update_ratio_d=of_d)
        turn = controller.update(state, Observation(number, number / readings, signals, Health(), knobs))
        state, knobs = turn.state, knobs.step_towards(turn.knobs)
        path.append(knobs)
    return path


def in_proportion(knobs):
    return SCALE_G * knobs.lr_g, SCALE_D * knobs.lr_d


@pytest.mark.parametrize("readings", [20, 40, 400])
def test_each_network_reaches_its_own_target(readings: int) -> None:
    controller = UpdateSize(target_g=0.04, target_d=0.01, final=1.0, deadband=0.0)
    last = trajectory(controller, in_proportion, readings=readings)[-1]
    assert last.lr_g == pytest.approx(0.04 / SCALE_G, rel=0.05)
    assert last.lr_d == pytest.approx(0.01 / SCALE_D, rel=0.05)


def test_a_wrong_base_makes_no_difference() -> None:
    controller = UpdateSize(deadband=0.0)
    ends = [
        trajectory(controller, in_proportion, Knobs(lr_g=1e-3, lr_d=1e-3 * factor), readings=100)[-1].lr_d
        for factor in (0.25, 1.0, 4.0)
    ]
    assert ends == pytest.approx([ends[1]] * 3, rel=0.05)


def test_the_targets_decay_along_a_cosine() -> None:
    path = trajectory(UpdateSize(final=0.1, deadband=0.0, octaves=4.0), in_proportion, readings=200)
    shares = [SCALE_G * path[reading - 1].lr_g / 0.02 for reading in (40, 100, 200)]
    wanted = [0.1 + 0.9 * (1 + math.cos(math.pi * progress)) / 2 for progress in (0.2, 0.5, 1.0)]
    assert shares == pytest.approx(wanted, rel=0.2), "with a lag of `span`"


def test_within_the_deadband_nothing_changes() -> None:
    sizes = UpdateSize().target_g * 1.1, UpdateSize().target_d * 0.9
    assert set(trajectory(UpdateSize(final=1.0), lambda knobs: sizes)) == {BASE}


def test_rates_are_bounded_and_do_not_wind_up() -> None:
    sizes = iter([(1.0, 1.0)] * 20 + [(1e-4, 1e-4)] * 20)
    path = trajectory(UpdateSize(half_life=1e-9, octaves=2.0), lambda knobs: next(sizes))
    assert path[19].lr_g == pytest.approx(0.25e-3)
    assert path[20].lr_g > 0.3e-3, "at the first reading"
    assert path[-1].lr_g == pytest.approx(4e-3)


@pytest.mark.parametrize("missing", [None, math.nan, 0.0, math.inf])
def test_a_missing_signal_leaves_its_own_rate(missing) -> None:
    path = trajectory(UpdateSize(), lambda knobs: (missing, SCALE_D * knobs.lr_d))
    assert {knobs.lr_g for knobs in path} == {1e-3}
    assert path[-1].lr_d != 1e-3


def test_the_reason_states_size_and_target() -> None:
    observation = Observation(5, 0.5, Signals(update_ratio_g=0.05, update_ratio_d=0.02), Health(), BASE)
    controller = UpdateSize(final=1.0)
    reasons = controller.update(controller.initial(BASE), observation).reasons
    assert reasons["lr_g"] == "updates change 5.00% of the weights, target 2.00%"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"target_g": 0}, "target_g = 0: it must be from 1e-05 to 1"),
        ({"final": 0}, "final = 0: it must be from 0.001 to 1"),
        ({"octaves": 7}, "octaves = 7: it must be from 0 to 6"),
        ({"span": 0}, "span = 0: it must be above 0"),
    ],
)
def test_invalid_options_are_refused(options, message) -> None:
    with pytest.raises(SettingError, match=message):
        UpdateSize(**options)
