"""Running average: its half-life in images, its ramp, statistics and counters."""

import copy
import math

import pytest
import torch
from torch import nn

from equipoise.training.weights import RAMP, average_decay, update_averages


class Mixed(nn.Module):
    """A weight, a running statistic, a counter and a flag."""

    def __init__(self, value: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.full((3,), value))
        self.register_buffer("mean", torch.full((2,), value * 10))
        self.register_buffer("count", torch.tensor(int(value)))
        self.register_buffer("flag", torch.tensor(value > 0))


@pytest.mark.parametrize(("half_life", "batch_size"), [(640, 64), (1000, 10), (4096, 4096)])
def test_half_the_distance_remains_after_one_half_life(half_life: int, batch_size: int) -> None:
    """After the ramp, with a constant target, for different batch sizes."""
    target, average = {"generator": Mixed(0.0)}, {"generator": Mixed(0.0)}
    nn.init.ones_(average["generator"].weight)
    images = math.ceil(half_life / RAMP)
    for _ in range(half_life // batch_size):
        images += batch_size
        update_averages(average, target, average_decay(half_life, batch_size, images))
    torch.testing.assert_close(average["generator"].weight.detach(), torch.full((3,), 0.5))


def test_half_life_does_not_depend_on_batch_size() -> None:
    once, in_eight = average_decay(1000, 256, 10**6), average_decay(1000, 32, 10**6) ** 8
    assert once == pytest.approx(in_eight, rel=1e-12)
    assert once == pytest.approx(math.exp(-256 * math.log(2) / 1000), rel=1e-12)


def test_half_life_is_limited_to_a_share_of_images_seen() -> None:
    """During the ramp, long half-lives have the same effect."""
    assert average_decay(1e7, 64, 64) == pytest.approx(0.5 ** (1 / RAMP))
    assert average_decay(1e7, 64, 6400) == pytest.approx(0.5 ** (64 / (RAMP * 6400)))
    assert average_decay(1e7, 64, 6400) == average_decay(1e6, 64, 6400)
    border = math.ceil(1000 / RAMP)
    assert (
        average_decay(1000, 64, border) == average_decay(1000, 64, border * 50) > average_decay(1000, 64, border // 2)
    )


def test_long_average_forgets_initial_weights() -> None:
    """After a thousand steps of the ramp, the initial weights count less than a thousandth."""
    remaining = math.prod(average_decay(1e7, 64, 64 * step) for step in range(1, 1001))
    assert remaining < 1e-3


@pytest.mark.parametrize("images", [0, 64, 10**6])
def test_half_life_of_zero_copies_the_network(images: int) -> None:
    assert average_decay(0, 64, images) == 0
    average, network = {"generator": Mixed(1.0)}, {"generator": Mixed(0.1)}
    update_averages(average, network, 0.0)
    for key, value in network["generator"].state_dict().items():
        assert torch.equal(average["generator"].state_dict()[key], value), key


def test_weights_and_statistics_are_averaged_and_counters_copied() -> None:
    average, network = Mixed(1.0), Mixed(5.0)
    update_averages({"generator": average}, {"generator": network}, 0.75)
    torch.testing.assert_close(average.weight.detach(), torch.full((3,), 0.75 * 1 + 0.25 * 5))
    torch.testing.assert_close(average.mean, torch.full((2,), 0.75 * 10 + 0.25 * 50))
    assert average.count.item() == 5
    assert average.count.dtype == torch.int64
    update_averages({"generator": average}, {"generator": Mixed(-2.0)}, 0.75)
    assert average.flag.item() is False


def test_average_is_updated_in_place_and_network_unchanged() -> None:
    average, network = Mixed(1.0), Mixed(5.0)
    places = {key: value.data_ptr() for key, value in average.state_dict().items()}
    before = copy.deepcopy(network.state_dict())
    update_averages({"generator": average}, {"generator": network, "discriminator": Mixed(9.0)}, 0.5)
    assert {key: value.data_ptr() for key, value in average.state_dict().items()} == places
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())
    assert average.weight.grad_fn is None


def test_batch_norm_statistics_are_averaged() -> None:
    network = nn.BatchNorm1d(2)
    average = copy.deepcopy(network)
    network(torch.randn(16, 2, generator=torch.Generator().manual_seed(0)) + 3)
    update_averages({"generator": average}, {"generator": network}, 0.9)
    torch.testing.assert_close(average.running_mean, 0.1 * network.running_mean)
    assert average.num_batches_tracked.item() == 1
