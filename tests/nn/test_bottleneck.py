"""Residual bottleneck blocks: the formula, the identity at first, the scale of the initial weights, parameters."""

import math

import pytest
import torch
from torch import Generator, nn
from torch.nn.functional import conv2d, leaky_relu

from equipoise.nn.bottleneck import BottleneckBlock, initialise_bottlenecks


def maps(channels: int) -> torch.Tensor:
    return torch.randn(2, channels, 5, 6, generator=Generator().manual_seed(0))


def test_block_is_the_identity_at_first() -> None:
    block = BottleneckBlock(8, 16, 2)
    initialise_bottlenecks(block, Generator().manual_seed(0))
    x = maps(8)
    assert torch.equal(block(x), x)


def test_block_is_the_formula() -> None:
    block = BottleneckBlock(4, 8, 2)
    for weight in block.parameters():
        nn.init.normal_(weight, generator=Generator().manual_seed(weight.numel()))
    x = maps(4)
    first = leaky_relu(conv2d(x, block.first.weight) + block.first.bias[:, None, None], 0.2)
    halves = [
        conv2d(half, weight, padding=1)
        for half, weight in zip(first.split(4, 1), block.middle.weight.split(4), strict=True)
    ]
    middle = leaky_relu(torch.cat(halves, 1) + block.middle.bias[:, None, None], 0.2)
    assert torch.allclose(block(x), x + conv2d(middle, block.last.weight), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("groups", [1, 4])
def test_parameters(groups: int) -> None:
    channels, inner = 8, 16
    expected = 2 * channels * inner + 9 * inner * (inner // groups) + 2 * inner
    assert sum(weight.numel() for weight in BottleneckBlock(channels, inner, groups).parameters()) == expected


@pytest.mark.parametrize("count", [1, 16])
def test_scale_of_the_initial_weights(count: int) -> None:
    """N(0, g / sqrt(fan-in)) with g = sqrt(2 / 1.04) L^(-1/4) for L blocks."""
    network = nn.Sequential(*(BottleneckBlock(32, 64, 4) for _ in range(count)))
    initialise_bottlenecks(network, Generator().manual_seed(0))
    gain = math.sqrt(2 / 1.04) * count**-0.25
    for block in network:
        assert block.first.weight.std().item() == pytest.approx(gain / math.sqrt(32), rel=0.06)
        assert block.middle.weight.std().item() == pytest.approx(gain / math.sqrt(16 * 9), rel=0.06)
        assert not block.last.weight.any()
        assert not block.first.bias.any()
