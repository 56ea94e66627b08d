"""A plan may not report, or measure during training, the features that a model of it was trained with."""

import dataclasses

import pytest

from equipoise.comparison import run_checks
from equipoise.comparison.plan import Arm, ComparisonPlan, PlugSpec, Task
from equipoise.errors import SettingError

LITE0, PIXELS = PlugSpec("kd_efficientnet_lite0"), PlugSpec("fd_pixels")
TASK = Task(
    data=PlugSpec("openmoji", {"image_size": 16}),
    model=PlugSpec("projected", {"width": 1, "latent_dim": 4, "feature_side": 64}),
    steps=4,
    batch_size=2,
    metric=PIXELS,
    reported=PlugSpec("precision:pixels"),
)


def plan(**changes: object) -> ComparisonPlan:
    return ComparisonPlan(arms={"fixed": Arm()}, tasks={"emoji": dataclasses.replace(TASK, **changes)}, seeds=(0,))


@pytest.mark.parametrize("changes", [{"reported": LITE0}, {"also": ("recall",)}, {"metric": LITE0}])
def test_features_of_a_frozen_network_are_refused(changes: dict[str, object]) -> None:
    with pytest.raises(SettingError, match=r"arm 'fixed' on 'emoji.*cannot be reported: projected was trained"):
        run_checks.check_plan(plan(**changes))


def test_other_features_are_allowed() -> None:
    run_checks.check_plan(plan())
