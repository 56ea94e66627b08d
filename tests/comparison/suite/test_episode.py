"""Runs of the suite: the same seed has the same curve, and knobs of task, regime and arm are applied in this order."""

import dataclasses
import math
from functools import lru_cache

import pytest

from equipoise.comparison.suite.arms import parse_settings, play_arm
from equipoise.comparison.suite.data import SuiteData
from equipoise.comparison.suite.episode import (
    EVALUATIONS,
    ArmSettings,
    DistanceToTestReals,
    EpisodeCurve,
    Evaluation,
    open_training,
    play,
    record_curve,
)
from equipoise.comparison.suite.tasks import SuiteTask
from equipoise.errors import EquipoiseError, SettingError
from equipoise.experiment.settings import PlugSpec

POINTS = SuiteTask(
    "tiny", "training", "mixtures", steps=16, training_images=64, model="mlp", options={"width": 8}, batch_size=8
)
PICTURES = dataclasses.replace(
    POINTS,
    source="bursts",
    model="dcgan",
    options={"width": 4},
    knobs={"lr_g": 1e-3},
    factors={"lr_d": 4.0, "lr_g": 2.0},
)


@lru_cache(maxsize=4)
def curve(seed: int = 0) -> EpisodeCurve:
    return play(POINTS, ArmSettings(), seed)


def knobs_of(settings: ArmSettings, task: SuiteTask = PICTURES) -> dict[str, float]:
    return open_training(task, settings, 0).pilot.knobs.values()


def test_the_same_seed_has_the_same_curve_and_another_another() -> None:
    again = play(POINTS, ArmSettings(), 0)
    assert dataclasses.replace(again, cpu=0.0) == dataclasses.replace(curve(), cpu=0.0)
    assert play(POINTS, ArmSettings(), 1).evaluations != curve().evaluations


def test_a_run_is_evaluated_regularly_up_to_its_end() -> None:
    steps = [evaluation.step for evaluation in curve().evaluations]
    assert len(steps) == EVALUATIONS
    assert steps[-1] == POINTS.steps
    assert curve().cpu > 0
    assert not curve().diverged


def test_the_verdict_at_the_end_decides_whether_a_run_diverged() -> None:
    """Repair restores a run that diverged on the way; its verdict is then another one."""
    training = open_training(POINTS, ArmSettings(), 0)
    test_distance = DistanceToTestReals.of(SuiteData(**POINTS.data_options(draw=0)), training.state.model)
    for verdict, diverged in (("healthy", False), ("diverged", True)):
        training.verdict = verdict
        assert record_curve(training, iter(()), test_distance).diverged is diverged


def test_last_and_selected_are_different_endpoints() -> None:
    def evaluation(step: int, distance: float, live: float) -> Evaluation:
        return Evaluation(step, distance, live, {})

    result = EpisodeCurve((evaluation(1, 0.3, 0.5), evaluation(2, 0.2, 0.1), evaluation(3, 0.1, 0.4)), False, 1.0)
    assert result.last == 0.1
    assert result.selected == 0.2, "the best live metric, not the best distance"


def test_a_diverged_run_keeps_what_early_stopping_kept() -> None:
    early = Evaluation(1, 0.3, 0.5, {})
    assert EpisodeCurve((early, Evaluation(2, math.nan, math.nan, {})), True, 1.0).selected == 0.3
    assert EpisodeCurve((early, Evaluation(2, math.nan, math.nan, {})), True, 1.0).last == math.inf
    assert EpisodeCurve((), True, 1.0).selected == math.inf


def test_knobs_are_those_of_task_regime_and_arm() -> None:
    published = knobs_of(ArmSettings(), dataclasses.replace(PICTURES, knobs={}, factors={}))
    result = knobs_of(ArmSettings(factors={"lr_g": 0.5}, knobs={"augment_p": 0.25}))
    assert result["lr_g"] == pytest.approx(1e-3 * 2 * 0.5), "knob of the task x regime x arm"
    assert result["lr_d"] == pytest.approx(published["lr_d"] * 4)
    assert result["augment_p"] == 0.25


def test_factors_stay_within_the_range_of_a_knob() -> None:
    assert knobs_of(ArmSettings(factors={"lr_d": 1e6}))["lr_d"] == 1e-2


def test_knobs_without_effect_in_the_model_are_ignored_and_unknown_ones_refused() -> None:
    assert "augment_p" not in open_training(POINTS, ArmSettings(knobs={"augment_p": 0.3}), 0).state.model.turnable
    with pytest.raises(SettingError, match="task 'tiny' has no knob 'wings'"):
        open_training(POINTS, ArmSettings(knobs={"wings": 2}), 0)


def test_a_controller_acts_in_a_run_and_json_values_are_its_settings() -> None:
    values = {"controller": "annealed", "options": {"factors": {"lr_g": "linear(1, 0.5)"}}, "repair": True}
    assert parse_settings(values) == ArmSettings(PlugSpec("annealed", values["options"]), repair=True)
    rates = [evaluation.knobs["lr_g"] for evaluation in play_arm(POINTS, values, 0).evaluations]
    assert rates == sorted(rates, reverse=True)
    assert rates[-1] < 0.6 * rates[0]


def test_an_unknown_controller_is_one_clear_line() -> None:
    with pytest.raises(EquipoiseError, match="thermostat") as caught:
        play_arm(POINTS, {"controller": "thermostat"}, 0)
    assert "\n" not in str(caught.value)
