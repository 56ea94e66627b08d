"""What an evaluation is priced at: operations counted by hand, and the share of a run that it may take."""

import dataclasses
from pathlib import Path

import torch
from torch import nn

from equipoise.experiment import launch
from equipoise.experiment.settings import Experiment, PlugSpec, complete
from equipoise.runs.run_folder import Run
from equipoise.training import pricing

DIGITS = Experiment(
    data=PlugSpec("digits"), model=PlugSpec("dcgan", {"width": 8}), image_size=16, batch_size=16, steps=2000
)


def test_operations_of_a_linear_layer_forward_and_backward() -> None:
    layer, batch = nn.Linear(7, 5), torch.ones(3, 7, requires_grad=True)
    assert pricing.counted(lambda: layer(batch)).operations == 2 * 3 * 7 * 5
    assert pricing.counted(lambda: layer(batch).sum().backward()).operations == 3 * 2 * 3 * 7 * 5


def test_a_convolution_counts_the_same_where_it_is_not_taken_apart() -> None:
    layer, batch = nn.Conv2d(3, 4, 3, padding=1), torch.ones(2, 3, 8, 8)
    with torch.inference_mode():
        assert pricing.counted(lambda: layer(batch)).operations == 2 * (2 * 4 * 8 * 8) * (3 * 3 * 3)


def test_every_call_counts() -> None:
    numbers = torch.ones(4)
    assert pricing.counted(lambda: numbers.add(1).mul(2).exp()).calls == 3


def priced(**changes: object) -> int:
    training = launch.assemble(complete(dataclasses.replace(DIGITS, **changes)), None)  # type: ignore[arg-type]
    assert training.evaluation is not None
    return pricing.evaluate_every(training, training.evaluation, 10)


def test_a_cheap_metric_is_measured_ten_times_and_a_dear_one_as_often_as_its_share_allows() -> None:
    cheap = priced(steps=40_000, batch_size=64)
    dear = priced(steps=40_000, batch_size=64, metric=PlugSpec("kd_efficientnet_lite0"))
    assert cheap == 4000, "ten times a run: a small classifier"
    assert dear > 4000, "less often: an ImageNet network beside a discriminator of width 8"


def test_what_a_larger_batch_takes_longer_makes_room_for_the_metric() -> None:
    small, large = (priced(metric=PlugSpec("kd_efficientnet_lite0"), batch_size=size) for size in (16, 256))
    assert small > large


def test_a_run_writes_down_how_often_it_measures(tmp_path: Path) -> None:
    experiment = dataclasses.replace(DIGITS, steps=2, batch_size=64, seed=3)
    list(launch.start(experiment, tmp_path / "run"))
    assert Run(tmp_path / "run").experiment()["evaluate_every"] >= 1
    asked = dataclasses.replace(experiment, evaluate_every=1)
    list(launch.start(asked, tmp_path / "asked"))
    assert Run(tmp_path / "asked").experiment()["evaluate_every"] == 1
