"""Held-out data that does not fill a batch is ranked too, in batches of equal size."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from equipoise.core.events import Sensed
from equipoise.core.observations import Signals
from equipoise.experiment.assembly import assemble
from equipoise.experiment.completion import complete
from equipoise.experiment.settings import Experiment, PlugSpec
from equipoise.training.loop import Training, train
from equipoise.training.plan import Streams

BATCH = 32


def photos(folder: Path, count: int) -> Path:
    source = np.random.default_rng(0)
    folder.mkdir(parents=True)
    for number in range(count):
        Image.fromarray(source.integers(0, 256, (16, 16), np.uint8)).save(folder / f"{number}.png")
    return folder


def assembled(tmp_path: Path, count: int, batch_size: int = BATCH) -> Training:
    data = PlugSpec("image_folder", {"folder": str(photos(tmp_path / "in", count)), "cache": str(tmp_path / "cache")})
    model = PlugSpec("dcgan", {"width": 4, "latent_dim": 6, "discriminator_norm": "batch"})
    experiment = Experiment(data=data, model=model, metric=PlugSpec("none"), steps=4, batch_size=batch_size, threads=1)
    training = assemble(complete(experiment), None)
    training.pilot.sense_every = 2
    return training


def signals(training: Training) -> Signals:
    """Return the signals of the second reading."""
    return [event.signals for event in train(training) if isinstance(event, Sensed)][1]


def test_few_held_out_samples_are_ranked_in_one_batch(tmp_path: Path) -> None:
    training = assembled(tmp_path, 200)
    small, sizes = training.streams.small_held_out, []
    assert (training.streams.held_out, small.size) == (None, 20)
    assert {len(side.batch(1)) for side in (small.train, small.held_out)} == {20}
    first, second = (small.held_out.batch(index).real.flatten(1) for index in range(2))
    assert torch.equal(first.sort(dim=0).values, second.sort(dim=0).values), "all samples in each batch"
    logits = training.state.model.logits
    training.state.model = dataclasses.replace(
        training.state.model, logits=lambda nets, batch, moment: sizes.append(len(batch)) or logits(nets, batch, moment)
    )
    assert -1 <= signals(training).rank_train_held_out <= 1
    assert set(sizes) == {20}, "batch norm has batches of equal size"


def test_sample_statistics_do_not_use_few_held_out_samples(tmp_path: Path) -> None:
    """20 samples are too few: diversity and coverage use training samples."""
    with_held_out, without_held_out = assembled(tmp_path / "1", 200), assembled(tmp_path / "2", 200)
    without_held_out.streams = Streams(without_held_out.streams.train)
    result, expected = signals(with_held_out), signals(without_held_out)
    assert expected.rank_train_held_out is None
    assert expected.coverage is not None
    assert dataclasses.replace(result, rank_train_held_out=None) == expected


@pytest.mark.parametrize(
    ("count", "batch_size", "kind"), [(120, 32, "none"), (120, 8, "batches"), (400, 32, "batches"), (160, 32, "small")]
)
def test_streams_depend_on_number_of_held_out_samples(tmp_path: Path, count: int, batch_size: int, kind: str) -> None:
    streams = assembled(tmp_path, count, batch_size).streams
    assert (streams.held_out is not None, streams.small_held_out is not None) == (kind == "batches", kind == "small")
