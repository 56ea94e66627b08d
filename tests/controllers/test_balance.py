"""Rules of thumb: when each fires, how far it goes, and that it comes back."""

import math

import pytest
import torch

from equipoise.controllers.balance import Balance, accuracy
from equipoise.core.knobs import AdversarialKnobs
from equipoise.core.observations import Health, Observation, Signals
from equipoise.errors import SettingError

BASE = AdversarialKnobs().with_values({"lr_g": 1e-3, "lr_d": 2e-3})


@pytest.mark.parametrize("apart", [0.0, 0.7, 1.7, 3.0])
def test_accuracy_is_that_of_the_best_threshold(apart: float) -> None:
    """Normal logits, drawn: the best threshold found by trying them all."""
    generator = torch.Generator().manual_seed(0)
    real = torch.randn(20_000, generator=generator) * 1.3 + 1.3 * apart
    fake = torch.randn(20_000, generator=generator) * 1.3
    rank = (real[:2000, None] - fake[None, :2000]).sign().mean().item()
    thresholds = torch.linspace(-3, 6, 400)
    right = [((real > t).float().mean() + (fake <= t).float().mean()).item() / 2 for t in thresholds]
    assert accuracy(rank) == pytest.approx(max(right), abs=0.02)


def test_accuracy_of_certainty_is_finite() -> None:
    assert accuracy(1.0) == pytest.approx(1, abs=1e-3)
    assert accuracy(-1.0) == pytest.approx(0, abs=1e-3)


def course(controller, signals, count=40):
    """(lr_g, lr_d) after each of `count` even readings."""
    state, knobs, path = controller.initial(BASE), BASE, []
    for number in range(1, count + 1):
        turn = controller.update(state, Observation(number, number / count, signals(number / count), Health(), knobs))
        state, knobs = turn.state, knobs.clamped(turn.knobs)
        path.append((knobs.lr_g, knobs.lr_d))
    return path


def test_a_discriminator_that_is_right_too_often_is_slowed_to_a_quarter() -> None:
    path = course(Balance(), lambda progress: Signals(rank_train_fake=0.95))
    assert path[0] == (1e-3, 2e-3), "not while it warms up"
    assert path[1:3] == [(1e-3, 1e-3), (1e-3, 5e-4)]
    assert set(path[2:]) == {(1e-3, 5e-4)}


def test_it_is_sped_up_again_no_further_than_it_was() -> None:
    path = course(Balance(), lambda progress: Signals(rank_train_fake=0.95 if progress < 0.5 else 0.05))
    assert path[18] == (1e-3, 5e-4)
    assert path[-1] == (1e-3, 2e-3)


def test_in_between_nothing_is_turned() -> None:
    assert set(course(Balance(), lambda progress: Signals(rank_train_fake=0.5))) == {(1e-3, 2e-3)}


@pytest.mark.parametrize(
    ("updates", "end"),
    [
        ({"update_ratio_g": 0.02, "update_ratio_d": 0.003}, (2.5e-4, 2e-3)),
        ({"update_ratio_g": 0.003, "update_ratio_d": 0.02}, (1e-3, 5e-4)),
        ({"update_ratio_g": 0.02, "update_ratio_d": 0.005}, (1e-3, 2e-3)),
        ({"update_ratio_g": 0.2, "update_ratio_d": 0.3}, (2.5e-4, 5e-4)),
        ({"update_ratio_g": 0.2}, (2.5e-4, 2e-3)),
        ({"update_ratio_g": math.nan, "update_ratio_d": 0.02}, (1e-3, 2e-3)),
    ],
)
def test_a_player_whose_weights_run_away_is_slowed(updates: dict[str, float], end: tuple[float, float]) -> None:
    assert course(Balance(), lambda progress: Signals(rank_train_fake=0.5, **updates))[-1] == end


def test_a_player_that_runs_away_is_not_sped_up() -> None:
    def signals(progress: float) -> Signals:
        return Signals(rank_train_fake=0.05, update_ratio_d=0.5)

    assert course(Balance(), signals)[-1] == (1e-3, 5e-4)


def test_it_decides_no_oftener_than_its_pace() -> None:
    path = course(Balance(pace=0.1), lambda progress: Signals(rank_train_fake=0.99), count=100)
    moved = [
        n + 1 for n, (before, after) in enumerate(zip([(1e-3, 2e-3), *path], path, strict=False)) if before != after
    ]
    assert len(moved) == 2
    assert moved[1] - moved[0] == 10


@pytest.mark.parametrize("missing", [None, math.nan])
def test_what_is_missing_holds_it_still(missing: float | None) -> None:
    assert set(course(Balance(), lambda progress: Signals(rank_train_fake=missing))) == {(1e-3, 2e-3)}


def test_it_says_which_rule() -> None:
    seen = Observation(50, 0.5, Signals(rank_train_fake=0.95), Health(), BASE)
    turn = Balance().update(Balance().initial(BASE), seen)
    assert turn.why == {"lr_d": "discriminator right 92% of the time, more than 80%"}


@pytest.mark.parametrize(
    "wrong",
    [{"low": 0.9}, {"high": 1.0}, {"apart": 1.0}, {"pace": 0.0}, {"warm_up": 5.0}, {"warm_up": math.nan}],
)
def test_what_cannot_be_is_told(wrong: dict[str, float]) -> None:
    with pytest.raises(SettingError, match=f"{next(iter(wrong))} = "):
        Balance(**wrong)


def hurrying(until: float, **others: float):
    """The generator's weights run away up to there, and go calmly from then on."""
    return lambda progress: Signals(update_ratio_g=0.5 if progress <= until else 0.01, update_ratio_d=0.01, **others)


def test_a_player_that_ran_away_gets_its_rate_back_a_decision_after_it_is_calm() -> None:
    path = [rate for rate, _ in course(Balance(), hurrying(0.2, rank_train_fake=0.5))]
    assert path[1:8] == [5e-4] + [2.5e-4] * 6, "up to reading 8 of 40"
    assert path[8:12] == [2.5e-4, 5e-4, 1e-3, 1e-3], "quiet for a decision, then back by doubling, no further"
    assert set(path[11:]) == {1e-3}


def test_what_accuracy_has_halved_is_not_given_back_for_calm_weights() -> None:
    def signals(progress: float) -> Signals:
        return Signals(rank_train_fake=0.95 if progress < 0.5 else 0.7, update_ratio_g=0.01, update_ratio_d=0.01)

    assert course(Balance(), signals)[-1] == (1e-3, 5e-4), "between low and high it stays"


def test_both_reasons_are_given_back_one_by_one() -> None:
    """Halved once for accuracy and once for running away: calm weights give back the one, a low accuracy the other."""

    def signals(progress: float) -> Signals:
        runs = {
            "update_ratio_d": 0.5 if 0.07 < progress < 0.11 else 0.01,
            "update_ratio_g": 0.2 if progress < 0.11 else 0.01,
        }
        return Signals(rank_train_fake=0.95 if progress < 0.06 else 0.7 if progress < 0.6 else 0.05, **runs)

    rates = [rate for _, rate in course(Balance(half_life=1e-9, fastest=0.3), signals)]
    assert rates[1] == 1e-3
    assert min(rates) == 5e-4
    assert rates[20] == 1e-3
    assert rates[-1] == 2e-3


def test_a_player_of_which_nothing_is_seen_is_not_sped_up() -> None:
    def signals(progress: float) -> Signals:
        return Signals(update_ratio_g=0.5 if progress < 0.2 else math.nan)

    assert course(Balance(), signals)[-1] == (2.5e-4, 2e-3)
