"""Cost of evaluations: operations counted by hand, and the interval chosen from them."""

import dataclasses
from pathlib import Path

import pytest
import torch
from torch import nn

from equipoise.experiment import assembly, launch
from equipoise.experiment.assembly import assemble
from equipoise.experiment.completion import complete
from equipoise.experiment.settings import Experiment, PlugSpec
from equipoise.runs.run import Run
from equipoise.training.evaluation_cost import choose_evaluate_every, count_operations

DIGITS = Experiment(
    data=PlugSpec("digits"), model=PlugSpec("dcgan", {"width": 8}), image_size=16, batch_size=16, steps=2000
)


def test_operations_of_linear_layer_forward_and_backward() -> None:
    layer, batch = nn.Linear(7, 5), torch.ones(3, 7, requires_grad=True)
    assert count_operations(lambda: layer(batch)).operations == 2 * 3 * 7 * 5
    assert count_operations(lambda: layer(batch).sum().backward()).operations == 3 * 2 * 3 * 7 * 5


def test_convolution_counts_the_same_under_inference_mode() -> None:
    layer, batch = nn.Conv2d(3, 4, 3, padding=1), torch.ones(2, 3, 8, 8)
    with torch.inference_mode():
        assert count_operations(lambda: layer(batch)).operations == 2 * (2 * 4 * 8 * 8) * (3 * 3 * 3)


def test_kernel_calls_are_counted() -> None:
    numbers = torch.ones(4)
    assert count_operations(lambda: numbers.add(1).mul(2).exp()).calls == 3


def evaluation_interval(**changes: object) -> int:
    training = assemble(complete(dataclasses.replace(DIGITS, **changes)), None)  # type: ignore[arg-type]
    assert training.evaluation is not None
    return choose_evaluate_every(training, training.evaluation, 10)


@pytest.fixture(scope="module")
def expensive_interval() -> int:
    """Interval of a metric with an ImageNet network for a model of width 8, with few samples."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(assembly, "EVALUATION_SAMPLES", 100)
        return evaluation_interval(metric=PlugSpec("kd_efficientnet_lite0"), batch_size=16)


def test_expensive_metric_is_evaluated_less_often(expensive_interval: int) -> None:
    assert evaluation_interval(steps=40_000, batch_size=64) == 4000, "ten evaluations with a small classifier"
    assert expensive_interval > DIGITS.steps / 10, "fewer than ten with a large network"


def test_larger_batch_allows_more_evaluations(expensive_interval: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(assembly, "EVALUATION_SAMPLES", 100)
    assert evaluation_interval(metric=PlugSpec("kd_efficientnet_lite0"), batch_size=256) < expensive_interval


def test_evaluation_interval_is_written_to_experiment(tmp_path: Path) -> None:
    experiment = dataclasses.replace(DIGITS, steps=2, batch_size=64, seed=3)
    list(launch.start(experiment, tmp_path / "run"))
    assert Run(tmp_path / "run").experiment()["evaluate_every"] >= 1
    explicit = dataclasses.replace(experiment, evaluate_every=1)
    list(launch.start(explicit, tmp_path / "explicit"))
    assert Run(tmp_path / "explicit").experiment()["evaluate_every"] == 1
