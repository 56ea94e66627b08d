"""The penalty as a multiplier: dual ascent, its bounds, and the uncertainty of the rank."""

import math

import pytest

from equipoise.controllers._feedback import rank_standard_error
from equipoise.controllers.constraint import RankConstraint
from equipoise.core.controller import RunFacts
from equipoise.core.knobs import AdversarialKnobs
from equipoise.core.observations import Health, Observation, Signals
from equipoise.errors import SettingError

BASE = AdversarialKnobs().with_values({"r1_gamma": 0.5})
READINGS = 40
EXACT = {"confidence": 0.0, "half_life": 1e-9, "warm_up": 0.0}
"""Options without smoothing, uncertainty and warm-up."""


def trajectory(controller, rank, base=BASE, turnable=frozenset({"r1_gamma", "gp_weight"})):
    """The knobs after each of READINGS evenly spaced readings; `rank` is a function of the progress."""
    state, knobs, path = controller.initial(base), base, []
    for number in range(1, READINGS + 1):
        progress = number / READINGS
        signals = Signals(rank_train_held_out=rank(progress))
        turn = controller.update(state, Observation(number, progress, signals, Health(), knobs, turnable))
        state, knobs = turn.state, knobs.step_towards(turn.knobs)
        path.append(knobs)
    return path


def test_it_follows_the_formula() -> None:
    """λ = ∫ e most / span dt for a constant e of one half, in closed form."""
    controller = RankConstraint(target=0.2, reach=0.4, span=0.5, octaves=3.0, **EXACT)
    for number, knobs in enumerate(trajectory(controller, lambda t: 0.4), start=1):
        octaves = min(3.0, 0.5 * 3.0 * number / READINGS / 0.5)
        assert knobs.r1_gamma == pytest.approx(0.5 * 2**octaves)


def test_it_returns_to_the_base_once_the_constraint_holds_and_does_not_wind_up() -> None:
    path = trajectory(RankConstraint(span=0.1, octaves=4.0, **EXACT), lambda t: 1.0 if t <= 0.5 else 0.0)
    assert path[19].r1_gamma == 0.5 * 16
    assert path[20].r1_gamma == pytest.approx(0.5 * 2 ** (4 - 4 * 0.025 / 0.1)), "at the first reading"
    assert path[-1].r1_gamma == 0.5, "never below the user's value"


def test_within_the_error_of_few_held_out_samples_nothing_changes() -> None:
    few, many = (RankConstraint(held_out_samples=count, training_samples=64) for count in (16, 256))
    assert {knobs.r1_gamma for knobs in trajectory(few, lambda t: 0.35)} == {0.5}
    assert trajectory(many, lambda t: 0.35)[-1].r1_gamma > 2


def test_the_standard_error_is_that_of_the_rank() -> None:
    assert rank_standard_error(16, 64) == pytest.approx(math.sqrt(81 / (3 * 16 * 64)))
    assert rank_standard_error(10_000, 10_000) == rank_standard_error(256, 256) == pytest.approx(0.051, abs=1e-3)
    assert rank_standard_error(None, None) == rank_standard_error(64, 256)


def test_a_penalty_that_is_off_starts_when_it_is_needed() -> None:
    off = AdversarialKnobs()
    assert {knobs.r1_gamma for knobs in trajectory(RankConstraint(), lambda t: 0.0, off)} == {0.0}
    path = trajectory(RankConstraint(start=0.05, octaves=2.0, **EXACT), lambda t: 1.0 if t < 0.5 else 0.0, off)
    assert max(knobs.r1_gamma for knobs in path) == pytest.approx(0.05 * 4)
    assert path[0].r1_gamma > 0.05
    assert path[-1].r1_gamma == 0


@pytest.mark.parametrize(
    ("values", "turnable", "changed"),
    [
        ({"r1_gamma": 1.0, "gp_weight": 10.0}, {"r1_gamma", "gp_weight"}, "r1_gamma"),
        ({"gp_weight": 10.0}, {"r1_gamma", "gp_weight"}, "gp_weight"),
        ({}, {"gp_weight"}, "gp_weight"),
        ({"r1_gamma": 1.0}, {"lr_g"}, None),
    ],
)
def test_it_changes_the_penalty_that_acts_and_is_on(values, turnable, changed) -> None:
    base = AdversarialKnobs().with_values(values)
    path = trajectory(RankConstraint(), lambda t: 1.0, base, frozenset(turnable))
    assert set(base.differences(path[-1])) == ({changed} if changed else set())


@pytest.mark.parametrize("missing", [None, math.nan])
def test_a_missing_signal_changes_nothing(missing: float | None) -> None:
    path = trajectory(RankConstraint(), lambda t: 1.0 if t < 0.25 else missing)
    assert path[8].r1_gamma > 0.5
    assert {knobs.r1_gamma for knobs in path[9:]} == {path[9].r1_gamma}


def test_it_takes_the_numbers_of_samples_from_the_run_unless_they_are_given() -> None:
    facts = RunFacts(steps=100, batch_size=8, training_samples=400, held_out_samples=80)
    resolved = RankConstraint(held_out_samples=30).resolve(facts)
    assert (resolved.held_out_samples, resolved.training_samples) == (30, 400)
    assert resolved.resolve(facts) == resolved
    assert RankConstraint().resolve(RunFacts(None, 8, None, None)) == RankConstraint()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"span": 0}, "span = 0: it must be above 0"),
        ({"octaves": 11}, "octaves = 11: it must be from 0 to 10"),
        ({"start": 0}, "start = 0: it must be from 0.0001 to 100"),
        ({"held_out_samples": 0}, "held_out_samples = 0: it must be at least 1"),
    ],
)
def test_invalid_options_are_refused(options, message) -> None:
    with pytest.raises(SettingError, match=message):
        RankConstraint(**options)
