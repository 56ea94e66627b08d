"""Control by ranks: targets, bounds, and anti-windup."""

import dataclasses
import math

import pytest

from equipoise.controllers.rank import Rank
from equipoise.core.knobs import AdversarialKnobs, Knobs
from equipoise.core.observations import Health, Observation, Signals
from equipoise.errors import SettingError

BASE = AdversarialKnobs().with_values({"lr_g": 1e-3, "lr_d": 2e-3, "augment_p": 0.1, "r1_gamma": 1.0})
READINGS = 40


def trajectory(controller, ranks, held_out=None, base=BASE, turnable=None):
    """The knobs after each of READINGS evenly spaced readings; ranks are functions of the progress."""
    state, knobs, path = controller.initial(base), base, []
    for number in range(1, READINGS + 1):
        progress = number / READINGS
        signals = Signals(
            rank_train_fake=ranks(progress), rank_train_held_out=None if held_out is None else held_out(progress)
        )
        turn = controller.update(state, Observation(number, progress, signals, Health(), knobs, turnable))
        state, knobs = turn.state, knobs.step_towards(turn.knobs)
        path.append(knobs)
    return path


def constant(value):
    return lambda progress: value


@pytest.mark.parametrize("rank", [0.21, 0.5, 0.79])
def test_within_the_deadband_nothing_changes(rank: float) -> None:
    assert set(trajectory(Rank(), constant(rank), constant(0.24))) == {BASE}


@pytest.mark.parametrize(("rank", "slower", "end"), [(1.0, "lr_d", 1 / 4), (0.0, "lr_g", 4.0), (-1.0, "lr_g", 4.0)])
def test_the_player_that_is_ahead_is_slowed_up_to_fourfold(rank: float, slower: str, end: float) -> None:
    path = trajectory(Rank(), constant(rank))
    ratios = [knobs.lr_d / knobs.lr_g / 2 for knobs in path]
    assert ratios[0] == 1, "not during the warm-up"
    assert ratios[-1] == pytest.approx(end)
    assert sorted(ratios, reverse=end < 1) == ratios
    assert getattr(path[-1], slower) == pytest.approx(getattr(BASE, slower) / 2)
    assert [knobs.lr_d * knobs.lr_g for knobs in path] == pytest.approx([2e-6] * READINGS), "their mean does not change"


def test_the_output_follows_the_formula() -> None:
    """u = K e + ∫ e dt / T for a constant e, in closed form."""
    controller = Rank(half_life=1e-9, warm_up=0.0, balance=0.5, balance_band=0.2, reach=0.3, proportional=0.3, span=0.5)
    rank = 0.85  # (0.85 - 0.7) / 0.3 = 0.5
    for number, knobs in enumerate(trajectory(controller, constant(rank)), start=1):
        u = min(1.0, 0.3 * 0.5 + 0.5 * number / READINGS / 0.5)
        assert math.log2(knobs.lr_d / knobs.lr_g / 2) == pytest.approx(-2 * u)


def test_the_integrator_does_not_wind_up() -> None:
    """However long it was at its bound, it returns as soon as the error changes sign."""

    def changes_at(when: float):
        return lambda progress: 1.0 if progress < when else -1.0

    controller = Rank(half_life=1e-9)
    back = {}
    for when in (0.4, 0.7):
        path = trajectory(controller, changes_at(when))
        ratios = [knobs.lr_d / knobs.lr_g / 2 for knobs in path]
        first = round(when * READINGS)
        assert ratios[first - 2] == pytest.approx(1 / 4), "at its bound"
        back[when] = next(n for n in range(first, READINGS) if ratios[n] > 1) - first
    assert back[0.4] == back[0.7] <= 0.2 * READINGS


def test_noisy_ranks_are_smoothed() -> None:
    controller = Rank(balance_band=0.3)
    noisy = trajectory(controller, lambda progress: 0.5 + 0.45 * (-1) ** round(progress * READINGS))
    assert {knobs.lr_d for knobs in noisy} == {BASE.lr_d}, "its mean is within the band"


def test_overfitting_raises_augmentation_and_lowers_it_again() -> None:
    path = trajectory(Rank(half_life=1e-9), constant(0.5), lambda progress: 0.6 if progress < 0.5 else 0.0)
    strengths = [knobs.augment_p for knobs in path]
    assert max(strengths) == 0.8
    assert strengths[-1] < 0.15
    assert min(strengths) == 0.1, "never below the user's value"
    assert {knobs.r1_gamma for knobs in path} == {1.0}, "one knob, not both"


def test_the_penalty_changes_where_augmentation_does_not_act() -> None:
    acting = frozenset({"lr_g", "lr_d", "r1_gamma"})
    path = trajectory(Rank(), constant(0.5), constant(1.0), turnable=acting)
    assert path[-1].r1_gamma == pytest.approx(8.0)
    assert {knobs.augment_p for knobs in path} == {0.1}
    off = dataclasses.replace(BASE, r1_gamma=0.0)
    assert {knobs.r1_gamma for knobs in trajectory(Rank(), constant(0.5), constant(1.0), off, acting)} == {0.0}


def test_it_works_with_two_learning_rates() -> None:
    path = trajectory(Rank(), constant(1.0), constant(1.0), Knobs(), frozenset({"lr_g", "lr_d"}))
    assert path[-1].lr_d < Knobs().lr_d


@pytest.mark.parametrize("missing", [None, math.nan])
def test_a_missing_signal_changes_nothing(missing: float | None) -> None:
    controller = Rank(half_life=1e-9)
    path = trajectory(controller, lambda progress: 1.0 if progress < 0.2 else missing, constant(missing))
    assert path[8] != BASE
    assert set(path[8:]) == {path[8]}


def test_time_without_a_signal_is_not_integrated() -> None:
    controller = Rank(half_life=1e-9, warm_up=0.0)
    path = trajectory(controller, lambda progress: 1.0 if progress > 0.9 else None)
    u = 0.25 + 0.05 / 0.2
    first = next(knobs for knobs in path if knobs != BASE)
    assert math.log2(first.lr_d / first.lr_g / 2) == pytest.approx(-2 * u), "the first reading counts 0.05 of the run"


def test_reasons_name_the_signal_and_the_bound() -> None:
    controller = Rank(half_life=1e-9)
    signals = Signals(rank_train_fake=0.93, rank_train_held_out=0.32)
    turn = controller.update(controller.initial(BASE), Observation(50, 0.5, signals, Health(), BASE))
    assert turn.reasons.keys() == {"lr_g", "lr_d", "augment_p"}
    assert turn.reasons["lr_g"] == turn.reasons["lr_d"]
    assert "rank_train_fake 0.93 > 0.80; u = 0.325" in turn.reasons["lr_d"]
    assert "rank_train_held_out 0.32 > 0.25; u = 0.175" in turn.reasons["augment_p"]


@pytest.mark.parametrize(
    "wrong", [{"span": 0}, {"reach": 0}, {"half_life": -1}, {"balance": 0.9}, {"overfit_band": -0.1}]
)
def test_invalid_options_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(SettingError, match=r"above 0|at least 0"):
        Rank(**wrong)
