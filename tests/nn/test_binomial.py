"""Resampling by two with the filter [1, 2, 1], against convolutions and by hand."""

import pytest
import torch
from torch.nn.functional import conv2d, conv_transpose2d

from equipoise.nn.binomial import BinomialDownsampling, BinomialUpsampling

FILTER = torch.tensor([1.0, 2.0, 1.0])


def maps(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float32)


def test_upsampling_by_hand() -> None:
    rows = BinomialUpsampling(3, 1)(torch.tensor([2.0, 4.0, 8.0]).view(1, 1, 3, 1))
    assert rows.shape == (1, 1, 6, 2)
    assert rows[0, 0, :, 0].tolist() == [2, 2, 3, 4, 6, 8]


def test_downsampling_by_hand() -> None:
    rows = BinomialDownsampling(4, 2)(torch.tensor([1.0, 2.0, 4.0, 8.0]).view(1, 1, 4, 1).expand(1, 1, 4, 2))
    assert rows.shape == (1, 1, 2, 1)
    assert rows[0, 0, :, 0].tolist() == [(3 * 1 + 2) / 4, (2 + 2 * 4 + 8) / 4]


def test_inside_both_are_convolutions_with_the_filter() -> None:
    """The border differs: a convolution pads with zeros."""
    x = maps(2, 3, 8, 6)
    kernel = (FILTER[:, None] * FILTER).expand(3, 1, 3, 3)
    up = conv_transpose2d(x, kernel / 4, stride=2, groups=3)[:, :, :16, :12]
    assert torch.allclose(BinomialUpsampling(8, 6)(x)[:, :, 1:, 1:], up[:, :, 1:, 1:], atol=1e-6)
    down = conv2d(x, kernel / 16, stride=2, padding=1, groups=3)
    assert torch.allclose(BinomialDownsampling(8, 6)(x)[:, :, 1:, 1:], down[:, :, 1:, 1:], atol=1e-6)


@pytest.mark.parametrize(
    ("module", "side"), [(BinomialUpsampling(5, 4), (10, 8)), (BinomialDownsampling(6, 4), (3, 2))]
)
def test_constant_maps_stay_constant(module: torch.nn.Module, side: tuple[int, int]) -> None:
    height, width = (6, 4) if isinstance(module, BinomialDownsampling) else (5, 4)
    assert torch.equal(module(torch.full((2, 3, height, width), 0.7)), torch.full((2, 3, *side), 0.7))
    assert not module.state_dict()


def test_second_derivatives_exist() -> None:
    x = maps(1, 2, 4, 4).double().requires_grad_()
    down = BinomialDownsampling(4, 4).double()
    assert torch.autograd.gradgradcheck(lambda x: down(x).square(), x)
