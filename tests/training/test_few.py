"""Held-out reals that do not fill a batch: the discriminator is asked about them all the same, in equal batches."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from equipoise.core.events import Sensed
from equipoise.core.observations import Signals
from equipoise.experiment import launch
from equipoise.experiment.settings import Experiment, PlugSpec, complete
from equipoise.training.loop import Streams, Training, train

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
    training = launch.assemble(complete(experiment), None)
    training.pilot.sense_every = 2
    return training


def signals(training: Training) -> Signals:
    """Those of the second reading."""
    return [event.signals for event in train(training) if isinstance(event, Sensed)][1]


def test_fewer_than_a_batch_are_ranked_all_at_once(tmp_path: Path) -> None:
    training = assembled(tmp_path, 200)
    few, seen = training.streams.few, []
    assert (training.streams.held_out, few.size) == (None, 20)
    assert {len(side.batch(1)) for side in (few.train, few.held_out)} == {20}
    first, second = (few.held_out.batch(index).real.flatten(1) for index in range(2))
    assert torch.equal(first.sort(dim=0).values, second.sort(dim=0).values), "the same, all of them, each time"
    logits = training.state.model.logits
    training.state.model = dataclasses.replace(
        training.state.model, logits=lambda nets, batch, moment: seen.append(len(batch)) or logits(nets, batch, moment)
    )
    assert -1 <= signals(training).rank_train_held_out <= 1
    assert set(seen) == {20}, "batch norm sees as many of either side"


def test_samples_are_compared_as_they_would_be_without(tmp_path: Path) -> None:
    """The likeness of 20 reals says little: diversity and coverage are by training reals, as before."""
    watched, alone = assembled(tmp_path / "1", 200), assembled(tmp_path / "2", 200)
    alone.streams = Streams(alone.streams.train)
    mine, theirs = signals(watched), signals(alone)
    assert theirs.rank_train_held_out is None
    assert theirs.coverage is not None
    assert dataclasses.replace(mine, rank_train_held_out=None) == theirs


@pytest.mark.parametrize(
    ("count", "batch_size", "kind"), [(120, 32, "none"), (120, 8, "batches"), (400, 32, "batches"), (160, 32, "few")]
)
def test_a_batch_is_a_batch_and_a_handful_is_nothing(tmp_path: Path, count: int, batch_size: int, kind: str) -> None:
    streams = assembled(tmp_path, count, batch_size).streams
    assert (streams.held_out is not None, streams.few is not None) == (kind == "batches", kind == "few")
