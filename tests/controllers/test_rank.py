"""The law of `rank`: what it holds, how far it goes, and that it does not wind up."""

import dataclasses
import math

import pytest

from equipoise.controllers.rank import Rank
from equipoise.core.knobs import AdversarialKnobs, Knobs
from equipoise.core.observations import Health, Observation, Signals
from equipoise.errors import SettingError

BASE = AdversarialKnobs().with_values({"lr_g": 1e-3, "lr_d": 2e-3, "augment_p": 0.1, "r1_gamma": 1.0})
READINGS = 40


def course(controller, ranks, held_out=None, base=BASE, turnable=None):
    """The knobs after each of READINGS readings, evenly over the run; ranks are functions of the progress."""
    state, knobs, path = controller.initial(base), base, []
    for number in range(1, READINGS + 1):
        progress = number / READINGS
        signals = Signals(
            rank_train_fake=ranks(progress), rank_train_held_out=None if held_out is None else held_out(progress)
        )
        turn = controller.update(state, Observation(number, progress, signals, Health(), knobs, turnable))
        state, knobs = turn.state, knobs.clamped(turn.knobs)
        path.append(knobs)
    return path


def always(value):
    return lambda progress: value


@pytest.mark.parametrize("rank", [0.21, 0.5, 0.79])
def test_within_its_band_nothing_is_turned(rank: float) -> None:
    assert set(course(Rank(), always(rank), always(0.24))) == {BASE}


@pytest.mark.parametrize(("rank", "slower", "end"), [(1.0, "lr_d", 1 / 4), (0.0, "lr_g", 4.0), (-1.0, "lr_g", 4.0)])
def test_the_player_that_is_ahead_is_slowed_up_to_fourfold(rank: float, slower: str, end: float) -> None:
    path = course(Rank(), always(rank))
    ratios = [knobs.lr_d / knobs.lr_g / 2 for knobs in path]
    assert ratios[0] == 1, "not while it warms up"
    assert ratios[-1] == pytest.approx(end)
    assert sorted(ratios, reverse=end < 1) == ratios
    assert getattr(path[-1], slower) == pytest.approx(getattr(BASE, slower) / 2)
    assert [knobs.lr_d * knobs.lr_g for knobs in path] == pytest.approx([2e-6] * READINGS), "their mean stays"


def test_its_course_is_that_of_the_formula() -> None:
    """u = K e + ∫ e dt / T for a constant e: a second derivation, in closed form."""
    distribution = Rank(
        half_life=1e-9, warm_up=0.0, balance=0.5, balance_band=0.2, reach=0.3, proportional=0.3, span=0.5
    )
    rank = 0.85  # (0.85 - 0.7) / 0.3 = 0.5
    for number, knobs in enumerate(course(distribution, always(rank)), start=1):
        u = min(1.0, 0.3 * 0.5 + 0.5 * number / READINGS / 0.5)
        assert math.log2(knobs.lr_d / knobs.lr_g / 2) == pytest.approx(-2 * u)


def test_it_does_not_wind_up() -> None:
    """However long it was at its bound, it comes back as soon as the error has turned."""

    def turns_at(when: float):
        return lambda progress: 1.0 if progress < when else -1.0

    distribution = Rank(half_life=1e-9)
    back = {}
    for when in (0.4, 0.7):
        path = course(distribution, turns_at(when))
        ratios = [knobs.lr_d / knobs.lr_g / 2 for knobs in path]
        first = round(when * READINGS)
        assert ratios[first - 2] == pytest.approx(1 / 4), "at its bound"
        back[when] = next(n for n in range(first, READINGS) if ratios[n] > 1) - first
    assert back[0.4] == back[0.7] <= 0.2 * READINGS


def test_what_scatters_is_smoothed() -> None:
    distribution = Rank(balance_band=0.3)
    noisy = course(distribution, lambda progress: 0.5 + 0.45 * (-1) ** round(progress * READINGS))
    assert {knobs.lr_d for knobs in noisy} == {BASE.lr_d}, "its mean is within the band"


def test_overfitting_turns_augmentation_up_and_down_again() -> None:
    path = course(Rank(half_life=1e-9), always(0.5), lambda progress: 0.6 if progress < 0.5 else 0.0)
    strengths = [knobs.augment_p for knobs in path]
    assert max(strengths) == 0.8
    assert strengths[-1] < 0.15
    assert min(strengths) == 0.1, "never below what the user set"
    assert {knobs.r1_gamma for knobs in path} == {1.0}, "one knob, not both"


def test_where_augmentation_does_not_act_the_penalty_is_turned() -> None:
    acting = frozenset({"lr_g", "lr_d", "r1_gamma"})
    path = course(Rank(), always(0.5), always(1.0), turnable=acting)
    assert path[-1].r1_gamma == pytest.approx(8.0)
    assert {knobs.augment_p for knobs in path} == {0.1}
    off = dataclasses.replace(BASE, r1_gamma=0.0)
    assert {knobs.r1_gamma for knobs in course(Rank(), always(0.5), always(1.0), off, acting)} == {0.0}


def test_a_loop_with_two_rates_is_served() -> None:
    path = course(Rank(), always(1.0), always(1.0), Knobs(), frozenset({"lr_g", "lr_d"}))
    assert path[-1].lr_d < Knobs().lr_d


@pytest.mark.parametrize("missing", [None, math.nan])
def test_what_is_missing_holds_it_still(missing: float | None) -> None:
    distribution = Rank(half_life=1e-9)
    path = course(distribution, lambda progress: 1.0 if progress < 0.2 else missing, always(missing))
    assert path[8] != BASE
    assert set(path[8:]) == {path[8]}


def test_time_without_a_signal_does_not_count_as_error() -> None:
    distribution = Rank(half_life=1e-9, warm_up=0.0)
    path = course(distribution, lambda progress: 1.0 if progress > 0.9 else None)
    u = 0.25 + 0.05 / 0.2
    first = next(knobs for knobs in path if knobs != BASE)
    assert math.log2(first.lr_d / first.lr_g / 2) == pytest.approx(-2 * u), "the first reading counts 0.05 of the run"


def test_its_reasons_name_the_signal_and_the_bound() -> None:
    distribution = Rank(half_life=1e-9)
    signals = Signals(rank_train_fake=0.93, rank_train_held_out=0.32)
    turn = distribution.update(distribution.initial(BASE), Observation(50, 0.5, signals, Health(), BASE))
    assert turn.why == {
        "lr_g": "rank_train_fake 0.93 > 0.80",
        "lr_d": "rank_train_fake 0.93 > 0.80",
        "augment_p": "rank_train_held_out 0.32 > 0.25",
    }


@pytest.mark.parametrize(
    "wrong", [{"span": 0}, {"reach": 0}, {"half_life": -1}, {"balance": 0.9}, {"overfit_band": -0.1}]
)
def test_what_cannot_be_is_told(wrong: dict[str, float]) -> None:
    with pytest.raises(SettingError, match=r"above 0"):
        Rank(**wrong)
