"""Accuracy of labels: reals have theirs, shuffled labels are chance, and samples without labels have no value."""

from pathlib import Path

import pytest
import torch

from equipoise.core import catalog
from equipoise.core.metric import Bootstrap
from equipoise.errors import SettingError, UndefinedMetricError
from equipoise.evaluation.evaluate import evaluate
from equipoise.evaluation.subject import EvaluationRequest
from equipoise.experiment import launch
from equipoise.experiment.settings import Experiment, PlugSpec
from equipoise.metrics.label_accuracy_digits import LabelAccuracyDigits

METRIC = LabelAccuracyDigits()


def test_reals_have_their_labels_and_others_are_chance() -> None:
    reals = catalog.build("data", "digits").stream("held_out", 500, 0).batch(0)
    result = METRIC.compute_from_labels(reals.real, reals.condition, Bootstrap(50))
    assert result.value > 0.97
    low, high = result.interval
    assert low <= result.value <= high
    shuffled = reals.condition[torch.randperm(500, generator=torch.Generator().manual_seed(0))]
    assert METRIC.compute_from_labels(reals.real, shuffled, Bootstrap()).value == pytest.approx(0.1, abs=0.05)
    shifted = (reals.condition + 1) % 10
    assert METRIC.compute_from_labels(reals.real, shifted, Bootstrap()).value < 0.03


def test_it_suits_digits_only() -> None:
    assert METRIC.suits(catalog.build("data", "digits").spec)
    assert not METRIC.suits(catalog.build("data", "openmoji").spec)
    assert not METRIC.suits(catalog.build("data", "ring").spec)
    with pytest.raises(UndefinedMetricError, match="at least one sample"):
        METRIC.compute_from_labels(torch.zeros(0, 1, 16, 16), torch.zeros(0, dtype=torch.int64), Bootstrap())


@pytest.mark.parametrize("conditional", [True, False])
def test_runs_without_labels_have_no_value(tmp_path: Path, conditional: bool) -> None:
    model = PlugSpec("dcgan", {"width": 2, "latent_dim": 2, "conditional": conditional})
    experiment = Experiment(
        data=PlugSpec("digits", {"image_size": 16}), model=model, steps=1, batch_size=4, metric=PlugSpec("none")
    )
    for _ in launch.start(experiment, tmp_path / "run"):
        pass
    request = EvaluationRequest(samples=tmp_path / "run", metrics=("label_accuracy_digits",), count=40)
    row = evaluate(request).rows[0]
    if conditional:
        assert 0 <= row.value <= 0.5
        assert row.floor.value >= 0.85, "of 40 reals"
    else:
        assert row.value is None
        assert "no labels" in row.reason


def test_it_is_no_live_metric() -> None:
    experiment = Experiment(data=PlugSpec("digits"), metric=PlugSpec("label_accuracy_digits"), steps=1)
    with pytest.raises(SettingError, match="cannot be computed during training"):
        launch.settle(experiment)
