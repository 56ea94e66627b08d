"""Scores between two anchors, and how the anchors are measured."""

import dataclasses
import math

import pytest

from equipoise.comparison import execution, plan_runs, scores
from equipoise.comparison.folder import ComparisonFolder
from equipoise.comparison.plan import ComparisonPlan, PlugSpec, Task
from equipoise.comparison.plan_runs import TaskSetting
from equipoise.comparison.scores import Anchors
from equipoise.errors import SettingError

DISTANCE = Anchors(
    "kd_digits", "lower", {"untrained": 1.6, "noise": 8.0, "lost": math.nan}, real=(-0.005, 0.008, 0.002)
)
SHARE = Anchors("modes", "higher", {"untrained": 0.3, "noise": 0.1}, real=(0.9, 1.0))


def test_distances_are_compared_by_their_logarithms() -> None:
    assert DISTANCE.floor == 0.008
    assert DISTANCE.score(8.0) == 0.0
    assert DISTANCE.score(0.008) == 1.0
    assert DISTANCE.score(math.sqrt(8.0 * 0.008)) == pytest.approx(0.5)
    assert DISTANCE.score(0.8) == pytest.approx(1 / 3), "a tenth of three decades"


@pytest.mark.parametrize("value", [0.001, 0.0, -0.01])
def test_nothing_is_better_than_what_reals_get_by_chance(value: float) -> None:
    assert DISTANCE.score(value) == 1.0


@pytest.mark.parametrize("value", [9.0, 1e9, math.inf, math.nan])
def test_nothing_is_worse_than_the_worst_of_what_is_worthless(value: float) -> None:
    assert DISTANCE.score(value) == 0.0


def test_shares_are_compared_as_they_are() -> None:
    assert [SHARE.score(value) for value in (0.0, 0.1, 0.525, 0.95, 1.0)] == pytest.approx([0, 0, 0.5, 1, 1])
    assert SHARE.score(math.nan) == 0.0


@pytest.mark.parametrize(("better", "worst", "real"), [("lower", 0.001, (0.008,)), ("higher", 0.99, (0.9,))])
def test_a_metric_must_tell_reals_from_what_is_worthless(better: str, worst: float, real: tuple[float]) -> None:
    with pytest.raises(SettingError, match="modes does not tell reals from samples that are worth nothing"):
        Anchors("modes", better, {"untrained": worst}, real)


def test_anchors_of_points(compared: ComparisonFolder) -> None:
    result = execution.read_anchors(compared, TaskSetting("ring"))
    assert result is not None
    assert result.better == "higher"
    assert len(result.real) == scores.DRAWS
    assert all(0.9 < value <= 1 for value in result.real), "three standard deviations hold 98.9 % of reals"
    assert result.worthless.keys() == {"untrained", "noise", "one real"}
    assert result.worthless["one real"] > 0.99, "a point in the middle of a mode: high quality sees no variety"
    assert result.worst == min(result.worthless.values()) < 0.5
    assert execution.read_anchors(compared, TaskSetting("other")) is None


def test_a_data_set_with_few_images_is_anchored_by_halves_of_the_held_out_ones(tiny: ComparisonPlan) -> None:
    """Of 100 digits to train on there are no three different sets; distances of halves are near 0 all the same."""
    digits = PlugSpec("digits", {"image_size": 16, "training_images": 100})
    task = Task(data=digits, model=PlugSpec("dcgan", {"width": 4}), reported=PlugSpec("kd_digits"))
    plan = dataclasses.replace(tiny, tasks={"few": task}, samples=300)
    result = scores.measure_anchors(plan, plan_runs.test_settings(plan)[0], task)
    assert len(set(result.real)) == scores.DRAWS
    assert result.floor < 0.1
    assert result.worst > 2
    assert result.features is not None
