"""The data sets ring, grid and origin."""

import math

import pytest
import torch

from equipoise.core import catalog
from equipoise.data.grid import Grid
from equipoise.data.origin import Origin
from equipoise.data.ring import Ring
from equipoise.errors import DataError, SettingError

MANY = 100_000


def test_ring_has_eight_modes_on_the_unit_circle():
    means = Ring().stream("train", 1, 0).means
    assert torch.allclose(means.norm(dim=1), torch.ones(8))
    nearest = torch.pdist(means).min()
    assert nearest.item() == pytest.approx(2 * math.sin(math.pi / 8)), "neighbours on a regular octagon"
    assert torch.allclose(means[0], torch.tensor([1.0, 0.0]))


def test_the_grid_has_twenty_five_modes():
    means = Grid().stream("train", 1, 0).means
    line = (-4.0, -2.0, 0.0, 2.0, 4.0)
    assert {tuple(mean) for mean in means.tolist()} == {(x, y) for x in line for y in line}


@pytest.mark.parametrize("data", [Ring(), Grid(), Ring(modes=3, radius=2, std=0.5), Grid(side=2, spacing=1, std=0.1)])
def test_samples_have_the_moments_of_the_mixture(data):
    stream = data.stream("train", MANY, 0)
    batch = stream.batch(0)
    noise = (batch.real - stream.means[batch.condition]).double() / data.std
    assert noise.mean(dim=0).abs().max() < 4.5 / MANY**0.5
    assert (noise.T.cov() - torch.eye(2)).abs().max() < 4.5 * math.sqrt(2 / MANY)
    modes = data.spec.classes
    sizes = torch.bincount(batch.condition, minlength=modes)
    chi_squared = ((sizes - MANY / modes) ** 2 / (MANY / modes)).sum().item()
    assert chi_squared < modes - 1 + 4.5 * math.sqrt(2 * (modes - 1)), "modes are equally likely"


@pytest.mark.parametrize("data", [Ring(), Grid()])
def test_splits_seeds_and_batches_are_independent(data):
    points = [
        tuple(point)
        for split in ("train", "held_out")
        for seed in (0, 1)
        for index in (0, 1, 2)
        for point in data.stream(split, 100, seed).batch(index).real.tolist()
    ]
    # Single float32 coordinates can occur twice; both coordinates of a point do not.
    assert len(set(points)) == len(points) == 1200


@pytest.mark.parametrize("name", ["ring", "grid"])
def test_training_points_are_independent_of_seed(name):
    data = catalog.build("data", name, {"training_points": 60})
    assert (data.count("train"), data.count("held_out")) == (60, None)
    epochs = []
    for seed, epoch in [(0, 0), (0, 1), (7, 0)]:
        stream = data.stream("train", 20, seed)
        epochs.append([tuple(x) for i in range(3) for x in stream.batch(3 * epoch + i).real.tolist()])
    assert all(len(set(epoch)) == 60 for epoch in epochs)
    assert len({frozenset(epoch) for epoch in epochs}) == 1, "the same points"
    assert len({tuple(epoch) for epoch in epochs}) == 3, "in another order"
    held_out = {tuple(x) for x in data.stream("held_out", 1000, 0).batch(0).real.tolist()}
    assert not held_out & set(epochs[0])


def test_training_points_have_mode_labels():
    data = Grid(training_points=500)
    batch = data.stream("train", 500, 3).batch(0)
    means = data.stream("held_out", 1, 0).means
    assert torch.equal(torch.cdist(batch.real, means).argmin(dim=1), batch.condition)


def test_batch_larger_than_training_points_is_refused():
    with pytest.raises(
        DataError, match="the split 'train' contains 60 points, fewer than a batch of 64; use --batch-size 60"
    ):
        Ring(training_points=60).stream("train", 64, 0)


def test_origin_is_one_unlabelled_point():
    batch = Origin().stream("train", 3, 0).batch(5)
    assert batch.real.tolist() == [[0.0], [0.0], [0.0]]
    assert batch.condition is None


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("ring", {"modes": 0}, "modes = 0 must be above 0 for 'ring'"),
        ("ring", {"std": -0.1}, "std = -0.1 must be above 0 for 'ring'"),
        ("ring", {"radius": float("nan")}, "radius = nan must be above 0 for 'ring'"),
        ("ring", {"training_points": 0}, "training_points = 0 must be above 0 for 'ring'"),
        ("grid", {"side": -5}, "side = -5 must be above 0 for 'grid'"),
        ("grid", {"spacing": float("inf")}, "spacing = inf must be above 0 for 'grid'"),
    ],
)
def test_invalid_mixtures_are_refused(name, options, message):
    with pytest.raises(SettingError) as error:
        catalog.build("data", name, options)
    assert str(error.value) == message


@pytest.mark.parametrize("name", ["ring", "grid", "origin"])
def test_empty_batch_is_refused(name):
    with pytest.raises(SettingError, match="batch_size = 0: it must be at least 1"):
        catalog.build("data", name).stream("train", 0, 0)
