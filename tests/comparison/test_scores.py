"""Scores between two anchors, and the measurement of anchors."""

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


def test_distances_are_compared_by_logarithm() -> None:
    assert DISTANCE.floor == 0.008
    assert DISTANCE.score(8.0) == 0.0
    assert DISTANCE.score(0.008) == 1.0
    assert DISTANCE.score(math.sqrt(8.0 * 0.008)) == pytest.approx(0.5)
    assert DISTANCE.score(0.8) == pytest.approx(1 / 3), "a tenth of three decades"


@pytest.mark.parametrize("value", [0.001, 0.0, -0.01])
def test_values_better_than_reals_score_1(value: float) -> None:
    assert DISTANCE.score(value) == 1.0


@pytest.mark.parametrize("value", [9.0, 1e9, math.inf, math.nan])
def test_values_worse_than_worthless_samples_score_0(value: float) -> None:
    assert DISTANCE.score(value) == 0.0


def test_shares_are_compared_linearly() -> None:
    assert [SHARE.score(value) for value in (0.0, 0.1, 0.525, 0.95, 1.0)] == pytest.approx([0, 0, 0.5, 1, 1])
    assert SHARE.score(math.nan) == 0.0


@pytest.mark.parametrize(("better", "worst", "real"), [("lower", 0.001, (0.008,)), ("higher", 0.99, (0.9,))])
def test_metric_that_does_not_distinguish_reals_is_an_error(better: str, worst: float, real: tuple[float]) -> None:
    with pytest.raises(SettingError, match="modes does not distinguish reals"):
        Anchors("modes", better, {"untrained": worst}, real)


def test_anchors_of_points(compared: ComparisonFolder) -> None:
    result = execution.read_anchors(compared, TaskSetting("ring"))
    assert result is not None
    assert result.better == "higher"
    assert len(result.real) == scores.REAL_SETS
    assert all(0.9 < value <= 1 for value in result.real), "98.9 % of reals are within three standard deviations"
    assert result.worthless.keys() == {"untrained", "noise", "one real"}
    assert result.worthless["one real"] > 0.99, "one point in a mode: high_quality does not measure variety"
    assert result.worst == min(result.worthless.values()) < 0.5
    assert execution.read_anchors(compared, TaskSetting("other")) is None


def test_anchors_of_a_small_data_set_are_measured_on_halves_of_held_out_reals(tiny: ComparisonPlan) -> None:
    """With 100 training images there are no three different sets; the distances of halves are near 0 too."""
    digits = PlugSpec("digits", {"image_size": 16, "training_images": 100})
    task = Task(data=digits, model=PlugSpec("dcgan", {"width": 4}), reported=PlugSpec("kd_digits"))
    plan = dataclasses.replace(tiny, tasks={"few": task}, samples=300)
    result = scores.measure_anchors(plan, plan_runs.compared_settings(plan)[0], task)
    assert len(set(result.real)) == scores.REAL_SETS
    assert result.floor < 0.1
    assert result.worst > 2
    assert result.features is not None
