"""Residual blocks of generators and discriminators against their formulas."""

from functools import partial

import pytest
import torch
from torch import nn
from torch.nn.functional import avg_pool2d, interpolate, relu

from equipoise.nn.conditional_norm import ConditionalBatchNorm
from equipoise.nn.residual_blocks import BottleneckDownBlock, BottleneckUpBlock, DownBlock, UpBlock, double


def norm(channels: int) -> ConditionalBatchNorm:
    return ConditionalBatchNorm(channels, partial(nn.Linear, 3, bias=False))


@pytest.fixture
def inputs() -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    return torch.randn(4, 8, 6, 4), torch.randn(4, 3)


def test_double_repeats_places() -> None:
    assert torch.equal(
        double(torch.tensor([[[[1.0, 2.0]]]])), torch.tensor([[[[1.0, 1.0, 2.0, 2.0], [1.0, 1.0, 2.0, 2.0]]]])
    )


def test_up_block(inputs: tuple[torch.Tensor, torch.Tensor]) -> None:
    """The shortcut is computed before upsampling, with the result of the paper's order."""
    x, c = inputs
    block = UpBlock(8, 4, norm)
    h = block.convolution_1(interpolate(relu(block.norm_1(x, c)), scale_factor=2))
    h = block.convolution_2(relu(block.norm_2(h, c)))
    torch.testing.assert_close(block(x, c), block.shortcut(interpolate(x, scale_factor=2)) + h)
    assert block(x, c).shape == (4, 4, 12, 8)


@pytest.mark.parametrize("first", [True, False])
def test_down_block(inputs: tuple[torch.Tensor, torch.Tensor], first: bool) -> None:
    x, _ = inputs
    block = DownBlock(8, 12, halve=True, first=first)
    h = block.convolution_2(relu(block.convolution_1(x if first else relu(x))))
    torch.testing.assert_close(block(x), avg_pool2d(block.shortcut(x), 2) + avg_pool2d(h, 2), rtol=1e-4, atol=1e-5)
    assert block(x).shape == (4, 12, 3, 2)


def test_block_of_equal_size_adds_its_input(inputs: tuple[torch.Tensor, torch.Tensor]) -> None:
    x, _ = inputs
    block = DownBlock(8, 8, halve=False)
    nn.init.zeros_(block.convolution_2.weight)
    nn.init.zeros_(block.convolution_2.bias)
    assert torch.equal(block(x), x)


@pytest.mark.parametrize(("after", "upsample"), [(8, False), (4, True)])
def test_bottleneck_up_block_keeps_the_first_channels(
    inputs: tuple[torch.Tensor, torch.Tensor], after: int, upsample: bool
) -> None:
    x, c = inputs
    block = BottleneckUpBlock(8, after, norm, upsample=upsample)
    assert block.convolution_2.weight.shape == (2, 2, 3, 3)
    changed = block(x, c)
    nn.init.zeros_(block.convolution_4.weight)
    nn.init.zeros_(block.convolution_4.bias)
    shortcut = x[:, :after]
    shortcut = interpolate(shortcut, scale_factor=2) if upsample else shortcut
    assert torch.equal(block(x, c), shortcut)
    assert not torch.equal(changed, shortcut)


@pytest.mark.parametrize(("after", "halve"), [(8, False), (12, True)])
def test_bottleneck_down_block_adds_channels(
    inputs: tuple[torch.Tensor, torch.Tensor], after: int, halve: bool
) -> None:
    x, _ = inputs
    block = BottleneckDownBlock(8, after, halve=halve)
    h = block.convolution_3(relu(block.convolution_2(relu(block.convolution_1(relu(x))))))
    h = block.convolution_4(avg_pool2d(relu(h), 2) if halve else relu(h))
    shortcut = avg_pool2d(x, 2) if halve else x
    if after > 8:
        shortcut = torch.cat([shortcut, block.additional(shortcut)], dim=1)
    torch.testing.assert_close(block(x), shortcut + h)
    assert block.convolution_1.out_channels == after // 4


def test_gradients_do_not_modify_the_input_in_place(inputs: tuple[torch.Tensor, torch.Tensor]) -> None:
    x, c = inputs
    copied = x.clone()
    for block in (DownBlock(8, 8, halve=True), BottleneckDownBlock(8, 8, halve=False)):
        block(x)
    for block in (UpBlock(8, 4, norm), BottleneckUpBlock(8, 4, norm, upsample=True)):
        block(x, c)
    assert torch.equal(x, copied)
