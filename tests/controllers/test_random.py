"""The placebo: it ignores signals, is reproducible, and stays within the bounds of `rank`."""

import math
from itertools import pairwise

import pytest

from equipoise.controllers.random import Random
from equipoise.controllers.rank import Rank
from equipoise.core.knobs import AdversarialKnobs
from equipoise.core.observations import Health, Observation, Signals
from equipoise.errors import SettingError

BASE = AdversarialKnobs().with_values({"lr_g": 1e-3, "lr_d": 2e-3})
STRONG = Signals(rank_train_fake=0.99, rank_train_held_out=0.9)


def trajectory(controller, count=80, signals=STRONG, turnable=None):
    state, knobs, path = controller.initial(BASE), BASE, []
    for number in range(1, count + 1):
        turn = controller.update(state, Observation(number, number / count, signals, Health(), knobs, turnable))
        state, knobs = turn.state, knobs.step_towards(turn.knobs)
        path.append(knobs)
    return path


def test_it_ignores_signals() -> None:
    assert trajectory(Random(), signals=STRONG) == trajectory(Random(), signals=Signals())


def test_the_seed_determines_the_path() -> None:
    assert trajectory(Random(seed=3)) == trajectory(Random(seed=3)) != trajectory(Random(seed=4))


def test_the_number_of_readings_does_not_matter() -> None:
    often, seldom = trajectory(Random(), 160), trajectory(Random(), 40)
    assert often[3::4] == seldom


def test_it_moves_one_step_at_a_time_within_the_bounds_of_rank() -> None:
    octaves, strengths = [], []
    for seed in range(40):
        path = trajectory(Random(seed=seed), 40)
        octaves.append([round(-math.log2(knobs.lr_d / knobs.lr_g / 2), 9) for knobs in path])
        strengths.append([knobs.augment_p for knobs in path])
    reference = Rank(half_life=1e-9)
    ends = [trajectory(reference, signals=Signals(rank_train_fake=rank))[-1] for rank in (1.0, -1.0)]
    bounds = [-math.log2(end.lr_d / end.lr_g / 2) for end in ends]
    every = [one for path in octaves for one in path]
    assert (max(every), min(every)) == pytest.approx(bounds), "it reaches the bounds of rank and no further"
    assert {abs(b - a) for path in octaves for a, b in pairwise(path)} == {0.0, 0.25}
    assert 0.3 < max(one for path in strengths for one in path) <= 0.8
    moves = [b - a for path in octaves for a, b in pairwise(path)]
    assert abs(sum(moves) / len(moves)) < 0.02, "no side is favoured"


def test_it_changes_the_knobs_of_rank() -> None:
    for acting in ({"lr_g", "lr_d"}, {"lr_g", "lr_d", "augment_p"}):
        pairs = [trajectory(one, turnable=frozenset(acting)) for one in (Random(), Rank())]
        placebo, rank = ({name for knobs in path for name in BASE.differences(knobs)} for path in pairs)
        assert placebo == rank == acting


def test_the_reason_names_the_random_step() -> None:
    turn = Random(seed=7).update(Random(seed=7).initial(BASE), Observation(1, 0.06, STRONG, Health(), BASE))
    assert turn.reasons["lr_d"] == "random step 1 with seed 7"


def test_invalid_options_are_refused() -> None:
    with pytest.raises(SettingError, match=r"pace = 0: it must be from 0\.0001 to 1"):
        Random(pace=0)
