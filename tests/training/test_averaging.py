"""The running average: its half-life in images, its ramp, and what it does with what is no weight."""

import copy
import math

import pytest
import torch
from torch import nn

from equipoise.training.averaging import RAMP, decay, update


class Mixed(nn.Module):
    """A weight, a running statistic, a counter and a flag."""

    def __init__(self, value: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.full((3,), value))
        self.register_buffer("mean", torch.full((2,), value * 10))
        self.register_buffer("count", torch.tensor(int(value)))
        self.register_buffer("flag", torch.tensor(value > 0))


@pytest.mark.parametrize(("half_life", "batch_size"), [(640, 64), (1000, 10), (4096, 4096)])
def test_after_one_half_life_half_the_distance_is_left(half_life: int, batch_size: int) -> None:
    """Past the ramp, with a target that stands still, in as many steps as it takes."""
    target, average = {"generator": Mixed(0.0)}, {"generator": Mixed(0.0)}
    nn.init.ones_(average["generator"].weight)
    images = math.ceil(half_life / RAMP)
    for _ in range(half_life // batch_size):
        images += batch_size
        update(average, target, decay(half_life, batch_size, images))
    torch.testing.assert_close(average["generator"].weight.detach(), torch.full((3,), 0.5))


def test_the_half_life_does_not_depend_on_the_batch() -> None:
    once, in_eight = decay(1000, 256, 10**6), decay(1000, 32, 10**6) ** 8
    assert once == pytest.approx(in_eight, rel=1e-12)
    assert once == pytest.approx(math.exp(-256 * math.log(2) / 1000), rel=1e-12)


def test_the_start_is_soon_forgotten() -> None:
    """At first the half-life is a share of the images seen, so any length is as good until it is reached."""
    assert decay(1e7, 64, 64) == pytest.approx(0.5 ** (1 / RAMP))
    assert decay(1e7, 64, 6400) == pytest.approx(0.5 ** (64 / (RAMP * 6400)))
    assert decay(1e7, 64, 6400) == decay(1e6, 64, 6400)
    border = math.ceil(1000 / RAMP)
    assert decay(1000, 64, border) == decay(1000, 64, border * 50) > decay(1000, 64, border // 2)


def test_a_long_average_forgets_the_first_weights() -> None:
    """After a thousand steps of the ramp, less than a thousandth of where it began."""
    left = math.prod(decay(1e7, 64, 64 * step) for step in range(1, 1001))
    assert left < 1e-3


@pytest.mark.parametrize("images", [0, 64, 10**6])
def test_a_half_life_of_zero_is_no_average(images: int) -> None:
    assert decay(0, 64, images) == 0
    average, network = {"generator": Mixed(1.0)}, {"generator": Mixed(0.1)}
    update(average, network, 0.0)
    for key, value in network["generator"].state_dict().items():
        assert torch.equal(average["generator"].state_dict()[key], value), key


def test_weights_and_running_statistics_are_averaged_counters_are_taken_over() -> None:
    average, network = Mixed(1.0), Mixed(5.0)
    update({"generator": average}, {"generator": network}, 0.75)
    torch.testing.assert_close(average.weight.detach(), torch.full((3,), 0.75 * 1 + 0.25 * 5))
    torch.testing.assert_close(average.mean, torch.full((2,), 0.75 * 10 + 0.25 * 50))
    assert average.count.item() == 5
    assert average.count.dtype == torch.int64
    update({"generator": average}, {"generator": Mixed(-2.0)}, 0.75)
    assert average.flag.item() is False


def test_the_average_is_written_in_place_and_the_network_is_not_touched() -> None:
    average, network = Mixed(1.0), Mixed(5.0)
    places = {key: value.data_ptr() for key, value in average.state_dict().items()}
    before = copy.deepcopy(network.state_dict())
    update({"generator": average}, {"generator": network, "discriminator": Mixed(9.0)}, 0.5)
    assert {key: value.data_ptr() for key, value in average.state_dict().items()} == places
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())
    assert average.weight.grad_fn is None


def test_batch_norm_statistics_follow() -> None:
    network = nn.BatchNorm1d(2)
    average = copy.deepcopy(network)
    network(torch.randn(16, 2, generator=torch.Generator().manual_seed(0)) + 3)
    update({"generator": average}, {"generator": network}, 0.9)
    torch.testing.assert_close(average.running_mean, 0.1 * network.running_mean)
    assert average.num_batches_tracked.item() == 1
