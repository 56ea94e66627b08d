"""Rules of thumb: when each applies, its limits, and how it is undone."""

import math

import pytest
import torch

from equipoise.controllers.balance import Balance, accuracy
from equipoise.core.knobs import AdversarialKnobs
from equipoise.core.observations import Health, Observation, Signals
from equipoise.errors import SettingError

BASE = AdversarialKnobs().with_values({"lr_g": 1e-3, "lr_d": 2e-3})


@pytest.mark.parametrize("apart", [0.0, 0.7, 1.7, 3.0])
def test_accuracy_equals_that_of_the_best_threshold(apart: float) -> None:
    """Sampled normal logits: the best threshold by exhaustive search."""
    generator = torch.Generator().manual_seed(0)
    real = torch.randn(20_000, generator=generator) * 1.3 + 1.3 * apart
    fake = torch.randn(20_000, generator=generator) * 1.3
    rank = (real[:2000, None] - fake[None, :2000]).sign().mean().item()
    thresholds = torch.linspace(-3, 6, 400)
    accuracies = [((real > t).float().mean() + (fake <= t).float().mean()).item() / 2 for t in thresholds]
    assert accuracy(rank) == pytest.approx(max(accuracies), abs=0.02)


def test_accuracy_of_certainty_is_finite() -> None:
    assert accuracy(1.0) == pytest.approx(1, abs=1e-3)
    assert accuracy(-1.0) == pytest.approx(0, abs=1e-3)


def trajectory(controller, signals, count=40):
    """(lr_g, lr_d) after each of `count` evenly spaced readings."""
    state, knobs, path = controller.initial(BASE), BASE, []
    for number in range(1, count + 1):
        turn = controller.update(state, Observation(number, number / count, signals(number / count), Health(), knobs))
        state, knobs = turn.state, knobs.step_towards(turn.knobs)
        path.append((knobs.lr_g, knobs.lr_d))
    return path


def test_a_discriminator_that_is_right_too_often_is_slowed_to_a_quarter() -> None:
    path = trajectory(Balance(), lambda progress: Signals(rank_train_fake=0.95))
    assert path[0] == (1e-3, 2e-3), "not during the warm-up"
    assert path[1:3] == [(1e-3, 1e-3), (1e-3, 5e-4)]
    assert set(path[2:]) == {(1e-3, 5e-4)}


def test_its_rate_is_restored_to_the_user_s_value() -> None:
    path = trajectory(Balance(), lambda progress: Signals(rank_train_fake=0.95 if progress < 0.5 else 0.05))
    assert path[18] == (1e-3, 5e-4)
    assert path[-1] == (1e-3, 2e-3)


def test_between_low_and_high_nothing_changes() -> None:
    assert set(trajectory(Balance(), lambda progress: Signals(rank_train_fake=0.5))) == {(1e-3, 2e-3)}


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
    assert trajectory(Balance(), lambda progress: Signals(rank_train_fake=0.5, **updates))[-1] == end


def test_the_rate_of_a_player_that_runs_away_is_not_raised() -> None:
    def signals(progress: float) -> Signals:
        return Signals(rank_train_fake=0.05, update_ratio_d=0.5)

    assert trajectory(Balance(), signals)[-1] == (1e-3, 5e-4)


def test_decisions_are_a_pace_apart() -> None:
    path = trajectory(Balance(pace=0.1), lambda progress: Signals(rank_train_fake=0.99), count=100)
    moved = [
        n + 1 for n, (before, after) in enumerate(zip([(1e-3, 2e-3), *path], path, strict=False)) if before != after
    ]
    assert len(moved) == 2
    assert moved[1] - moved[0] == 10


@pytest.mark.parametrize("missing", [None, math.nan])
def test_a_missing_signal_changes_nothing(missing: float | None) -> None:
    assert set(trajectory(Balance(), lambda progress: Signals(rank_train_fake=missing))) == {(1e-3, 2e-3)}


def test_the_reason_names_the_rule() -> None:
    observation = Observation(50, 0.5, Signals(rank_train_fake=0.95), Health(), BASE)
    turn = Balance().update(Balance().initial(BASE), observation)
    assert turn.reasons == {"lr_d": "halved: discriminator accuracy 92% > 80%"}


@pytest.mark.parametrize(
    "wrong",
    [{"low": 0.9}, {"high": 1.0}, {"apart": 1.0}, {"pace": 0.0}, {"warm_up": 5.0}, {"warm_up": math.nan}],
)
def test_invalid_options_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(SettingError, match=f"{next(iter(wrong))} = "):
        Balance(**wrong)


def fast_generator(until: float, **signals: float):
    """The update-to-weight ratio of the generator is high up to `until`, and low after it."""
    return lambda progress: Signals(update_ratio_g=0.5 if progress <= until else 0.01, update_ratio_d=0.01, **signals)


def test_a_halved_rate_is_restored_one_decision_after_the_weights_are_calm() -> None:
    path = [rate for rate, _ in trajectory(Balance(), fast_generator(0.2, rank_train_fake=0.5))]
    assert path[1:8] == [5e-4] + [2.5e-4] * 6, "up to reading 8 of 40"
    assert path[8:12] == [2.5e-4, 5e-4, 1e-3, 1e-3], "calm for one decision, then doubled up to the base"
    assert set(path[11:]) == {1e-3}


def test_calm_weights_do_not_undo_a_halving_by_accuracy() -> None:
    def signals(progress: float) -> Signals:
        return Signals(rank_train_fake=0.95 if progress < 0.5 else 0.7, update_ratio_g=0.01, update_ratio_d=0.01)

    assert trajectory(Balance(), signals)[-1] == (1e-3, 5e-4), "between low and high it does not change"


def test_halvings_by_two_rules_are_undone_separately() -> None:
    """Halved once by accuracy and once by updates: calm weights undo one, a low accuracy the other."""

    def signals(progress: float) -> Signals:
        runs = {
            "update_ratio_d": 0.5 if 0.07 < progress < 0.11 else 0.01,
            "update_ratio_g": 0.2 if progress < 0.11 else 0.01,
        }
        return Signals(rank_train_fake=0.95 if progress < 0.06 else 0.7 if progress < 0.6 else 0.05, **runs)

    rates = [rate for _, rate in trajectory(Balance(half_life=1e-9, fastest=0.3), signals)]
    assert rates[1] == 1e-3
    assert min(rates) == 5e-4
    assert rates[20] == 1e-3
    assert rates[-1] == 2e-3


def test_without_a_signal_a_halving_is_not_undone() -> None:
    def signals(progress: float) -> Signals:
        return Signals(update_ratio_g=0.5 if progress < 0.2 else math.nan)

    assert trajectory(Balance(), signals)[-1] == (2.5e-4, 2e-3)
